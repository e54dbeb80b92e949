//! What the cluster agrees on: members, topics, users, access rules, quotas and properties.
//!
//! [`State::apply`] is pure: equal states and commands give equal states, on every broker. A command that is
//! refused changes nothing. The serialized state is the content of snapshots. One file per subject applies its
//! commands.

mod configuration;
mod membership;
mod reassignments;
mod security;
mod topics;

#[cfg(test)]
mod invariants;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::acls::Acl;
use super::command::{Applied, Command};
use super::features::FeatureState;
use super::membership::Registered;
use super::quotas::QuotaEntity;
use super::reassignment::Reassignment;
use super::roles::RoleMember;
use super::topics::Topics;
use super::users::{ScramCredential, ScramMechanism};
use crate::rpc::Refusal;

/// The replicated state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct State {
    /// Rises with every command that changed something.
    pub version: u64,
    pub members: BTreeMap<i32, Registered>,
    /// Members that were removed, with their volumes: neither comes back.
    pub removed: BTreeMap<i32, Uuid>,
    /// No member has had this id or a higher one.
    pub next_member_id: i32,
    pub topics: Topics,
    /// Changes of replicas under way, by topic and partition.
    pub reassignments: BTreeMap<String, BTreeMap<i32, Reassignment>>,
    /// Partitions whose replicas have changed since they were created, by topic.
    pub moved: BTreeMap<String, BTreeSet<i32>>,
    /// Partitions that are out of service, by topic.
    pub disabled: BTreeMap<String, BTreeSet<i32>>,
    /// The numbers of the partitions' Raft groups, by topic and partition. 0 is the controller's.
    pub groups: BTreeMap<String, Vec<u64>>,
    /// The last number that a group was given.
    pub last_group: u64,
    /// Credentials by user and mechanism.
    pub users: BTreeMap<String, BTreeMap<ScramMechanism, ScramCredential>>,
    pub acls: BTreeSet<Acl>,
    pub roles: BTreeMap<String, BTreeSet<RoleMember>>,
    /// Limits by entity and key.
    #[serde(with = "pairs")]
    pub quotas: BTreeMap<QuotaEntity, BTreeMap<String, f64>>,
    /// Cluster properties that differ from their defaults.
    pub properties: BTreeMap<String, Value>,
    /// Rises with every change of a cluster property.
    pub config_version: i64,
    /// Features that somebody has switched.
    pub features: BTreeMap<String, FeatureState>,
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
            Command::RegisterMember { member } => self.register_member(member),
            Command::Decommission { id } => self.decommission(*id),
            Command::Recommission { id } => self.recommission(*id),
            Command::RemoveMember { id } => self.remove_member(*id),
            Command::SetMaintenance { id, on } => self.set_maintenance(*id, *on),
            Command::ReportConfig { id, status } => self.report_config(*id, status),
            Command::CreateTopic(new) => self.create_topic(new),
            Command::DeleteTopic { name } => self.delete_topic(name),
            Command::CreatePartitions { name, count, assignments, .. } => {
                self.create_partitions(name, *count, assignments.as_deref().unwrap_or_default())
            }
            Command::AlterTopicConfigs { name, configs } => self.alter_topic_configs(name, configs),
            Command::Reassign { topic, partition, replicas, reason } => {
                self.reassign(topic, *partition, replicas, *reason)
            }
            Command::CancelReassignment { topic, partition } => self.cancel_reassignment(topic, *partition),
            Command::FinishReassignment { topic, partition, replicas } => {
                self.finish_reassignment(topic, *partition, replicas)
            }
            Command::DisablePartitions { topic, partition, disabled } => {
                self.disable_partitions(topic, *partition, *disabled)
            }
            Command::AlterClusterConfig { properties } => Ok(self.alter_cluster_config(properties)),
            Command::SetFeature { name, state } => self.set_feature(name, *state),
            Command::AlterQuotas { entity, values } => Ok(self.alter_quotas(entity, values)),
            Command::CreateUser { name, credential } => self.create_user(name, credential),
            Command::UpsertUser { name, credential } => Ok(self.upsert_user(name, credential)),
            Command::DeleteUser { name, mechanism } => self.delete_user(name, *mechanism),
            Command::CreateRole { name } => self.create_role(name),
            Command::DeleteRole { name, delete_acls } => self.delete_role(name, *delete_acls),
            Command::UpdateRole { name, add, remove, create } => self.update_role(name, add, remove, *create),
            Command::CreateAcls { acls } => {
                self.acls.extend(acls.iter().cloned());
                Ok(Applied::Done)
            }
            Command::DeleteAcls { filters } => Ok(self.delete_acls(filters)),
            Command::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                let next = first.checked_add(i64::from(*count));
                self.next_producer_id =
                    next.ok_or_else(|| Refusal::Invalid("there are no producer ids left".to_owned()))?;
                Ok(Applied::ProducerIds(first..self.next_producer_id))
            }
        }?;
        self.version += 1;
        Ok(applied)
    }
}

/// A map whose keys are no strings, as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::quotas::QuotaName;

    #[test]
    fn producer_ids_are_handed_out_once() {
        let mut state = State::default();
        let ids = |state: &mut State| match state.apply(&Command::AllocateProducerIds { count: 10 }) {
            Ok(Applied::ProducerIds(ids)) => ids,
            other => panic!("{other:?}"),
        };
        assert_eq!(ids(&mut state), 0..10);
        assert_eq!(ids(&mut state), 10..20);
        state.next_producer_id = i64::MAX - 5;
        assert!(state.apply(&Command::AllocateProducerIds { count: 10 }).is_err());
    }

    #[test]
    fn a_snapshot_is_read_back_as_it_was() {
        let mut state = State::default();
        let entity = QuotaEntity { user: Some(QuotaName::Default), ..QuotaEntity::default() };
        let values = BTreeMap::from([("producer_byte_rate".to_owned(), Some(0.1))]);
        state.apply(&Command::AlterQuotas { entity, values }).unwrap();
        state.apply(&Command::CreateRole { name: "readers".to_owned() }).unwrap();
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
        assert_eq!(serde_json::from_str::<State>("{}").unwrap(), State::default());
    }
}
