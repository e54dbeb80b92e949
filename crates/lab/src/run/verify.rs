//! Reading everything back, and what became of the records that clients sent.

use std::collections::BTreeMap;

use hopwise_client::{Client, ClientError, FetchOptions, FetchedRecord, OffsetSpec};

use super::workload::{Partition, Sent, Writers};
use crate::report::run::Data;

/// Fetches without progress in a row after which a partition counts as read: what is below its end could be read at
/// once.
const IDLE_FETCHES_MAX: u32 = 5;

/// The records of each partition, in the order of their offsets.
pub(super) type Stored = BTreeMap<Partition, Vec<StoredRecord>>;

/// A record as it was read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredRecord {
    pub offset: i64,
    pub key: String,
}

/// Reads every partition from its first record to its end.
///
/// # Errors
/// What the client says, with the partition.
pub(super) async fn read_all(
    client: &Client,
    partitions: &[Partition],
    options: FetchOptions,
) -> Result<Stored, String> {
    let mut stored = Stored::new();
    for partition in partitions {
        let end = end_of(client, partition).await?;
        let records = read(client, partition, end, options).await?;
        let record = |fetched: &FetchedRecord| StoredRecord { offset: fetched.offset, key: key_in(fetched) };
        stored.insert(partition.clone(), records.iter().map(record).collect());
    }
    Ok(stored)
}

/// The key of a record that was read, as text.
pub(super) fn key_in(fetched: &FetchedRecord) -> String {
    String::from_utf8_lossy(fetched.record.key.as_deref().unwrap_or(b"")).into_owned()
}

/// The offset after a partition's last record.
pub(super) async fn end_of(client: &Client, (topic, index): &Partition) -> Result<i64, String> {
    client.list_offsets(topic, *index, OffsetSpec::Latest).await.map_err(|error| at(topic, *index, &error))
}

/// The records of a partition from its first one on, up to the offset `end`.
pub(super) async fn read(
    client: &Client,
    (topic, index): &Partition,
    end: i64,
    options: FetchOptions,
) -> Result<Vec<FetchedRecord>, String> {
    let failed = |error| at(topic, *index, &error);
    let mut offset = client.list_offsets(topic, *index, OffsetSpec::Earliest).await.map_err(failed)?;
    let (mut records, mut idle) = (Vec::new(), 0);
    while offset < end && idle < IDLE_FETCHES_MAX {
        let fetched = client.fetch(topic, *index, offset, options).await.map_err(failed)?;
        idle = if fetched.next_offset > offset { 0 } else { idle + 1 };
        offset = fetched.next_offset;
        records.extend(fetched.records.into_iter().filter(|record| record.offset < end));
    }
    Ok(records)
}

fn at(topic: &str, index: i32, error: &ClientError) -> String {
    format!("{topic}/{index}: {error}")
}

/// Compares what was sent with what is stored; `sent` are the records of each client, by its name.
pub(super) fn judge(sent: &[(String, Vec<Sent>)], stored: &Stored) -> Data {
    let mut data = Data::default();
    let places = places_of(&Writers::of(sent), stored);
    for (writer, (_, sent)) in sent.iter().enumerate() {
        let mut next = BTreeMap::new();
        for record in sent {
            let found = places.get(&(writer, &record.partition, record.sequence));
            let found = found.map_or(&[][..], |found| &found[..]);
            data.acknowledged += u64::from(record.acknowledged);
            data.lost += u64::from(record.acknowledged && found.is_empty());
            data.duplicated += u64::from(found.len() > 1);
            data.duplicated_by_retry += u64::from(found.len() > 1 && record.repeated);
            // A client sends the records of a partition one after the other, so their first places have to rise.
            if let Some(&place) = found.first() {
                let least = next.entry(&record.partition).or_insert(0);
                data.reordered += u64::from(place < *least);
                *least = place + 1;
            }
        }
    }
    data
}

/// Where each writer's records are in each partition, by their numbers.
fn places_of<'a>(
    writers: &Writers<'_>,
    stored: &'a Stored,
) -> BTreeMap<(usize, &'a Partition, u64), Vec<usize>> {
    let mut places: BTreeMap<(usize, &Partition, u64), Vec<usize>> = BTreeMap::new();
    for (partition, records) in stored {
        for (place, record) in records.iter().enumerate() {
            if let Some((writer, sequence)) = writers.find(&record.key) {
                places.entry((writer, partition, sequence)).or_default().push(place);
            }
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        ("t".to_owned(), 0)
    }

    fn sent(sequences: std::ops::Range<u64>, repeated: &[u64]) -> Vec<Sent> {
        sequences
            .map(|sequence| Sent {
                sequence,
                partition: partition(),
                acknowledged: true,
                repeated: repeated.contains(&sequence),
                offset: None,
                transaction: None,
            })
            .collect()
    }

    fn stored(keys: &[&str]) -> Stored {
        let record = |(offset, key): (i64, &&str)| StoredRecord { offset, key: (*key).to_owned() };
        [(partition(), (0..).zip(keys).map(record).collect())].into()
    }

    #[test]
    fn each_record_once_and_in_order_is_well() {
        let data = judge(
            &[("a".into(), sent(0..3, &[])), ("b".into(), sent(0..1, &[]))],
            &stored(&["a/0", "b/0", "a/1", "a/2"]),
        );
        assert_eq!(data, Data { acknowledged: 4, ..Data::default() });
    }

    #[test]
    fn lost_duplicated_and_reordered_records_are_counted() {
        let data = judge(&[("a".into(), sent(0..4, &[3]))], &stored(&["a/1", "a/0", "a/1", "a/3", "a/3"]));
        let expected = Data { acknowledged: 4, lost: 1, duplicated: 2, duplicated_by_retry: 1, reordered: 1 };
        assert_eq!(data, expected);
    }

    #[test]
    fn a_record_that_nobody_acknowledged_may_be_missing() {
        let mut records = sent(0..2, &[]);
        records[1].acknowledged = false;
        let data = judge(&[("a".into(), records)], &stored(&["a/0"]));
        assert_eq!(data, Data { acknowledged: 1, ..Data::default() });
    }

    #[test]
    fn a_client_whose_name_ends_another_s_is_told_apart() {
        let data = judge(&[("a".into(), sent(0..1, &[]))], &stored(&["b/a/0"]));
        assert_eq!(data.lost, 1);
    }
}
