//! The brokers' own RPC: what they ask each other, over one connection per pair and direction.
//!
//! A frame is
//!
//! ```text
//! u32 big-endian   length of what follows, bytes
//! u32 big-endian   length of the head, bytes
//! head             JSON: {"call": n, "from", "to", "cluster", "request"} or {"call": n, "reply"}
//! body             the rest
//! ```
//!
//! or, where the head's length has a kind in its first byte, one of Raft's ([`raft_frame`]), which has no head. Those
//! have connections of their own ([`lanes`]). A [`ping`] has no head either.
//!
//! Requests on a connection are answered as they are done, in any order; `call` pairs the two. `to` and
//! `cluster` keep a request from being answered by another broker that has taken over the address. Source:
//! redpanda.md 3.5 for what is asked. The encoding is this crate's own; Redpanda's is not modelled.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod lanes;
pub(crate) mod ping;
pub(crate) mod raft_frame;
pub(crate) mod server;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cluster::command::{Applied, Command};
use crate::cluster::health::NodeReport;
use crate::cluster::identity::Membership;
use crate::cluster::members::Member;
use crate::config::HostPort;
use crate::node::PartitionKey;
use crate::raft::Configuration;
use crate::replication::leaders::News;
use crate::transactions::markers::Markers;
use crate::transactions::verification::{Codes, PartitionCheck};

/// The head of a request frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RequestHead {
    pub call: u64,
    /// The sender's id, once it has one.
    pub from: Option<i32>,
    /// The broker that is meant; `None` for whoever listens there.
    pub to: Option<i32>,
    /// The sender's cluster, once it has one.
    pub cluster: Option<Uuid>,
    pub request: Request,
}

/// The head of a reply frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReplyHead {
    pub call: u64,
    pub reply: Result<Reply, Refusal>,
}

/// What a broker asks another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Who are you, and do you have a cluster already? Asked of every seed before a cluster is founded.
    BootstrapInfo,
    /// Let this volume in.
    Join(JoiningMember),
    /// Carry out a command; for the controller. `request` is the same when it is tried again.
    Submit { request: Uuid, command: Command, timeout_ms: u64 },
    /// Leaderships that began.
    UpdateLeaders(Vec<News>),
    /// All leaders that you know.
    GetLeaders,
    /// Who belongs to a group; for its leader.
    GroupConfiguration { key: PartitionKey },
    /// Write the ends of a transaction to partitions that you lead.
    WriteTxnMarkers(Markers),
    /// Do partitions belong to a transaction that you coordinate?
    CheckTransaction(PartitionCheck),
    /// How are you?
    NodeReport,
    /// Give the leadership of a partition that you lead to another broker.
    TransferLeadership { topic: Uuid, partition: i32, target: i32 },
}

/// A broker that has no id yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoiningMember {
    /// The id its configuration asks for.
    pub wanted_id: Option<i32>,
    /// Its entry in the table, with an id that means nothing yet.
    pub member: Member,
}

/// What a broker answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    BootstrapInfo {
        /// Its entry in the members table, with an id that means nothing yet.
        member: Member,
        wanted_id: Option<i32>,
        seed_servers: Vec<HostPort>,
        membership: Option<Membership>,
        /// Everybody it knows.
        members: Vec<Member>,
    },
    Joined {
        id: i32,
        cluster: Uuid,
        members: Vec<Member>,
    },
    /// Made of a [`ping::Pong`].
    #[serde(skip)]
    Pong,
    /// What a command came to, and the index of its entry in the controller's log.
    Applied {
        index: u64,
        applied: Applied,
    },
    /// The broker has taken the news.
    Updated,
    Leaders(Vec<News>),
    GroupConfiguration(Configuration),
    /// The partitions that have their markers.
    MarkersWritten(Vec<PartitionKey>),
    TransactionChecked(Codes),
    NodeReport(NodeReport),
    /// There is nothing to tell.
    Done,
}

/// Why a broker does not do what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    #[error("another broker answers at this address")]
    WrongBroker,
    #[error("the broker belongs to another cluster")]
    OtherCluster,
    #[error("the broker has not joined its cluster yet")]
    NotReady,
    #[error("the broker is not the controller")]
    NotController,
    #[error("the broker has no such replica")]
    UnknownPartition,
    #[error("the request has no sense here: {0}")]
    Invalid(String),
    /// What is named is not there.
    #[error("{0}")]
    NotFound(String),
    /// An earlier change of the same thing is under way.
    #[error("{0}")]
    UpdateInProgress(String),
    /// It cannot be done now, and may be later.
    #[error("{0}")]
    Busy(String),
    #[error("the volume failed: {0}")]
    Storage(String),
    #[error("not done in time")]
    TimedOut,
    /// A Kafka error code and its message, for the client.
    #[error("{1}")]
    Kafka(i16, String),
}
