//! The records of `kafka_internal/tx`: a transactional id, and what is known of its transaction.
//!
//! Key and value are those of Kafka's `__transaction_state` in version 0 (schemas `TransactionLogKey`,
//! `TransactionLogValue`). A key without a value is a tombstone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::request::ProducerEpoch;
use super::transaction::{NO_EPOCH, Transaction, TransactionState};
use crate::coordinator::Record;
use crate::coordinator::codec::{FieldReader, FieldWriter, Malformed};
use crate::groups::offsets::TopicPartition;

const VERSION: i16 = 0;

/// A transactional id as it is, or (`None`) that it is no more.
pub(super) fn record(id: &str, transaction: Option<&Transaction>) -> Record {
    let key = FieldWriter::version(VERSION).text(id).finish();
    Record { key, value: transaction.map(value) }
}

fn value(transaction: &Transaction) -> Bytes {
    let mut value = FieldWriter::version(VERSION);
    value.i64(transaction.producer.id).i16(transaction.producer.epoch);
    value.i32(i32::try_from(transaction.timeout.as_millis()).unwrap_or(i32::MAX));
    value.i8(transaction.state as i8);
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &transaction.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    value.i32(topics.len() as i32);
    for (topic, partitions) in topics {
        value.text(topic).i32(partitions.len() as i32);
        for partition in partitions {
            value.i32(partition);
        }
    }
    value.i64(transaction.updated_ms).i64(transaction.start_ms).finish()
}

/// Reads a record.
///
/// # Errors
/// A record that is not of the form its version has.
pub(super) fn read(record: Record) -> Result<(String, Option<Transaction>), Malformed> {
    let mut key = FieldReader::new(record.key);
    if key.i16()? != VERSION {
        return Err(Malformed);
    }
    Ok((key.text()?, record.value.map(read_value).transpose()?))
}

fn read_value(value: Bytes) -> Result<Transaction, Malformed> {
    let mut value = FieldReader::new(value);
    if value.i16()? != VERSION {
        return Err(Malformed);
    }
    let producer = ProducerEpoch { id: value.i64()?, epoch: value.i16()? };
    let timeout = Duration::from_millis(u64::try_from(value.i32()?).map_err(|_| Malformed)?);
    let state = usize::try_from(value.i8()?).map_err(|_| Malformed)?;
    let state = TransactionState::ALL.get(state).copied().ok_or(Malformed)?;
    let mut partitions = BTreeSet::new();
    for _ in 0..value.count()? {
        let topic = value.text()?;
        for _ in 0..value.count()? {
            partitions.insert(TopicPartition::new(topic.clone(), value.i32()?));
        }
    }
    let (updated_ms, start_ms) = (value.i64()?, value.i64()?);
    let last = ProducerEpoch { id: -1, epoch: NO_EPOCH };
    Ok(Transaction { producer, last, timeout, state, partitions, start_ms, updated_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_come_back_as_they_were() {
        for state in TransactionState::ALL {
            let transaction = Transaction {
                producer: ProducerEpoch { id: 7, epoch: 3 },
                timeout: Duration::from_secs(60),
                state,
                partitions: [("a", 0), ("a", 5), ("b", 1)]
                    .map(|(topic, index)| TopicPartition::new(topic, index))
                    .into(),
                start_ms: 10,
                ..Transaction::new(20)
            };
            let record = record("id", Some(&transaction));
            assert_eq!(read(record.clone()), Ok(("id".to_owned(), Some(transaction))));
            let value = record.value.unwrap();
            for length in 0..value.len() {
                let cut = Record { key: record.key.clone(), value: Some(value.slice(..length)) };
                assert_eq!(read(cut), Err(Malformed), "{length}");
            }
        }
        assert_eq!(read(record("id", None)), Ok(("id".to_owned(), None)));
        assert_eq!(&record("id", None).key[..], b"\0\0\0\x02id");
    }
}
