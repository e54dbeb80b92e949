//! Who belongs to a group: voters and learners, and where the log says so.

use std::borrow::Cow;

use raft::eraftpb::ConfState;
use serde::{Deserialize, Serialize};

/// A group's configuration as of an entry of its log. During a change of voters (joint consensus) majorities of
/// both the new and the outgoing voters are needed. Ids are Raft ids, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// The last entry that is accounted for; what comes after may change it.
    pub index: u64,
    pub voters: Vec<u64>,
    pub learners: Vec<u64>,
    /// The voters before the change that is under way.
    pub outgoing: Vec<u64>,
    /// Outgoing voters that become learners.
    pub learners_next: Vec<u64>,
    pub auto_leave: bool,
}

fn sorted(ids: &[u64]) -> Vec<u64> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids
}

impl Configuration {
    /// The configuration of a new group.
    pub fn of_voters(index: u64, voters: &[u64]) -> Configuration {
        Configuration { index, voters: sorted(voters), ..Configuration::default() }
    }

    /// What raft-rs made of a change in entry `index`.
    pub fn from_state(index: u64, state: &ConfState) -> Configuration {
        Configuration {
            index,
            voters: sorted(&state.voters),
            learners: sorted(&state.learners),
            outgoing: sorted(&state.voters_outgoing),
            learners_next: sorted(&state.learners_next),
            auto_leave: state.auto_leave,
        }
    }

    pub fn to_state(&self) -> ConfState {
        ConfState {
            voters: self.voters.clone(),
            learners: self.learners.clone(),
            voters_outgoing: self.outgoing.clone(),
            learners_next: self.learners_next.clone(),
            auto_leave: self.auto_leave,
            ..ConfState::default()
        }
    }

    /// Whether a member decides alone.
    pub fn is_only_voter(&self, id: u64) -> bool {
        self.voters == [id] && !self.is_joint()
    }

    /// Everybody who takes part, in any role, sorted.
    pub fn members(&self) -> Cow<'_, [u64]> {
        if self.learners.is_empty() && self.outgoing.is_empty() {
            return Cow::Borrowed(&self.voters);
        }
        let lists = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let mut members: Vec<u64> = lists.into_iter().flatten().copied().collect();
        members.sort_unstable();
        members.dedup();
        Cow::Owned(members)
    }

    pub fn contains(&self, id: u64) -> bool {
        [&self.voters, &self.learners, &self.outgoing, &self.learners_next]
            .iter()
            .any(|list| list.contains(&id))
    }

    pub fn is_voter(&self, id: u64) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether a change of voters is under way.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }
}
