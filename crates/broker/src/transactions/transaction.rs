//! One transactional id: its producer, and the state of its transaction.
//!
//! Producers of `transaction.version` 2 have an epoch per transaction (KIP-890, second part): EndTxn raises it, and
//! the markers carry the raised one. So an end that is delayed, or asked for again, is told from that of the next
//! transaction by its epoch. Source for what the KIP leaves open: Apache Kafka's `TransactionMetadata` and
//! `TransactionCoordinator`.

use std::collections::BTreeSet;
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::EPOCH_PER_TRANSACTION;
use super::request::{AddRequest, EndRequest, InitRequest, NotDone, ProducerEpoch};
use crate::groups::offsets::TopicPartition;

/// Before the first producer.
pub(super) const NO_EPOCH: i16 = -1;
/// In place of a producer's id.
pub(super) const NO_ID: i64 = -1;
/// Kafka keeps the highest epoch for fencing, so that a producer gets another id before.
pub(super) const EPOCH_MAX: i16 = i16::MAX - 1;

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
    /// While the transaction ends, with the epoch that its markers have.
    pub producer: ProducerEpoch,
    /// The producer's id before the last change (Kafka's `PreviousProducerId`).
    pub previous_id: i64,
    /// While the transaction ends, and the producer's epochs are used up: the id that it goes on with, from epoch 0
    /// (Kafka's `NextProducerId`).
    pub next_id: i64,
    /// The producer's epoch before it was last raised for it: a request that names it has been here before (KIP-360);
    /// `NO_EPOCH` if there is none. Not kept in the log, as in Kafka.
    pub last_epoch: i16,
    /// The `transaction.version` that the client was at when it last added partitions or asked for the end.
    pub client_version: i16,
    pub timeout: Duration,
    pub state: TransactionState,
    pub partitions: BTreeSet<TopicPartition>,
    /// When the open transaction began, milliseconds since 1970; -1 without one.
    pub start_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

fn fenced<T>() -> Result<T, NotDone> {
    Err(NotDone::Kafka(ResponseError::ProducerFenced))
}

impl Transaction {
    /// Without a producer yet.
    pub fn new(now_ms: i64) -> Transaction {
        Transaction {
            producer: ProducerEpoch { id: NO_ID, epoch: NO_EPOCH },
            previous_id: NO_ID,
            next_id: NO_ID,
            last_epoch: NO_EPOCH,
            client_version: 0,
            timeout: Duration::ZERO,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
        }
    }

    /// The transaction after InitProducerId. The state is none where a transaction is open.
    pub fn after_init(&self, request: &InitRequest, now_ms: i64) -> Result<Transaction, NotDone> {
        let known = self.producer.epoch != NO_EPOCH;
        if let Some(current) = request.current.filter(|_| known) {
            let rotated = current.id == self.previous_id && current.epoch >= EPOCH_MAX;
            if current.id != self.producer.id && !rotated {
                return fenced();
            }
        }
        let current_epoch = request.current.map(|current| current.epoch);
        let exhausted = self.producer.epoch >= EPOCH_MAX;
        let mut previous_id = self.producer.id;
        let (producer, last_epoch) =
            if !known || (exhausted && current_epoch.is_none_or(|epoch| epoch == self.producer.epoch)) {
                let id = request.fresh.ok_or(NotDone::NeedsProducerId)?;
                let last_epoch = current_epoch.map_or(NO_EPOCH, |_| self.producer.epoch);
                (ProducerEpoch { id, epoch: 0 }, last_epoch)
            } else {
                match current_epoch {
                    None if exhausted => return fenced(),
                    None => (self.next_epoch(), NO_EPOCH),
                    Some(epoch) if epoch == self.producer.epoch => (self.next_epoch(), self.producer.epoch),
                    // The request has been here before, and its answer was lost.
                    Some(epoch) if epoch == self.last_epoch => {
                        previous_id = self.previous_id;
                        (self.producer, self.last_epoch)
                    }
                    Some(_) => return fenced(),
                }
            };
        Ok(Transaction {
            producer,
            previous_id: if known { previous_id } else { producer.id },
            last_epoch,
            timeout: request.timeout,
            state: TransactionState::Empty,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
            ..*self
        })
    }

    fn next_epoch(&self) -> ProducerEpoch {
        ProducerEpoch { epoch: self.producer.epoch.saturating_add(1), ..self.producer }
    }

    /// The producer that the next transaction is of: the present one, or, once its epochs are used up, the one that
    /// takes its place when the markers are written.
    pub fn successor(&self) -> ProducerEpoch {
        match self.next_id {
            NO_ID => self.producer,
            id => ProducerEpoch { id, epoch: 0 },
        }
    }

    /// Whether its markers have an epoch that no record of it has (KIP-890).
    pub fn raises_epoch(&self) -> bool {
        self.client_version >= EPOCH_PER_TRANSACTION
    }

    /// Whether a request comes from the present producer.
    fn check_producer(&self, producer: ProducerEpoch) -> Result<(), ResponseError> {
        if producer.id != self.producer.id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if producer.epoch != self.producer.epoch { Err(ResponseError::ProducerFenced) } else { Ok(()) }
    }

    /// Whether a request for the open, or the next, transaction comes from its producer. The next one's producer may
    /// come before the markers are written (KAFKA-18575).
    fn check_next_producer(&self, producer: ProducerEpoch) -> Result<(), ResponseError> {
        if self.state.is_ending() && producer == self.successor() {
            return Err(ResponseError::ConcurrentTransactions);
        }
        self.check_producer(producer)?;
        if self.state.is_ending() { Err(ResponseError::ConcurrentTransactions) } else { Ok(()) }
    }

    /// The transaction after AddPartitionsToTxn; `None` if that changes nothing.
    pub fn after_add(&self, request: &AddRequest, now_ms: i64) -> Result<Option<Transaction>, ResponseError> {
        self.check_next_producer(request.producer)?;
        let ongoing = self.state == TransactionState::Ongoing;
        if ongoing && request.partitions.is_subset(&self.partitions) {
            return Ok(None);
        }
        let mut next = self.clone();
        if !ongoing {
            next.partitions.clear();
            next.start_ms = now_ms;
        }
        next.previous_id = self.producer.id;
        next.client_version = request.client_version;
        next.state = TransactionState::Ongoing;
        next.partitions.extend(request.partitions.iter().cloned());
        next.updated_ms = now_ms;
        Ok(Some(next))
    }

    /// Whether the producer's open transaction has the partition, for each that is asked about.
    pub fn verify(&self, request: &AddRequest) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        self.check_next_producer(request.producer)?;
        let verify = |partition: &TopicPartition| match self.partitions.contains(partition) {
            true => Ok(()),
            false => Err(ResponseError::TransactionAbortable),
        };
        Ok(request.partitions.iter().map(verify).collect())
    }

    /// The transaction after EndTxn; `None` if it has ended like that already.
    pub fn after_end(&self, request: &EndRequest, now_ms: i64) -> Result<Option<Transaction>, NotDone> {
        if request.client_version >= EPOCH_PER_TRANSACTION {
            return self.after_end_that_raises(request, now_ms);
        }
        self.check_producer(request.producer)?;
        match (self.state, request.commit) {
            (TransactionState::Ongoing, commit) => {
                let last_epoch = self.last_epoch;
                Ok(Some(Transaction {
                    client_version: 0,
                    last_epoch,
                    ..self.ending(commit, self.producer, now_ms)
                }))
            }
            (TransactionState::CompleteCommit, true) | (TransactionState::CompleteAbort, false) => Ok(None),
            (TransactionState::PrepareCommit, true) | (TransactionState::PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions.into())
            }
            _ => Err(ResponseError::InvalidTxnState.into()),
        }
    }

    /// EndTxn of a client that has an epoch per transaction. The present epoch asks for the end of the present
    /// transaction, the one before it for what has been done (Kafka: the table in
    /// `TransactionCoordinator.endTransaction`). An abort is taken without a transaction too, because the client does
    /// not know whether its first record has begun one.
    fn after_end_that_raises(
        &self,
        request: &EndRequest,
        now_ms: i64,
    ) -> Result<Option<Transaction>, NotDone> {
        use TransactionState::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
        let (producer, commit) = (request.producer, request.commit);
        let rotated = self.previous_id == producer.id && self.producer.id != producer.id;
        let again = match rotated {
            true => producer.epoch == EPOCH_MAX && self.producer.epoch == 0,
            false => producer.epoch.checked_add(1) == Some(self.producer.epoch),
        };
        if producer.id != self.producer.id && !(rotated && again) {
            return Err(ResponseError::InvalidProducerIdMapping.into());
        }
        let present = producer == self.producer;
        let heard = match self.state {
            Empty | Ongoing => present,
            PrepareCommit | PrepareAbort => again,
            // The highest epoch fences, and is no producer's.
            CompleteCommit | CompleteAbort => present || (again && self.producer.epoch <= EPOCH_MAX),
        };
        if !heard {
            return fenced();
        }
        match (self.state, commit) {
            (Ongoing, _) | (Empty, false) => self.raised(commit, request.fresh, now_ms).map(Some),
            (PrepareCommit, true) | (PrepareAbort, false) => {
                Err(ResponseError::ConcurrentTransactions.into())
            }
            (CompleteCommit, true) | (CompleteAbort, false) if again => Ok(None),
            (CompleteCommit | CompleteAbort, false) if present => {
                self.raised(false, request.fresh, now_ms).map(Some)
            }
            _ => Err(ResponseError::InvalidTxnState.into()),
        }
    }

    fn raised(&self, commit: bool, fresh: Option<i64>, now_ms: i64) -> Result<Transaction, NotDone> {
        let next_id = match self.producer.epoch >= EPOCH_MAX {
            true => fresh.ok_or(NotDone::NeedsProducerId)?,
            false => NO_ID,
        };
        let ending = self.ending(commit, self.next_epoch(), now_ms);
        let (last_epoch, client_version) = (self.producer.epoch, EPOCH_PER_TRANSACTION);
        Ok(Transaction { next_id, last_epoch, client_version, ..ending })
    }

    /// The open transaction aborted by the coordinator: the producer is fenced by the next epoch.
    pub fn fenced_off(&self, now_ms: i64) -> Transaction {
        self.ending(false, self.next_epoch(), now_ms)
    }

    fn ending(&self, commit: bool, producer: ProducerEpoch, now_ms: i64) -> Transaction {
        let state = if commit { TransactionState::PrepareCommit } else { TransactionState::PrepareAbort };
        let open = self.state == TransactionState::Ongoing;
        Transaction {
            producer,
            previous_id: self.producer.id,
            next_id: NO_ID,
            last_epoch: NO_EPOCH,
            state,
            partitions: if open { self.partitions.clone() } else { BTreeSet::new() },
            start_ms: if open { self.start_ms } else { now_ms },
            updated_ms: now_ms,
            ..*self
        }
    }

    /// Every partition has its marker.
    pub fn completed(&self, now_ms: i64) -> Transaction {
        let state = match self.state {
            TransactionState::PrepareCommit => TransactionState::CompleteCommit,
            _ => TransactionState::CompleteAbort,
        };
        Transaction {
            producer: self.successor(),
            previous_id: self.producer.id,
            next_id: NO_ID,
            state,
            partitions: BTreeSet::new(),
            start_ms: -1,
            updated_ms: now_ms,
            ..*self
        }
    }
}
