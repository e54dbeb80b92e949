//! The timers of a machine, in the order of their moments.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::Now;

/// What is to be looked at, and when. A timer that is not meant any more is not taken out: whoever it was for is
/// asked when it fires.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeSet<(Instant, T)>,
    /// When everything is looked through for what has expired; `None` until the machine works.
    expiry: Option<Instant>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Timers { queue: BTreeSet::new(), expiry: None }
    }
}

impl<T: Ord> Timers<T> {
    pub fn set(&mut self, at: Instant, timer: T) {
        self.queue.insert((at, timer));
    }

    /// When everything is to be looked through next.
    pub fn set_expiry(&mut self, at: Instant) {
        self.expiry = Some(at);
    }

    /// The first moment.
    pub fn deadline(&self) -> Option<Instant> {
        self.queue.first().map(|(at, _)| *at).into_iter().chain(self.expiry).min()
    }

    /// The next timer that is due, with its moment.
    pub fn pop_due(&mut self, now: Now) -> Option<(Instant, T)> {
        if self.queue.first()?.0 > now.instant { None } else { self.queue.pop_first() }
    }

    /// Whether it is time to look through everything.
    pub fn expiry_is_due(&self, now: Now) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= now.instant)
    }

    /// Timers that are set.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}
