//! What the cluster agrees on: topics, users, access rules and properties.
//!
//! [`State::apply`] is pure: equal states and commands give equal states, on every broker. A command that is
//! refused changes nothing. The serialized state is the content of snapshots.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};

use super::acls::{Acl, AclFilter};
use super::command::{Applied, Command, NewTopic};
use super::topics::{Topic, Topics, name_problem};
use super::users::{ScramCredential, ScramMechanism};
use crate::rpc::Refusal;

/// The replicated state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Rises with every command that changed something.
    pub version: u64,
    pub topics: Topics,
    /// Credentials by user and mechanism.
    pub users: BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>,
    pub acls: BTreeSet<Acl>,
    /// Cluster properties that differ from their defaults.
    pub properties: BTreeMap<String, serde_json::Value>,
    /// Rises with every change of a cluster property.
    pub config_version: i64,
    /// Every producer id below was handed out.
    pub next_producer_id: i64,
}

fn kafka(error: ResponseError, message: impl Into<String>) -> Refusal {
    Refusal::Kafka(error.code(), message.into())
}

fn unknown_topic(name: &str) -> Refusal {
    kafka(ResponseError::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
}

impl State {
    /// Applies a command that the controller has completed.
    ///
    /// # Errors
    /// Why it cannot be; the state is as before.
    pub fn apply(&mut self, command: &Command) -> Result<Applied, Refusal> {
        let applied = match command {
            Command::CreateTopic(new) => self.create_topic(new),
            Command::DeleteTopic { name } => {
                self.topics.remove(name).map(Applied::Topic).ok_or_else(|| unknown_topic(name))
            }
            Command::CreatePartitions { name, count, assignments, .. } => {
                self.create_partitions(name, *count, assignments.as_deref().unwrap_or_default())
            }
            Command::AlterTopicConfigs { name, configs } => self.alter_topic_configs(name, configs),
            Command::AlterClusterConfig { properties } => Ok(self.alter_cluster_config(properties)),
            Command::UpsertUser { name, credential } => {
                let credentials = self.users.entry(name.clone()).or_default();
                credentials.insert(credential.mechanism, credential.clone());
                Ok(Applied::Done)
            }
            Command::DeleteUser { name, mechanism } => self.delete_user(name, *mechanism),
            Command::CreateAcls { acls } => {
                self.acls.extend(acls.iter().cloned());
                Ok(Applied::Done)
            }
            Command::DeleteAcls { filters } => Ok(self.delete_acls(filters)),
            Command::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                self.next_producer_id += i64::from(*count);
                Ok(Applied::ProducerIds(first..self.next_producer_id))
            }
        }?;
        self.version += 1;
        Ok(applied)
    }

    fn create_topic(&mut self, new: &NewTopic) -> Result<Applied, Refusal> {
        if self.topics.get(&new.name).is_some() {
            let message = format!("topic '{}' already exists", new.name);
            return Err(kafka(ResponseError::TopicAlreadyExists, message));
        }
        let (Some(id), Some(partitions)) = (new.id, new.assignments.clone()) else {
            return Err(Refusal::Invalid("the topic has not been placed".to_owned()));
        };
        let topic = Topic { name: new.name.clone(), id, partitions, configs: new.configs.clone() };
        if topic.is_visible()
            && let Some(problem) = name_problem(&new.name)
        {
            return Err(kafka(ResponseError::InvalidTopicException, problem));
        }
        self.topics.insert(topic.clone());
        Ok(Applied::Topic(topic))
    }

    fn create_partitions(&mut self, name: &str, count: i32, added: &[Vec<i32>]) -> Result<Applied, Refusal> {
        let mut topic = self.topics.get(name).cloned().ok_or_else(|| unknown_topic(name))?;
        if topic.partitions.len() + added.len() != usize::try_from(count).unwrap_or(0) || added.is_empty() {
            let message = format!("the topic has {} partitions, asked are {count}", topic.partitions.len());
            return Err(kafka(ResponseError::InvalidPartitions, message));
        }
        topic.partitions.extend(added.iter().cloned());
        self.topics.insert(topic.clone());
        Ok(Applied::Topic(topic))
    }

    fn alter_topic_configs(
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

    fn alter_cluster_config(&mut self, properties: &BTreeMap<String, Option<serde_json::Value>>) -> Applied {
        for (name, value) in properties {
            match value {
                Some(value) => self.properties.insert(name.clone(), value.clone()),
                None => self.properties.remove(name),
            };
        }
        self.config_version += 1;
        Applied::ConfigVersion(self.config_version)
    }

    fn delete_user(&mut self, name: &str, mechanism: Option<ScramMechanism>) -> Result<Applied, Refusal> {
        let unknown = || kafka(ResponseError::ResourceNotFound, format!("there is no user '{name}'"));
        let credentials = self.users.get_mut(name).ok_or_else(unknown)?;
        match mechanism {
            Some(mechanism) => {
                credentials.remove(&mechanism).ok_or_else(unknown)?;
            }
            None => credentials.clear(),
        }
        if credentials.is_empty() {
            self.users.remove(name);
        }
        Ok(Applied::Done)
    }

    fn delete_acls(&mut self, filters: &[AclFilter]) -> Applied {
        let matching = |filter: &AclFilter| -> Vec<Acl> {
            self.acls.iter().filter(|acl| filter.matches(acl)).cloned().collect()
        };
        let removed: Vec<Vec<Acl>> = filters.iter().map(matching).collect();
        self.acls.retain(|acl| !filters.iter().any(|filter| filter.matches(acl)));
        Applied::RemovedAcls(removed)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn create(name: &str) -> Command {
        Command::CreateTopic(NewTopic {
            name: name.to_owned(),
            id: Some(Uuid::from_u128(7)),
            partitions: 1,
            replication_factor: 1,
            assignments: Some(vec![vec![0]]),
            configs: BTreeMap::new(),
            validate_only: false,
        })
    }

    #[test]
    fn a_refused_command_changes_nothing() {
        let mut state = State::default();
        state.apply(&create("a")).unwrap();
        let before = serde_json::to_string(&state).unwrap();
        assert!(state.apply(&create("a")).is_err());
        let mut again: State = serde_json::from_str(&before).unwrap();
        assert!(again.apply(&create("bad name")).is_err());
        assert_eq!(serde_json::to_string(&again).unwrap(), before);
    }

    #[test]
    fn partitions_only_grow() {
        let mut state = State::default();
        state.apply(&create("a")).unwrap();
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
    fn producer_ids_are_handed_out_once() {
        let mut state = State::default();
        let ids = |state: &mut State| match state.apply(&Command::AllocateProducerIds { count: 10 }) {
            Ok(Applied::ProducerIds(ids)) => ids,
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(&mut state), 0..10);
        assert_eq!(ids(&mut state), 10..20);
    }
}
