//! Where a node accepts node ports.
//!
//! Source: kubernetes.md 6.4.

use std::net::{IpAddr, Ipv4Addr};

use hopwise_fabric::nat::rules::Destination;

use super::facts::{Mode, NodeFacts, NodePortAddresses};

/// Where the node accepts node ports of a family (kubernetes.md 6.4). Loopback is only for IPv4 in iptables
/// mode.
pub(super) fn destinations(node: &NodeFacts, ipv4: bool) -> Vec<Destination> {
    let own: Vec<IpAddr> = node.addresses.iter().copied().filter(|ip| ip.is_ipv4() == ipv4).collect();
    let loopback = ipv4 && node.mode == Mode::Iptables && node.localhost_node_ports;
    let primary = || own.iter().take(1).copied().map(Destination::Address).collect();
    match (&node.node_port_addresses, node.mode) {
        (NodePortAddresses::Primary, _) | (NodePortAddresses::ModeDefault, Mode::Nftables) => primary(),
        (NodePortAddresses::ModeDefault, Mode::Iptables | Mode::Ipvs) => {
            // A rule for any local address would catch both families on a node that has both, and the service
            // addresses that are the node's own in IPVS mode.
            if own.len() == node.addresses.len() && node.mode == Mode::Iptables {
                return vec![Destination::AnyLocal { loopback }];
            }
            let localhost = loopback.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            own.into_iter().chain(localhost).map(Destination::Address).collect()
        }
        (NodePortAddresses::In(networks), _) => {
            let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
            own.into_iter()
                .chain(loopback.then_some(localhost))
                .filter(|address| networks.iter().any(|network| network.contains(address)))
                .map(Destination::Address)
                .collect()
        }
    }
}
