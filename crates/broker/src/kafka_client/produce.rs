//! Writing: one batch at once, or records that wait for others of their partition.
//!
//! A batch goes when it has enough records or bytes, or has waited long enough (redpanda.md 2.1, `produce_*`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::records::{Record, encode};
use super::{KafkaClient, KafkaError, REQUEST_TIMEOUT, topic_name};

const PRODUCE_VERSION: i16 = 9;
/// How long a leader may take to get a batch onto a majority's disks.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(5);

/// The batches that are being filled, by topic and partition.
pub(super) type Batches = BTreeMap<(String, i32), Batch>;

/// A batch that is being filled.
#[derive(Default)]
pub(super) struct Batch {
    records: Vec<Record>,
    bytes: usize,
    full: Arc<Notify>,
    waiting: Vec<Waiting>,
}

/// Somebody who wants to know the offset of the records from `first` on.
struct Waiting {
    first: i64,
    answer: oneshot::Sender<Result<i64, KafkaError>>,
}

impl Batch {
    fn add(&mut self, records: Vec<Record>) -> oneshot::Receiver<Result<i64, KafkaError>> {
        let (answer, wait) = oneshot::channel();
        self.waiting.push(Waiting { first: self.records.len() as i64, answer });
        self.bytes += records.iter().map(Record::size).sum::<usize>();
        self.records.extend(records);
        wait
    }

    fn is_full(&self, records_max: usize, bytes_max: usize) -> bool {
        self.records.len() >= records_max || self.bytes >= bytes_max
    }

    /// Whether these records would make a batch of the wrong size out of a good one.
    fn has_no_room(&self, records: &[Record], bytes_max: usize) -> bool {
        let more: usize = records.iter().map(Record::size).sum();
        !self.records.is_empty() && self.bytes + more > bytes_max
    }

    fn tell(self, result: Result<i64, KafkaError>) {
        for Waiting { first, answer } in self.waiting {
            // Whoever waited may have given up.
            let _ = answer.send(result.clone().map(|base| base + first));
        }
    }
}

impl KafkaClient {
    /// Writes a batch of these records, at least one, and returns the offset of the first.
    ///
    /// # Errors
    /// Why they are not written, or not known to be.
    pub async fn produce(&self, topic: &str, partition: i32, records: &[Record]) -> Result<i64, KafkaError> {
        let batch = encode(records, (self.clock)())?;
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let request = ProduceRequest::default()
            // 0 would get no answer, and whoever asked over HTTP wants one.
            .with_acks(if self.config.produce_ack_level == 1 { 1 } else { -1 })
            .with_timeout_ms(PRODUCE_TIMEOUT.as_millis() as i32)
            .with_topic_data(vec![
                TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![data]),
            ]);
        let patience = PRODUCE_TIMEOUT + REQUEST_TIMEOUT;
        let asked = (&request, PRODUCE_VERSION, patience);
        self.ask_leader(&self.shared, (topic, partition), asked, |response| {
            let topic = response.responses.into_iter().next();
            let data = topic.and_then(|topic| topic.partition_responses.into_iter().next());
            let data = data.ok_or_else(|| KafkaError::Malformed("no answer about the batch".to_owned()))?;
            KafkaError::check(data.error_code, data.error_message.as_deref())?;
            Ok(data.base_offset)
        })
        .await
    }

    /// Writes records together with others that come at about the same time, and returns the offset of the
    /// first.
    ///
    /// # Errors
    /// As [`KafkaClient::produce`].
    pub async fn produce_in_batches(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
        records: Vec<Record>,
    ) -> Result<i64, KafkaError> {
        let wait = self.enqueue(topic, partition, records);
        let lost = || Err(KafkaError::Unreachable("the broker is going down".to_owned()));
        wait.await.unwrap_or_else(|_| lost())
    }

    fn enqueue(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
        records: Vec<Record>,
    ) -> oneshot::Receiver<Result<i64, KafkaError>> {
        let (records_max, bytes_max) =
            (self.config.produce_batch_record_count, self.config.produce_batch_size_bytes);
        let key = (topic.to_owned(), partition);
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = batches.get(&key)
            && batch.has_no_room(&records, bytes_max)
            && let Some(filled) = batches.remove(&key)
        {
            self.send(&key, filled);
        }
        if !batches.contains_key(&key) {
            let batch = Batch::default();
            self.send_later(key.clone(), Arc::clone(&batch.full));
            batches.insert(key.clone(), batch);
        }
        let batch = batches.entry(key).or_default();
        let wait = batch.add(records);
        if batch.is_full(records_max, bytes_max) {
            batch.full.notify_one();
        }
        wait
    }

    /// Sends the batch of this key when it is full or has waited long enough.
    fn send_later(self: &Arc<Self>, key: (String, i32), full: Arc<Notify>) {
        let client = Arc::clone(self);
        self.tasks.spawn(async move {
            let _ = timeout(client.config.produce_batch_delay, full.notified()).await;
            let batch = {
                let mut batches = client.batches.lock().unwrap_or_else(PoisonError::into_inner);
                // Another batch may have taken its place.
                match batches.get(&key).is_some_and(|batch| Arc::ptr_eq(&batch.full, &full)) {
                    true => batches.remove(&key),
                    false => None,
                }
            };
            if let Some(batch) = batch {
                let result = client.produce(&key.0, key.1, &batch.records).await;
                batch.tell(result);
            }
        });
    }

    fn send(self: &Arc<Self>, key: &(String, i32), batch: Batch) {
        let (client, key) = (Arc::clone(self), key.clone());
        self.tasks.spawn(async move {
            let result = client.produce(&key.0, key.1, &batch.records).await;
            batch.tell(result);
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn records(count: usize) -> Vec<Record> {
        vec![Record { key: None, value: Some(Bytes::from_static(&[0; 100])) }; count]
    }

    #[test]
    fn everybody_learns_their_own_offset() {
        let mut batch = Batch::default();
        let (mut first, mut second) = (batch.add(records(2)), batch.add(records(3)));
        batch.tell(Ok(40));
        assert_eq!((first.try_recv().unwrap(), second.try_recv().unwrap()), (Ok(40), Ok(42)));
    }

    #[test]
    fn batches_end_by_count_and_by_size() {
        let mut batch = Batch::default();
        let _wait = batch.add(records(2));
        assert!(!batch.is_full(3, 1000) && batch.is_full(2, 1000) && batch.is_full(3, 248));
        assert!(batch.has_no_room(&records(1), 300) && !batch.has_no_room(&records(1), 400));
        assert!(!Batch::default().has_no_room(&records(9), 10), "what is too large goes alone");
    }
}
