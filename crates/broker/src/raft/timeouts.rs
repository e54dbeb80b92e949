//! How long a group waits for what.

use std::time::Duration;

/// The durations of redpanda.md 4.4; cluster properties change some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// `raft_heartbeat_interval_ms`.
    pub heartbeat_interval: Duration,
    /// `raft_election_timeout_ms`.
    pub election: Duration,
    /// Up to this much is added to the election timeout, uniformly.
    pub election_jitter: Duration,
    /// `raft_heartbeat_timeout_ms`: an unanswered heartbeat is given up, and so is a connection that is silent for so
    /// long while it is sent appends.
    pub heartbeat: Duration,
    /// `raft_transfer_leader_recovery_timeout_ms`: how long a transfer's target may take to catch up.
    pub transfer_catch_up: Duration,
    /// `raft_timeout_now_timeout_ms`: how long the target may then take to be elected.
    pub timeout_now: Duration,
    /// `raft_replica_max_flush_delay_ms`: appended entries that nobody waits for are synced after this.
    pub flush_delay: Duration,
    /// `raft_replica_max_pending_flush_bytes`: or when there are so many bytes of them.
    pub flush_bytes: u64,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            heartbeat_interval: Duration::from_millis(150),
            election: Duration::from_millis(1500),
            election_jitter: Duration::from_millis(750),
            heartbeat: Duration::from_millis(3000),
            transfer_catch_up: Duration::from_secs(10),
            timeout_now: Duration::from_secs(1),
            flush_delay: Duration::from_millis(100),
            flush_bytes: 256 << 10,
        }
    }
}
