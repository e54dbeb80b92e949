//! What a partition knows of its producers: sequences for idempotence, and transactions.
//!
//! The state follows the log: [`Producers::follow`] is called for each appended entry, in order, on every
//! replica, and checks nothing. The leader asks [`Producers::check`] and [`Producers::check_marker`] before it
//! appends. Nothing here reads a clock; what depends on time is given it.
//!
//! Sources: KIP-98 (idempotence, transactions, the last five batches of a producer), KIP-360 (a producer may
//! go on with an epoch that is higher), Kafka's `ProducerAppendInfo` and `ProducerStateManager` for the cases
//! that the KIPs leave open, among them that an unknown producer may begin with any sequence; KIP-890 (the first
//! record of a transaction needs the coordinator's word, and a marker with an epoch of its own ends no later
//! transaction). Kafka keeps a guard per producer while the coordinator is asked; here it is where the producer's last
//! marker lies, which every replica knows.

#[cfg(test)]
mod tests;
mod transactions;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::log::batch::BatchHeader;
use crate::log::{Entry, EntryKind};
use transactions::Transactions;

pub(crate) use transactions::{Aborted, LastEnd, Marker, Standing};

/// Batches of a producer that are remembered (KIP-98: at most five requests are in flight).
const BATCHES_MAX: usize = 5;

/// The producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    producers: BTreeMap<i64, Producer>,
    transactions: Transactions,
}

/// One producer id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// Of this epoch, oldest first.
    batches: VecDeque<Sent>,
    /// Of the newest marker; -1 before the first.
    coordinator_epoch: i32,
    last_timestamp_ms: i64,
    #[serde(default)]
    last_end: LastEnd,
}

/// A batch that is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
}

/// What is to be done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    New,
    /// It is in the log already, at these offsets.
    Duplicate { base_offset: i64, last_offset: i64 },
}

/// Why a batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProducerError {
    /// INVALID_PRODUCER_EPOCH: a newer instance of the producer has written.
    #[error("producer {producer_id} has epoch {known}, the batch has {epoch}")]
    InvalidEpoch { producer_id: i64, epoch: i16, known: i16 },
    /// OUT_OF_ORDER_SEQUENCE_NUMBER: a batch between is missing, or the batch is older than what is remembered.
    #[error("producer {producer_id} sends sequence {sequence} after {last}")]
    OutOfOrder { producer_id: i64, sequence: i32, last: i32 },
    /// TRANSACTION_COORDINATOR_FENCED: a newer coordinator has written a marker.
    #[error("coordinator epoch {epoch} is older than {known}")]
    CoordinatorFenced { epoch: i32, known: i32 },
    /// INVALID_TXN_STATE: a batch outside of transactions from a producer that has one open.
    #[error("producer {producer_id} has an open transaction, the batch belongs to none")]
    NotTransactional { producer_id: i64 },
    /// INVALID_TXN_STATE: nobody has said that the transaction of the batch is open, or it has ended since (KIP-890).
    #[error("producer {producer_id} has no open transaction that the partition belongs to")]
    NotBegun { producer_id: i64 },
}

/// A producer as `DescribeProducers` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerView {
    pub producer_id: i64,
    pub epoch: i16,
    /// -1 if no batch is remembered.
    pub last_sequence: i32,
    pub last_timestamp_ms: i64,
    /// -1 before the first marker.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction; -1 without one.
    pub transaction_start: i64,
}

impl Producers {
    /// Whether a client's batch may be appended. Batches without a producer id always may.
    ///
    /// # Errors
    /// As [`ProducerError`] says; nothing changes.
    pub fn check(&self, batch: &BatchHeader) -> Result<Verdict, ProducerError> {
        let producer_id = batch.producer_id;
        if producer_id < 0 {
            return Ok(Verdict::New);
        }
        // Present Kafka takes any first sequence of a producer that it does not know, because retention may
        // have taken what it knew.
        let Some(known) = self.producers.get(&producer_id) else { return Ok(Verdict::New) };
        let sequences = (batch.base_sequence, last_sequence(batch));
        // The group coordinator writes a transaction's offsets without a sequence (Kafka checks their epoch alone).
        let sequenced = batch.base_sequence >= 0;
        if sequenced && batch.producer_epoch == known.epoch {
            let same = |sent: &&Sent| (sent.first_sequence, sent.last_sequence) == sequences;
            if let Some(sent) = known.batches.iter().find(same) {
                return Ok(Verdict::Duplicate {
                    base_offset: sent.base_offset,
                    last_offset: sent.last_offset,
                });
            }
        }
        if batch.producer_epoch < known.epoch {
            let (epoch, known) = (batch.producer_epoch, known.epoch);
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, known });
        }
        let last = match batch.producer_epoch == known.epoch {
            true => known.batches.back().map_or(-1, |sent| sent.last_sequence),
            false => -1,
        };
        if sequenced && batch.base_sequence != next_sequence(last) {
            return Err(ProducerError::OutOfOrder { producer_id, sequence: batch.base_sequence, last });
        }
        if !batch.transactional() && self.transactions.first_offset(producer_id).is_some() {
            return Err(ProducerError::NotTransactional { producer_id });
        }
        Ok(Verdict::New)
    }

    /// What the coordinator's word for a transaction's first record is bound to; `None` if the transaction of this
    /// epoch is open here, so that nobody has to be asked.
    pub fn before_transaction(&self, producer_id: i64, epoch: i16) -> Option<LastEnd> {
        let known = self.producers.get(&producer_id);
        let open = known.is_some_and(|known| known.epoch == epoch)
            && self.transactions.first_offset(producer_id).is_some();
        (!open).then(|| known.map_or(LastEnd::default(), |known| known.last_end))
    }

    /// Whether the transaction that a batch belongs to is open, or is begun by it (KIP-890). Batches outside of
    /// transactions always pass.
    ///
    /// # Errors
    /// `NotBegun`.
    pub fn check_transaction(&self, batch: &BatchHeader, standing: Standing) -> Result<(), ProducerError> {
        if !batch.transactional() {
            return Ok(());
        }
        match self.before_transaction(batch.producer_id, batch.producer_epoch) {
            Some(last_end) if standing != Standing::Begins(last_end) => {
                Err(ProducerError::NotBegun { producer_id: batch.producer_id })
            }
            _ => Ok(()),
        }
    }

    /// Whether a marker may be appended. One whose epoch was raised for it is higher than that of the records that it
    /// ends; if the producer is at its epoch already it comes late, or again (KIP-890, KAFKA-19446).
    ///
    /// # Errors
    /// `InvalidEpoch`, `CoordinatorFenced`.
    pub fn check_marker(
        &self,
        producer_id: i64,
        epoch: i16,
        raised_epoch: bool,
        coordinator_epoch: i32,
    ) -> Result<(), ProducerError> {
        let Some(known) = self.producers.get(&producer_id) else { return Ok(()) };
        if epoch < known.epoch || (raised_epoch && epoch == known.epoch) {
            return Err(ProducerError::InvalidEpoch { producer_id, epoch, known: known.epoch });
        }
        if coordinator_epoch < known.coordinator_epoch {
            let known = known.coordinator_epoch;
            return Err(ProducerError::CoordinatorFenced { epoch: coordinator_epoch, known });
        }
        Ok(())
    }

    /// Takes note of an appended entry.
    pub fn follow(&mut self, entry: &Entry) {
        if entry.kind != EntryKind::Batch {
            return;
        }
        // The log has checked the batch.
        let Ok(batch) = BatchHeader::read(&entry.payload) else { return };
        if batch.producer_id < 0 {
            return;
        }
        let producer = self.producers.entry(batch.producer_id).or_insert(Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            last_timestamp_ms: batch.max_timestamp_ms,
            last_end: LastEnd::default(),
        });
        if batch.producer_epoch > producer.epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        producer.last_timestamp_ms = batch.max_timestamp_ms;
        if batch.control() {
            if let Some(marker) = Marker::read(&entry.payload) {
                producer.coordinator_epoch = producer.coordinator_epoch.max(marker.coordinator_epoch);
                producer.last_end = LastEnd::at(batch.last_offset());
                self.transactions.end(batch.producer_id, batch.last_offset(), marker.committed);
            }
            return;
        }
        if batch.base_sequence >= 0 {
            producer.batches.push_back(Sent {
                first_sequence: batch.base_sequence,
                last_sequence: last_sequence(&batch),
                base_offset: batch.base_offset,
                last_offset: batch.last_offset(),
            });
        }
        if producer.batches.len() > BATCHES_MAX {
            producer.batches.pop_front();
        }
        if batch.transactional() {
            self.transactions.begin(batch.producer_id, batch.base_offset);
        }
    }

    /// The last stable offset: nothing below it belongs to a transaction whose end is not below the high
    /// watermark, too.
    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        self.transactions.last_stable_offset(high_watermark)
    }

    /// The aborted transactions that have records at `from..to`, by the offset of their end. A reader of
    /// committed records passes over what lies between the offsets and is of that producer.
    pub fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.transactions.aborted(from, to)
    }

    /// Everything below is committed by the replicas: ends of transactions there need no more be watched.
    pub fn committed(&mut self, high_watermark: i64) {
        self.transactions.committed(high_watermark);
    }

    /// The log begins later: aborted transactions that end below need no more be known.
    pub fn start_at(&mut self, start_offset: i64) {
        self.transactions.start_at(start_offset);
    }

    /// Forgets producers that have not written for `expiry_ms` and have no transaction open; tells how many.
    pub fn expire(&mut self, now_ms: i64, expiry_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|id, producer| {
            now_ms.saturating_sub(producer.last_timestamp_ms) < expiry_ms
                || self.transactions.first_offset(*id).is_some()
        });
        before - self.producers.len()
    }

    /// The producers by id.
    pub fn views(&self) -> impl Iterator<Item = ProducerView> {
        self.producers.iter().map(|(id, producer)| ProducerView {
            producer_id: *id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |sent| sent.last_sequence),
            last_timestamp_ms: producer.last_timestamp_ms,
            coordinator_epoch: producer.coordinator_epoch,
            transaction_start: self.transactions.first_offset(*id).unwrap_or(-1),
        })
    }

    /// The state as bytes, for a file or for a follower.
    pub fn encode(&self) -> Vec<u8> {
        // Maps with integer keys and plain values: JSON takes them all.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The state from what [`Producers::encode`] gave; `None` if the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Option<Producers> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The sequence of a batch's last record. Sequences begin again at 0 after the largest.
fn last_sequence(batch: &BatchHeader) -> i32 {
    let last = i64::from(batch.base_sequence) + i64::from(batch.last_offset_delta);
    (last % (i64::from(i32::MAX) + 1)) as i32
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}
