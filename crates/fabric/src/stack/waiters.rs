//! Tasks that wait for a socket.

use std::task::{Context, Waker};

use smallvec::SmallVec;

/// The tasks that wait for one thing.
#[derive(Default)]
pub(crate) struct Waiters(SmallVec<[Waker; 1]>);

impl Waiters {
    /// Adds the task that polls, unless it waits already.
    pub(crate) fn add(&mut self, cx: &Context<'_>) {
        if !self.0.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.0.push(cx.waker().clone());
        }
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes all; returns whether there was any.
    pub(crate) fn wake(&mut self) -> bool {
        let any = !self.0.is_empty();
        for waker in self.0.drain(..) {
            waker.wake();
        }
        any
    }
}
