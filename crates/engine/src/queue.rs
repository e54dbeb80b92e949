//! The event queue: what is due next, in the order `(time, sequence)`.
//!
//! Two events of one instant come out in the order they went in, so the order never depends on an address or
//! on the heap's shape. Where delays are constant, many events share an instant: they form a *train*, a list in
//! the slab of events, and the heap orders trains. An event joins the train of its instant if that is among those
//! that grew last; otherwise it starts a new one, which comes after the older ones of the same instant.

use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::Time;

/// A queue of events of type `E`.
pub struct Queue<E> {
    trains: BinaryHeap<Train>,
    growing: [Growing; GROWING_COUNT],
    slots: Vec<Slot<E>>,
    /// The first free slot.
    free: u32,
    sequence: u64,
    length: usize,
}

/// How many trains an event may join.
const GROWING_COUNT: usize = 16;
/// No slot.
const NONE: u32 = u32::MAX;

/// Events of one instant, in order.
struct Train {
    at: Time,
    sequence: u64,
    first: u32,
}

/// A train that an event may join, and its last event.
#[derive(Clone, Copy)]
struct Growing {
    at: Time,
    last: u32,
}

struct Slot<E> {
    event: Option<E>,
    /// The next event of the train, or the next free slot.
    next: u32,
}

impl Train {
    fn order(&self) -> u128 {
        u128::from(self.at.as_nanos()) << 64 | u128::from(self.sequence)
    }
}

impl PartialEq for Train {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Train {}

impl PartialOrd for Train {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Train {
    /// The earliest is the greatest: the heap has the greatest on top.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.order().cmp(&self.order())
    }
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue {
            trains: BinaryHeap::new(),
            growing: [Growing { at: Time::ZERO, last: NONE }; GROWING_COUNT],
            slots: Vec::new(),
            free: NONE,
            sequence: 0,
            length: 0,
        }
    }
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `event`, due at `at`.
    pub fn push(&mut self, at: Time, event: E) {
        let slot = self.store(event);
        self.length += 1;
        let growing = &mut self.growing[place(at)];
        if growing.last != NONE && growing.at == at {
            self.slots[growing.last as usize].next = slot;
            growing.last = slot;
            return;
        }
        *growing = Growing { at, last: slot };
        self.sequence += 1;
        self.trains.push(Train { at, sequence: self.sequence, first: slot });
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Time> {
        self.trains.peek().map(|train| train.at)
    }

    /// Takes the next event if it is due before `limit`.
    pub fn pop_before(&mut self, limit: Time) -> Option<(Time, E)> {
        let mut train = self.trains.peek_mut()?;
        let (at, index) = (train.at, train.first);
        if at >= limit {
            return None;
        }
        let slot = &mut self.slots[index as usize];
        let event = slot.event.take().expect("a queued slot holds its event");
        let next = std::mem::replace(&mut slot.next, self.free);
        self.free = index;
        self.length -= 1;
        if next != NONE {
            train.first = next;
            return Some((at, event));
        }
        PeekMut::pop(train);
        let growing = &mut self.growing[place(at)];
        if growing.last == index {
            growing.last = NONE;
        }
        Some((at, event))
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn store(&mut self, event: E) -> u32 {
        let index = self.free;
        if index == NONE {
            self.slots.push(Slot { event: Some(event), next: NONE });
            let index = u32::try_from(self.slots.len() - 1).ok().filter(|index| *index != NONE);
            return index.expect("fewer than 2^32 events outstanding");
        }
        let slot = &mut self.slots[index as usize];
        self.free = std::mem::replace(&mut slot.next, NONE);
        slot.event = Some(event);
        index
    }
}

/// Which of the growing trains may be the one of `at` (the highest bits of a multiplicative hash).
fn place(at: Time) -> usize {
    (at.as_nanos().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - GROWING_COUNT.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::stream_of;

    #[test]
    fn events_come_out_by_time_and_then_in_the_order_they_went_in() {
        let (mut queue, mut waiting, mut stream) = (Queue::new(), Vec::new(), stream_of(1, "queue"));
        for number in 0..20_000 {
            if stream.random_bool(0.55) {
                let at = Time::from_nanos(stream.random_range(0..40));
                queue.push(at, number);
                waiting.push((at, number));
            } else {
                let limit = Time::from_nanos(stream.random_range(0..60));
                let first = waiting.iter().copied().filter(|(at, _)| *at < limit).min();
                waiting.retain(|event| Some(*event) != first);
                assert_eq!(queue.pop_before(limit), first);
            }
            assert_eq!(queue.len(), waiting.len());
            assert_eq!(queue.next_at(), waiting.iter().map(|(at, _)| *at).min());
        }
    }
}
