//! One simulation: a seed, a pace, a world, and the main future.
//!
//! A simulation owns its thread while it runs: one tokio current-thread runtime, one clock. Sweeps run one
//! simulation per core; nothing is shared between them.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::{LocalOptions, LocalRuntime, RngSeed, UnhandledPanic};

use crate::driver::{Parking, World, drive_virtual, drive_wall};
use crate::log::Keep;
use crate::{Span, Time, context, host};

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pace {
    /// From event to event, as fast as the machine can.
    #[default]
    Virtual,
    /// With the machine's clock and its dates; real sockets and devices may take part.
    Wall,
    /// As [`Pace::Virtual`] until [`keep_wall_time`](crate::keep_wall_time) is called, and from then on as [`Pace::Wall`]:
    /// what takes minutes to start is there at once.
    VirtualThenWall,
}

/// Describes a simulation and runs it.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    seed: u64,
    pace: Pace,
    keep: Keep,
    limit: Time,
}

/// The main future did not end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// Nothing is left to happen, or the time limit was reached.
    #[error(
        "the simulation did not end within {limit} (stopped at {at}): a task waits for something that never happens"
    )]
    Waiting {
        /// When it was given up.
        at: Time,
        /// The time limit.
        limit: Time,
    },
    /// Virtual time does not pass, because the tasks never all wait.
    #[error(
        "time stands still at {at}: tasks had {turns} turns at this one instant, the last of them one of {host}; a task wakes \
         itself again and again, or several wake each other, without waiting for a timer or the network"
    )]
    Busy {
        /// The instant.
        at: Time,
        /// How often a task was polled at it.
        turns: u64,
        /// Whose task was to be polled next.
        host: Arc<str>,
    },
}

impl Default for Simulation {
    fn default() -> Self {
        let limit = Time::ZERO + Span::from_secs(10 * 365 * 86_400);
        Simulation { seed: 0, pace: Pace::Virtual, keep: Keep::Notable, limit }
    }
}

/// Whether the main future has ended.
pub(crate) struct Main {
    done: Rc<Cell<bool>>,
}

impl Main {
    pub(crate) fn is_done(&self) -> bool {
        self.done.get()
    }
}

impl Simulation {
    /// A simulation in virtual time with `seed`.
    pub fn new(seed: u64) -> Self {
        Simulation { seed, ..Self::default() }
    }

    /// Sets how time passes.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Sets which records of the event log stay in memory.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Gives up after `span` of simulated time (default ten years).
    pub fn limit(mut self, span: Span) -> Self {
        self.limit = Time::ZERO + span;
        self
    }

    /// Runs `main` in `world` to its end.
    ///
    /// `main` is called inside the simulation, so it can create hosts and open sockets; its future belongs to
    /// [`host::HostId::ROOT`].
    ///
    /// # Errors
    /// [`Stalled`] if `main` can never end, or not within the limit, or virtual time does not pass any more.
    ///
    /// # Panics
    /// If a simulation already runs on this thread. If `main` or any other task panics, the simulation ends at once with
    /// that panic (of a task that was not spawned by [`host::spawn`] the message is printed and tokio's takes its place).
    pub fn run<W, M, F>(&self, mut world: W, main: M) -> Result<F::Output, Stalled>
    where
        W: World,
        M: FnOnce() -> F + 'static,
        F: Future + 'static,
        F::Output: 'static,
    {
        let (clock, _guard) = context::begin(self.seed, self.keep, self.pace);
        let runtime = self.runtime();
        let done = Rc::new(Cell::new(false));
        let state = Main { done: done.clone() };
        let result = host::or_panic_of_a_task(|| {
            runtime.block_on(async {
                let task = host::spawn(async move {
                    let _finished = SetOnDrop(done);
                    main().await
                });
                let start = Parking::start();
                if self.pace != Pace::Wall {
                    drive_virtual(&mut world, &clock, &state, self.limit, start).await?;
                    if self.pace == Pace::VirtualThenWall {
                        tokio::time::resume();
                    }
                }
                if self.pace != Pace::Virtual {
                    drive_wall(&mut world, &clock, &state, self.limit, start).await?;
                }
                Ok(task.await.expect("a panic of the main future ends the runtime"))
            })
        });
        Parking::stop();
        // Tasks that are left are dropped with the runtime, while the world and the clock still stand.
        drop(runtime);
        result.unwrap_or_else(|panic| match panic.downcast::<Stalled>() {
            Ok(stalled) => Err(*stalled),
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    fn runtime(&self) -> LocalRuntime {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        match self.pace {
            Pace::Virtual => builder.enable_time().start_paused(true),
            Pace::Wall => builder.enable_all(),
            Pace::VirtualThenWall => builder.enable_all().start_paused(true),
        };
        // A run in which a task has failed unnoticed would show wrong results.
        builder.unhandled_panic(UnhandledPanic::ShutdownRuntime);
        builder.rng_seed(RngSeed::from_bytes(&self.seed.to_le_bytes()));
        host::install_hooks(&mut builder);
        Parking::install_hook(&mut builder);
        builder.build_local(LocalOptions::default()).expect("the machine can start a runtime")
    }
}

struct SetOnDrop(Rc<Cell<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}
