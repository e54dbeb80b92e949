//! What the client tells about each request: where it went, by which hops, how long each part took.

use std::fmt;
use std::net::IpAddr;

use hopwise_engine::{Span, Time};
use hopwise_fabric::Route;

use crate::{HostPort, Outcome};

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Brokers, topics, leaders.
    Metadata,
    /// A new topic.
    CreateTopic,
    /// Records to a partition.
    Produce,
    /// Records from a partition.
    Fetch,
    /// A partition's first or next offset.
    ListOffsets,
    /// A group's coordinator.
    FindCoordinator,
    /// An id for a producer, and an end to what it left open.
    InitProducerId,
    /// Partitions for a transaction.
    AddPartitionsToTxn,
    /// The end of a transaction.
    EndTxn,
}

impl Operation {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Metadata => "metadata",
            Operation::CreateTopic => "create-topic",
            Operation::Produce => "produce",
            Operation::Fetch => "fetch",
            Operation::ListOffsets => "list-offsets",
            Operation::FindCoordinator => "find-coordinator",
            Operation::InitProducerId => "init-producer-id",
            Operation::AddPartitionsToTxn => "add-partitions-to-txn",
            Operation::EndTxn => "end-txn",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One attempt of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestRecord {
    /// What was asked.
    pub operation: Operation,
    /// The topic, for requests about one.
    pub topic: Option<String>,
    /// The partition, for requests about one.
    pub partition: Option<i32>,
    /// The broker that was asked, if its id was known (a bootstrap address has none).
    pub broker: Option<i32>,
    /// Its address as the client was told it.
    pub address: HostPort,
    /// The IP address the name gave and the connection went to.
    pub ip: Option<IpAddr>,
    /// 1 for the first attempt of an operation.
    pub attempt: u32,
    /// How far it came.
    pub outcome: Outcome,
    /// The Kafka error code of the answer; `None` without an answer, 0 for no error.
    pub error_code: Option<i16>,
    /// What was seen, in a sentence; empty if there is nothing to say.
    pub explanation: String,
    /// The broker that was really reached, if the simulation tells.
    pub reached: Option<i32>,
    /// The hops both ways, if the fabric tells.
    pub route: Option<Route>,
    /// When the attempt began.
    pub started_at: Time,
    /// Resolving the name; zero if nothing was resolved.
    pub resolve: Span,
    /// Opening the TCP connection, if this request opened it.
    pub connect: Option<Span>,
    /// The ApiVersions exchange, if this request opened the connection.
    pub handshake: Option<Span>,
    /// From handing the request to the connection until its answer or its failure.
    pub request: Span,
    /// All of it, waits for the connection included.
    pub total: Span,
}

impl RequestRecord {
    /// Whether it reached another broker than the one asked, or one that does not lead the partition.
    pub fn misrouted(&self) -> bool {
        self.outcome == Outcome::WrongBroker || self.error_code.is_some_and(is_misrouted)
    }

    /// Whether it is about a partition and that partition's leader took it (only the leader knows that an offset
    /// is out of range, so that answer counts).
    pub fn reached_leader(&self) -> bool {
        self.partition.is_some()
            && self.outcome == Outcome::Ok
            && matches!(self.error_code, Some(0 | OFFSET_OUT_OF_RANGE))
    }
}

const OFFSET_OUT_OF_RANGE: i16 = 1;

/// NOT_LEADER_OR_FOLLOWER, NOT_COORDINATOR, NOT_CONTROLLER (Kafka protocol guide, error codes).
fn is_misrouted(code: i16) -> bool {
    matches!(code, 6 | 16 | 41)
}

/// Takes each request's record as it is made.
///
/// It is called inside the client, so it only notes: it neither waits nor calls the client back.
pub trait Observer: Send + Sync {
    /// One attempt ended.
    fn request(&self, record: &RequestRecord);
}

impl Observer for tokio::sync::mpsc::UnboundedSender<RequestRecord> {
    /// Sends a copy; a receiver that is gone wants no more records.
    fn request(&self, record: &RequestRecord) {
        let _ = self.send(record.clone());
    }
}

impl<F: Fn(&RequestRecord) + Send + Sync> Observer for F {
    fn request(&self, record: &RequestRecord) {
        self(record);
    }
}

/// The sums over a client's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Operations begun by the caller.
    pub operations: u64,
    /// Attempts, those for metadata and those that failed included.
    pub requests: u64,
    /// Attempts about a partition that its leader took.
    pub to_leader: u64,
    /// Attempts that met the wrong broker, or one that is no longer responsible.
    pub misrouted: u64,
    /// Attempts after an operation's first.
    pub retried: u64,
    /// Operations given up.
    pub failed: u64,
    /// Metadata answers taken.
    pub metadata_refreshes: u64,
    /// TCP connections opened, bootstrap included.
    pub connections_opened: u64,
}

impl Counters {
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        self.to_leader += u64::from(record.reached_leader());
        self.misrouted += u64::from(record.misrouted());
        self.retried += u64::from(record.attempt > 1);
    }
}
