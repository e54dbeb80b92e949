//! The end of a container: preStop hook, SIGTERM, SIGKILL.
//!
//! Source: kubernetes.md 1.8 ("SIGKILL after `terminationGracePeriodSeconds`; hook time counts"); the kubelet gives a
//! process 2 s between the two signals however long the hook took (`minimumGracePeriodInSeconds` in
//! `kuberuntime_container.go`).

use hopwise_engine::{Span, Time};

/// The least time between SIGTERM and SIGKILL after a hook.
pub const LEAST_AFTER_HOOK: Span = Span::from_secs(2);

/// A container that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    deadline: Time,
    grace: Span,
}

/// What a container is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is killed at once.
    Kill,
    /// SIGTERM now, and SIGKILL at this instant if it still runs.
    Terminate {
        /// When it is killed.
        kill_at: Time,
    },
}

impl Termination {
    /// A container that is given `grace` from `now` on.
    pub fn new(now: Time, grace: Span) -> Termination {
        Termination { deadline: now + grace, grace }
    }

    /// Until when its preStop hook may run; none if there is no time for a hook.
    pub fn hook_until(&self) -> Option<Time> {
        (self.grace > Span::ZERO).then_some(self.deadline)
    }

    /// What comes when the hook is over, or when there is none.
    pub fn after_hook(&self, now: Time, had_hook: bool) -> End {
        if self.grace == Span::ZERO {
            return End::Kill;
        }
        let least = if had_hook { now + LEAST_AFTER_HOOK } else { now };
        End::Terminate { kill_at: self.deadline.max(least) }
    }

    /// A shorter grace was asked for at `now`.
    pub fn shorten(&mut self, now: Time, grace: Span) {
        let deadline = now + grace;
        if deadline < self.deadline {
            self.deadline = deadline;
            self.grace = grace;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    #[test]
    fn the_time_of_the_hook_counts() {
        let termination = Termination::new(at(100), Span::from_secs(30));
        assert_eq!(termination.hook_until(), Some(at(130)));
        assert_eq!(termination.after_hook(at(100), false), End::Terminate { kill_at: at(130) });
        assert_eq!(termination.after_hook(at(120), true), End::Terminate { kill_at: at(130) });
    }

    #[test]
    fn a_hook_that_takes_it_all_leaves_two_seconds() {
        let termination = Termination::new(at(100), Span::from_secs(30));
        assert_eq!(termination.after_hook(at(130), true), End::Terminate { kill_at: at(132) });
    }

    #[test]
    fn no_grace_is_no_hook_and_no_sigterm() {
        let mut termination = Termination::new(at(100), Span::from_secs(30));
        termination.shorten(at(110), Span::from_secs(60));
        assert_eq!(termination.hook_until(), Some(at(130)));
        termination.shorten(at(110), Span::ZERO);
        assert_eq!(termination.hook_until(), None);
        assert_eq!(termination.after_hook(at(110), true), End::Kill);
    }
}
