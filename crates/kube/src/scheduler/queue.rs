//! Which pods wait for a node, and when each is tried next.
//!
//! A pod that fits nowhere waits for an event that may help it; it is tried again then, but not before its back-off is
//! over, and after [`FORCED_RETRY`] whatever happens.
//! Source: kubernetes.md 2 (relevant events) and 8 (back-off 1 to 10 s, forced retry after 5 min).

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::Pod;

use super::{Cause, natural_key};
use crate::store::{Key, time_of};

/// The wait after the first failed attempt; doubles with each attempt (kubernetes.md 8).
pub const BACK_OFF: Span = Span::from_secs(1);
/// The longest wait (kubernetes.md 8).
pub const BACK_OFF_MAX: Span = Span::from_secs(10);
/// After so long a pod is tried again even if nothing has happened (kubernetes.md 8).
pub const FORCED_RETRY: Span = Span::from_secs(300);

/// The pods without a node.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: BTreeMap<Key, Waiting>,
    /// Pods to try now: oldest first, ordinals count as numbers.
    active: BTreeSet<(Order, Key)>,
    /// When the other ones are tried.
    timers: BTreeSet<(Time, Key)>,
    /// The ones that wait for an event.
    parked: BTreeSet<Key>,
}

type Order = (Time, Vec<(bool, u128, String)>);

#[derive(Debug)]
struct Waiting {
    order: Order,
    attempts: u32,
    /// Not before.
    backed_off_until: Time,
    /// What may help it.
    helped_by: BTreeSet<Cause>,
    timer: Option<Time>,
}

impl Queue {
    /// Adds a pod, or takes up a pod that has changed again at once.
    pub fn add(&mut self, key: Key, pod: &Pod) {
        let created = pod.metadata.creation_timestamp.as_ref().map_or(Time::ZERO, time_of);
        let order = (created, natural_key(&key.name));
        let waiting = self.waiting.entry(key.clone()).or_insert_with(|| Waiting {
            order,
            attempts: 0,
            backed_off_until: Time::ZERO,
            helped_by: BTreeSet::new(),
            timer: None,
        });
        if let Some(timer) = waiting.timer.take() {
            self.timers.remove(&(timer, key.clone()));
        }
        self.parked.remove(&key);
        self.active.insert((waiting.order.clone(), key));
    }

    /// Forgets a pod: it is bound, or gone.
    pub fn remove(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.active.remove(&(waiting.order, key.clone()));
            self.parked.remove(key);
            if let Some(timer) = waiting.timer {
                self.timers.remove(&(timer, key.clone()));
            }
        }
    }

    /// Something happened that helps pods that wait for one of `causes`. Those whose back-off is over are tried now,
    /// the others when it is.
    pub fn wake(&mut self, causes: &BTreeSet<Cause>, now: Time) {
        let helped: Vec<Key> = self
            .parked
            .iter()
            .filter(|key| self.waiting.get(key).is_some_and(|it| !it.helped_by.is_disjoint(causes)))
            .cloned()
            .collect();
        for key in helped {
            self.parked.remove(&key);
            self.retry(key, now);
        }
    }

    /// Makes the pods active whose time has come.
    pub fn advance(&mut self, now: Time) {
        while let Some((at, key)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, key.clone()));
            self.parked.remove(&key);
            if let Some(waiting) = self.waiting.get_mut(&key) {
                waiting.timer = None;
                self.active.insert((waiting.order.clone(), key));
            }
        }
    }

    /// The next pod to try.
    pub fn pop(&mut self) -> Option<Key> {
        self.active.pop_first().map(|(_, key)| key)
    }

    /// The pod fits nowhere; `helped_by` says what may change that.
    pub fn park(&mut self, key: Key, helped_by: BTreeSet<Cause>, now: Time) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        waiting.attempts += 1;
        waiting.backed_off_until = now + back_off(waiting.attempts);
        waiting.helped_by = helped_by;
        let at = now + FORCED_RETRY;
        waiting.timer = Some(at);
        self.timers.insert((at, key.clone()));
        self.parked.insert(key);
    }

    /// When [`Queue::advance`] has something to do next.
    pub fn next_at(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn retry(&mut self, key: Key, now: Time) {
        let Some(waiting) = self.waiting.get_mut(&key) else { return };
        if let Some(timer) = waiting.timer.take() {
            self.timers.remove(&(timer, key.clone()));
        }
        if waiting.backed_off_until <= now {
            self.active.insert((waiting.order.clone(), key));
        } else {
            waiting.timer = Some(waiting.backed_off_until);
            self.timers.insert((waiting.backed_off_until, key));
        }
    }
}

fn back_off(attempts: u32) -> Span {
    let doublings = attempts.saturating_sub(1).min(10);
    Span::from_nanos(BACK_OFF.as_nanos() << doublings).min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Pod, "ns", name)
    }

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn attempt(queue: &mut Queue, now: Time) -> bool {
        queue.advance(now);
        match queue.pop() {
            Some(found) => {
                queue.park(found, [Cause::NodeChanged].into(), now);
                true
            }
            None => false,
        }
    }

    #[test]
    fn the_oldest_pod_comes_first_and_ordinals_are_numbers() {
        let mut queue = Queue::default();
        for name in ["db-10", "db-2", "db-1"] {
            queue.add(key(name), &Pod::default());
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|key| key.name).collect();
        assert_eq!(order, ["db-1", "db-2", "db-10"]);
    }

    #[test]
    fn only_what_helps_brings_a_pod_back_and_not_before_its_back_off() {
        let mut queue = Queue::default();
        queue.add(key("a"), &Pod::default());
        assert!(attempt(&mut queue, at(0)));
        queue.wake(&[Cause::PodGone].into(), at(5));
        assert!(!attempt(&mut queue, at(5)));
        // The back-off of the first attempt was 1 s, of the second one 2 s.
        queue.wake(&[Cause::NodeChanged].into(), at(5));
        assert!(attempt(&mut queue, at(5)));
        queue.wake(&[Cause::NodeChanged].into(), at(6));
        assert!(!attempt(&mut queue, at(6)));
        assert_eq!(queue.next_at(), Some(at(7)));
        assert!(attempt(&mut queue, at(7)));
    }

    #[test]
    fn back_off_ends_at_ten_seconds_and_five_minutes_force_a_retry() {
        let waits: Vec<u64> = (1..7).map(|attempts| back_off(attempts).as_nanos() / 1_000_000_000).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        let mut queue = Queue::default();
        queue.add(key("a"), &Pod::default());
        assert!(attempt(&mut queue, at(0)));
        assert!(!attempt(&mut queue, at(299)));
        assert!(attempt(&mut queue, at(300)));
    }

    #[test]
    fn a_pod_that_is_gone_is_not_tried() {
        let mut queue = Queue::default();
        queue.add(key("a"), &Pod::default());
        queue.remove(&key("a"));
        assert_eq!(queue.pop(), None);
        queue.add(key("a"), &Pod::default());
        attempt(&mut queue, at(0));
        queue.remove(&key("a"));
        assert_eq!(queue.next_at(), None);
    }
}
