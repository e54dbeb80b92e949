//! Calendar time, for what carries dates (records, certificates, captures).
//!
//! In virtual time a run starts at a fixed date, so that the same run carries the same dates. In wall time programs of the
//! machine take part, so dates are the machine's: a certificate that is valid for a while is valid for them, and the
//! timestamps of their records are those of the brokers.

use std::cell::Cell;

use crate::simulation::Pace;
use crate::{Time, context};

/// The date at which every simulation in virtual time starts: 2026-01-01T00:00:00Z, in Unix milliseconds.
pub const START_UNIX_MS: i64 = 1_767_225_600_000;
/// How long before the machine's date a simulation starts whose virtual time ends, in milliseconds: longer than clusters take
/// to start, so that the date leaps forward then and not back, and shorter than any certificate lives (an hour at least:
/// cert-manager, "Certificate resource", `duration`).
const LEAD_MS: i64 = 20 * 60 * 1000;

thread_local! {
    /// The date of [`Time::ZERO`].
    static START: Cell<i64> = const { Cell::new(START_UNIX_MS) };
}

/// Unix time in milliseconds: the simulated date inside a simulation, the machine's outside.
pub fn unix_ms() -> i64 {
    match context::is_running() {
        true => start_unix_ms().saturating_add_unsigned(context::now().as_nanos() / 1_000_000),
        false => machine_unix_ms(),
    }
}

/// The date of [`Time::ZERO`] in the running simulation, in Unix milliseconds.
pub fn start_unix_ms() -> i64 {
    START.get()
}

/// Dates a simulation that begins.
pub(crate) fn begin(pace: Pace) {
    START.set(match pace {
        Pace::Virtual => START_UNIX_MS,
        Pace::Wall => machine_unix_ms(),
        Pace::VirtualThenWall => machine_unix_ms() - LEAD_MS,
    });
}

/// Makes `now` the machine's date.
pub(crate) fn follow_machine(now: Time) {
    START.set(machine_unix_ms().saturating_sub_unsigned(now.as_nanos() / 1_000_000));
}

/// The simulation is over.
pub(crate) fn end() {
    START.set(START_UNIX_MS);
}

#[expect(clippy::disallowed_methods, reason = "outside of virtual time the machine's clock is the only one")]
fn machine_unix_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
