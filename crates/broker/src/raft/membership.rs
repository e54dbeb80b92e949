//! Changes of a group's members (Raft thesis 4): new replicas learn first, then all changes of voters are made at once
//! through a joint configuration (4.3).

use std::collections::BTreeSet;

use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};
use raft::eraftpb::{Entry as RaftEntry, EntryType};

use super::group::{APPENDS_MAX, Group, GroupError};
use super::storage::EntryStore;

impl<S: EntryStore> Group<S> {
    /// Leader: takes one step towards `voters`, of which those who are not members become learners first and voters once
    /// they have caught up. Returns whether the group is there.
    ///
    /// # Errors
    /// `NotLeader`; `ChangeUnderWay`.
    pub fn change_members(&mut self, voters: &BTreeSet<u64>) -> Result<bool, GroupError> {
        self.next_entry()?;
        let configuration = &self.configuration;
        let have: BTreeSet<u64> = configuration.voters.iter().copied().collect();
        let learners: BTreeSet<u64> = configuration.learners.iter().copied().collect();
        if self.node.raft.has_pending_conf() {
            return Err(GroupError::ChangeUnderWay);
        }
        if configuration.is_joint() {
            // The leader that began the change is gone; an empty change ends it.
            return self.propose_change(Vec::new()).map(|()| false);
        }
        let missing = voters.iter().filter(|id| !have.contains(id) && !learners.contains(id));
        let mut changes: Vec<ConfChangeSingle> =
            missing.map(|id| single(*id, ConfChangeType::AddLearnerNode)).collect();
        let useless = learners.iter().filter(|id| !voters.contains(id));
        changes.extend(useless.map(|id| single(*id, ConfChangeType::RemoveNode)));
        if changes.is_empty() {
            if have == *voters {
                return Ok(true);
            }
            if !voters.iter().all(|id| have.contains(id) || self.has_caught_up(*id)) {
                return Ok(false);
            }
            let added = voters.difference(&have).map(|id| single(*id, ConfChangeType::AddNode));
            let removed = have.difference(voters).map(|id| single(*id, ConfChangeType::RemoveNode));
            changes = added.chain(removed).collect();
        }
        self.propose_change(changes).map(|()| false)
    }

    /// Several changes at once go through a joint configuration, which ends by itself.
    fn propose_change(&mut self, changes: Vec<ConfChangeSingle>) -> Result<(), GroupError> {
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Auto);
        change.set_changes(changes.into());
        self.node.propose_conf_change(Vec::new(), change).map_err(|_| GroupError::NotLeader)
    }

    /// Leader: whether a peer holds everything that is committed, but for what is on its way.
    pub fn has_caught_up(&self, peer: u64) -> bool {
        let on_its_way = APPENDS_MAX as u64;
        self.matched(peer).is_some_and(|matched| matched > 0 && matched + on_its_way >= self.commit())
    }
}

fn single(id: u64, kind: ConfChangeType) -> ConfChangeSingle {
    let mut change = ConfChangeSingle { node_id: id, ..ConfChangeSingle::default() };
    change.set_change_type(kind);
    change
}

/// Whether a committed entry is a configuration change.
pub(super) fn is_configuration(entry: &RaftEntry) -> bool {
    entry.entry_type != EntryType::EntryNormal
}
