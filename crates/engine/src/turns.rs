//! Whether the simulation gets on: how many turns tasks have at one instant.
//!
//! Virtual time passes when every task waits. A task that wakes itself again and again, or two that wake each other, keep it
//! standing for ever, and nothing would tell; so turns are counted from one instant to the next, and a number that no
//! simulation of this size needs ends it.

use std::cell::Cell;
use std::panic::resume_unwind;

use crate::{HostId, Stalled, context, host};

/// Turns at one instant that need no explanation, whatever the number of tasks.
const TURNS_FREE: u64 = 200_000;
/// As many again for each task: what starts at one instant does not take a hundred turns each.
const TURNS_PER_TASK: u64 = 200;

thread_local! {
    static TURNS: Cell<u64> = const { Cell::new(0) };
    /// The most tasks that there were since the last instant.
    static TASKS: Cell<usize> = const { Cell::new(0) };
}

/// Time has passed.
pub(crate) fn start_over() {
    TURNS.set(0);
    TASKS.set(0);
}

/// A task of `host` has a turn, one of so many `tasks`.
///
/// # Panics
/// With [`Stalled::Busy`], for [`Simulation::run`](crate::Simulation::run), if there were too many.
pub(crate) fn count(host: HostId, tasks: usize) {
    let turns = TURNS.get() + 1;
    TURNS.set(turns);
    let tasks = TASKS.get().max(tasks);
    TASKS.set(tasks);
    if turns > TURNS_FREE + TURNS_PER_TASK * tasks as u64 {
        start_over();
        resume_unwind(Box::new(Stalled::Busy { at: context::now(), turns, host: host::name(host) }));
    }
}
