//! What makes time pass: two drivers over the same [`World`].
//!
//! Both run as the runtime's root future. tokio's `on_thread_park` hook fires when every task waits; it wakes the
//! driver, which then moves the world on.

mod alarm;
mod idle;
mod virtual_time;
mod wall_time;

pub(crate) use idle::{Parking, time_since};
pub(crate) use virtual_time::drive as drive_virtual;
pub(crate) use wall_time::drive as drive_wall;

use crate::{Clock, Time};

/// What moves in virtual time beside tasks: packets, above all.
pub trait World {
    /// Every task waits: carry out what they have asked for since the last call (send what was written).
    fn settle(&mut self);

    /// When the next event is due.
    fn next_at(&self) -> Option<Time>;

    /// Handles the events due before `limit` in order, setting `clock` to the time of each. Stops early, after
    /// the events of that instant, when one of them may have woken a task. Returns whether one may have.
    fn run_until(&mut self, limit: Time, clock: &Clock) -> bool;
}

/// A world in which nothing moves: tasks and timers only.
impl World for () {
    fn settle(&mut self) {}
    fn next_at(&self) -> Option<Time> {
        None
    }
    fn run_until(&mut self, _limit: Time, _clock: &Clock) -> bool {
        false
    }
}
