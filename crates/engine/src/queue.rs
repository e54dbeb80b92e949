//! The event queue: what is due next, in the order `(time, sequence)`.
//!
//! Two events of one instant come out in the order they went in, so the order never depends on an address or
//! on the heap's shape. Events live in a slab beside the heap: the heap moves 24-byte keys only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;

/// A queue of events of type `E`.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Time,
    sequence: u64,
    slot: u32,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `event`, due at `at`.
    pub fn push(&mut self, at: Time, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                u32::try_from(self.slots.len() - 1).expect("more than 2^32 events outstanding")
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse(Key { at, sequence: self.sequence, slot }));
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(key)| key.at)
    }

    /// Takes the next event if it is due before `limit`.
    pub fn pop_before(&mut self, limit: Time) -> Option<(Time, E)> {
        if self.next_at()? >= limit {
            return None;
        }
        let Reverse(key) = self.heap.pop()?;
        let event = self.slots[key.slot as usize].take().expect("a queued slot holds its event");
        self.free.push(key.slot);
        Some((key.at, event))
    }

    /// How many events wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}
