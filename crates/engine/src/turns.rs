//! Whether the simulation gets on: how many turns tasks have at one instant.
//!
//! Virtual time passes when every task waits. A task that wakes itself again and again, or two that wake each other, keep it
//! standing for ever, and nothing would tell; so turns are counted from one instant to the next, and a number that no
//! simulation of this size needs ends it.
//!
//! Wall time passes by itself, and tasks may have work for as long as programs of the machine give them some. There the
//! driver is woken after some turns, so that packets and the end of the simulation do not wait until all tasks do.

use std::cell::Cell;
use std::panic::resume_unwind;

use crate::driver::Parking;
use crate::{HostId, Stalled, context, host};

/// Turns at one instant that need no explanation, whatever the number of tasks.
const TURNS_FREE: u64 = 200_000;
/// As many again for each task: what starts at one instant does not take a hundred turns each.
const TURNS_PER_TASK: u64 = 200;
/// Turns after which the driver is to look at the world in wall time. Most turns take less than a microsecond, so that a
/// packet waits for about a millisecond at most; the look itself takes as long as a few turns.
const TURNS_UNWATCHED: u64 = 1_024;

thread_local! {
    static TURNS: Cell<u64> = const { Cell::new(0) };
    /// The most tasks that there were since the last instant.
    static TASKS: Cell<usize> = const { Cell::new(0) };
    static IN_WALL_TIME: Cell<bool> = const { Cell::new(false) };
}

/// A simulation begins, in virtual time.
pub(crate) fn begin() {
    IN_WALL_TIME.set(false);
    start_over();
}

/// From here on time passes by itself.
pub(crate) fn begin_wall_time() {
    IN_WALL_TIME.set(true);
    start_over();
}

/// Time has passed.
pub(crate) fn start_over() {
    TURNS.set(0);
    TASKS.set(0);
}

/// A task of `host` has a turn, one of so many `tasks`. In wall time the driver is woken now and then.
///
/// # Panics
/// With [`Stalled::Busy`], for [`Simulation::run`](crate::Simulation::run), if there were too many in virtual time.
pub(crate) fn count(host: HostId, tasks: usize) {
    let turns = TURNS.get() + 1;
    TURNS.set(turns);
    if IN_WALL_TIME.get() {
        if turns >= TURNS_UNWATCHED {
            start_over();
            Parking::wake_driver();
        }
        return;
    }
    let tasks = TASKS.get().max(tasks);
    TASKS.set(tasks);
    if turns > TURNS_FREE + TURNS_PER_TASK * tasks as u64 {
        start_over();
        resume_unwind(Box::new(Stalled::Busy { at: context::now(), turns, host: host::name(host) }));
    }
}
