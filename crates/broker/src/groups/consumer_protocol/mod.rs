//! Groups of the protocol whose assignors are the broker's (KIP-848): members send heartbeats and nothing else,
//! the coordinator assigns, and each member moves to its part of the assignment by itself.
//!
//! A group has an epoch that grows with every change of its members, subscriptions or topics; a target assignment
//! made for an epoch ([`assignors`]); and per member what it has and what it is yet to give up
//! ([`reconciliation`]). [`heartbeat`] decides what a heartbeat changes, without changing it; what it changes is a
//! list of [`Change`]s, each of them a record of `__consumer_offsets`. They are applied once they are written, and
//! applied again when the log is replayed. [`turns`] sees to it that a group changes one step after another.
//!
//! Left out: members of the classic protocol in such a group (`group.consumer.migration.policy` is `disabled`: a
//! group changes its protocol while it has no members), assignors that look at racks, and settings of single groups
//! (`group.consumer.*` as configurations of the resource type GROUP).
//!
//! Sources: KIP-848; the record schemas `ConsumerGroup*Key` and `ConsumerGroup*Value` of Apache Kafka.

pub(crate) mod assignors;
pub(crate) mod change;
pub(crate) mod heartbeat;
mod machine;
pub(crate) mod membership;
pub(crate) mod reconciliation;
pub(crate) mod subscription;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use self::change::Change;
use self::reconciliation::{Current, MemberState};
use self::subscription::{Resolved, Subscription};
pub(super) use self::turns::Done;
use self::turns::Turns;
use super::request::Caller;

/// Partitions by topic.
pub(crate) type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member: what it wants, and what it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    pub subscription: Subscription,
    pub current: Current,
}

/// A group.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConsumerGroup {
    /// Grows with each change of what an assignment is made from.
    pub epoch: i32,
    /// Of the topics that are subscribed to ([`subscription::metadata_hash`]).
    pub metadata_hash: u64,
    /// The group epoch that the targets were made for.
    pub target_epoch: i32,
    /// What each member is to have, by its id.
    pub targets: BTreeMap<String, Assignment>,
    pub members: BTreeMap<String, Member>,
    /// Member ids of static members, by instance id.
    static_members: BTreeMap<String, String>,
    /// Who has a partition, or has not given it up yet.
    owners: BTreeMap<(Uuid, i32), String>,
    /// Which topics regular expressions stand for.
    regexes: BTreeMap<String, Resolved>,
    /// The version of the topics that the group was compared with last; `None` after a member has gone.
    checked: Option<u64>,
    turns: Turns,
}

impl ConsumerGroup {
    /// Its state's name in the protocol.
    pub fn state(&self) -> &'static str {
        let reconciled = |member: &Member| member.current.is_reconciled(self.target_epoch);
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(reconciled) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Whether it has no members and none is about to join.
    pub fn is_idle(&self) -> bool {
        self.members.is_empty() && self.turns.is_idle()
    }

    /// The assignor that most members prefer, of equals the first by name; without preferences the first of
    /// those that there are (`group.consumer.assignors`).
    pub fn assignor(&self) -> &'static str {
        assignors::preferred(self.members.values().map(|member| &member.subscription))
    }

    /// The topics that its members are subscribed to.
    pub fn subscribed_topics(&self) -> BTreeSet<String> {
        self.topics_of(self.members.values().map(|member| &member.subscription))
    }

    fn topics_of<'a>(&self, subscriptions: impl Iterator<Item = &'a Subscription>) -> BTreeSet<String> {
        let mut topics = BTreeSet::new();
        for subscription in subscriptions {
            topics.extend(subscription.topics.iter().cloned());
            let resolved = subscription.regex.as_ref().and_then(|regex| self.regexes.get(regex));
            topics.extend(resolved.into_iter().flat_map(|resolved| resolved.topics.iter().cloned()));
        }
        topics
    }

    /// Whether a member, or a client that is in no group, may commit offsets.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`; `STALE_MEMBER_EPOCH` for another epoch than the member's; `UNSUPPORTED_VERSION` for
    /// a member whose request cannot tell such an error (before version 9).
    pub fn check_commit(
        &self,
        caller: &Caller,
        transactional: bool,
        knows_member_epochs: bool,
    ) -> Result<(), ResponseError> {
        if caller.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        if transactional && *caller == (Caller { generation: -1, ..Caller::default() }) {
            return Ok(());
        }
        let member = self.members.get(&caller.member).ok_or(ResponseError::UnknownMemberId)?;
        if !transactional && !knows_member_epochs {
            return Err(ResponseError::UnsupportedVersion);
        }
        match (member.current.epoch == caller.generation, transactional) {
            (true, _) => Ok(()),
            (false, false) => Err(ResponseError::StaleMemberEpoch),
            // TxnOffsetCommit has no code for it.
            (false, true) => Err(ResponseError::IllegalGeneration),
        }
    }

    /// Whether a client may fetch offsets: one that says who it is has to be a member.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub fn check_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        if member.is_none_or(str::is_empty) && epoch < 0 {
            return Ok(());
        }
        let found = member.and_then(|member| self.members.get(member));
        let found = found.ok_or(ResponseError::UnknownMemberId)?;
        if found.current.epoch == epoch { Ok(()) } else { Err(ResponseError::StaleMemberEpoch) }
    }

    /// What takes the group out of the log, once it has no members.
    pub fn end(&self) -> Vec<Change> {
        let members = self.members.keys().flat_map(|id| Change::removal(id));
        let regexes = self.regexes.keys().map(|regex| Change::Regex(regex.clone(), None));
        members.chain(regexes).chain([Change::TargetEpoch(None), Change::Epoch(None)]).collect()
    }

    /// Does what is written.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Epoch(Some((epoch, hash))) => (self.epoch, self.metadata_hash) = (epoch, hash),
            Change::Epoch(None) => (self.epoch, self.metadata_hash) = (0, 0),
            Change::TargetEpoch(epoch) => self.target_epoch = epoch.unwrap_or(0),
            Change::Target(id, Some(target)) => drop(self.targets.insert(id, target)),
            Change::Target(id, None) => drop(self.targets.remove(&id)),
            Change::Regex(regex, Some(resolved)) => drop(self.regexes.insert(regex, resolved)),
            Change::Regex(regex, None) => drop(self.regexes.remove(&regex)),
            Change::Member(id, Some(subscription)) => {
                if let Some(instance) = &subscription.instance {
                    self.static_members.insert(instance.clone(), id.clone());
                }
                // After compaction the record of what a member has may come first.
                self.members.entry(id).or_default().subscription = subscription;
            }
            Change::Member(id, None) => self.remove(&id),
            Change::Current(id, current) => self.set_current(&id, current),
        }
    }

    fn remove(&mut self, id: &str) {
        self.disown(id);
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.subscription.instance
            && self.static_members.get(instance).is_some_and(|holder| holder == id)
        {
            self.static_members.remove(instance);
        }
        self.checked = None;
    }

    fn disown(&mut self, id: &str) {
        let Some(member) = self.members.get(id) else { return };
        for partition in member.current.holds() {
            if self.owners.get(&partition).is_some_and(|owner| owner == id) {
                self.owners.remove(&partition);
            }
        }
    }

    fn set_current(&mut self, id: &str, current: Option<Current>) {
        self.disown(id);
        let Some(current) = current else {
            if let Some(member) = self.members.get_mut(id) {
                member.current = Current::default();
            }
            return;
        };
        for partition in current.holds() {
            self.owners.insert(partition, id.to_owned());
        }
        self.members.entry(id.to_owned()).or_default().current = current;
    }

    /// Whether the member still has partitions to give up.
    fn is_revoking(&self, id: &str) -> bool {
        let member = self.members.get(id);
        member.is_some_and(|member| member.current.state == MemberState::Unrevoked)
    }
}
