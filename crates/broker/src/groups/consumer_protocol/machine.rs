//! What the machine of a partition knows of groups of this protocol, and what it reads of them from its log.

use kafka_protocol::ResponseError;

use super::ConsumerGroup;
use super::change::Change;
use crate::groups::group::{Group, State};
use crate::groups::machine::GroupMachine;

impl GroupMachine {
    /// A group of this protocol.
    pub fn consumer_group(&self, group: &str) -> Option<&ConsumerGroup> {
        self.groups.get(group).filter(|group| group.state != State::Dead)?.consumer.as_deref()
    }

    /// Whether a client may fetch a group's offsets; only groups of this protocol mind.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH`.
    pub fn check_fetch(&self, group: &str, member: Option<&str>, epoch: i32) -> Result<(), ResponseError> {
        self.consumer_group(group).map_or(Ok(()), |group| group.check_fetch(member, epoch))
    }

    /// A change that the log keeps.
    pub(in crate::groups) fn replay_change(&mut self, id: &str, change: Change) {
        if change.is_end() {
            let Some(group) = self.groups.get_mut(id) else { return };
            match &mut group.consumer {
                // The group's epoch is the last thing of a group that goes.
                Some(_) if matches!(change, Change::Epoch(None)) => group.consumer = None,
                Some(consumer) => consumer.apply(change),
                None => {}
            }
            return;
        }
        let group = self.groups.entry(id.to_owned()).or_insert_with(|| Group::new(id, 0));
        group.consumer.get_or_insert_default().apply(change);
    }
}
