//! What callers ask of a client.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataResponse, ProduceRequest,
    ProduceResponse, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::attempt::{Exchange, Subject};
use crate::batch::{self, Aborted, Batch, FetchedRecord, Record};
use crate::behaviour::Patience;
use crate::call::Destination;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::refresh::metadata_request;
use crate::{ClientError, HostPort, Operation, hint};

/// The first versions of Produce and Fetch that name topics by their ids (KIP-516).
const PRODUCE_BY_ID: i16 = 13;
const FETCH_BY_ID: i16 = 13;
/// CreateTopics with the settings of the new topic in the answer (KIP-525); see `handshake` for why no newer one.
const CREATE_TOPICS_VERSION_MAX: i16 = 5;
/// ListOffsets with the leader's epoch (KIP-320); see `handshake` for why no newer one.
const LIST_OFFSETS_VERSION_MAX: i16 = 5;
/// FindCoordinator: from 4 on several keys at once (KIP-699).
const FIND_COORDINATOR_VERSION_MAX: i16 = 4;

/// What a coordinator coordinates (Kafka protocol guide, FindCoordinator: the key's type).
const GROUP: i8 = 0;
pub(crate) const TRANSACTIONAL_ID: i8 = 1;

/// UNKNOWN_SERVER_ERROR stands for an answer that leaves out what was asked for (Kafka protocol guide).
pub(crate) const UNKNOWN_SERVER_ERROR: i16 = -1;
/// TOPIC_ALREADY_EXISTS (Kafka protocol guide, error codes).
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Who has to have a record before the broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody; there is no answer at all.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync; with Redpanda a majority (redpanda.md 4.3).
    All,
}

/// A place in a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record still there.
    Earliest,
    /// After the last record.
    Latest,
    /// The first record stamped at this time or later, in milliseconds.
    AtTime(i64),
}

/// How much a fetch waits for and brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchOptions {
    /// Longest wait for `min_bytes` (`fetch.max.wait.ms`, 500 ms).
    pub max_wait: Duration,
    /// Least bytes worth an answer (`fetch.min.bytes`, 1).
    pub min_bytes: i32,
    /// Most bytes of an answer (`fetch.max.bytes`, 50 MiB).
    pub max_bytes: i32,
    /// Most bytes of one partition (`max.partition.fetch.bytes`, 1 MiB).
    pub partition_max_bytes: i32,
    /// Whether records of transactions come only once they are committed (`isolation.level`, `read_uncommitted`).
    pub read_committed: bool,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            max_wait: Duration::from_millis(500),
            min_bytes: 1,
            max_bytes: 50 * 1024 * 1024,
            partition_max_bytes: 1024 * 1024,
            read_committed: false,
        }
    }
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The records at the offset asked for and later.
    pub records: Vec<FetchedRecord>,
    /// The offset to read next; the one asked for if nothing came.
    pub next_offset: i64,
    /// The offset after the last record that may be read.
    pub high_watermark: i64,
    /// The first offset still there; -1 if the broker does not tell.
    pub log_start_offset: i64,
}

/// A group's coordinator, as told to this client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coordinator {
    /// The broker's id.
    pub id: i32,
    /// Where it is to be reached.
    pub address: HostPort,
}

impl Client {
    /// Asks any broker for the brokers and all topics.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`] if nobody answered within the delivery timeout.
    pub async fn metadata(&self) -> Result<Cluster, ClientError> {
        let subject = Subject { operation: Operation::Metadata, topic: None, partition: None };
        let exchange = Exchange {
            build: &|version| metadata_request(None, version),
            judge: &|response: &MetadataResponse| (response.error_code, None),
            newest: self.inner.options.behaviour.metadata_version_max,
            answered: true,
            server_wait: Duration::ZERO,
            hint: None,
        };
        let patience = self.inner.options.behaviour.others;
        let (response, _) = self.call(&subject, &Destination::Any, &exchange, patience).await?;
        let missing = |about: String| ClientError::Incomplete { operation: Operation::Metadata, about };
        let response = response.ok_or_else(|| missing("the cluster".to_owned()))?;
        self.take_metadata(&response).map_err(|failure| missing(failure.explanation))
    }

    /// Makes a topic, and waits until the brokers say so.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] for example if it exists (but not if an earlier attempt of this call may have made
    /// it) or there are too few brokers, [`ClientError::GaveUp`] if no broker took it in time.
    pub async fn create_topic(&self, topic: &str, partitions: i32, replicas: i16) -> Result<(), ClientError> {
        let behaviour = &self.inner.options.behaviour;
        let timeout_ms = millis(behaviour.ack_timeout);
        let subject =
            Subject { operation: Operation::CreateTopic, topic: Some(topic.to_owned()), partition: None };
        let sent = AtomicU32::new(0);
        let exchange = Exchange {
            build: &|_| {
                sent.fetch_add(1, Ordering::Relaxed);
                create_topics_request(topic, partitions, replicas, timeout_ms)
            },
            judge: &|response: &CreateTopicsResponse| {
                let result = response.topics.first();
                let words = result.and_then(|result| result.error_message.as_ref());
                let code = result.map_or(UNKNOWN_SERVER_ERROR, |result| result.error_code);
                let again = sent.load(Ordering::Relaxed) > 1;
                if code == TOPIC_ALREADY_EXISTS && again {
                    return (0, None);
                }
                (code, words.map(|words| words.as_str().to_owned()))
            },
            newest: CREATE_TOPICS_VERSION_MAX,
            answered: true,
            server_wait: behaviour.ack_timeout,
            hint: None,
        };
        self.call(&subject, &Destination::Controller, &exchange, behaviour.others).await?;
        self.state().knowledge.doubted = true;
        Ok(())
    }

    /// Appends records to a partition at its leader, as one batch; gives the first one's offset, or -1 with
    /// [`Acks::None`].
    ///
    /// A retry after a lost answer may append them twice: the producer is not idempotent.
    ///
    /// # Errors
    /// [`ClientError::Records`] if they cannot be encoded, [`ClientError::Rejected`] if the broker turns them down,
    /// [`ClientError::GaveUp`] if no leader took them in time.
    pub async fn produce(
        &self,
        topic: &str,
        partition: i32,
        records: &[Record],
        acks: Acks,
    ) -> Result<i64, ClientError> {
        // Brokers go by records' dates: retention, and when a silent producer is forgotten.
        let now_ms = hopwise_engine::clock::unix_ms();
        let records = batch::encode(records, now_ms, None)?;
        let (batch, patience) = (Batch::of(records), self.patience_at_first());
        let sent = self.append(topic, partition, &batch, acks, patience).await;
        match self.elsewhere(topic, partition, &sent) {
            Some((partition, patience)) => self.append(topic, partition, &batch, acks, patience).await,
            None => sent,
        }
    }

    /// How patiently a batch is sent to the partition that its sender chose.
    pub(crate) fn patience_at_first(&self) -> Patience {
        let patience = self.inner.options.behaviour.produce;
        if self.inner.bugs.retry_elsewhere { Patience { retries: Some(0), ..patience } } else { patience }
    }

    /// Where a batch whose sending ended so is sent next, and how patiently: nowhere, unless the client has a bug.
    pub(crate) fn elsewhere(
        &self,
        topic: &str,
        partition: i32,
        sent: &Result<i64, ClientError>,
    ) -> Option<(i32, Patience)> {
        let undelivered = matches!(sent, Err(ClientError::GaveUp { .. }));
        let again = self.inner.bugs.retry_elsewhere && undelivered;
        again.then(|| (self.next_partition(topic, partition), self.inner.options.behaviour.produce))
    }

    pub(crate) async fn append(
        &self,
        topic: &str,
        partition: i32,
        batch: &Batch,
        acks: Acks,
        patience: Patience,
    ) -> Result<i64, ClientError> {
        let behaviour = &self.inner.options.behaviour;
        let timeout_ms = millis(behaviour.ack_timeout);
        let exchange = Exchange {
            build: &|version| {
                let name = self.name_of(topic, version >= PRODUCE_BY_ID);
                produce_request(name, partition, batch, acks, timeout_ms)
            },
            judge: &|response: &ProduceResponse| match produced(response, partition) {
                Some((code, _, words)) => (code, words),
                None => (UNKNOWN_SERVER_ERROR, None),
            },
            newest: behaviour.produce_version_max,
            answered: acks != Acks::None,
            server_wait: behaviour.ack_timeout,
            hint: Some(&|response| hint::of_produce(response, partition)),
        };
        let (response, _) =
            self.call_leader(Operation::Produce, topic, partition, &exchange, patience).await?;
        let offset =
            response.as_ref().and_then(|response| produced(response, partition)).map(|(_, offset, _)| offset);
        Ok(offset.unwrap_or(-1))
    }

    /// The partition after `partition`, round and round.
    fn next_partition(&self, topic: &str, partition: i32) -> i32 {
        let state = self.state();
        let partitions = state.knowledge.cluster.topics.get(topic).map(|topic| &topic.partitions);
        let next = partitions.and_then(|partitions| partitions.keys().find(|index| **index > partition));
        next.copied().unwrap_or(0)
    }

    /// What stands for a topic in requests: its name, or in later versions its id.
    fn name_of(&self, topic: &str, by_id: bool) -> (TopicName, Uuid) {
        if !by_id {
            return (topic_name(topic), Uuid::nil());
        }
        let id = self.state().knowledge.cluster.topics.get(topic).map(|topic| topic.id);
        (TopicName::default(), Uuid::from_bytes(id.unwrap_or_default()))
    }

    /// Reads records of a partition from its leader, beginning at `offset`.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] with code 1 if the offset is out of range, [`ClientError::Records`] if what came is
    /// no batch, [`ClientError::GaveUp`] if no leader answered in time.
    pub async fn fetch(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        options: FetchOptions,
    ) -> Result<Fetched, ClientError> {
        let behaviour = &self.inner.options.behaviour;
        let sent = AtomicU32::new(0);
        let exchange = Exchange {
            build: &|version| {
                let name = self.name_of(topic, version >= FETCH_BY_ID);
                let from = self.position(offset, sent.fetch_add(1, Ordering::Relaxed) + 1);
                fetch_request(name, partition, from, options)
            },
            judge: &|response: &FetchResponse| {
                let whole = Some(response.error_code).filter(|&code| code != 0);
                (
                    whole
                        .or(fetched(response, partition).map(|data| data.error_code))
                        .unwrap_or(UNKNOWN_SERVER_ERROR),
                    None,
                )
            },
            newest: behaviour.fetch_version_max,
            answered: true,
            server_wait: options.max_wait,
            hint: Some(&|response| hint::of_fetch(response, partition)),
        };
        let (response, _) =
            self.call_leader(Operation::Fetch, topic, partition, &exchange, behaviour.fetch).await?;
        let data = response.as_ref().and_then(|response| fetched(response, partition));
        let data = data.ok_or_else(|| incomplete(Operation::Fetch, topic, partition))?;
        let aborted = data.aborted_transactions.iter().flatten();
        let aborted =
            aborted.map(|it| Aborted { producer_id: it.producer_id.0, first_offset: it.first_offset });
        let batches = data.records.clone().unwrap_or_else(Bytes::new);
        let from = self.position(offset, sent.load(Ordering::Relaxed));
        let (records, next_offset) = batch::decode(batches, from, aborted.collect())?;
        Ok(Fetched {
            records,
            next_offset,
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
        })
    }

    /// Where a fetch from `offset` begins that is sent for the so-manieth time.
    fn position(&self, offset: i64, times: u32) -> i64 {
        if self.inner.bugs.forget_position && times > 1 { 0 } else { offset }
    }

    /// Asks a partition's leader for an offset; -1 if no record is as late as the time asked for.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`] if no leader answered in time.
    pub async fn list_offsets(
        &self,
        topic: &str,
        partition: i32,
        at: OffsetSpec,
    ) -> Result<i64, ClientError> {
        let exchange = Exchange {
            build: &|_| list_offsets_request(topic, partition, at),
            judge: &|response: &ListOffsetsResponse| {
                (listed(response, partition).map_or(UNKNOWN_SERVER_ERROR, |(code, _)| code), None)
            },
            newest: LIST_OFFSETS_VERSION_MAX,
            answered: true,
            server_wait: Duration::ZERO,
            hint: None,
        };
        let patience = self.inner.options.behaviour.others;
        let (response, _) =
            self.call_leader(Operation::ListOffsets, topic, partition, &exchange, patience).await?;
        let answer = response.as_ref().and_then(|response| listed(response, partition));
        answer.map(|(_, offset)| offset).ok_or_else(|| incomplete(Operation::ListOffsets, topic, partition))
    }

    /// Asks any broker which broker coordinates a consumer group.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`] if there is none within the delivery timeout (COORDINATOR_NOT_AVAILABLE).
    pub async fn find_coordinator(&self, group: &str) -> Result<Coordinator, ClientError> {
        self.coordinator_of(group, GROUP).await
    }

    pub(crate) async fn coordinator_of(&self, group: &str, kind: i8) -> Result<Coordinator, ClientError> {
        let subject = Subject { operation: Operation::FindCoordinator, topic: None, partition: None };
        let exchange = Exchange {
            build: &|version| coordinator_request(group, kind, version),
            judge: &|response: &FindCoordinatorResponse| match response.coordinators.first() {
                Some(one) => {
                    (one.error_code, one.error_message.as_ref().map(|words| words.as_str().to_owned()))
                }
                None => (
                    response.error_code,
                    response.error_message.as_ref().map(|words| words.as_str().to_owned()),
                ),
            },
            newest: FIND_COORDINATOR_VERSION_MAX,
            answered: true,
            server_wait: Duration::ZERO,
            hint: None,
        };
        let patience = self.inner.options.behaviour.others;
        let (response, _) = self.call(&subject, &Destination::Any, &exchange, patience).await?;
        let missing =
            || ClientError::Incomplete { operation: Operation::FindCoordinator, about: group.to_owned() };
        let response = response.ok_or_else(missing)?;
        let (id, host, port) = match response.coordinators.first() {
            Some(one) => (one.node_id.0, &one.host, one.port),
            None => (response.node_id.0, &response.host, response.port),
        };
        let port = u16::try_from(port).map_err(|_| missing())?;
        Ok(Coordinator { id, address: HostPort::new(host.as_str(), port) })
    }

    async fn call_leader<R>(
        &self,
        operation: Operation,
        topic: &str,
        partition: i32,
        exchange: &Exchange<'_, R>,
        patience: Patience,
    ) -> Result<(Option<R::Response>, u32), ClientError>
    where
        R: kafka_protocol::protocol::Request + Send + Sync,
        R::Response: Send,
    {
        let subject = Subject { operation, topic: Some(topic.to_owned()), partition: Some(partition) };
        let destination = Destination::Leader { topic: topic.to_owned(), partition };
        self.call(&subject, &destination, exchange, patience).await
    }
}

pub(crate) fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub(crate) fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

fn incomplete(operation: Operation, topic: &str, partition: i32) -> ClientError {
    ClientError::Incomplete { operation, about: format!("{topic}/{partition}") }
}

fn create_topics_request(
    topic: &str,
    partitions: i32,
    replicas: i16,
    timeout_ms: i32,
) -> CreateTopicsRequest {
    let wanted = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas);
    CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(timeout_ms)
}

fn coordinator_request(key: &str, kind: i8, version: i16) -> FindCoordinatorRequest {
    let key = StrBytes::from_string(key.to_owned());
    // Version 0 knows groups only, and has no field for the kind.
    let request = FindCoordinatorRequest::default().with_key_type(if version == 0 { GROUP } else { kind });
    match version {
        0..4 => request.with_key(key),
        _ => request.with_coordinator_keys(vec![key]),
    }
}

fn produce_request(
    (name, id): (TopicName, Uuid),
    partition: i32,
    batch: &Batch,
    acks: Acks,
    timeout_ms: i32,
) -> ProduceRequest {
    let acks = match acks {
        Acks::None => 0,
        Acks::Leader => 1,
        Acks::All => -1,
    };
    let data =
        PartitionProduceData::default().with_index(partition).with_records(Some(batch.records.clone()));
    let data = TopicProduceData::default().with_name(name).with_topic_id(id).with_partition_data(vec![data]);
    let id = batch.transactional_id.clone().map(|id| TransactionalId(StrBytes::from_string(id)));
    let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(timeout_ms);
    request.with_transactional_id(id).with_topic_data(vec![data])
}

fn produced(response: &ProduceResponse, partition: i32) -> Option<(i16, i64, Option<String>)> {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let answer = partitions.find(|answer| answer.index == partition)?;
    let words = answer.error_message.as_ref().map(|words| words.as_str().to_owned());
    Some((answer.error_code, answer.base_offset, words))
}

fn fetch_request(
    (name, id): (TopicName, Uuid),
    partition: i32,
    offset: i64,
    options: FetchOptions,
) -> FetchRequest {
    let wanted = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(options.partition_max_bytes);
    // Session 0 with epoch -1 asks for a whole answer without a session (KIP-227).
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(millis(options.max_wait))
        .with_min_bytes(options.min_bytes)
        .with_max_bytes(options.max_bytes)
        .with_session_epoch(-1)
        .with_isolation_level(i8::from(options.read_committed))
        .with_topics(vec![
            FetchTopic::default().with_topic(name).with_topic_id(id).with_partitions(vec![wanted]),
        ])
}

fn fetched(
    response: &FetchResponse,
    partition: i32,
) -> Option<&kafka_protocol::messages::fetch_response::PartitionData> {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.find(|data| data.partition_index == partition)
}

fn list_offsets_request(topic: &str, partition: i32, at: OffsetSpec) -> ListOffsetsRequest {
    let timestamp = match at {
        OffsetSpec::Latest => -1,
        OffsetSpec::Earliest => -2,
        OffsetSpec::AtTime(milliseconds) => milliseconds,
    };
    let wanted = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(topic_name(topic)).with_partitions(vec![wanted]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

fn listed(response: &ListOffsetsResponse, partition: i32) -> Option<(i16, i64)> {
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    let answer = partitions.find(|answer| answer.partition_index == partition)?;
    Some((answer.error_code, answer.offset))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::Request;

    use super::*;
    use crate::{Behaviour, Options, Profile, frame};

    fn encodes<R: Request>(build: impl Fn(i16) -> R, newest: i16) {
        for version in R::VERSIONS.min..=R::VERSIONS.max.min(newest) {
            let encoded = frame::encode(&build(version), version, 1, "test");
            assert!(encoded.is_ok(), "API key {} version {version}: {encoded:?}", R::KEY);
        }
    }

    #[tokio::test]
    async fn every_request_can_be_sent_in_every_version_that_may_be_picked() {
        let topics = ["t".to_owned()];
        let newest = |of: fn(&Behaviour) -> i16| {
            Profile::ALL.iter().map(|profile| of(&profile.behaviour())).max().expect("there are profiles")
        };
        let (metadata, produce) = (newest(|it| it.metadata_version_max), newest(|it| it.produce_version_max));
        let fetch = newest(|it| it.fetch_version_max);
        encodes(|version| metadata_request(Some(&topics), version), metadata);
        encodes(|version| metadata_request(None, version), metadata);
        let client = Client::new(Options::new(vec![HostPort::new("seed", 9092)])).expect("it has an address");
        let name = |by_id| client.name_of("t", by_id);
        encodes(
            |version| {
                produce_request(name(version >= PRODUCE_BY_ID), 0, &Batch::of(Bytes::new()), Acks::All, 1)
            },
            produce,
        );
        encodes(|version| fetch_request(name(version >= FETCH_BY_ID), 0, 7, FetchOptions::default()), fetch);
        encodes(|_| list_offsets_request("t", 0, OffsetSpec::Earliest), LIST_OFFSETS_VERSION_MAX);
        encodes(
            |version| coordinator_request("group", TRANSACTIONAL_ID, version),
            FIND_COORDINATOR_VERSION_MAX,
        );
        encodes(|_| create_topics_request("t", 3, 3, 1), CREATE_TOPICS_VERSION_MAX);
    }
}
