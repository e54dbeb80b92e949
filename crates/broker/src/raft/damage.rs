//! A replica whose disk has lost what it had answered for.
//!
//! Its answers may have made entries committed that it does not have any more. If it voted now, a replica without them
//! could win, and they would be lost though a majority once had them. So until a leader has filled it again it neither
//! votes nor asks for votes; the store keeps a mark of that over restarts. It begins in a new term, so that no leader
//! counts on its old answers any more: the present one hears of the term and steps down, and the next one asks anew what
//! the replica has. It is filled when it holds, durably, an entry that a leader has committed in that leader's own term,
//! whose log has everything that was committed before (Raft, 5.4.3). A group's only voter has nobody to be filled by,
//! and goes on with what it has.

use super::configuration::Configuration;
use super::group::Group;
use super::storage::EntryStore;
use crate::log::{HardState, LogError};

/// Whether a replica lacks what it had answered for.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    lacks_entries: bool,
    /// With this entry durable the replica is as it was.
    filled_by: Option<u64>,
}

/// What is to be thought of a replica that is opened.
pub(super) fn suspicion<S: EntryStore>(
    store: &mut S,
    configuration: &Configuration,
    id: u64,
) -> Result<Suspicion, LogError> {
    if !store.is_damaged() {
        return Ok(Suspicion::default());
    }
    if configuration.is_only_voter(id) {
        store.restored()?;
        return Ok(Suspicion::default());
    }
    let hard = store.hard_state();
    store.save_hard_state(HardState { term: hard.term + 1, vote: 0, ..hard })?;
    Ok(Suspicion { lacks_entries: true, filled_by: None })
}

impl<S: EntryStore> Group<S> {
    /// Whether the replica lacks entries that it may have answered for.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspicion.lacks_entries
    }

    /// The leader of this term has told how far its commits reach, or a place below that.
    pub(super) fn note_leaders_commit(&mut self, commit: u64) {
        let raft = &self.node.raft;
        let of_its_own = raft.raft_log.term(commit).is_ok_and(|term| term == raft.term);
        if self.suspicion.lacks_entries && of_its_own && commit <= raft.raft_log.committed {
            self.suspicion.filled_by = Some(commit);
        }
    }

    /// Whether what fills the replica is durable.
    pub(super) fn is_filled(&self) -> bool {
        let durable = self.node.raft.raft_log.persisted;
        self.suspicion.filled_by.is_some_and(|index| index <= durable)
    }

    /// The replica votes again once it is filled.
    pub(super) fn end_suspicion(&mut self) -> Result<(), LogError> {
        if self.failed.is_none() && self.is_filled() {
            self.node.mut_store().store.restored()?;
            self.suspicion = Suspicion::default();
        }
        Ok(())
    }
}
