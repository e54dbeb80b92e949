//! Starts that came to nothing: after `crash_loop_limit` of them in a row a broker does not try again.
//!
//! A start counts until the broker is ready; a process cannot tell here whether it was stopped or died, so what
//! happens after that does not count. The count begins anew after an hour, when the configuration has changed,
//! and when somebody asks for it. Source: redpanda.md 2.1 (`crash_loop_limit`), 2.2, 3.1.1
//! (`reset_crash_tracking`).

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::volume::Volume;

/// After this long a failed start is forgotten.
const FORGOTTEN_AFTER_MS: i64 = 60 * 60 * 1000;

/// The starts in a row that came to nothing, as the volume keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Crashes {
    count: u32,
    /// When the last one began, milliseconds since 1970.
    last_start_ms: i64,
    /// Of the configuration that it began with.
    config: u32,
}

impl Crashes {
    /// What a start now finds, and leaves behind should it fail; `None` if it must not be tried.
    fn next(self, now_ms: i64, config: u32, limit: Option<u32>) -> Option<Crashes> {
        let stale = now_ms.saturating_sub(self.last_start_ms) > FORGOTTEN_AFTER_MS || self.config != config;
        let count = if stale { 0 } else { self.count };
        if limit.is_some_and(|limit| count >= limit) {
            return None;
        }
        Some(Crashes { count: count + 1, last_start_ms: now_ms, config })
    }
}

fn path(volume: &Volume) -> PathBuf {
    volume.root().join("startup_log.json")
}

/// Counts a start. `Ok(false)` if there were `limit` failed ones in a row.
///
/// # Errors
/// The volume's error.
pub(crate) fn begin(volume: &Volume, now_ms: i64, config: u32, limit: Option<u32>) -> io::Result<bool> {
    volume.create_directory(volume.root())?;
    let known = volume.read(&path(volume))?;
    // A record that cannot be read is no reason not to start.
    let known: Crashes = known.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    let Some(next) = known.next(now_ms, config, limit) else { return Ok(false) };
    volume.replace(&path(volume), &serde_json::to_vec(&next)?)?;
    Ok(true)
}

/// Forgets the failed starts.
///
/// # Errors
/// The volume's error.
pub(crate) fn reset(volume: &Volume) -> io::Result<()> {
    volume.replace(&path(volume), &serde_json::to_vec(&Crashes::default())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = FORGOTTEN_AFTER_MS;

    #[test]
    fn the_limit_ends_a_row_of_failed_starts() {
        let mut crashes = Crashes::default();
        for start in 0..5 {
            crashes = crashes.next(1000 + start, 7, Some(5)).unwrap();
        }
        assert_eq!(crashes.next(2000, 7, Some(5)), None);
        assert!(crashes.next(2000, 7, None).is_some(), "null means no limit");
        assert_eq!(crashes.next(2000, 8, Some(5)).unwrap().count, 1, "another configuration");
        assert_eq!(crashes.next(1004 + HOUR, 7, Some(5)), None);
        assert_eq!(crashes.next(1005 + HOUR, 7, Some(5)).unwrap().count, 1, "an hour later");
    }
}
