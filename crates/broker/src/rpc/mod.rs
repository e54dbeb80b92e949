//! The brokers' own RPC: what they ask each other, over one connection per pair and direction.
//!
//! A frame is
//!
//! ```text
//! u32 big-endian   length of what follows, bytes
//! u32 big-endian   length of the head, bytes
//! head             JSON: {"call": n, "from", "to", "cluster", "request"} or {"call": n, "reply"}
//! body             the rest: record batches, as they are on disk
//! ```
//!
//! Requests on a connection are answered as they are done, in any order; `call` pairs the two. `to` and
//! `cluster` keep a request from being answered by another broker that has taken over the address. Source:
//! redpanda.md 3.5 for what is asked. The encoding is this crate's own; Redpanda's is not modelled.

pub(crate) mod client;
pub(crate) mod frame;
pub(crate) mod server;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cluster::command::{Applied, Command};
use crate::cluster::health::NodeReport;
use crate::cluster::identity::Membership;
use crate::cluster::members::Member;
use crate::cluster::state::State;
use crate::config::HostPort;
use crate::node::PartitionKey;
use crate::transactions::markers::Markers;

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
    /// Are you there? Asked every 100 ms.
    Ping(Fingerprints),
    /// Exchange tables.
    Sync { members: Vec<Member>, state: State },
    /// Carry out a command; for the controller.
    Submit { command: Command, timeout_ms: u64 },
    /// Write the ends of a transaction to partitions that you lead.
    WriteTxnMarkers(Markers),
    /// Append the batches in the body to your replica.
    Append { topic: Uuid, partition: i32, base_offset: i64, high_watermark: i64 },
    /// Your replica's end, and batches from an offset on.
    ReadReplica { topic: Uuid, partition: i32, offset: i64, bytes_max: u32 },
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
    /// Whether a broker passed the request on to the one it takes for the controller.
    pub forwarded: bool,
    /// Its entry in the table, with an id that means nothing yet.
    pub member: Member,
}

/// What tells whether two brokers' tables differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fingerprints {
    pub members: u32,
    pub state: u64,
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
    },
    Joined {
        id: i32,
        cluster: Uuid,
        members: Vec<Member>,
        state: State,
    },
    Pong(Fingerprints),
    Synced {
        members: Vec<Member>,
        state: State,
    },
    Applied(Applied),
    /// The partitions that have their markers.
    MarkersWritten(Vec<PartitionKey>),
    /// The replica holds what the leader's log holds below `matched`.
    Appended {
        matched: i64,
    },
    /// The replica ends before the batches begin.
    Behind {
        end: i64,
    },
    Replica {
        end: i64,
    },
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
