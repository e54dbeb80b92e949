//! What is asked of the controller: each command changes the cluster's replicated [`State`](super::state::State).
//!
//! A command is submitted on any broker ([`submit`](super::submit)). The controller first completes it with what
//! depends on the moment (placement, ids), so that applying it is the same on every broker.
//!
//! **The first commands of a cluster are [`Command::RegisterMember`], one per founder**; a broker that joins, and
//! one that starts with other addresses, is registered too.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::acls::{Acl, AclFilter};
use super::features::FeatureState;
use super::members::Member;
use super::membership::ConfigStatus;
use super::quotas::QuotaEntity;
use super::reassignment::Reason;
use super::roles::RoleMember;
use super::topics::Topic;
use super::users::{ScramCredential, ScramMechanism};

/// A change of the cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Takes a broker in, or takes over what a member says of itself. A negative id asks for the next free one; a
    /// volume that is known keeps its id.
    RegisterMember {
        member: Member,
    },
    /// Begins to remove a member.
    Decommission {
        id: i32,
    },
    /// Ends a removal that is not complete, and the moves that it caused.
    Recommission {
        id: i32,
    },
    /// Completes a removal: the member holds no replica any more.
    RemoveMember {
        id: i32,
    },
    SetMaintenance {
        id: i32,
        on: bool,
    },
    /// A member tells what it made of the cluster configuration.
    ReportConfig {
        id: i32,
        status: ConfigStatus,
    },
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
    /// Begins to give a partition other replicas.
    Reassign {
        topic: String,
        partition: i32,
        replicas: Vec<i32>,
        reason: Reason,
    },
    /// Gives up a change of replicas: the partition goes back to what it had.
    CancelReassignment {
        topic: String,
        partition: i32,
    },
    /// The group of a partition has these replicas now.
    FinishReassignment {
        topic: String,
        partition: i32,
        replicas: Vec<i32>,
    },
    /// Takes partitions out of service, or back into it; `None` means all of the topic.
    DisablePartitions {
        topic: String,
        partition: Option<i32>,
        disabled: bool,
    },
    /// Sets cluster properties; `None` takes a property back to its default.
    AlterClusterConfig {
        properties: BTreeMap<String, Option<Value>>,
    },
    SetFeature {
        name: String,
        state: FeatureState,
    },
    /// Sets quotas; `None` removes one.
    AlterQuotas {
        entity: QuotaEntity,
        values: BTreeMap<String, Option<f64>>,
    },
    /// Adds a user that is not there yet.
    CreateUser {
        name: String,
        credential: ScramCredential,
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
    CreateRole {
        name: String,
    },
    DeleteRole {
        name: String,
        /// Whether the ACLs bound to the role go with it.
        delete_acls: bool,
    },
    UpdateRole {
        name: String,
        add: Vec<RoleMember>,
        remove: Vec<RoleMember>,
        /// Whether the role is created if it is not there.
        create: bool,
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
    /// The member as it is registered.
    Member(Member),
    /// The topic as it is now (or as it was, if it was deleted).
    Topic(Topic),
    /// Per filter, the ACLs that it removed.
    RemovedAcls(Vec<Vec<Acl>>),
    /// The members that a role has got and lost.
    RoleMembers { added: Vec<RoleMember>, removed: Vec<RoleMember> },
    /// The producer ids that were handed out.
    ProducerIds(Range<i64>),
    /// The version of the cluster configuration.
    ConfigVersion(i64),
}
