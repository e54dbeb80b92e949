//! Impairments: what is wrong with the way between two places, beside the links that it is made of.
//!
//! An impairment is one more link in series for the packets that it picks: of the directions of links that it is put
//! on, those from and to certain addresses (what `tc` does with a filter and `netem`). It has a configuration, a queue and
//! a random stream of its own, so the numbers that the links draw stay what they are without it. Packets that it does
//! not pick never wait for those that it does.

use std::net::IpAddr;

use hopwise_engine::Time;
use ipnet::IpNet;

use crate::LinkConfig;
use crate::link::{Direction, Fate};
use crate::packet::Packet;

/// An impairment of a fabric. Ids are given in order of creation and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImpairmentId(pub(crate) u32);

/// Some addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// All of them.
    Any,
    /// Those of these networks.
    In(Vec<IpNet>),
    /// Those of no such network.
    Outside(Vec<IpNet>),
}

/// The packets that an impairment picks, by the addresses that they have on the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Where they come from.
    pub source: Addresses,
    /// Where they go.
    pub destination: Addresses,
}

/// One impairment and its state.
pub(crate) struct Impairment {
    traffic: Traffic,
    way: Direction,
}

/// The impairments on a link: on its way from the first device to the second, and back.
#[derive(Default)]
pub(crate) struct Impaired(pub(crate) [Vec<ImpairmentId>; 2]);

impl Addresses {
    fn contains(&self, address: IpAddr) -> bool {
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        match self {
            Addresses::Any => true,
            Addresses::In(networks) => is_in(networks),
            Addresses::Outside(networks) => !is_in(networks),
        }
    }
}

impl Impairment {
    /// An impairment called `name`, which is what its random stream is named after.
    pub(crate) fn new(name: &str, traffic: Traffic, config: LinkConfig) -> Impairment {
        let stream = hopwise_engine::stream(&format!("impairment/{name}"));
        Impairment { traffic, way: Direction::new(config, stream) }
    }

    /// Whether it is for this packet.
    pub(crate) fn picks(&self, packet: &Packet) -> bool {
        self.traffic.source.contains(packet.source_ip())
            && self.traffic.destination.contains(packet.destination_ip())
    }

    /// What becomes of a packet of `length` bytes that would arrive at `at`.
    pub(crate) fn send(&mut self, at: Time, length: usize) -> Fate {
        self.way.send(at, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet_builder::ip;

    #[test]
    fn addresses_are_picked_by_their_networks() {
        let networks: Vec<IpNet> =
            vec!["10.0.0.1/32".parse().expect("one"), "10.244.1.0/24".parse().expect("one")];
        let (inside, outside) = (Addresses::In(networks.clone()), Addresses::Outside(networks));
        for (address, is_in) in
            [("10.0.0.1", true), ("10.0.0.2", false), ("10.244.1.9", true), ("10.244.2.9", false)]
        {
            assert_eq!(
                (inside.contains(ip(address)), outside.contains(ip(address))),
                (is_in, !is_in),
                "{address}"
            );
            assert!(Addresses::Any.contains(ip(address)));
        }
    }
}
