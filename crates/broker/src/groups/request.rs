//! What the group coordinator is asked, and what it answers, free of the protocol's versions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::consumer_protocol::heartbeat::{HeartbeatAnswer, Refused};
use super::offsets::{Committed, TopicPartition};
use crate::producers::LastEnd;

/// JoinGroup.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    pub group: String,
    /// Empty for a client that has no id yet.
    pub member: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocol_type: String,
    pub protocols: Vec<(String, Bytes)>,
    /// Version 4 and later: a client without an id is given one and joins again with it (KIP-394).
    pub id_required_first: bool,
    /// Version 9 and later: a leader can be told not to assign (KIP-814).
    pub knows_skip_assignment: bool,
    /// Makes the id of a member that has none.
    pub fresh: Uuid,
}

/// A member as the leader is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub id: String,
    pub instance: Option<String>,
    pub metadata: Bytes,
}

/// The answer to JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinAnswer {
    pub error: Option<ResponseError>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: String,
    pub member: String,
    /// All members, for the leader; empty for the others.
    pub members: Vec<JoinedMember>,
    pub skip_assignment: bool,
}

impl JoinAnswer {
    /// The answer to a member that cannot join.
    pub fn error(error: ResponseError, member: &str) -> JoinAnswer {
        JoinAnswer {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            member: member.to_owned(),
            members: Vec::new(),
            skip_assignment: false,
        }
    }
}

/// Who a request says it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub member: String,
    pub instance: Option<String>,
    /// Negative where the client is in no generation.
    pub generation: i32,
}

/// SyncGroup.
#[derive(Clone, Debug)]
pub(crate) struct SyncRequest {
    pub group: String,
    pub caller: Caller,
    /// Version 5 and later: must be those of the generation.
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// By member; from the leader alone.
    pub assignments: BTreeMap<String, Bytes>,
}

/// The answer to SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncAnswer {
    pub error: Option<ResponseError>,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// The answer to a member that gets no assignment.
    pub fn error(error: ResponseError) -> SyncAnswer {
        SyncAnswer { error: Some(error), protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// A member that leaves, or is made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    /// May be empty where `instance` is given.
    pub member: String,
    pub instance: Option<String>,
}

/// OffsetCommit, for partitions that exist.
#[derive(Clone, Debug)]
pub(crate) struct CommitRequest {
    pub group: String,
    pub caller: Caller,
    /// Version 9 and later: the caller's generation may be a member epoch (KIP-848).
    pub knows_member_epochs: bool,
    pub offsets: BTreeMap<TopicPartition, Committed>,
}

/// TxnOffsetCommit, for partitions that exist.
#[derive(Clone, Debug)]
pub(crate) struct TransactionalCommitRequest {
    pub commit: CommitRequest,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// If the transaction is not open in the coordinator's partition: after which end of the producer's transactions the
    /// transaction coordinator has said that it is to be (KIP-890).
    pub begins: Option<LastEnd>,
}

/// What is answered later than asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Join(JoinAnswer),
    Sync(SyncAnswer),
    Heartbeat(Result<HeartbeatAnswer, Refused>),
    /// A write is done, or why it is not.
    Done(Result<(), ResponseError>),
}

/// Which protocol a group is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupKind {
    Classic,
    Consumer,
}

impl GroupKind {
    /// Its name in the protocol (KIP-848).
    pub fn name(self) -> &'static str {
        match self {
            GroupKind::Classic => "classic",
            GroupKind::Consumer => "consumer",
        }
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedGroup {
    pub id: String,
    pub kind: GroupKind,
    pub protocol_type: String,
    pub state: &'static str,
}

/// A group as DescribeGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedGroup {
    pub state: &'static str,
    pub protocol_type: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

/// A member as DescribeGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub id: String,
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub metadata: Bytes,
    pub assignment: Bytes,
}
