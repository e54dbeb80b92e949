//! What is asked of the controller: each command changes the cluster's replicated [`State`](super::state::State).
//!
//! A command is submitted on any broker ([`submit`](super::submit)). The controller first completes it with what
//! depends on the moment (placement, ids), so that applying it is the same on every broker.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::acls::{Acl, AclFilter};
use super::topics::Topic;
use super::users::{ScramCredential, ScramMechanism};

/// A change of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    CreateTopic(NewTopic),
    DeleteTopic {
        name: String,
    },
    /// Raises a topic's partitions to `count`; `assignments` are the replicas of the new ones, filled in by the
    /// controller where the client did not choose them.
    CreatePartitions {
        name: String,
        count: i32,
        assignments: Option<Vec<Vec<i32>>>,
        validate_only: bool,
    },
    /// Sets topic properties; `None` takes a property back to its default.
    AlterTopicConfigs {
        name: String,
        configs: BTreeMap<String, Option<String>>,
    },
    /// Sets cluster properties; `None` takes a property back to its default.
    AlterClusterConfig {
        properties: BTreeMap<String, Option<serde_json::Value>>,
    },
    UpsertUser {
        name: String,
        credential: ScramCredential,
    },
    /// Removes a user's credential, or with no mechanism the user.
    DeleteUser {
        name: String,
        mechanism: Option<ScramMechanism>,
    },
    CreateAcls {
        acls: Vec<Acl>,
    },
    DeleteAcls {
        filters: Vec<AclFilter>,
    },
    /// Hands out producer ids that nobody has had.
    AllocateProducerIds {
        count: u32,
    },
}

impl Command {
    /// Whether the command only asks whether it could be carried out.
    pub fn only_validates(&self) -> bool {
        match self {
            Command::CreateTopic(new) => new.validate_only,
            Command::CreatePartitions { validate_only, .. } => *validate_only,
            _ => false,
        }
    }
}

/// A topic to create; defaults are filled in, and the request is checked, by the broker that got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewTopic {
    pub name: String,
    /// Chosen by the controller.
    pub id: Option<Uuid>,
    pub partitions: i32,
    pub replication_factor: i16,
    /// Replicas per partition: chosen by the client, or by the controller.
    pub assignments: Option<Vec<Vec<i32>>>,
    pub configs: BTreeMap<String, String>,
    /// Only tell whether it could be created.
    pub validate_only: bool,
}

/// What an applied command came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Applied {
    /// Nothing to tell.
    Done,
    /// The topic as it is now (or as it was, if it was deleted).
    Topic(Topic),
    /// Per filter, the ACLs that it removed.
    RemovedAcls(Vec<Vec<Acl>>),
    /// The producer ids that were handed out.
    ProducerIds(Range<i64>),
    /// The version of the cluster configuration.
    ConfigVersion(i64),
}
