//! Connection tracking: which flows pass this device, and what was done to their addresses.
//!
//! A flow enters the table when its first packet leaves the device; what is dropped
//! before leaves no trace, so a repeated SYN is decided anew (linux.md 3, remark on no-hairpin). Silent flows
//! are forgotten when anything next asks the table, through a heap of deadlines.
//!
//! Source: Linux's nf_conntrack (kernel documentation, nf_conntrack-sysctl) and kubernetes.md 6.6. Left out:
//! expectations (FTP and the like), zones, and the early drop of unanswered flows when the table is full.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hopwise_engine::Time;
use rustc_hash::FxHashMap;

use crate::nat::flow::{Direction, Flow, Timeouts};
use crate::nat::tcp_state::{Segment, TcpState, Transition};
use crate::nat::tuple::Tuple;
use crate::packet::{Packet, protocol};

/// Identifies a flow while it is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowId {
    slot: u32,
    generation: u32,
}

/// How a table is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConntrackConfig {
    /// How long silent flows are remembered.
    pub timeouts: Timeouts,
    /// How many flows there can be (sysctl `nf_conntrack_max`); the first packet of one more is dropped.
    pub flows_max: usize,
    /// Whether a TCP connection may be picked up in the middle (sysctl `nf_conntrack_tcp_loose`).
    pub tcp_loose: bool,
}

impl Default for ConntrackConfig {
    /// What kube-proxy makes of a Linux machine with four cores (`--conntrack-max-per-core` 32768).
    fn default() -> Self {
        ConntrackConfig { timeouts: Timeouts::default(), flows_max: 131_072, tcp_loose: true }
    }
}

/// What the table says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It belongs to a flow.
    Flow(FlowId, Direction),
    /// It may begin a flow.
    New(Tuple),
    /// It may not.
    Invalid,
}

/// A table of flows.
pub struct Conntrack {
    config: ConntrackConfig,
    slots: Vec<Slot>,
    free: Vec<u32>,
    index: FxHashMap<Tuple, (u32, Direction)>,
    deadlines: BinaryHeap<Reverse<Deadline>>,
    flow_count: usize,
    /// Entries that others than the flows of this table take up.
    occupied: usize,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    flow: Option<Flow>,
    /// The earliest deadline in the heap for this flow.
    deadline: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Deadline {
    at: Time,
    slot: u32,
    generation: u32,
}

impl Conntrack {
    /// An empty table.
    pub fn new(config: ConntrackConfig) -> Self {
        Conntrack {
            config,
            slots: Vec::new(),
            free: Vec::new(),
            index: FxHashMap::default(),
            deadlines: BinaryHeap::new(),
            flow_count: 0,
            occupied: 0,
        }
    }

    /// How it is run.
    pub fn config(&self) -> &ConntrackConfig {
        &self.config
    }

    /// Changes how it is run; timeouts apply from each flow's next packet on.
    pub fn set_config(&mut self, config: ConntrackConfig) {
        self.config = config;
    }

    /// How many flows there are, forgotten ones that nothing has asked for since included.
    pub fn len(&self) -> usize {
        self.flow_count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.flow_count == 0
    }

    /// Whether no other flow can be added.
    pub fn is_full(&self) -> bool {
        self.flow_count.saturating_add(self.occupied) >= self.config.flows_max
    }

    /// Lets flows of no concern here take up `count` entries: the flows that there are go on, and no other finds room
    /// when the table is full with them.
    pub fn occupy(&mut self, count: usize) {
        self.occupied = count;
    }

    /// The flows, in an order fixed by the table's history.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.slots.iter().filter_map(|slot| slot.flow.as_ref())
    }

    /// The flow, unless it was forgotten.
    pub fn flow(&self, id: FlowId) -> Option<&Flow> {
        let slot = self.slots.get(id.slot as usize)?;
        slot.flow.as_ref().filter(|_| slot.generation == id.generation)
    }

    /// Forgets the flows that `doomed` picks (`conntrack -D`); says how many.
    pub fn delete_where(&mut self, mut doomed: impl FnMut(&Flow) -> bool) -> usize {
        let before = self.flow_count;
        for slot in 0..self.slots.len() {
            if self.slots[slot].flow.as_ref().is_some_and(&mut doomed) {
                self.forget(slot as u32);
            }
        }
        self.drop_stale_deadlines();
        before - self.flow_count
    }

    /// Forgets all flows (`conntrack -F`).
    pub fn flush(&mut self) {
        self.delete_where(|_| true);
    }

    /// Forgets the flows whose time has come.
    pub fn expire(&mut self, now: Time) {
        while let Some(Reverse(due)) = self.deadlines.peek().copied().filter(|Reverse(due)| due.at <= now) {
            self.deadlines.pop();
            let slot = &mut self.slots[due.slot as usize];
            if slot.generation != due.generation || slot.deadline != due.at {
                continue;
            }
            match &slot.flow {
                Some(flow) if flow.expires > now => {
                    slot.deadline = flow.expires;
                    self.deadlines.push(Reverse(Deadline { at: flow.expires, ..due }));
                }
                _ => self.forget(due.slot),
            }
        }
    }

    /// The flow and direction that a packet with this tuple belongs to.
    pub fn find(&self, tuple: &Tuple) -> Option<(FlowId, Direction)> {
        let (slot, direction) = *self.index.get(tuple)?;
        Some((FlowId { slot, generation: self.slots[slot as usize].generation }, direction))
    }

    /// Takes note of a packet as it comes in.
    pub(crate) fn observe(&mut self, packet: &Packet, now: Time) -> Seen {
        self.expire(now);
        let tuple = Tuple::of(packet);
        let Some((id, direction)) = self.find(&tuple) else { return self.first_seen(tuple, packet) };
        let slot = &mut self.slots[id.slot as usize];
        let Some(flow) = &mut slot.flow else { return Seen::Invalid };
        match flow.observe(direction, packet, now, &self.config.timeouts) {
            Transition::Invalid => return Seen::Invalid,
            Transition::Reopens => {
                self.forget(id.slot);
                return self.first_seen(tuple, packet);
            }
            Transition::To(_) | Transition::Ignored => {}
        }
        let expires = flow.expires;
        if expires < slot.deadline {
            slot.deadline = expires;
            self.deadlines.push(Reverse(Deadline { at: expires, slot: id.slot, generation: id.generation }));
            self.drop_stale_deadlines();
        }
        Seen::Flow(id, direction)
    }

    /// Adds the flow that `packet` began, now that it leaves; `original` and `reply` as in [`Flow`].
    ///
    /// `None` if one of the two tuples belongs to another flow by now.
    pub(crate) fn confirm(
        &mut self,
        original: Tuple,
        reply: Tuple,
        label: Option<Arc<str>>,
        packet: &Packet,
        now: Time,
    ) -> Option<FlowId> {
        if self.index.contains_key(&original) || self.index.contains_key(&reply) {
            return None;
        }
        let tcp = match original.protocol {
            protocol::TCP => Some(TcpState::first(Segment::of(packet), self.config.tcp_loose)?),
            _ => None,
        };
        let came_from = packet.previous_hop;
        let mut flow =
            Flow { original, reply, tcp, replied: false, began: now, expires: now, label, came_from };
        flow.expires = now + flow.timeout(now, &self.config.timeouts);
        Some(self.add(flow))
    }

    /// Whether no flow uses `tuple`.
    pub(crate) fn is_free(&self, tuple: &Tuple) -> bool {
        !self.index.contains_key(tuple)
    }

    fn first_seen(&self, tuple: Tuple, packet: &Packet) -> Seen {
        let can_begin = match tuple.protocol {
            protocol::TCP => TcpState::first(Segment::of(packet), self.config.tcp_loose).is_some(),
            _ => true,
        };
        if can_begin { Seen::New(tuple) } else { Seen::Invalid }
    }

    fn add(&mut self, flow: Flow) -> FlowId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 flows")
        });
        self.index.insert(flow.original, (slot, Direction::Original));
        // A flow from an address to itself has one tuple for both directions.
        self.index.entry(flow.reply).or_insert((slot, Direction::Reply));
        self.flow_count += 1;
        let place = &mut self.slots[slot as usize];
        place.deadline = flow.expires;
        let generation = place.generation;
        self.deadlines.push(Reverse(Deadline { at: flow.expires, slot, generation }));
        place.flow = Some(flow);
        FlowId { slot, generation }
    }

    fn forget(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        let Some(flow) = place.flow.take() else { return };
        place.generation = place.generation.wrapping_add(1);
        self.index.remove(&flow.original);
        self.index.remove(&flow.reply);
        self.free.push(slot);
        self.flow_count -= 1;
    }

    /// A flow whose time was shortened leaves its old deadline in the heap; rebuilding it now and then keeps
    /// the heap in proportion to the flows.
    fn drop_stale_deadlines(&mut self) {
        if self.deadlines.len() < 64 + 2 * self.flow_count {
            return;
        }
        let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.flow.is_some());
        self.deadlines = live
            .map(|(index, slot)| {
                Reverse(Deadline { at: slot.deadline, slot: index as u32, generation: slot.generation })
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;
    use proptest::prelude::*;

    use super::*;
    use crate::packet_builder::{ACK, FIN_ACK, SYN, SYN_ACK, at, tcp};

    fn step(table: &mut Conntrack, packet: &Packet, now: Time) -> Seen {
        let seen = table.observe(packet, now);
        if let Seen::New(original) = seen {
            assert!(table.confirm(original, original.reversed(), None, packet, now).is_some());
        }
        seen
    }

    #[test]
    fn long_connections_that_end_leave_nothing_behind() {
        let mut table = Conntrack::new(ConntrackConfig::default());
        let mut now = Time::ZERO;
        for connection in 0..2_000_u16 {
            let (a, b) = (at("192.0.2.1:1"), at("192.0.2.2:80"));
            let a = std::net::SocketAddr::new(a.ip(), 1_024 + connection);
            for (from, to, flags) in [(a, b, SYN), (b, a, SYN_ACK), (a, b, ACK)] {
                step(&mut table, &tcp(from, to, flags), now);
            }
            // Long enough for its deadline to be moved a day ahead.
            now += Span::from_secs(200);
            for (from, to, flags) in [(a, b, FIN_ACK), (b, a, FIN_ACK), (a, b, ACK)] {
                step(&mut table, &tcp(from, to, flags), now);
            }
        }
        assert_eq!(table.len(), 1);
        assert!(table.deadlines.len() < 100, "{} deadlines", table.deadlines.len());
        assert_eq!((table.index.len(), table.slots.len()), (2, 2));
        table.expire(now + Span::from_secs(200));
        assert!(table.is_empty() && table.index.is_empty());
    }

    proptest! {
        /// Whatever packets come, the index holds the live flows both ways and nothing else.
        #[test]
        fn the_index_and_the_flows_agree(
            packets in prop::collection::vec((0_u16..4, 0_u16..4, 0_u8..32, 0_u64..100_000), 1..200)
        ) {
            let mut table = Conntrack::new(ConntrackConfig { flows_max: 8, ..ConntrackConfig::default() });
            let mut now = Time::ZERO;
            for (from, to, flags, wait_ms) in packets {
                now += Span::from_millis(wait_ms);
                let end = |number| std::net::SocketAddr::new([192, 0, 2, number as u8].into(), 80);
                let packet = tcp(end(from), end(to), flags);
                if !table.is_full() {
                    step(&mut table, &packet, now);
                }
                prop_assert_eq!(table.flows().count(), table.len());
                for flow in table.flows() {
                    prop_assert!(flow.expires > now || table.is_full());
                    let found = table.find(&flow.original).map(|(_, direction)| direction);
                    prop_assert_eq!(found, Some(Direction::Original));
                    prop_assert!(table.find(&flow.reply).is_some());
                }
                prop_assert!(table.index.len() <= 2 * table.len());
            }
        }
    }
}
