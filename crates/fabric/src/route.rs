//! The path a packet took: every device appends what it did to it.

use std::net::SocketAddr;
use std::sync::Arc;

use hopwise_engine::{Span, Time};

use crate::icmp::Unreachable;

/// One device's part in a packet's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The device's name, e.g. `node-0`, `redpanda/redpanda-0`.
    pub device: Arc<str>,
    /// What it did.
    pub action: Action,
    /// Source of the packet as it leaves the device (port 0 where the protocol has none).
    pub source: SocketAddr,
    /// Destination of the packet as it leaves the device.
    pub destination: SocketAddr,
    /// When the packet was there.
    pub at: Time,
    /// Its time to live (hop limit) as it leaves the device; at the end of the path, as the receiver reads it.
    pub time_to_live: u8,
    /// For an action that needs it, why: the rule, the missing route, the full queue.
    pub detail: Option<Arc<str>>,
    /// What a device that rejected the packet sent back.
    pub answer: Option<Answer>,
}

/// How a device says that it does not pass a packet on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// By an ICMP error.
    Icmp(Unreachable),
    /// By a TCP reset.
    Reset,
}

/// What a device did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// A socket on this stack sent it.
    Sent,
    /// A router or node forwarded it (the time to live went down by one).
    Forwarded,
    /// A switch or bridge passed it on (the time to live is unchanged).
    Switched,
    /// The destination was rewritten.
    TranslatedDestination,
    /// The source was rewritten.
    TranslatedSource,
    /// Both addresses were rewritten.
    TranslatedBoth,
    /// A proxy ended the connection here and opened another.
    Proxied,
    /// A socket on this stack took it.
    Delivered,
    /// A device dropped it without a word.
    Dropped,
    /// A device dropped it and answered with an error.
    Rejected,
    /// The link lost it.
    Lost,
}

impl Action {
    /// The word reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Sent => "sent",
            Action::Forwarded => "forwarded",
            Action::Switched => "switched",
            Action::TranslatedDestination => "dnat",
            Action::TranslatedSource => "snat",
            Action::TranslatedBoth => "dnat+snat",
            Action::Proxied => "proxied",
            Action::Delivered => "delivered",
            Action::Dropped => "dropped",
            Action::Rejected => "rejected",
            Action::Lost => "lost",
        }
    }

    /// Whether the packet went no further.
    pub fn ends_path(self) -> bool {
        matches!(self, Action::Delivered | Action::Dropped | Action::Rejected | Action::Lost)
    }
}

/// The way of a connection: the last packet's path each way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// From the client towards the server. The last hop says where it ended.
    pub forward: Vec<Hop>,
    /// From the server back; empty if nothing came back.
    pub reply: Vec<Hop>,
}

impl Route {
    /// The device whose socket took the packet, if one did.
    pub fn reached(&self) -> Option<&Arc<str>> {
        self.forward.last().filter(|hop| hop.action == Action::Delivered).map(|hop| &hop.device)
    }

    /// The source address that the reached socket sees.
    pub fn source_seen(&self) -> Option<SocketAddr> {
        self.forward.last().filter(|hop| hop.action == Action::Delivered).map(|hop| hop.source)
    }

    /// How many devices between the two ends handled the packet on its way there.
    pub fn hops(&self) -> usize {
        self.forward
            .iter()
            .filter(|hop| !matches!(hop.action, Action::Sent | Action::Delivered | Action::Lost))
            .count()
    }

    /// One-way time of the forward path. What a proxy takes to open its own connection does not count.
    pub fn forward_time(&self) -> Option<Span> {
        if self.forward.is_empty() {
            return None;
        }
        let connections = self.forward.chunk_by(|hop, _| hop.action != Action::Proxied);
        let spans = connections.filter_map(|hops| Some(hops.last()?.at - hops.first()?.at));
        Some(spans.fold(Span::ZERO, |sum, span| sum + span))
    }
}
