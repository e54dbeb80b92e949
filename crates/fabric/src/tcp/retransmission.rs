//! When unacknowledged segments are repeated, as Linux does it.
//!
//! The machine behind [`TcpMachine`](super::TcpMachine) has a timer of its own, which waits at least 1 s (RFC 6298);
//! Linux waits for the round trip time and at least 200 ms more, and has schedules of its own for SYN and SYN-ACK. This
//! clock watches what is sent and acknowledged and says when to repeat.
//!
//! Sources: RFC 6298; Linux net/ipv4/tcp_input.c (`tcp_rtt_estimator`, floor `TCP_RTO_MIN` under the variance),
//! tcp_timer.c (`tcp_retransmit_timer`), ip-sysctl.rst (`tcp_syn_retries`, `tcp_syn_linear_timeouts`,
//! `tcp_synack_retries`); measured in linux.md 4, "Dropped SYN", (3a) and (3b). The first repetition is Linux's tail loss
//! probe (RFC 8985 section 7, for one segment in flight): the wait after it is not doubled yet. Left out: RACK, F-RTO,
//! and round trip times taken from timestamps: a segment that was repeated is not measured (Karn).

use hopwise_engine::{Span, Time};

use super::timer_wheel::goes_off;

/// Before anything was measured (`TCP_TIMEOUT_INIT`).
const INITIAL: Span = Span::from_secs(1);
/// Least time beyond the round trip (`TCP_RTO_MIN`).
const MARGIN_MIN: Span = Span::from_millis(200);
/// Longest time (Linux: 120 s; the machine's own timer goes off after 60 s).
const MAX: Span = Span::from_secs(60);

/// How often the first segment of a connection is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// How many repetitions come one second apart before the time between them begins to double.
    pub(crate) linear: u32,
    /// How many repetitions follow.
    pub(crate) doubling: u32,
}

impl Schedule {
    /// The time from the transmission number `sent`, counted from 1, to the next.
    fn delay(self, sent: u32) -> Span {
        let doublings = sent.saturating_sub(self.linear + 1).min(16);
        Span::from_nanos(INITIAL.as_nanos() << doublings)
    }

    /// How many transmissions there are.
    fn transmissions(self) -> u32 {
        1 + self.linear + self.doubling
    }
}

/// The retransmission clock of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Retransmission {
    schedule: Schedule,
    /// How often the first segment was sent, until it is acknowledged.
    handshake: Option<u32>,
    /// Smoothed round trip time and its variance.
    round_trip: Option<(Span, Span)>,
    /// How often the timer went off since something was acknowledged.
    expiries: u32,
    /// The segment whose round trip is measured: the sequence number after it, and when it was sent.
    sample: Option<(u32, Time)>,
    /// First sequence number that is not acknowledged, and the first that was not sent yet.
    in_flight: Option<(u32, u32)>,
    due: Option<Time>,
    /// When the timer was last set.
    set_at: Time,
}

impl Retransmission {
    pub(crate) fn new(schedule: Schedule) -> Self {
        Retransmission {
            schedule,
            handshake: Some(0),
            round_trip: None,
            expiries: 0,
            sample: None,
            in_flight: None,
            due: None,
            set_at: Time::ZERO,
        }
    }

    /// When the segments in flight are repeated, or the connection is given up ([`Retransmission::gives_up_at`]).
    pub(crate) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Whether the peer has not acknowledged the first segment yet, and it was sent.
    pub(crate) fn opens(&self) -> bool {
        self.handshake.is_some_and(|sent| sent > 0)
    }

    /// When a connection that is not open yet is given up; `None` while there are repetitions left.
    pub(crate) fn gives_up_at(&self) -> Option<Time> {
        self.handshake.filter(|sent| *sent >= self.schedule.transmissions()).and(self.due)
    }

    /// A segment was sent that occupies `length` sequence numbers from `sequence` on. Says whether it was a repetition.
    pub(crate) fn sent(&mut self, sequence: u32, length: u32, now: Time) -> bool {
        let end = sequence.wrapping_add(length);
        let Some((first, next)) = &mut self.in_flight else {
            self.in_flight = Some((sequence, end));
            self.sample = Some((end, now));
            self.handshake = self.handshake.map(|_| 1);
            self.start(now);
            return false;
        };
        if !is_after(end, *first) {
            // A keep-alive probe.
            return false;
        }
        let repeats = is_after(*next, sequence);
        if is_after(end, *next) {
            *next = end;
        }
        if repeats {
            self.sample = None;
        } else if self.sample.is_none() {
            self.sample = Some((end, now));
        }
        if self.due.is_none() {
            self.start(now);
        }
        repeats
    }

    /// The peer acknowledged everything before `acknowledgment`.
    pub(crate) fn acknowledged(&mut self, acknowledgment: u32, now: Time) {
        let Some((first, next)) = &mut self.in_flight else { return };
        if !is_after(acknowledgment, *first) || is_after(acknowledgment, *next) {
            return;
        }
        *first = acknowledgment;
        let all = *first == *next;
        self.handshake = None;
        self.expiries = 0;
        if let Some((_, sent_at)) = self.sample.filter(|(end, _)| !is_after(*end, acknowledgment)) {
            self.measured(now - sent_at);
            self.sample = None;
        }
        self.due = None;
        if !all {
            self.start(now);
        }
    }

    /// The timer went off at `now`: what is in flight has to be repeated; `false` if it is given up instead.
    pub(crate) fn expired(&mut self, now: Time) -> bool {
        if self.gives_up_at().is_some() {
            return false;
        }
        match &mut self.handshake {
            Some(sent) => *sent += 1,
            None => self.expiries = self.expiries.saturating_add(1),
        }
        self.sample = None;
        self.start(now);
        true
    }

    /// A router says that it cannot reach the peer. That is no congestion: one doubling is taken back (RFC 6069; Linux
    /// `tcp_ld_RTO_revert`).
    pub(crate) fn unreachable(&mut self, now: Time) {
        if self.handshake.is_none() && self.expiries > 1 {
            self.expiries -= 1;
            self.start(self.set_at);
            self.due = self.due.map(|due| due.max(now));
        }
    }

    fn start(&mut self, now: Time) {
        self.set_at = now;
        let delay = match (self.handshake, self.round_trip) {
            (Some(sent), _) => self.schedule.delay(sent),
            (None, None) => self.backed_off(INITIAL),
            (None, Some((mean, variance))) => {
                let margin = Span::from_nanos(variance.as_nanos().saturating_mul(4)).max(MARGIN_MIN);
                self.backed_off(mean + margin)
            }
        };
        self.due = Some(if delay == MAX { now + MAX } else { goes_off(now, delay) });
    }

    fn backed_off(&self, timeout: Span) -> Span {
        Span::from_nanos(timeout.as_nanos().saturating_mul(1 << self.expiries.saturating_sub(1).min(16)))
            .min(MAX)
    }

    fn measured(&mut self, time: Span) {
        let time_ns = time.as_nanos();
        self.round_trip = Some(match self.round_trip {
            None => (time, Span::from_nanos(time_ns / 2)),
            Some((mean, variance)) => {
                let (mean_ns, variance_ns) = (mean.as_nanos(), variance.as_nanos());
                let variance_ns = (3 * variance_ns + mean_ns.abs_diff(time_ns)) / 4;
                (Span::from_nanos((7 * mean_ns + time_ns) / 8), Span::from_nanos(variance_ns))
            }
        });
    }
}

/// Whether sequence number `a` comes after `b` (RFC 9293 section 3.4).
fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::ZERO + Span::from_millis(ms)
    }

    /// When the first segment is sent again, and when it is given up, in ms.
    fn handshake(schedule: Schedule) -> Vec<u64> {
        let mut clock = Retransmission::new(schedule);
        let mut now = Time::ZERO;
        clock.sent(7, 1, now);
        let mut times = Vec::new();
        loop {
            now = clock.due().expect("a timer runs");
            times.push(now.as_nanos() / 1_000_000);
            if !clock.expired(now) {
                return times;
            }
            assert!(clock.sent(7, 1, now));
        }
    }

    #[test]
    fn dropped_syn() {
        // linux.md 4, to within the phase of the kernel's ticks: 1.03, 2.05, 3.08, 4.10, 5.12, 7.14, 11.40, 19.59,
        // 35.72, 69.76 and 135.304 s.
        let modern = handshake(Schedule { linear: 4, doubling: 6 });
        let expected = [1_024, 2_048, 3_072, 4_096, 5_120, 7_136, 11_264, 19_456, 35_584, 69_632, 135_168];
        assert_eq!(modern, expected);
        // Kernels before 6.5: 1.01, 3.03, 7.25, 15.45, 31.57, 65.62 and 131.161 s.
        let doubling = handshake(Schedule { linear: 0, doubling: 6 });
        assert_eq!(doubling, [1_024, 3_040, 7_168, 15_360, 31_488, 65_536, 131_072]);
        // SYN-ACK: 1.03, 3.04, 7.20, 15.39, 31.52 s.
        assert_eq!(handshake(Schedule { linear: 0, doubling: 5 })[..5], doubling[..5]);
    }

    #[test]
    fn packets_dropped_silently() {
        // linux.md 4 (3a): 0.20, 0.42, 0.84, 1.67, 3.33, 6.76, 13.41, 26.72, 54.12 s.
        let mut clock = Retransmission::new(Schedule { linear: 4, doubling: 6 });
        clock.sent(7, 1, at(0));
        clock.acknowledged(8, at(0) + Span::from_micros(20));
        assert_eq!(clock.due(), None);
        clock.sent(8, 64, at(1_000));
        let mut times = Vec::new();
        for _ in 0..9 {
            let now = clock.due().expect("a timer runs");
            times.push(now.since(at(1_000)).as_nanos() / 1_000_000);
            assert!(clock.expired(now));
            assert!(clock.sent(8, 64, now));
        }
        let measured = [200, 420, 840, 1_670, 3_330, 6_760, 13_410, 26_720, 54_120];
        for (time, measured) in times.iter().zip(measured) {
            assert!(time.abs_diff(measured) <= measured / 20 + 20, "{times:?}");
        }
        // Something was acknowledged: the next wait is short again.
        let healed = at(100_000);
        clock.acknowledged(72, healed);
        clock.sent(72, 1, healed);
        assert!(clock.due().expect("a timer runs") < healed + Span::from_millis(220));
    }

    #[test]
    fn the_wait_follows_the_round_trip_time() {
        let mut clock = Retransmission::new(Schedule { linear: 4, doubling: 6 });
        let mut now = at(0);
        let mut sequence = 0_u32.wrapping_sub(20);
        for _ in 0..60 {
            clock.sent(sequence, 1, now);
            now += Span::from_millis(80);
            sequence = sequence.wrapping_add(1);
            clock.acknowledged(sequence, now);
        }
        clock.sent(sequence, 1, now);
        let waits_ms = (clock.due().expect("a timer runs") - now).as_nanos() / 1_000_000;
        assert!((280..320).contains(&waits_ms), "{waits_ms} ms");
    }
}
