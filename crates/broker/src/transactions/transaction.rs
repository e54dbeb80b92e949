//! One transactional id: its producer, and the state of its transaction.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::request::{AddRequest, EndRequest, InitError, InitRequest, ProducerEpoch};
use crate::groups::offsets::TopicPartition;

/// Before the first producer.
pub(super) const NO_EPOCH: i16 = -1;
/// Kafka keeps the highest epoch for fencing, so that a producer gets another id before.
const EPOCH_MAX: i16 = i16::MAX - 1;

/// What is known of the id's transaction. The numbers are Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransactionState {
    /// There has been none with this producer.
    Empty = 0,
    Ongoing = 1,
    /// It is committed; its partitions are being told.
    PrepareCommit = 2,
    /// It is aborted; its partitions are being told.
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
}

impl TransactionState {
    pub const ALL: [TransactionState; 6] = [
        TransactionState::Empty,
        TransactionState::Ongoing,
        TransactionState::PrepareCommit,
        TransactionState::PrepareAbort,
        TransactionState::CompleteCommit,
        TransactionState::CompleteAbort,
    ];

    /// Its name in the protocol (KIP-664).
    pub fn name(self) -> &'static str {
        match self {
            TransactionState::Empty => "Empty",
            TransactionState::Ongoing => "Ongoing",
            TransactionState::PrepareCommit => "PrepareCommit",
            TransactionState::PrepareAbort => "PrepareAbort",
            TransactionState::CompleteCommit => "CompleteCommit",
            TransactionState::CompleteAbort => "CompleteAbort",
        }
    }

    /// Whether its end is decided and its partitions are not all told.
    pub fn is_ending(self) -> bool {
        matches!(self, TransactionState::PrepareCommit | TransactionState::PrepareAbort)
    }
}

/// A transactional id, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub producer: ProducerEpoch,
    /// The producer's epoch before the last InitProducerId that named it, whose repetition is not another one
    /// (KIP-360); `NO_EPOCH` if there is none. Not kept in the log.
    pub last: ProducerEpoch,
    pub timeout: Duration,
    pub state: TransactionState,
    pub partitions: BTreeSet<TopicPartition>,
    /// When the open transaction began, milliseconds since 1970; -1 without one.
    pub start_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

fn fenced<T>() -> Result<T, InitError> {
    Err(InitError::Kafka(ResponseError::ProducerFenced))
}

impl Transaction {
    /// Without a producer yet.
    pub fn new(now_ms: i64) -> Transaction {
        let none = ProducerEpoch { id: -1, epoch: NO_EPOCH };
        Transaction {
            producer: none,
            last: none,
            timeout: Duration::ZERO,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// The transaction after InitProducerId. The state is none where a transaction is open.
    pub fn after_init(&self, request: &InitRequest, now_ms: i64) -> Result<Transaction, InitError> {
        let known = self.producer.epoch != NO_EPOCH;
        if let Some(current) = request.current.filter(|_| known) {
            let rotated = current.id == self.last.id && current.epoch >= EPOCH_MAX;
            if current.id != self.producer.id && !rotated {
                return fenced();
            }
        }
        let current_epoch = request.current.map(|current| current.epoch);
        let exhausted = self.producer.epoch >= EPOCH_MAX;
        let (producer, last) =
            if !known || (exhausted && current_epoch.is_none_or(|epoch| epoch == self.producer.epoch)) {
                let id = request.fresh.ok_or(InitError::NeedsProducerId)?;
                (ProducerEpoch { id, epoch: 0 }, self.producer)
            } else {
                match current_epoch {
                    None if exhausted => return fenced(),
                    None => (self.next_epoch(), ProducerEpoch { id: -1, epoch: NO_EPOCH }),
                    Some(epoch) if epoch == self.producer.epoch => (self.next_epoch(), self.producer),
                    // The request has been here before, and its answer was lost.
                    Some(epoch) if epoch == self.last.epoch => (self.producer, self.last),
                    Some(_) => return fenced(),
                }
            };
        Ok(Transaction {
            producer,
            last,
            timeout: request.timeout,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
        })
    }

    fn next_epoch(&self) -> ProducerEpoch {
        ProducerEpoch { epoch: self.producer.epoch.saturating_add(1), ..self.producer }
    }

    /// Whether a request comes from the present producer.
    fn check_producer(&self, producer: ProducerEpoch) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch { Err(ResponseError::ProducerFenced) } else { Ok(()) }
    }

    /// The transaction after AddPartitionsToTxn; `None` if that changes nothing.
    pub fn after_add(&self, request: &AddRequest, now_ms: i64) -> Result<Option<Transaction>, ResponseError> {
        self.check_producer(request.producer)?;
        if self.state.is_ending() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let ongoing = self.state == TransactionState::Ongoing;
        if ongoing && request.partitions.is_subset(&self.partitions) {
            return Ok(None);
        }
        let mut next = self.clone();
        if !ongoing {
            next.partitions.clear();
            next.start_ms = now_ms;
        }
        next.state = TransactionState::Ongoing;
        next.partitions.extend(request.partitions.iter().cloned());
        next.updated_ms = now_ms;
        Ok(Some(next))
    }

    /// The transaction after EndTxn; `None` if it has ended like that already.
    pub fn after_end(&self, request: &EndRequest, now_ms: i64) -> Result<Option<Transaction>, ResponseError> {
        self.check_producer(request.producer)?;
        match (self.state, request.commit) {
            (TransactionState::Ongoing, commit) => Ok(Some(self.ending(commit, self.producer.epoch, now_ms))),
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => Ok(None),
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions)
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// The open transaction aborted by the coordinator: the producer is fenced by the next epoch.
    pub fn fenced_off(&self, now_ms: i64) -> Transaction {
        self.ending(false, self.producer.epoch.saturating_add(1), now_ms)
    }

    fn ending(&self, commit: bool, epoch: i16, now_ms: i64) -> Transaction {
        let state = if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let producer = ProducerEpoch { epoch, ..self.producer };
        Transaction { producer, state, updated_ms: now_ms, ..self.clone() }
    }

    /// Every partition has its marker.
    pub fn completed(&self, now_ms: i64) -> Transaction {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        Transaction { state, partitions: BTreeSet::new(), start_ms: -1, updated_ms: now_ms, ..self.clone() }
    }
}
