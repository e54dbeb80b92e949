//! Consensus: one replica of a Raft group as a state machine of `(now, input)`, without task, socket or clock.
//!
//! The algorithm is the `raft` crate's (raft-rs). What is ours: timers (deadlines in place of ticks, so that an
//! idle group costs nothing), the broker's seed as the source of election jitter, heartbeats that are batched
//! outside the group, durability that is told when it is reached, a configuration file beside the log, and the
//! order of outgoing messages. `docs/decisions/007-raft-library.md` says why.
//!
//! [`Group`] is one replica; [`EntryStore`] is what it needs of a log. Raft ids are broker ids plus one, because
//! 0 means nobody.

mod configuration;
mod damage;
mod group;
mod logger;
mod membership;
#[cfg(test)]
mod memory_log;
mod ready;
#[cfg(test)]
mod simulation;
mod storage;
mod timeouts;
mod transfer;

pub(crate) use configuration::Configuration;
pub(crate) use group::{Group, GroupError, Role, Start};
pub(crate) use ready::{Committed, Output};
pub(crate) use storage::{EntryStore, Snapshot};
pub(crate) use timeouts::Timeouts;
pub(crate) use transfer::TransferError;

/// The Raft id of a broker.
pub(crate) fn raft_id(broker: i32) -> u64 {
    u64::try_from(broker).unwrap_or(0) + 1
}

/// The broker of a Raft id; `None` for nobody.
pub(crate) fn broker_id(raft: u64) -> Option<i32> {
    i32::try_from(raft.checked_sub(1)?).ok()
}
