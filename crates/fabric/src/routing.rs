//! Routing tables: longest prefix first, at a cost that does not grow with the number of routes of a length.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use crate::device::PortIndex;

/// Where packets to a network go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The port they leave by.
    pub port: PortIndex,
    /// The next router's address; `None` when the destination itself is on that link.
    pub via: Option<IpAddr>,
}

/// A routing table for both address families.
#[derive(Debug, Default)]
pub struct RoutingTable {
    v4: Family,
    v6: Family,
}

/// The routes of one family by prefix length, the longest first.
type Family = Vec<Length>;

/// The routes with prefixes of one length, by the bits of their networks.
#[derive(Debug)]
struct Length {
    prefix: u8,
    mask: u128,
    routes: FxHashMap<u128, NextHops>,
}

/// Most routes have one next hop.
type NextHops = SmallVec<[NextHop; 1]>;

impl RoutingTable {
    /// Adds or replaces the route to `network`.
    pub fn insert(&mut self, network: IpNet, next_hop: NextHop) {
        self.put(network, smallvec![next_hop]);
    }

    /// Adds or replaces the route to `network` by one with several next hops of equal cost; without any it is removed.
    pub fn insert_multipath(&mut self, network: IpNet, next_hops: Vec<NextHop>) {
        if next_hops.is_empty() {
            self.remove(network);
        } else {
            self.put(network, next_hops.into());
        }
    }

    fn put(&mut self, network: IpNet, next_hops: NextHops) {
        let prefix = network.prefix_len();
        let family = self.family_mut(network.addr());
        let place = family.iter().position(|length| length.prefix <= prefix).unwrap_or(family.len());
        if family.get(place).is_none_or(|length| length.prefix != prefix) {
            let mask = bits(network.netmask());
            family.insert(place, Length { prefix, mask, routes: FxHashMap::default() });
        }
        family[place].routes.insert(bits(network.network()), next_hops);
    }

    /// Removes the route to `network`, if there is one.
    pub fn remove(&mut self, network: IpNet) {
        let family = self.family_mut(network.addr());
        if let Some(length) = family.iter_mut().find(|length| length.prefix == network.prefix_len()) {
            length.routes.remove(&bits(network.network()));
            family.retain(|length| !length.routes.is_empty());
        }
    }

    /// The route to `destination` with the longest prefix; the first of its next hops, if there are several.
    pub fn find(&self, destination: IpAddr) -> Option<NextHop> {
        self.find_for(destination, || 0)
    }

    /// The route to `destination` with the longest prefix, for the flow whose hash is `hash`: it is asked for only if there
    /// are several next hops.
    pub fn find_for(&self, destination: IpAddr, hash: impl FnOnce() -> u64) -> Option<NextHop> {
        let family = if destination.is_ipv4() { &self.v4 } else { &self.v6 };
        let address = bits(destination);
        let hops = family.iter().find_map(|length| length.routes.get(&(address & length.mask)))?;
        match hops.as_slice() {
            [only] => Some(*only),
            several => several.get((hash() % several.len().max(1) as u64) as usize).copied(),
        }
    }

    fn family_mut(&mut self, address: IpAddr) -> &mut Family {
        if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_removal_uncovers_the_shorter_one() {
        let hop = |port| NextHop { port: PortIndex(port), via: None };
        let mut table = RoutingTable::default();
        for (network, port) in
            [("0.0.0.0/0", 0), ("10.0.0.0/8", 1), ("10.1.2.0/24", 2), ("10.1.2.3/32", 3), ("::/0", 4)]
        {
            table.insert(network.parse().expect("network"), hop(port));
        }
        let port =
            |table: &RoutingTable, to: &str| table.find(to.parse().expect("address")).map(|next| next.port.0);
        assert_eq!(port(&table, "10.1.2.3"), Some(3));
        assert_eq!(port(&table, "10.1.2.4"), Some(2));
        assert_eq!(port(&table, "10.9.9.9"), Some(1));
        assert_eq!(port(&table, "192.0.2.1"), Some(0));
        assert_eq!(port(&table, "2001:db8::1"), Some(4));
        table.remove("10.1.2.3/32".parse().expect("network"));
        table.remove("0.0.0.0/0".parse().expect("network"));
        assert_eq!(port(&table, "10.1.2.3"), Some(2));
        assert_eq!(port(&table, "192.0.2.1"), None);
    }
}
