//! Which target each flow of a balancer of kind `dsr` goes to.
//!
//! Such a balancer sees one direction only: answers go from the target straight to the client. So it cannot follow
//! TCP's states; it remembers a choice until the flow was silent for too long, and a SYN always begins a flow
//! (Google Cloud, "Traffic distribution for external passthrough Network Load Balancers", connection tracking).

use std::net::IpAddr;

use hopwise_engine::{Span, Time};
use rustc_hash::FxHashMap;

use crate::nat::tuple::{Tuple, quoted};
use crate::packet::{Packet, protocol};

const PRUNE_AT_LEAST: usize = 1_024;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The choices that are remembered.
#[derive(Default)]
pub(super) struct DirectFlows {
    flows: FxHashMap<Tuple, Placed>,
    prune_at: usize,
}

struct Placed {
    target: IpAddr,
    until: Time,
}

/// What a packet is to the balancer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Part of a flow that was placed there.
    Placed(IpAddr),
    /// The first of a flow.
    First,
    /// A TCP segment in the middle of a flow that is not known (any more).
    Unknown,
    /// An ICMP error about a flow that is not known.
    Unrelated,
}

impl DirectFlows {
    /// Forgets all choices; says how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.flows.len();
        self.flows.clear();
        count
    }

    /// Finds out what `packet` is; a flow that is seen is remembered for `idle` more.
    pub(super) fn observe(&mut self, packet: &Packet, idle: Span, now: Time) -> Seen {
        if let Some(about) = quoted(packet) {
            // An error about an answer: it concerns the machine that answered.
            let placed = self.flows.get(&Tuple::of(&about).reversed()).filter(|placed| placed.until > now);
            return placed.map_or(Seen::Unrelated, |placed| Seen::Placed(placed.target));
        }
        let flags = flags(packet);
        if flags & (SYN | ACK) == SYN {
            return Seen::First;
        }
        let tuple = Tuple::of(packet);
        let Some(placed) = self.flows.get_mut(&tuple).filter(|placed| placed.until > now) else {
            let is_tcp = packet.protocol() == protocol::TCP;
            return if is_tcp { Seen::Unknown } else { Seen::First };
        };
        placed.until = now + idle;
        let target = placed.target;
        if flags & RST != 0 {
            self.flows.remove(&tuple);
        }
        Seen::Placed(target)
    }

    /// Remembers where a flow goes; `false` if `most` flows are remembered already.
    pub(super) fn place(
        &mut self,
        packet: &Packet,
        target: IpAddr,
        until: Time,
        now: Time,
        most: usize,
    ) -> bool {
        if self.flows.len() >= self.prune_at.max(PRUNE_AT_LEAST).min(most) {
            self.flows.retain(|_, placed| placed.until > now);
            self.prune_at = 2 * self.flows.len();
        }
        if self.flows.len() >= most {
            return false;
        }
        self.flows.insert(Tuple::of(packet), Placed { target, until });
        true
    }

    /// Forgets the flows to `target`; says how many.
    pub(super) fn cut_off(&mut self, target: IpAddr) -> usize {
        let before = self.flows.len();
        self.flows.retain(|_, placed| placed.target != target);
        before - self.flows.len()
    }
}

fn flags(packet: &Packet) -> u8 {
    let is_tcp = packet.protocol() == protocol::TCP;
    packet.payload().get(13).copied().filter(|_| is_tcp).unwrap_or(0)
}
