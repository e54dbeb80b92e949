//! Commands about changes of replicas. Source: redpanda.md 4.5.

use kafka_protocol::ResponseError;

use super::super::command::Applied;
use super::super::reassignment::{Reason, Reassignment};
use super::{State, kafka, unknown_topic};
use crate::rpc::Refusal;

impl State {
    pub(super) fn reassign(
        &mut self,
        topic: &str,
        partition: i32,
        replicas: &[i32],
        reason: Reason,
    ) -> Result<Applied, Refusal> {
        let current = self.replicas_now(topic, partition)?;
        if self.reassignment(topic, partition).is_some() {
            return Err(Refusal::UpdateInProgress(format!(
                "the replicas of {topic}/{partition} are changing"
            )));
        }
        self.check_replicas(replicas)?;
        let leaving = |id: &&i32| !self.takes_replicas(**id) && !current.contains(id);
        if let Some(id) = replicas.iter().find(leaving) {
            let message = format!("broker {id} is being decommissioned and takes no replicas");
            return Err(kafka(ResponseError::InvalidReplicaAssignment, message));
        }
        if current == replicas {
            return Ok(Applied::Done);
        }
        let mut sorted = (current, replicas.to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        if sorted.0 == sorted.1 {
            // Only the preferred leader changes; the group stays as it is.
            self.set_replicas(topic, partition, replicas);
            return Ok(Applied::Done);
        }
        let change = Reassignment { target: replicas.to_vec(), reason, cancelled: false };
        self.reassignments.entry(topic.to_owned()).or_default().insert(partition, change);
        Ok(Applied::Done)
    }

    pub(super) fn cancel_reassignment(&mut self, topic: &str, partition: i32) -> Result<Applied, Refusal> {
        self.replicas_now(topic, partition)?;
        match self.reassignment(topic, partition) {
            None => {
                let message = format!("the replicas of {topic}/{partition} are not changing");
                Err(kafka(ResponseError::NoReassignmentInProgress, message))
            }
            Some(change) if change.cancelled => Ok(Applied::Done),
            Some(_) => {
                self.cancel(topic, partition);
                Ok(Applied::Done)
            }
        }
    }

    /// The change's target becomes what the partition has.
    pub(super) fn cancel(&mut self, topic: &str, partition: i32) {
        let Ok(current) = self.replicas_now(topic, partition) else { return };
        let change = self.reassignments.get_mut(topic).and_then(|changes| changes.get_mut(&partition));
        if let Some(change) = change {
            change.target = current;
            change.cancelled = true;
        }
    }

    pub(super) fn finish_reassignment(
        &mut self,
        topic: &str,
        partition: i32,
        replicas: &[i32],
    ) -> Result<Applied, Refusal> {
        self.replicas_now(topic, partition)?;
        let target = self.reassignment(topic, partition).map(|change| change.target.clone());
        let mut sorted = (target.clone().unwrap_or_default(), replicas.to_vec());
        sorted.0.sort_unstable();
        sorted.1.sort_unstable();
        match target {
            Some(target) if sorted.0 == sorted.1 => {
                self.set_replicas(topic, partition, &target);
                self.moved.entry(topic.to_owned()).or_default().insert(partition);
                if let Some(changes) = self.reassignments.get_mut(topic) {
                    changes.remove(&partition);
                    if changes.is_empty() {
                        self.reassignments.remove(topic);
                    }
                }
                Ok(Applied::Done)
            }
            // A report that comes twice, or late, finds another target or none.
            _ => {
                Err(Refusal::Invalid(format!("{topic}/{partition} is not to have the replicas {replicas:?}")))
            }
        }
    }

    fn replicas_now(&self, topic: &str, partition: i32) -> Result<Vec<i32>, Refusal> {
        let known = self.topics.get(topic).ok_or_else(|| unknown_topic(topic))?;
        let index = usize::try_from(partition).ok();
        let replicas = index.and_then(|index| known.partitions.get(index));
        replicas.cloned().ok_or_else(|| {
            let message = format!("topic '{topic}' has no partition {partition}");
            kafka(ResponseError::UnknownTopicOrPartition, message)
        })
    }

    fn set_replicas(&mut self, topic: &str, partition: i32, replicas: &[i32]) {
        let Some(mut changed) = self.topics.get(topic).cloned() else { return };
        let index = usize::try_from(partition).ok();
        if let Some(slot) = index.and_then(|index| changed.partitions.get_mut(index)) {
            *slot = replicas.to_vec();
            self.topics.insert(changed);
        }
    }

    /// Whether a partition's replicas have ever changed: its group's members are then not those it began with.
    pub fn has_moved(&self, topic: &str, partition: i32) -> bool {
        self.moved.get(topic).is_some_and(|moved| moved.contains(&partition))
    }

    /// The change of a partition's replicas that is under way.
    pub fn reassignment(&self, topic: &str, partition: i32) -> Option<&Reassignment> {
        self.reassignments.get(topic)?.get(&partition)
    }

    /// Every change of replicas that is under way: topic, partition, change.
    pub fn all_reassignments(&self) -> impl Iterator<Item = (&str, i32, &Reassignment)> {
        self.reassignments.iter().flat_map(|(topic, changes)| {
            changes.iter().map(move |(partition, change)| (topic.as_str(), *partition, change))
        })
    }

    /// How many replicas a member has, or is about to get.
    pub fn replicas_of(&self, id: i32) -> usize {
        let held =
            self.topics.all().flat_map(|topic| &topic.partitions).filter(|it| it.contains(&id)).count();
        let coming = self.all_reassignments().filter(|(topic, partition, change)| {
            let now = self.replicas_now(topic, *partition).unwrap_or_default();
            change.target.contains(&id) && !now.contains(&id)
        });
        held + coming.count()
    }

    /// The partitions that are on their way from a member.
    pub(super) fn moves_away_from(&self, id: i32) -> Vec<(String, i32)> {
        let away = self.all_reassignments().filter(|(topic, partition, change)| {
            let now = self.replicas_now(topic, *partition).unwrap_or_default();
            now.contains(&id) && !change.target.contains(&id)
        });
        away.map(|(topic, partition, _)| (topic.to_owned(), partition)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::super::Command;
    use super::*;
    use crate::cluster::command::NewTopic;
    use crate::cluster::members::member;

    fn state() -> State {
        let mut state = State::default();
        for id in 0..5 {
            state.apply(&Command::RegisterMember { member: member(id, None) }).unwrap();
        }
        let new = NewTopic {
            name: "a".to_owned(),
            id: Some(Uuid::from_u128(7)),
            partitions: 1,
            replication_factor: 3,
            assignments: Some(vec![vec![0, 1, 2]]),
            configs: BTreeMap::new(),
            validate_only: false,
        };
        state.apply(&Command::CreateTopic(new)).unwrap();
        state
    }

    fn reassign(state: &mut State, replicas: &[i32]) -> Result<Applied, Refusal> {
        let (topic, reason) = ("a".to_owned(), Reason::Request);
        state.apply(&Command::Reassign { topic, partition: 0, replicas: replicas.to_vec(), reason })
    }

    fn finish(state: &mut State, replicas: &[i32]) -> Result<Applied, Refusal> {
        let (topic, replicas) = ("a".to_owned(), replicas.to_vec());
        state.apply(&Command::FinishReassignment { topic, partition: 0, replicas })
    }

    #[test]
    fn replicas_change_when_the_group_has_changed() {
        let mut state = state();
        reassign(&mut state, &[3, 1, 2]).unwrap();
        assert_eq!(state.topics.get("a").unwrap().partitions, [[0, 1, 2]]);
        assert_eq!((state.replicas_of(3), state.replicas_of(0)), (1, 1));
        assert!(matches!(reassign(&mut state, &[4, 1, 2]), Err(Refusal::UpdateInProgress(_))));
        assert!(finish(&mut state, &[0, 1, 2]).is_err());
        finish(&mut state, &[1, 2, 3]).unwrap();
        assert_eq!(state.topics.get("a").unwrap().partitions, [[3, 1, 2]]);
        assert!(state.reassignments.is_empty());
        assert!(finish(&mut state, &[1, 2, 3]).is_err(), "it is finished once");
    }

    #[test]
    fn a_cancelled_change_goes_back() {
        let mut state = state();
        let cancel = Command::CancelReassignment { topic: "a".to_owned(), partition: 0 };
        assert!(state.apply(&cancel).is_err());
        reassign(&mut state, &[3, 4, 2]).unwrap();
        state.apply(&cancel).unwrap();
        state.apply(&cancel).unwrap();
        assert_eq!(state.reassignment("a", 0).unwrap().target, [0, 1, 2]);
        assert!(finish(&mut state, &[3, 4, 2]).is_err());
        finish(&mut state, &[0, 1, 2]).unwrap();
        assert_eq!(state.topics.get("a").unwrap().partitions, [[0, 1, 2]]);
    }

    #[test]
    fn an_order_changes_at_once() {
        let mut state = state();
        reassign(&mut state, &[2, 0, 1]).unwrap();
        assert_eq!(state.topics.get("a").unwrap().partitions, [[2, 0, 1]]);
        assert!(state.reassignments.is_empty());
    }

    #[test]
    fn a_member_that_leaves_takes_nothing_and_keeps_what_it_has() {
        let mut state = state();
        state.apply(&Command::Decommission { id: 3 }).unwrap();
        assert!(reassign(&mut state, &[0, 1, 3]).is_err());
        state.apply(&Command::Decommission { id: 2 }).unwrap();
        assert!(state.apply(&Command::RemoveMember { id: 2 }).is_err());
        reassign(&mut state, &[0, 4, 2]).unwrap();
    }

    #[test]
    fn recommission_undoes_the_moves_away() {
        let mut state = state();
        state.apply(&Command::Decommission { id: 2 }).unwrap();
        reassign(&mut state, &[0, 1, 3]).unwrap();
        state.apply(&Command::Recommission { id: 2 }).unwrap();
        let change = state.reassignment("a", 0).unwrap();
        assert_eq!((change.cancelled, change.target.as_slice()), (true, &[0, 1, 2][..]));
    }
}
