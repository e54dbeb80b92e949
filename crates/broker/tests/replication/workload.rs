//! Producers with acks=all, and consumers that read what they can, until they are told to stop. Everything that a
//! broker acknowledged or gave away goes into the [`History`].
//!
//! Some producers are idempotent and send a record until it is acknowledged. One sends each record once: what no
//! majority has taken is then not sent again to another leader, so that a consumer who read it can be seen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, CreateTopicsRequest, FetchRequest, InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::sleep;

use crate::client::{Connection, Sequence, batch, records};
use crate::cluster::bootstrap;
use crate::history::{Acknowledged, History, ONCE};

/// The topic that everything goes to.
const TOPIC: &str = "orders";
pub const PARTITIONS: i32 = 3;
/// Idempotent producers.
const IDEMPOTENT: usize = 2;
/// Who sends without idempotence.
pub const NOBODY: Sequence = Sequence { producer_id: -1, producer_epoch: -1, sequence: -1 };
/// Between two records of a producer.
const PACE: Duration = Duration::from_millis(40);
/// Before trying again what failed.
const RETRY: Duration = Duration::from_millis(100);
/// ListOffsets: the first offset that is kept, and the one after the last (Kafka: `ListOffsetsRequest`).
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
/// Bytes asked for in one Fetch.
const FETCH_BYTES_MAX: i32 = 1 << 20;

/// What the clients share.
#[derive(Default)]
pub struct Workload {
    pub history: RefCell<History>,
    /// No new record is begun.
    pub stopping: Cell<bool>,
    /// Producers that have ended.
    ended: Cell<usize>,
}

pub fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn failed(error: i16) -> io::Error {
    io::Error::other(
        ResponseError::try_from_code(error).map_or_else(|| "?".to_owned(), |error| error.to_string()),
    )
}

fn ok(error: i16) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(failed(error)) }
}

/// A client's picture of the cluster, and its connections.
#[derive(Default)]
struct Router {
    turn: usize,
    brokers: BTreeMap<i32, (String, u16)>,
    leaders: BTreeMap<i32, i32>,
    connections: BTreeMap<i32, Connection>,
}

impl Router {
    /// Any broker of the bootstrap list, each time the next one.
    async fn any(&mut self) -> io::Result<Connection> {
        let addresses = bootstrap();
        self.turn += 1;
        let (host, port) = &addresses[self.turn % addresses.len()];
        Connection::open(host, *port).await
    }

    async fn refresh(&mut self) -> io::Result<()> {
        let asked = MetadataRequestTopic::default().with_name(Some(topic()));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let answer = self.any().await?.call(&request, 9).await?;
        self.brokers = answer
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, (broker.host.to_string(), broker.port as u16)))
            .collect();
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        self.leaders = partitions.map(|it| (it.partition_index, it.leader_id.0)).collect();
        Ok(())
    }

    /// A connection to the leader of a partition.
    async fn leader(&mut self, partition: i32) -> io::Result<&mut Connection> {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "no leader is known");
        let leader = *self.leaders.get(&partition).ok_or_else(unknown)?;
        if !self.connections.contains_key(&leader) {
            let (host, port) = self.brokers.get(&leader).ok_or_else(unknown)?.clone();
            let connection = Connection::open(&host, port).await?;
            self.connections.insert(leader, connection);
        }
        self.connections.get_mut(&leader).ok_or_else(unknown)
    }

    /// After a failure: whatever was believed of the partition's leader may be wrong.
    async fn recover(&mut self, partition: i32) {
        if let Some(leader) = self.leaders.remove(&partition) {
            self.connections.remove(&leader);
        }
        sleep(RETRY).await;
        // Without an answer the next attempt finds no leader, and comes back here.
        let _ = self.refresh().await;
    }
}

impl Workload {
    /// Creates the topic, as soon as the cluster takes it.
    pub async fn create_topic(&self) {
        let topic = CreatableTopic::default().with_name(topic());
        create(topic.with_num_partitions(PARTITIONS).with_replication_factor(3)).await;
    }

    /// Whether every producer has had its last answer.
    pub fn ended(&self) -> bool {
        self.ended.get() == IDEMPOTENT + 1
    }

    /// Starts every client on the current host.
    pub fn start(self: &Rc<Self>) {
        for producer in 0..IDEMPOTENT {
            hopwise_engine::host::spawn(Rc::clone(self).produce(producer));
        }
        hopwise_engine::host::spawn(Rc::clone(self).produce_once_each());
        for partition in 0..PARTITIONS {
            hopwise_engine::host::spawn(Rc::clone(self).consume(partition));
        }
    }

    async fn produce(self: Rc<Self>, producer: usize) {
        let mut router = Router::default();
        let (producer_id, producer_epoch) = producer_id(&mut router).await;
        let mut sequences = [0; PARTITIONS as usize];
        let mut count = 0;
        while !self.stopping.get() {
            let partition = count % PARTITIONS;
            let sequence = sequences[partition as usize];
            let value = format!("{producer}/{partition}/{sequence}");
            let records = batch(&value, Sequence { producer_id, producer_epoch, sequence });
            // The same batch until it is acknowledged: with idempotence that adds it once.
            let offset = loop {
                match produce_once(&mut router, partition, &records).await {
                    Ok(offset) => break offset,
                    Err(error) => {
                        self.history.borrow_mut().note(|| format!("{value}: {error}"));
                        router.recover(partition).await;
                    }
                }
            };
            self.history.borrow_mut().acknowledged.push(Acknowledged { partition, offset, value });
            sequences[partition as usize] += 1;
            count += 1;
            sleep(PACE).await;
        }
        self.ended.set(self.ended.get() + 1);
    }

    /// Sends every record once.
    async fn produce_once_each(self: Rc<Self>) {
        let mut router = Router::default();
        let mut count = 0;
        while !self.stopping.get() {
            let partition = count % PARTITIONS;
            let value = format!("{ONCE}/{partition}/{count}");
            match produce_once(&mut router, partition, &batch(&value, NOBODY)).await {
                Ok(offset) => {
                    self.history.borrow_mut().acknowledged.push(Acknowledged { partition, offset, value });
                }
                Err(error) => {
                    self.history.borrow_mut().note(|| format!("{value}: {error}"));
                    router.recover(partition).await;
                }
            }
            count += 1;
            sleep(PACE).await;
        }
        self.ended.set(self.ended.get() + 1);
    }

    async fn consume(self: Rc<Self>, partition: i32) {
        let mut router = Router::default();
        let mut offset = 0;
        loop {
            match fetch(&mut router, partition, offset).await {
                Ok((read, _)) => {
                    offset = read.last().map_or(offset, |(last, _)| last + 1);
                    self.history.borrow_mut().read(partition, read);
                }
                Err(_) => router.recover(partition).await,
            }
        }
    }

    /// Reads a partition from its start to its high watermark.
    pub async fn read_all(&self, partition: i32) -> Vec<(i64, String)> {
        self.read_from(partition, 0).await
    }

    /// Reads a partition from an offset to its high watermark.
    pub async fn read_from(&self, partition: i32, mut offset: i64) -> Vec<(i64, String)> {
        let mut router = Router::default();
        let mut all = Vec::new();
        loop {
            match fetch(&mut router, partition, offset).await {
                Ok((read, high_watermark)) => {
                    offset = read.last().map_or(offset, |(last, _)| last + 1).max(offset);
                    let end = read.is_empty() || offset >= high_watermark;
                    all.extend(read);
                    if end {
                        return all;
                    }
                }
                Err(_) => router.recover(partition).await,
            }
        }
    }
}

async fn producer_id(router: &mut Router) -> (i64, i16) {
    let request =
        InitProducerIdRequest::default().with_transaction_timeout_ms(60_000).with_transactional_id(None);
    loop {
        let answer = match router.any().await {
            Ok(mut connection) => connection.call(&request, 1).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) if answer.error_code == 0 => return (answer.producer_id.0, answer.producer_epoch),
            _ => sleep(RETRY).await,
        }
    }
}

async fn produce_once(router: &mut Router, partition: i32, records: &bytes::Bytes) -> io::Result<i64> {
    produce_at(router.leader(partition).await?, partition, records).await
}

/// Sends records with acks=all to whoever is at the other end.
pub async fn produce_at(
    connection: &mut Connection,
    partition: i32,
    records: &bytes::Bytes,
) -> io::Result<i64> {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records.clone()));
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(3_000).with_topic_data(vec![
        TopicProduceData::default().with_name(topic()).with_partition_data(vec![data]),
    ]);
    let answer = connection.call(&request, 7).await?;
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let answer = partitions.into_iter().next().ok_or_else(|| io::Error::other("an empty answer"))?;
    ok(answer.error_code)?;
    Ok(answer.base_offset)
}

/// Creates a topic, as soon as the cluster takes it.
pub async fn create(topic: CreatableTopic) {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(4_000);
    let mut router = Router::default();
    let exists = ResponseError::TopicAlreadyExists.code();
    loop {
        let answer = match router.any().await {
            Ok(mut connection) => connection.call(&request, 4).await,
            Err(error) => Err(error),
        };
        let code = answer.ok().and_then(|answer| answer.topics.first().map(|topic| topic.error_code));
        if code.is_some_and(|code| code == 0 || code == exists) {
            return;
        }
        sleep(RETRY).await;
    }
}

/// A partition as a broker tells it, by machines.
pub struct PartitionView {
    pub leader: Option<usize>,
    pub replicas: Vec<usize>,
}

/// A topic's partitions, in order, as one broker tells them.
pub async fn partitions(connection: &mut Connection, topic: TopicName) -> io::Result<Vec<PartitionView>> {
    let asked = MetadataRequestTopic::default().with_name(Some(topic));
    let answer = connection.call(&MetadataRequest::default().with_topics(Some(vec![asked])), 9).await?;
    let addresses = bootstrap();
    let machine = |id: &BrokerId| {
        let broker = answer.brokers.iter().find(|broker| broker.node_id == *id)?;
        addresses.iter().position(|(host, _)| **host == *broker.host)
    };
    let mut told: Vec<_> = answer.topics.iter().flat_map(|topic| &topic.partitions).collect();
    told.sort_by_key(|partition| partition.partition_index);
    let view = told.into_iter().map(|partition| PartitionView {
        leader: machine(&partition.leader_id),
        replicas: partition.replica_nodes.iter().filter_map(machine).collect(),
    });
    Ok(view.collect())
}

/// Where a partition of the topic begins, and its high watermark, as its leader tells.
pub async fn offsets_at(connection: &mut Connection, partition: i32) -> io::Result<(i64, i64)> {
    let mut offsets = [0; 2];
    for (offset, timestamp) in offsets.iter_mut().zip([EARLIEST, LATEST]) {
        let asked = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let asked = ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![asked]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
        let answer = connection.call(&request, 4).await?;
        let told = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
        let told = told.ok_or_else(|| io::Error::other("an empty answer"))?;
        ok(told.error_code)?;
        *offset = told.offset;
    }
    Ok(offsets.into())
}

/// Records from an offset on, and the high watermark.
async fn fetch(router: &mut Router, partition: i32, offset: i64) -> io::Result<(Vec<(i64, String)>, i64)> {
    let asked = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(FETCH_BYTES_MAX);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(250)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_BYTES_MAX)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(topic()).with_partitions(vec![asked])]);
    let answer = router.leader(partition).await?.call(&request, 11).await?;
    ok(answer.error_code)?;
    let data = answer.responses.iter().flat_map(|topic| &topic.partitions).next();
    let data = data.ok_or_else(|| io::Error::other("an empty answer"))?;
    ok(data.error_code)?;
    let mut read = records(data.records.clone().unwrap_or_default())?;
    read.retain(|(at, _)| *at >= offset);
    Ok((read, data.high_watermark))
}
