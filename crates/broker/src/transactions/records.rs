//! The records of `kafka_internal/tx`: a transactional id, and what is known of its transaction.
//!
//! Key and value are those of Kafka's `__transaction_state` (schemas `TransactionLogKey`, `TransactionLogValue`): the
//! key in version 0, the value in version 1, which has the ids before and after the present one and the client's
//! `transaction.version` as tagged fields (KIP-915, KIP-890). Values of version 0 are read too. A key without a value
//! is a tombstone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::request::ProducerEpoch;
use super::transaction::{NO_ID, Transaction, TransactionState};
use crate::coordinator::Record;
use crate::coordinator::codec::{FieldReader, FieldWriter, Malformed};
use crate::groups::offsets::TopicPartition;

const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 1;
/// Tags of a value's fields.
const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_TRANSACTION_VERSION: u32 = 2;

/// A transactional id as it is, or (`None`) that it is no more.
pub(super) fn record(id: &str, transaction: Option<&Transaction>) -> Record {
    let key = FieldWriter::version(KEY_VERSION).text(id).finish();
    Record { key, value: transaction.map(value) }
}

fn value(transaction: &Transaction) -> Bytes {
    let mut value = FieldWriter::version(VALUE_VERSION);
    value.i64(transaction.producer.id).i16(transaction.producer.epoch);
    value.i32(i32::try_from(transaction.timeout.as_millis()).unwrap_or(i32::MAX));
    value.i8(transaction.state as i8);
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in &transaction.partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    match transaction.state {
        TransactionState::Empty => value.compact_null(),
        _ => value.compact_count(topics.len()),
    };
    for (topic, partitions) in topics {
        value.compact_text(Some(topic)).compact_count(partitions.len());
        for partition in partitions {
            value.i32(partition);
        }
        value.no_tags();
    }
    value.i64(transaction.updated_ms).i64(transaction.start_ms);
    let ids = [(PREVIOUS_PRODUCER_ID, transaction.previous_id), (NEXT_PRODUCER_ID, transaction.next_id)];
    let ids = ids.map(|(tag, id)| (tag, id, id.to_be_bytes()));
    let version = transaction.client_version.to_be_bytes();
    // A field that has its default is left out.
    let ids = ids.iter().filter(|(_, id, _)| *id != NO_ID).map(|(tag, _, bytes)| (*tag, &bytes[..]));
    let version = (transaction.client_version != 0).then_some((CLIENT_TRANSACTION_VERSION, &version[..]));
    value.tagged(&ids.chain(version).collect::<Vec<_>>()).finish()
}

/// Reads a record.
///
/// # Errors
/// A record that is not of the form its version has.
pub(super) fn read(record: Record) -> Result<(String, Option<Transaction>), Malformed> {
    let mut key = FieldReader::new(record.key);
    if key.i16()? != KEY_VERSION {
        return Err(Malformed);
    }
    Ok((key.text()?, record.value.map(read_value).transpose()?))
}

fn read_value(value: Bytes) -> Result<Transaction, Malformed> {
    let mut value = FieldReader::new(value);
    let flexible = match value.i16()? {
        0 => false,
        VALUE_VERSION => true,
        _ => return Err(Malformed),
    };
    let producer = ProducerEpoch { id: value.i64()?, epoch: value.i16()? };
    let timeout = Duration::from_millis(u64::try_from(value.i32()?).map_err(|_| Malformed)?);
    let state = usize::try_from(value.i8()?).map_err(|_| Malformed)?;
    let state = TransactionState::ALL.get(state).copied().ok_or(Malformed)?;
    let partitions = read_partitions(&mut value, flexible)?;
    let (updated_ms, start_ms) = (value.i64()?, value.i64()?);
    let mut read =
        Transaction { producer, timeout, state, partitions, start_ms, ..Transaction::new(updated_ms) };
    if flexible {
        for (tag, mut field) in value.tagged()? {
            match tag {
                PREVIOUS_PRODUCER_ID => read.previous_id = field.i64()?,
                NEXT_PRODUCER_ID => read.next_id = field.i64()?,
                CLIENT_TRANSACTION_VERSION => read.client_version = field.i16()?,
                _ => {}
            }
        }
    }
    Ok(read)
}

fn read_partitions(value: &mut FieldReader, flexible: bool) -> Result<BTreeSet<TopicPartition>, Malformed> {
    let count = |value: &mut FieldReader| if flexible { value.compact_count() } else { value.count() };
    let mut partitions = BTreeSet::new();
    for _ in 0..count(value)? {
        let topic = if flexible { value.compact_text()?.ok_or(Malformed)? } else { value.text()? };
        for _ in 0..count(value)? {
            partitions.insert(TopicPartition::new(topic.clone(), value.i32()?));
        }
        if flexible {
            value.tags()?;
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_come_back_as_they_were() {
        for state in TransactionState::ALL {
            let partitions =
                [("a", 0), ("a", 5), ("b", 1)].map(|(topic, index)| TopicPartition::new(topic, index));
            let transaction = Transaction {
                producer: ProducerEpoch { id: 7, epoch: 3 },
                previous_id: 6,
                next_id: 8,
                client_version: 2,
                timeout: Duration::from_secs(60),
                state,
                // There are none before the first transaction.
                partitions: if state == TransactionState::Empty {
                    BTreeSet::new()
                } else {
                    partitions.into()
                },
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

    /// Bytes that the schema `TransactionLogValue` asks for, put together by hand.
    #[test]
    fn values_have_the_form_of_kafka() {
        let transaction = Transaction {
            producer: ProducerEpoch { id: 7, epoch: 3 },
            previous_id: 7,
            client_version: 2,
            timeout: Duration::from_millis(9),
            state: TransactionState::Ongoing,
            partitions: BTreeSet::from([TopicPartition::new("a", 5)]),
            start_ms: 10,
            ..Transaction::new(20)
        };
        let mut expected = vec![0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 9, 1];
        // One topic: its name, one partition, no tagged fields.
        expected.extend([2, 2, b'a', 2, 0, 0, 0, 5, 0]);
        expected.extend([0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 10]);
        expected.extend([2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 2, 2, 0, 2]);
        assert_eq!(record("id", Some(&transaction)).value.unwrap(), expected);
        let empty = record("id", Some(&Transaction::new(20))).value.unwrap();
        assert_eq!(empty[17..18], [0], "no partitions is null");
    }

    #[test]
    fn values_of_version_0_and_fields_of_later_kafkas_are_read() {
        let mut value = FieldWriter::version(0);
        value.i64(7).i16(3).i32(9).i8(1).i32(1).text("a").i32(1).i32(5).i64(20).i64(10);
        let key = record("id", None).key;
        let old = Transaction {
            producer: ProducerEpoch { id: 7, epoch: 3 },
            timeout: Duration::from_millis(9),
            state: TransactionState::Ongoing,
            partitions: BTreeSet::from([TopicPartition::new("a", 5)]),
            start_ms: 10,
            ..Transaction::new(20)
        };
        let read_old = read(Record { key: key.clone(), value: Some(value.finish()) });
        assert_eq!(read_old, Ok(("id".to_owned(), Some(old.clone()))));
        let mut later = FieldWriter::version(1);
        later
            .i64(7)
            .i16(3)
            .i32(9)
            .i8(1)
            .compact_count(1)
            .compact_text(Some("a"))
            .compact_count(1)
            .i32(5)
            .no_tags();
        // KIP-939: the epoch that a prepared transaction goes on with.
        later.i64(20).i64(10).tagged(&[(3, &[0, 4])]);
        assert_eq!(read(Record { key, value: Some(later.finish()) }), Ok(("id".to_owned(), Some(old))));
    }
}
