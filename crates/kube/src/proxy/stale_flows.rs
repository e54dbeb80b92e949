//! UDP flows that a node's connection tracking remembers although their endpoint is gone.
//!
//! UDP knows no end of a connection: a client that keeps sending from one port would be sent to a pod that is no more,
//! or past the rules if its first datagram came when there were none. kube-proxy forgets such flows; TCP and SCTP
//! flows it leaves alone. Source: kubernetes.md 6.6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hopwise_fabric::nat::Flow;
use hopwise_fabric::protocol;

/// A UDP destination of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UdpDestination {
    /// The address; `None` for a node port.
    pub(super) address: Option<IpAddr>,
    /// The port.
    pub(super) port: u16,
    /// The address family.
    pub(super) ipv4: bool,
    /// The addresses of the endpoints that serve.
    pub(super) serving: BTreeSet<IpAddr>,
}

/// Which flows to forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaleFlows {
    /// By address (none: any, for node ports), port and family: the endpoints whose flows stay.
    destinations: BTreeMap<(Option<IpAddr>, u16, bool), BTreeSet<IpAddr>>,
}

impl StaleFlows {
    /// Flows to `destination` stay only with endpoints that serve. Two Services of one destination keep both's.
    pub(super) fn add(&mut self, destination: &UdpDestination) {
        let UdpDestination { address, port, ipv4, serving } = destination;
        self.destinations.entry((*address, *port, *ipv4)).or_default().extend(serving);
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.destinations.is_empty()
    }

    /// Whether `flow` is to be forgotten: a UDP flow towards one of the destinations whose answers come from no
    /// endpoint that serves. A flow from the time without rules is answered by its own destination.
    pub fn covers(&self, flow: &Flow) -> bool {
        if flow.original.protocol != protocol::UDP {
            return false;
        }
        let (to, answers_from) = (flow.original.destination, flow.reply.source.ip());
        let serving = |address| self.destinations.get(&(address, to.port(), to.is_ipv4()));
        serving(Some(to.ip()))
            .or_else(|| serving(None))
            .is_some_and(|serving| !serving.contains(&answers_from))
    }
}
