//! The way back of flows that came in by a certain port: what lets a balancer keep its clients' addresses.
//!
//! A port can be *symmetric*: what enters by it is answered by it, whatever the routing table says. An ICMP error about
//! such a flow goes back the same way, as conntrack's RELATED packets do (linux.md 1, "LB b, Cluster, no endpoints":
//! refused). Source: linux.md 7 (a connmark policy route on the router; in `fabric` the cloud's network does it).

use std::net::IpAddr;

use hopwise_engine::{Span, Time};
use rustc_hash::FxHashMap;

use crate::device::PortIndex;
use crate::nat::tuple::{Tuple, quoted};
use crate::packet::Packet;
use crate::routing::NextHop;

/// How long the way back of a silent flow is remembered: as long as an open connection can be silent in
/// connection tracking (kubernetes.md 6.6).
const KEPT: Span = Span::from_secs(86_400);
const PRUNE_AT_LEAST: usize = 4_096;

/// The symmetric ports of a device, and the flows that came in by them.
#[derive(Default)]
pub(crate) struct ReturnPaths {
    symmetric: FxHashMap<PortIndex, Option<IpAddr>>,
    returns: FxHashMap<Tuple, Return>,
    prune_at: usize,
}

/// The way back of a flow, and when the flow was last seen.
struct Return {
    next: NextHop,
    seen: Time,
}

impl ReturnPaths {
    /// Makes `port` symmetric; replies go to `via`, or straight to the destination.
    pub(crate) fn set_symmetric(&mut self, port: PortIndex, via: Option<IpAddr>) {
        self.symmetric.insert(port, via);
    }

    /// Takes note of a packet that came in by `port`.
    pub(crate) fn note(&mut self, port: PortIndex, packet: &Packet, now: Time) {
        let Some(via) = self.symmetric.get(&port) else { return };
        let next = NextHop { port, via: *via };
        self.returns.insert(Tuple::of(packet).reversed(), Return { next, seen: now });
        if self.returns.len() >= self.prune_at.max(PRUNE_AT_LEAST) {
            self.returns.retain(|_, back| now.since(back.seen) < KEPT);
            self.prune_at = 2 * self.returns.len();
        }
    }

    /// The way of a packet that answers such a flow, or that is an ICMP error about it.
    pub(crate) fn find(&self, packet: &Packet) -> Option<NextHop> {
        if self.returns.is_empty() {
            return None;
        }
        let tuple = match quoted(packet) {
            Some(about) => Tuple::of(&about).reversed(),
            None => Tuple::of(packet),
        };
        self.returns.get(&tuple).map(|back| back.next)
    }

    /// Forgets a port and what came in by it: nobody is there any more.
    pub(crate) fn forget_port(&mut self, port: PortIndex) {
        if self.symmetric.remove(&port).is_some() {
            self.returns.retain(|_, back| back.next.port != port);
        }
    }
}
