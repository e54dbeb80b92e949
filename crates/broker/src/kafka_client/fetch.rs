//! Reading a partition.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, ListOffsetsRequest};

use super::connection::Connections;
use super::records::{FetchedRecord, decode};
use super::{KafkaClient, KafkaError, REQUEST_TIMEOUT, TopicPartition, topic_name};
use crate::config::HostPort;

const FETCH_VERSION: i16 = 11;
const LIST_OFFSETS_VERSION: i16 = 6;
/// ListOffsets: the offset after the last one that can be read, and the first one.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;

/// How much an answer holds, and how long it may be waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchLimits {
    pub wait: Duration,
    pub bytes_min: i32,
    pub bytes_max: i32,
}

/// What a partition gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub records: Vec<FetchedRecord>,
    /// The offset to read next.
    pub next: i64,
    pub high_watermark: i64,
}

impl KafkaClient {
    /// Reads several partitions of one leader at once; each has an answer of its own.
    ///
    /// # Errors
    /// What concerns all of them.
    pub async fn fetch_at(
        &self,
        connections: &Connections,
        leader: &HostPort,
        wanted: &[(TopicPartition, i64)],
        limits: FetchLimits,
    ) -> Result<Vec<(TopicPartition, Result<Fetched, KafkaError>)>, KafkaError> {
        let mut topics: BTreeMap<&str, Vec<FetchPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in wanted {
            topics.entry(topic).or_default().push(fetch_partition(*partition, *offset, limits));
        }
        let request = fetch_request(topics, limits);
        let patience = limits.wait + REQUEST_TIMEOUT;
        let response = connections.request(leader, &request, FETCH_VERSION, patience).await?;
        KafkaError::check(response.error_code, None)?;
        let from: BTreeMap<&TopicPartition, i64> =
            wanted.iter().map(|(key, offset)| (key, *offset)).collect();
        let mut answers = Vec::new();
        for topic in response.responses {
            for data in topic.partitions {
                let key = (topic.topic.to_string(), data.partition_index);
                let Some(offset) = from.get(&key).copied() else { continue };
                answers.push((key, fetched(data, offset)));
            }
        }
        Ok(answers)
    }

    /// Reads from an offset on, at the leader; nothing after the high watermark.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE among others.
    pub async fn fetch(
        &self,
        connections: Option<&Connections>,
        topic: &str,
        partition: i32,
        offset: i64,
        limits: FetchLimits,
    ) -> Result<Fetched, KafkaError> {
        let topics = [(topic, vec![fetch_partition(partition, offset, limits)])];
        let request = fetch_request(topics.into_iter().collect(), limits);
        let patience = limits.wait + REQUEST_TIMEOUT;
        let connections = connections.unwrap_or(&self.shared);
        let asked = (&request, FETCH_VERSION, patience);
        self.ask_leader(connections, (topic, partition), asked, |response| {
            KafkaError::check(response.error_code, None)?;
            let topic = response.responses.into_iter().next();
            let data = topic.and_then(|topic| topic.partitions.into_iter().next()).ok_or_else(unanswered)?;
            fetched(data, offset)
        })
        .await
    }

    /// The offset after the last record that can be read.
    ///
    /// # Errors
    /// Everything that keeps the answer away.
    pub async fn high_watermark(&self, topic: &str, partition: i32) -> Result<i64, KafkaError> {
        self.list_offset(topic, partition, LATEST).await
    }

    /// The first offset that there is.
    ///
    /// # Errors
    /// Everything that keeps the answer away.
    pub async fn start_offset(&self, topic: &str, partition: i32) -> Result<i64, KafkaError> {
        self.list_offset(topic, partition, EARLIEST).await
    }

    async fn list_offset(&self, topic: &str, partition: i32, at: i64) -> Result<i64, KafkaError> {
        let wanted = ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(at);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]),
        ]);
        let asked = (&request, LIST_OFFSETS_VERSION, REQUEST_TIMEOUT);
        self.ask_leader(&self.shared, (topic, partition), asked, |response| {
            let topic = response.topics.into_iter().next();
            let data = topic.and_then(|topic| topic.partitions.into_iter().next()).ok_or_else(unanswered)?;
            KafkaError::check(data.error_code, None)?;
            Ok(data.offset)
        })
        .await
    }
}

fn fetch_partition(partition: i32, offset: i64, limits: FetchLimits) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(limits.bytes_max)
}

fn fetch_request(topics: BTreeMap<&str, Vec<FetchPartition>>, limits: FetchLimits) -> FetchRequest {
    let topics = topics
        .into_iter()
        .map(|(topic, wanted)| FetchTopic::default().with_topic(topic_name(topic)).with_partitions(wanted))
        .collect();
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(limits.wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(limits.bytes_min)
        .with_max_bytes(limits.bytes_max)
        .with_topics(topics)
}

fn fetched(data: PartitionData, from: i64) -> Result<Fetched, KafkaError> {
    KafkaError::check(data.error_code, None)?;
    let (records, next) = decode(&data.records.unwrap_or_default(), from)?;
    Ok(Fetched { records, next, high_watermark: data.high_watermark })
}

fn unanswered() -> KafkaError {
    KafkaError::Malformed("there is no answer about the partition".to_owned())
}
