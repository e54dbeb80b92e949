//! The machine's clock, for what is told about this machine and nothing else depends on.

use std::time::Instant;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "how long something takes on this machine is reported, and decides nothing"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
