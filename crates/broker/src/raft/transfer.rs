//! Handing leadership over (Raft thesis 3.10; redpanda.md 4.5, first row).
//!
//! The target catches up first, while the leader still takes records; then the leader stops taking them, sends the
//! last ones, and tells the target to start an election at once.

use super::group::{Group, Role};
use super::storage::EntryStore;

/// A target that lacks no more than this is sent the rest while the leader takes no more.
const CLOSE_ENTRIES: u64 = 64;

/// Why leadership stays where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TransferError {
    #[error("the replica does not lead")]
    NotLeader,
    #[error("broker {0} is no voting replica")]
    NotVoter(i32),
    #[error("no other replica can lead")]
    NoTarget,
    #[error("the target did not catch up in time")]
    Behind,
    #[error("the target was not elected in time")]
    NotElected,
}

impl<S: EntryStore> Group<S> {
    /// The voter that has most of the log, the preferred one of equals in the order of `preferred`.
    pub fn transfer_target(&self, preferred: &[u64]) -> Option<u64> {
        let rank = |id: &u64| preferred.iter().position(|other| other == id).unwrap_or(usize::MAX);
        let voters = self.configuration.voters.iter().copied().filter(|id| *id != self.id);
        voters.max_by_key(|id| (self.matched(*id), std::cmp::Reverse(rank(id))))
    }

    /// Whether a target holds nearly all of the log.
    pub fn is_close(&self, target: u64) -> bool {
        self.matched(target).is_some_and(|matched| matched + CLOSE_ENTRIES >= self.last_index())
    }

    /// Takes no more proposals and hands over to `target`, a voter, as soon as it has the whole log.
    pub fn hand_over(&mut self, target: u64) {
        if self.role() == Role::Leader && self.failed().is_none() {
            self.node.transfer_leader(target);
        }
    }

    /// Whether the leader is handing over, and takes no proposals meanwhile.
    pub fn hands_over(&self) -> bool {
        self.node.raft.lead_transferee.is_some()
    }

    /// Leads on if the target has not been elected.
    pub fn keep_leadership(&mut self) {
        self.node.raft.abort_leader_transfer();
    }
}
