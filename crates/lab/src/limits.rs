//! What a run may use: records of the event log, and memory.
//!
//! Both are looked at as virtual time goes on, so a run ends a little after it has passed one. The events of a run are the
//! same each time; its memory is the machine's, so this limit is there to save the machine, and not to decide anything.

use std::time::Duration;

use hopwise_engine::Time;
use tokio::time::sleep;

/// From one look to the next, in virtual time.
const LOOK: Duration = Duration::from_millis(100);
/// Records of the event log from one look at the memory to the next: memory grows by what happens, and to ask the machine
/// costs as much as some hundred records.
const RECORDS_PER_MEMORY_LOOK: u64 = 20_000;

/// What a run may use at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records of the event log.
    pub events: u64,
    /// Bytes of memory of the whole process.
    pub memory_bytes: u64,
}

/// A limit that a run has passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {after} s after the beginning of the simulation", after = at.as_nanos() / 1_000_000_000)]
pub struct Passed {
    /// Which, in words.
    pub what: String,
    /// When it was noticed.
    pub at: Time,
    /// The fingerprint of the event log by then.
    pub trace_hash: String,
}

impl Default for Limits {
    /// None.
    fn default() -> Self {
        Limits { events: u64::MAX, memory_bytes: u64::MAX }
    }
}

impl Limits {
    /// Waits until one of them is passed.
    pub async fn passed(self) -> Passed {
        let mut memory_look_at = 0;
        loop {
            sleep(LOOK).await;
            let events = hopwise_engine::with_log(|log| log.len());
            let memory = (events >= memory_look_at).then(|| {
                memory_look_at = events + RECORDS_PER_MEMORY_LOOK;
                memory_bytes()
            });
            if let Some(what) = self.judge(events, memory.flatten()) {
                return Passed { what, at: hopwise_engine::now(), trace_hash: hopwise_engine::trace_hash() };
            }
        }
    }

    fn judge(self, events: u64, memory_bytes: Option<u64>) -> Option<String> {
        if events > self.events {
            return Some(format!(
                "the event log has {events} records, more than bounds.events ({})",
                self.events
            ));
        }
        let memory = memory_bytes.filter(|bytes| *bytes > self.memory_bytes)?;
        let limit = self.memory_bytes / 1_000_000;
        Some(format!(
            "the process uses {} MB of memory, more than bounds.memory ({limit} MB)",
            memory / 1_000_000
        ))
    }
}

/// The memory of this process that is in use, where the machine tells (Linux, proc(5), `VmRSS`).
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_is_told_with_its_bound() {
        let limits = Limits { events: 10, memory_bytes: 5_000_000 };
        assert_eq!(limits.judge(10, Some(5_000_000)), None);
        assert_eq!(limits.judge(10, None), None);
        assert_eq!(
            limits.judge(11, None).as_deref(),
            Some("the event log has 11 records, more than bounds.events (10)")
        );
        assert_eq!(
            limits.judge(0, Some(7_000_000)).as_deref(),
            Some("the process uses 7 MB of memory, more than bounds.memory (5 MB)")
        );
    }
}
