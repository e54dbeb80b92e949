//! Requests that create, delete and enlarge topics: any broker takes them, the controller carries them out.

pub(super) mod create;
pub(super) mod delete;
pub(super) mod partitions;

use std::time::Duration;

use tokio::time::Instant;

/// When a request's patience ends.
fn deadline(timeout_ms: i32) -> Instant {
    Instant::now() + Duration::from_millis(timeout_ms.max(0) as u64)
}
