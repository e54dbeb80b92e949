//! The packet filter of a node: a short list, first match wins, and what addresses behind the node let through.
//!
//! The isolation of an address ([`Isolation`]) is looked up by that address, so a packet costs the same however many
//! are isolated.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use crate::nat::rules::Protocol;

/// Which way a packet takes through the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chain {
    /// To the node's own sockets.
    Input,
    /// Through the node.
    Forward,
    /// From the node's own sockets.
    Output,
}

/// What a filter rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FilterAction {
    /// The packet passes; later rules are not asked.
    Allow,
    /// The packet is dropped without an answer.
    Deny,
}

/// One rule. It sees addresses as netfilter's filter table does: the destination is translated already, the
/// source is not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterRule {
    /// What it does.
    pub action: FilterAction,
    /// The chains it is in; empty means all.
    pub chains: Vec<Chain>,
    /// Sources it is for; empty means all.
    pub sources: Vec<IpNet>,
    /// Destinations it is for; empty means all.
    pub destinations: Vec<IpNet>,
    /// The protocol it is for; `None` means all.
    pub protocol: Option<Protocol>,
    /// Destination ports it is for; empty means all.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Whether it is asked about new flows only, as firewalls and network policies are; if not, it sees every
    /// packet, answers included.
    pub new_flows_only: bool,
    /// Why, in words for the user.
    pub reason: Arc<str>,
}

impl FilterRule {
    /// A rule for all packets of new flows.
    pub fn new(action: FilterAction, reason: impl Into<Arc<str>>) -> Self {
        FilterRule {
            action,
            chains: Vec::new(),
            sources: Vec::new(),
            destinations: Vec::new(),
            protocol: None,
            ports: Vec::new(),
            new_flows_only: true,
            reason: reason.into(),
        }
    }

    fn matches(&self, packet: &Filtered) -> bool {
        let in_any = |networks: &[IpNet], address| {
            networks.is_empty() || networks.iter().any(|network| network.contains(&address))
        };
        let number = self.protocol.map_or(packet.protocol, Protocol::number);
        (packet.is_new || !self.new_flows_only)
            && (self.chains.is_empty() || self.chains.contains(&packet.chain))
            && number == packet.protocol
            && in_any(&self.sources, packet.source.ip())
            && in_any(&self.destinations, packet.destination.ip())
            && (self.ports.is_empty()
                || self.ports.iter().any(|range| range.contains(&packet.destination.port())))
    }
}

/// What the filter looks at.
pub(crate) struct Filtered {
    pub(crate) chain: Chain,
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) protocol: u8,
    pub(crate) is_new: bool,
}

/// The rules of a node. What no rule matches passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The rules, in order. Where none matches, the isolation of the two addresses decides.
    pub rules: Vec<FilterRule>,
    isolated: FxHashMap<IpAddr, Isolation>,
}

/// What an address behind the node lets through (network policies). It is asked about the first packet of a flow that
/// the node forwards, after the destination was rewritten and before the source is; answers and what the node itself
/// sends or takes are not its business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Isolation {
    /// Flows towards the address; `None`: all pass.
    pub inward: Option<Allowances>,
    /// Flows from the address; `None`: all pass.
    pub outward: Option<Allowances>,
}

/// The flows of one direction that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowances {
    /// A flow passes if one of them covers it.
    pub allowed: Vec<Allowance>,
    /// Why other flows are denied, in words for the user.
    pub reason: Arc<str>,
}

/// Flows that pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The other side.
    pub peers: Peers,
    /// Protocols and destination ports; empty means all of every protocol.
    pub ports: Vec<(Protocol, RangeInclusive<u16>)>,
}

/// The other side of flows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everybody.
    Any,
    /// These addresses.
    Addresses(Arc<BTreeSet<IpAddr>>),
    /// A network.
    Network {
        /// The network.
        network: IpNet,
        /// Parts of it that are left out.
        except: Vec<IpNet>,
    },
}

impl Filter {
    /// Sets what `address` lets through; without any isolation it is as if it had never been set.
    pub fn isolate(&mut self, address: IpAddr, isolation: Isolation) {
        if isolation == Isolation::default() {
            self.isolated.remove(&address);
        } else {
            self.isolated.insert(address, isolation);
        }
    }

    /// Forgets what any address lets through.
    pub fn clear_isolation(&mut self) {
        self.isolated.clear();
    }

    /// Why `packet` is denied; `None` if it passes.
    pub(crate) fn denial(&self, packet: &Filtered) -> Option<&Arc<str>> {
        match self.rules.iter().find(|rule| rule.matches(packet)) {
            Some(rule) => (rule.action == FilterAction::Deny).then_some(&rule.reason),
            None => self.isolation(packet),
        }
    }

    /// Both sides have to let the flow through; nobody is kept from itself.
    fn isolation(&self, packet: &Filtered) -> Option<&Arc<str>> {
        let (source, destination) = (packet.source.ip(), packet.destination.ip());
        if self.isolated.is_empty()
            || !packet.is_new
            || packet.chain != Chain::Forward
            || source == destination
        {
            return None;
        }
        let outward = || self.isolated.get(&source)?.outward.as_ref()?.denial(destination, packet);
        let inward = || self.isolated.get(&destination)?.inward.as_ref()?.denial(source, packet);
        outward().or_else(inward)
    }
}

impl Allowances {
    fn denial(&self, peer: IpAddr, packet: &Filtered) -> Option<&Arc<str>> {
        let covers = |allowance: &Allowance| allowance.peers.include(peer) && allowance.covers_port(packet);
        (!self.allowed.iter().any(covers)).then_some(&self.reason)
    }
}

impl Allowance {
    fn covers_port(&self, packet: &Filtered) -> bool {
        let covers = |(protocol, ports): &(Protocol, RangeInclusive<u16>)| {
            protocol.number() == packet.protocol && ports.contains(&packet.destination.port())
        };
        self.ports.is_empty() || self.ports.iter().any(covers)
    }
}

impl Peers {
    fn include(&self, peer: IpAddr) -> bool {
        match self {
            Peers::Any => true,
            Peers::Addresses(addresses) => addresses.contains(&peer),
            Peers::Network { network, except } => {
                network.contains(&peer) && !except.iter().any(|network| network.contains(&peer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::protocol;
    use crate::packet_builder::at;

    fn packet(source: &str, destination: &str) -> Filtered {
        let (source, destination) = (at(source), at(destination));
        Filtered { chain: Chain::Forward, source, destination, protocol: protocol::TCP, is_new: true }
    }

    fn allowances(peers: Peers, port: u16, reason: &str) -> Option<Allowances> {
        let ports = vec![(Protocol::Tcp, port..=port)];
        Some(Allowances { allowed: vec![Allowance { peers, ports }], reason: reason.into() })
    }

    #[test]
    fn both_sides_have_to_let_a_new_flow_through() {
        let mut filter = Filter::default();
        let network = "10.244.0.0/16".parse().expect("network");
        let except = vec!["10.244.9.0/24".parse().expect("network")];
        let inward = allowances(Peers::Network { network, except }, 9_093, "inward");
        filter.isolate(at("10.244.1.2:0").ip(), Isolation { inward, outward: None });
        let client: BTreeSet<IpAddr> = [at("10.244.1.2:0").ip(), at("10.244.1.3:0").ip()].into();
        let outward = allowances(Peers::Addresses(client.into()), 9_093, "outward");
        filter.isolate(at("10.244.2.2:0").ip(), Isolation { inward: None, outward });
        let denial = |packet: &Filtered| filter.denial(packet).map(|reason| reason.to_string());
        let cases = [
            ("10.244.2.2:1", "10.244.1.2:9093", None),
            ("10.244.2.2:1", "10.244.1.2:80", Some("outward")),
            ("10.244.2.2:1", "10.244.1.4:9093", Some("outward")),
            ("10.244.3.2:1", "10.244.1.2:80", Some("inward")),
            ("10.244.3.2:1", "10.244.1.2:9093", None),
            ("10.244.9.2:1", "10.244.1.2:9093", Some("inward")),
            ("10.244.1.2:1", "10.244.1.2:80", None),
        ];
        for (source, destination, expected) in cases {
            let found = denial(&packet(source, destination));
            assert_eq!(found.as_deref(), expected, "{source} to {destination}");
        }
        let refused = || packet("10.244.9.2:1", "10.244.1.2:9093");
        assert_eq!(
            denial(&Filtered { chain: Chain::Output, ..refused() }),
            None,
            "the node reaches its own pods"
        );
        assert_eq!(denial(&Filtered { is_new: false, ..refused() }), None, "answers pass");
        assert!(denial(&Filtered { protocol: protocol::UDP, ..refused() }).is_some());
    }
}
