//! The packet filter of a node: a short list, first match wins.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use crate::nat::rules::Protocol;
use crate::packet::protocol;

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
        let number = match self.protocol {
            None => packet.protocol,
            Some(Protocol::Tcp) => protocol::TCP,
            Some(Protocol::Udp) => protocol::UDP,
        };
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
    /// The rules, in order.
    pub rules: Vec<FilterRule>,
}

impl Filter {
    /// Why `packet` is denied; `None` if it passes.
    pub(crate) fn denial(&self, packet: &Filtered) -> Option<&Arc<str>> {
        let rule = self.rules.iter().find(|rule| rule.matches(packet))?;
        (rule.action == FilterAction::Deny).then_some(&rule.reason)
    }
}
