//! How long a container that has ended waits for its next start.
//!
//! kubernetes.md 1.8 gives the waits as 10 s, 20 s, 40 s up to 300 s; 9.1 puts a 0 before them. Both hold: the kubelet
//! enters a container into its back-off only when it has ended once (`doBackOff` in `kuberuntime_manager.go` asks
//! whether it *is* in back-off before it notes it), so the first restart is immediate and the second waits 10 s. The
//! wait counts from the container's end.

use hopwise_engine::{Span, Time};

/// First wait that is not zero (kubernetes.md 8).
pub const FIRST: Span = Span::from_secs(10);
/// Longest wait (kubernetes.md 8).
pub const LONGEST: Span = Span::from_secs(300);
/// After this long without a restart the waits start over (kubernetes.md 8).
pub const RESET: Span = Span::from_secs(600);

/// The back-off of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackOff {
    next: Span,
    restarted_at: Time,
}

impl BackOff {
    /// The container has ended at `now`: when it starts again.
    pub fn restart_at(&mut self, now: Time) -> Time {
        if now > self.restarted_at + RESET {
            self.next = Span::ZERO;
        }
        let at = now + self.next;
        self.next = match self.next {
            Span::ZERO => FIRST,
            next => Span::from_nanos(next.as_nanos().saturating_mul(2)).min(LONGEST),
        };
        self.restarted_at = at;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn waits_double_from_zero_to_five_minutes() {
        let (mut back_off, mut now) = (BackOff::default(), at(0));
        let waits: Vec<u64> = (0..8)
            .map(|_| {
                let next = back_off.restart_at(now);
                let wait = next - now;
                now = next;
                wait.as_nanos() / 1_000_000_000
            })
            .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_running_start_it_over() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.restart_at(at(1)), at(1));
        assert_eq!(back_off.restart_at(at(2)), at(12));
        assert_eq!(back_off.restart_at(at(612)), at(632));
        assert_eq!(back_off.restart_at(at(632 + 601)), at(632 + 601));
    }
}
