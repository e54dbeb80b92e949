//! The simulation that runs on this thread: its clock, seed and log, for whoever asks.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::watch;

use crate::log::{EventId, EventLog, Keep, Kind, Notable};
use crate::random::{self, Stream};
use crate::simulation::Pace;
use crate::{Time, clock, host, turns};

thread_local! {
    static NOW: Cell<Time> = const { Cell::new(Time::ZERO) };
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

struct Current {
    seed: u64,
    log: EventLog,
    /// How many notable events there are.
    notable: watch::Sender<usize>,
    /// Whether virtual time may end, and wall time go on from there.
    may_change_pace: bool,
    keeps_wall_time: bool,
}

/// The right to set the simulation's clock; the driver lends it to the [`World`](crate::World).
pub struct Clock {
    _private: (),
}

impl Clock {
    /// Moves the clock to `at`, the time of the event that is being handled. The clock never goes back: in
    /// wall time an event may be handled a little late.
    pub fn set(&self, at: Time) {
        catch_up(at);
    }
}

/// Brings the clock to `at` if it is behind: tokio's clock has moved while the thread was parked.
pub(crate) fn catch_up(at: Time) {
    if at > NOW.get() {
        NOW.set(at);
        turns::start_over();
    }
}

/// Whether a simulation runs on this thread.
pub fn is_running() -> bool {
    // Whoever logs asks, even from inside of a call to the simulation that is running then.
    CURRENT.with(|current| current.try_borrow().map_or(true, |current| current.is_some()))
}

/// Virtual time; [`Time::ZERO`] outside a simulation.
pub fn now() -> Time {
    NOW.get()
}

/// The running simulation's seed.
///
/// # Panics
/// Outside a simulation.
pub fn seed() -> u64 {
    with(|current| current.seed)
}

/// The random stream called `name` of the running simulation.
///
/// # Panics
/// Outside a simulation.
pub fn stream(name: &str) -> Stream {
    random::stream_of(seed(), name)
}

/// Adds a record of a mass event to the log.
pub fn record(parent: EventId, kind: &'static Kind, a: u64, b: u64) -> EventId {
    with(|current| current.log.record(NOW.get(), host::current(), parent, kind, a, b))
}

/// Adds a notable event to the log. Outside a simulation it does nothing.
pub fn notable(kind: &'static str, object: impl Into<String>, detail: impl Into<String>) {
    CURRENT.with_borrow_mut(|current| {
        if let Some(current) = current {
            let (object, detail) = (object.into(), detail.into());
            tracing::debug!(target: "hopwise", kind, object, detail);
            current.log.notable(NOW.get(), EventId::NONE, kind, object, detail);
            current.notable.send_replace(current.log.notable_events().len());
        }
    });
}

/// The notable events so far.
pub fn notable_events() -> Vec<Notable> {
    with(|current| current.log.notable_events().to_vec())
}

/// Wakes at every notable event; the value is how many there are.
///
/// # Panics
/// Outside a simulation.
pub fn watch_notable() -> watch::Receiver<usize> {
    with(|current| current.notable.subscribe())
}

/// The log's fingerprint so far, in hexadecimal.
pub fn trace_hash() -> String {
    with(|current| format!("{:032x}", current.log.hash()))
}

/// Reads the log.
pub fn with_log<R>(f: impl FnOnce(&EventLog) -> R) -> R {
    with(|current| f(&current.log))
}

/// Ends virtual time: from here on time passes with the machine's clock, and dates are its dates. Returns once it does. The simulation must have
/// been made with [`Pace::VirtualThenWall`](crate::Pace::VirtualThenWall).
///
/// # Panics
/// Outside such a simulation.
pub async fn keep_wall_time() {
    with(|current| {
        assert!(current.may_change_pace, "this simulation's pace is fixed");
        current.keeps_wall_time = true;
    });
    clock::follow_machine(NOW.get());
    // The driver sees it when every task waits.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn keeps_wall_time() -> bool {
    with(|current| current.keeps_wall_time)
}

fn with<R>(f: impl FnOnce(&mut Current) -> R) -> R {
    CURRENT.with_borrow_mut(|current| f(current.as_mut().expect("no simulation runs on this thread")))
}

/// Starts a simulation on this thread; the guard ends it.
pub(crate) fn begin(seed: u64, keep: Keep, pace: Pace) -> (Clock, Guard) {
    CURRENT.with_borrow_mut(|current| {
        assert!(current.is_none(), "a simulation already runs on this thread");
        *current = Some(Current {
            seed,
            log: EventLog::new(keep),
            notable: watch::Sender::new(0),
            may_change_pace: pace == Pace::VirtualThenWall,
            keeps_wall_time: false,
        });
    });
    NOW.set(Time::ZERO);
    clock::begin(pace);
    turns::begin();
    host::reset();
    (Clock { _private: () }, Guard { _private: () })
}

/// Ends the simulation when dropped.
pub(crate) struct Guard {
    _private: (),
}

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|current| *current = None);
        NOW.set(Time::ZERO);
        clock::end();
        host::reset();
    }
}
