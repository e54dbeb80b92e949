//! What the transaction coordinator is asked, and what it answers, free of the protocol's versions.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;

use crate::groups::offsets::TopicPartition;

/// A producer: its id, and the epoch that tells its newest instance from earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerEpoch {
    pub id: i64,
    pub epoch: i16,
}

/// InitProducerId of a transactional producer.
#[derive(Clone, Debug)]
pub(crate) struct InitRequest {
    pub transactional_id: String,
    pub timeout: Duration,
    /// What the producer has, if it goes on after an error (KIP-360).
    pub current: Option<ProducerEpoch>,
    /// A producer id that nobody has, if one was fetched.
    pub fresh: Option<i64>,
}

/// AddPartitionsToTxn, or AddOffsetsToTxn, or a partition's leader that has a record of the transaction.
#[derive(Clone, Debug)]
pub(crate) struct AddRequest {
    pub transactional_id: String,
    pub producer: ProducerEpoch,
    pub partitions: BTreeSet<TopicPartition>,
    /// The client's `transaction.version`.
    pub client_version: i16,
}

/// EndTxn.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    pub transactional_id: String,
    pub producer: ProducerEpoch,
    pub commit: bool,
    /// The client's `transaction.version`.
    pub client_version: i16,
    /// A producer id that nobody has, if one was fetched.
    pub fresh: Option<i64>,
}

/// Why InitProducerId or EndTxn is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotDone {
    /// A fresh producer id is needed; ask again with one.
    NeedsProducerId,
    /// For the client.
    Kafka(ResponseError),
}

impl From<ResponseError> for NotDone {
    fn from(error: ResponseError) -> NotDone {
        NotDone::Kafka(error)
    }
}

/// What is answered later than asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To InitProducerId and EndTxn: what the producer goes on with.
    Producer(Result<ProducerEpoch, NotDone>),
    Done(Result<(), ResponseError>),
}

/// A transaction whose end is decided: its partitions are to get markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub transactional_id: String,
    pub producer: ProducerEpoch,
    /// Whether no record of the transaction has the producer's epoch (KIP-890).
    pub raised_epoch: bool,
    /// The coordinator's epoch.
    pub coordinator_epoch: i32,
    pub commit: bool,
    pub partitions: BTreeSet<TopicPartition>,
}

/// A transaction as DescribeTransactions tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DescribedTransaction {
    pub transactional_id: String,
    pub state: &'static str,
    pub timeout: Duration,
    /// Milliseconds since 1970; -1 without an open transaction.
    pub start_ms: i64,
    pub producer: ProducerEpoch,
    pub partitions: BTreeSet<TopicPartition>,
}
