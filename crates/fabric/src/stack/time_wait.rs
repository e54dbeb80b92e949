//! Connections in TIME-WAIT: what is left of them for a minute, so that late segments find the right answer.
//!
//! Sources: RFC 9293 section 3.10.7.8; RFC 6191 and Linux `tcp_timewait_state_process` (a new SYN reopens, a RST
//! ends it); the minute is Linux's TCP_TIMEWAIT_LEN.

use std::collections::VecDeque;

use hopwise_engine::{Span, Time};
use rustc_hash::FxHashMap;

use super::flow::Flow;
use crate::packet::Packet;
use crate::tcp::{Segment, answer_with_acknowledgment};

const TIME_WAIT: Span = Span::from_secs(60);

/// The connections in TIME-WAIT.
#[derive(Default)]
pub(crate) struct TimeWaits {
    flows: FxHashMap<Flow, Waiting>,
    /// When each ends, the earliest first. An entry whose end has moved is stale.
    ends: VecDeque<(Time, Flow)>,
}

#[derive(Clone, Copy)]
struct Waiting {
    until: Time,
    next_to_send: u32,
    next_expected: u32,
}

/// What to do with a segment of a connection in TIME-WAIT.
pub(crate) enum Late {
    /// Send this.
    Answer(Vec<u8>),
    /// Nothing.
    Ignore,
    /// It opens a new connection.
    Reopen,
}

impl TimeWaits {
    /// A connection has reached TIME-WAIT.
    pub(crate) fn insert(&mut self, flow: Flow, next_to_send: u32, next_expected: u32, now: Time) {
        self.forget_old(now);
        let until = now + TIME_WAIT;
        self.flows.insert(flow, Waiting { until, next_to_send, next_expected });
        self.ends.push_back((until, flow));
    }

    /// Whether the flow is in TIME-WAIT.
    pub(crate) fn contains(&self, flow: &Flow, now: Time) -> bool {
        self.flows.get(flow).is_some_and(|waiting| waiting.until > now)
    }

    /// What to do with a segment; `None` if its connection is not in TIME-WAIT.
    pub(crate) fn segment(
        &mut self,
        flow: &Flow,
        packet: &Packet,
        segment: &Segment,
        now: Time,
    ) -> Option<Late> {
        if self.flows.is_empty() || !self.contains(flow, now) {
            return None;
        }
        let waiting = self.flows.get_mut(flow)?;
        if segment.flags.rst() {
            self.flows.remove(flow);
            return Some(Late::Ignore);
        }
        if segment.flags.opens() && segment.sequence.wrapping_sub(waiting.next_expected) as i32 > 0 {
            self.flows.remove(flow);
            return Some(Late::Reopen);
        }
        if segment.length == 0 {
            return Some(Late::Ignore);
        }
        if segment.flags.fin() {
            waiting.until = now + TIME_WAIT;
            self.ends.push_back((waiting.until, *flow));
        }
        let (sequence, acknowledgment) = (waiting.next_to_send, waiting.next_expected);
        Some(Late::Answer(answer_with_acknowledgment(packet, segment, sequence, acknowledgment)))
    }

    fn forget_old(&mut self, now: Time) {
        while let Some((at, flow)) = self.ends.front().copied() {
            if at > now {
                break;
            }
            self.ends.pop_front();
            if self.flows.get(&flow).is_some_and(|waiting| waiting.until <= now) {
                self.flows.remove(&flow);
            }
        }
    }
}
