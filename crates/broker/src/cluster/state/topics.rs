//! Commands about topics.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;

use super::super::command::{Applied, NewTopic};
use super::super::topics::{Topic, name_problem};
use super::{State, kafka, unknown_topic};
use crate::rpc::Refusal;

impl State {
    pub(super) fn create_topic(&mut self, new: &NewTopic) -> Result<Applied, Refusal> {
        if self.topics.get(&new.name).is_some() {
            let message = format!("topic '{}' already exists", new.name);
            return Err(kafka(ResponseError::TopicAlreadyExists, message));
        }
        let (Some(id), Some(partitions)) = (new.id, new.assignments.clone()) else {
            return Err(Refusal::Invalid("the topic has not been placed".to_owned()));
        };
        if self.topics.by_id(id).is_some() {
            return Err(Refusal::Invalid(format!("another topic has the id {id}")));
        }
        let topic = Topic { name: new.name.clone(), id, partitions, configs: new.configs.clone() };
        if topic.is_visible()
            && let Some(problem) = name_problem(&new.name)
        {
            return Err(kafka(ResponseError::InvalidTopicException, problem));
        }
        if topic.partitions.is_empty() {
            return Err(kafka(ResponseError::InvalidPartitions, "a topic has at least one partition"));
        }
        topic.partitions.iter().try_for_each(|replicas| self.check_replicas(replicas))?;
        self.number_groups(&topic.name, topic.partitions.len());
        self.topics.insert(topic.clone());
        Ok(Applied::Topic(topic))
    }

    pub(super) fn delete_topic(&mut self, name: &str) -> Result<Applied, Refusal> {
        let topic = self.topics.remove(name).ok_or_else(|| unknown_topic(name))?;
        self.reassignments.remove(name);
        self.disabled.remove(name);
        self.moved.remove(name);
        self.groups.remove(name);
        Ok(Applied::Topic(topic))
    }

    pub(super) fn create_partitions(
        &mut self,
        name: &str,
        count: i32,
        added: &[Vec<i32>],
    ) -> Result<Applied, Refusal> {
        let mut topic = self.topics.get(name).cloned().ok_or_else(|| unknown_topic(name))?;
        if topic.partitions.len() + added.len() != usize::try_from(count).unwrap_or(0) || added.is_empty() {
            let message = format!("the topic has {} partitions, asked are {count}", topic.partitions.len());
            return Err(kafka(ResponseError::InvalidPartitions, message));
        }
        added.iter().try_for_each(|replicas| self.check_replicas(replicas))?;
        topic.partitions.extend(added.iter().cloned());
        self.number_groups(name, added.len());
        self.topics.insert(topic.clone());
        Ok(Applied::Topic(topic))
    }

    pub(super) fn alter_topic_configs(
        &mut self,
        name: &str,
        configs: &BTreeMap<String, Option<String>>,
    ) -> Result<Applied, Refusal> {
        let mut topic = self.topics.get(name).cloned().ok_or_else(|| unknown_topic(name))?;
        for (name, value) in configs {
            match value {
                Some(value) => topic.configs.insert(name.clone(), value.clone()),
                None => topic.configs.remove(name),
            };
        }
        self.topics.insert(topic.clone());
        Ok(Applied::Topic(topic))
    }

    pub(super) fn disable_partitions(
        &mut self,
        name: &str,
        partition: Option<i32>,
        disabled: bool,
    ) -> Result<Applied, Refusal> {
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let all = 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let meant: BTreeSet<i32> = match partition {
            None => all.collect(),
            Some(index) if all.contains(&index) => BTreeSet::from([index]),
            Some(index) => return Err(unknown_topic(&format!("{name}/{index}"))),
        };
        let mut indices = self.disabled.remove(name).unwrap_or_default();
        if disabled {
            indices.extend(meant);
        } else {
            indices.retain(|index| !meant.contains(index));
        }
        if !indices.is_empty() {
            self.disabled.insert(name.to_owned(), indices);
        }
        Ok(Applied::Done)
    }

    /// Whether a partition is out of service.
    pub fn is_disabled(&self, topic: &str, partition: i32) -> bool {
        self.disabled.get(topic).is_some_and(|indices| indices.contains(&partition))
    }

    /// The partition of a Raft group.
    pub fn partition_of(&self, group: u64) -> Option<(&str, i32)> {
        let found = |(name, groups): (&'_ String, &Vec<u64>)| {
            let index = groups.binary_search(&group).ok()?;
            Some((name.clone(), i32::try_from(index).ok()?))
        };
        let (name, index) = self.groups.iter().find_map(found)?;
        let (name, _) = self.groups.get_key_value(&name)?;
        Some((name, index))
    }

    fn number_groups(&mut self, topic: &str, count: usize) {
        let groups = self.groups.entry(topic.to_owned()).or_default();
        for _ in 0..count {
            self.last_group += 1;
            groups.push(self.last_group);
        }
    }

    /// A set of replicas names members, and none twice.
    pub(super) fn check_replicas(&self, replicas: &[i32]) -> Result<(), Refusal> {
        let wrong = |message: String| Err(kafka(ResponseError::InvalidReplicaAssignment, message));
        if replicas.is_empty() {
            return wrong("a partition has at least one replica".to_owned());
        }
        if let Some(id) = replicas.iter().find(|id| !self.members.contains_key(id)) {
            return wrong(format!("broker {id} is not a member of the cluster"));
        }
        if (1..replicas.len()).any(|index| replicas[..index].contains(&replicas[index])) {
            return wrong(format!("the replicas {replicas:?} name a broker twice"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::Command;
    use super::*;
    use crate::cluster::members::member;

    fn create(name: &str, id: u128, replicas: &[i32]) -> Command {
        Command::CreateTopic(NewTopic {
            name: name.to_owned(),
            id: Some(Uuid::from_u128(id)),
            partitions: 1,
            replication_factor: 1,
            assignments: Some(vec![replicas.to_vec()]),
            configs: BTreeMap::new(),
            validate_only: false,
        })
    }

    fn state() -> State {
        let mut state = State::default();
        for id in 0..3 {
            state.apply(&Command::RegisterMember { member: member(id, None) }).unwrap();
        }
        state.apply(&create("a", 7, &[0])).unwrap();
        state
    }

    #[test]
    fn a_refused_command_changes_nothing() {
        let mut state = state();
        let before = state.clone();
        for refused in [
            create("a", 8, &[0]),
            create("bad name", 9, &[0]),
            create("b", 7, &[0]),
            create("b", 9, &[0, 0]),
            create("b", 9, &[5]),
            create("b", 9, &[]),
            Command::DeleteTopic { name: "b".to_owned() },
            Command::DisablePartitions { topic: "a".to_owned(), partition: Some(1), disabled: true },
        ] {
            assert!(state.apply(&refused).is_err(), "{refused:?}");
        }
        assert_eq!(state, before);
    }

    #[test]
    fn partitions_only_grow() {
        let mut state = state();
        let grow = |count, added: usize| Command::CreatePartitions {
            name: "a".to_owned(),
            count,
            assignments: Some(vec![vec![0]; added]),
            validate_only: false,
        };
        assert!(state.apply(&grow(1, 0)).is_err());
        assert!(state.apply(&grow(3, 1)).is_err());
        state.apply(&grow(3, 2)).unwrap();
        assert_eq!(state.topics.get("a").unwrap().partitions.len(), 3);
    }

    #[test]
    fn groups_have_numbers_that_are_never_given_twice() {
        let mut state = state();
        assert_eq!(state.groups["a"], [1]);
        state.apply(&Command::DeleteTopic { name: "a".to_owned() }).unwrap();
        assert_eq!(state.partition_of(1), None);
        state.apply(&create("a", 8, &[0])).unwrap();
        assert_eq!(state.groups["a"], [2]);
        assert_eq!(state.partition_of(2), Some(("a", 0)));
    }

    #[test]
    fn partitions_are_disabled_one_by_one_or_all() {
        let mut state = state();
        let disable =
            |partition, disabled| Command::DisablePartitions { topic: "a".to_owned(), partition, disabled };
        state.apply(&disable(None, true)).unwrap();
        assert!(state.is_disabled("a", 0));
        state.apply(&disable(Some(0), false)).unwrap();
        assert!(!state.is_disabled("a", 0));
        assert!(state.disabled.is_empty());
    }
}
