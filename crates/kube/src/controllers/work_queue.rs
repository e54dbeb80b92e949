//! The queue of a controller: which objects it has to look at, and when.
//!
//! An object that is queued twice is looked at once. An object whose pass has failed comes again after a back-off
//! that doubles; one that asks for a later look comes then.
//! Source: client-go's rate limiting work queue (5 ms doubling to 1,000 s per object).

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};

/// First wait after a failed pass; doubles with each further failure.
pub const BACK_OFF: Span = Span::from_millis(5);
/// Longest wait after failed passes.
pub const BACK_OFF_MAX: Span = Span::from_secs(1_000);

/// What a pass over one object came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be until something changes.
    Done,
    /// Something becomes due at that time without any change.
    LookAgain(Time),
    /// A request was refused: the pass has to be repeated.
    Failed,
}

/// Objects to look at, each once, in order of time and key.
#[derive(Clone, Debug)]
pub struct WorkQueue<K> {
    due: BTreeMap<K, Time>,
    order: BTreeSet<(Time, K)>,
    failures: BTreeMap<K, u32>,
}

impl<K> Default for WorkQueue<K> {
    fn default() -> Self {
        WorkQueue { due: BTreeMap::new(), order: BTreeSet::new(), failures: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// The object has to be looked at, at `at` at the latest.
    pub fn add(&mut self, key: K, at: Time) {
        if let Some(known) = self.due.get(&key).copied() {
            if known <= at {
                return;
            }
            self.order.remove(&(known, key.clone()));
        }
        self.due.insert(key.clone(), at);
        self.order.insert((at, key));
    }

    /// When the next object is due.
    pub fn next_due(&self) -> Option<Time> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the next object that is due.
    pub fn take_due(&mut self, now: Time) -> Option<K> {
        if self.next_due()? > now {
            return None;
        }
        let (_, key) = self.order.pop_first()?;
        self.due.remove(&key);
        Some(key)
    }

    /// Tells how the pass over an object ended.
    pub fn finish(&mut self, key: K, outcome: Outcome, now: Time) {
        match outcome {
            Outcome::Done => {
                self.failures.remove(&key);
            }
            Outcome::LookAgain(at) => {
                self.failures.remove(&key);
                self.add(key, at);
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                let factor = 1u64.checked_shl(*failures).unwrap_or(u64::MAX);
                let wait_ns = BACK_OFF.as_nanos().saturating_mul(factor).min(BACK_OFF_MAX.as_nanos());
                *failures = (*failures + 1).min(32);
                self.add(key, now + Span::from_nanos(wait_ns));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::ZERO + Span::from_millis(milliseconds)
    }

    #[test]
    fn an_object_is_looked_at_once_at_its_earliest_time() {
        let mut queue = WorkQueue::default();
        queue.add("b", at(5));
        queue.add("a", at(9));
        queue.add("a", at(5));
        queue.add("b", at(7));
        assert_eq!(queue.take_due(at(4)), None);
        assert_eq!(queue.next_due(), Some(at(5)));
        assert_eq!(
            [queue.take_due(at(5)), queue.take_due(at(5)), queue.take_due(at(99))],
            [Some("a"), Some("b"), None]
        );
    }

    #[test]
    fn failures_back_off_until_a_pass_is_done() {
        let mut queue = WorkQueue::default();
        let mut waits = Vec::new();
        for _ in 0..20 {
            queue.finish("a", Outcome::Failed, Time::ZERO);
            waits.push(queue.next_due().unwrap());
            queue.take_due(Time::from_nanos(u64::MAX));
        }
        assert_eq!(waits[..3], [at(5), at(10), at(20)]);
        assert_eq!(waits[19], Time::ZERO + BACK_OFF_MAX);
        queue.finish("a", Outcome::Done, Time::ZERO);
        queue.finish("a", Outcome::Failed, Time::ZERO);
        assert_eq!(queue.next_due(), Some(at(5)));
    }

    #[test]
    fn a_change_comes_before_a_back_off() {
        let mut queue = WorkQueue::default();
        queue.finish("a", Outcome::LookAgain(at(1_000)), Time::ZERO);
        queue.add("a", at(10));
        assert_eq!(queue.take_due(at(10)), Some("a"));
        assert_eq!(queue.next_due(), None);
    }
}
