//! Calendar time, for what carries dates (records, certificates).
//!
//! In virtual time a run starts at a fixed date, so that the same run carries the same dates.

use crate::context;

/// The date at which every simulation starts: 2026-01-01T00:00:00Z, in Unix milliseconds.
pub const START_UNIX_MS: i64 = 1_767_225_600_000;

/// Unix time in milliseconds: the simulated date inside a simulation, the machine's outside.
pub fn unix_ms() -> i64 {
    if context::is_running() {
        let elapsed_ms = context::now().as_nanos() / 1_000_000;
        return START_UNIX_MS.saturating_add_unsigned(elapsed_ms);
    }
    machine_unix_ms()
}

#[expect(clippy::disallowed_methods, reason = "outside a simulation the machine's clock is the only one")]
fn machine_unix_ms() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)
}
