//! Starting brokers, and a Kafka client of a few lines.
//!
//! Each broker has a loopback address of its own, as a pod has, so that all can use the usual ports.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hopwise_broker::{Broker, BrokerError, BrokerStatus, Disk, Environment, NodeConfig, StartParameters};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use turmoil_fs::Fs;

/// Nothing here takes longer, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What the brokers' clock says.
pub const NOW_MS: i64 = 1_700_000_000_000;

static NEXT_ADDRESS: AtomicU32 = AtomicU32::new(1);

/// A loopback address that no other broker of this run, or of another one on the machine, has.
pub fn own_address() -> IpAddr {
    let process = std::process::id();
    let count = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed);
    let third = (process & 0xf) << 4 | count >> 8 & 0xf;
    IpAddr::V4(Ipv4Addr::new(127, 1 + (process >> 4 & 0x7f) as u8, third as u8, count as u8))
}

/// A broker that can be killed and started again.
pub struct TestBroker {
    pub ip: IpAddr,
    pub volume: Fs,
    /// Another disk than `volume`.
    pub disk: Option<Disk>,
    pub status: BrokerStatus,
    pub yaml: String,
    pub bootstrap: String,
    pub environment: Environment,
    seed: u64,
    task: Option<JoinHandle<BrokerError>>,
}

pub fn yaml(ip: IpAddr, index: usize, seeds: &[IpAddr]) -> String {
    let seeds: String =
        seeds.iter().map(|seed| format!("    - host: {{address: {seed}, port: 33145}}\n")).collect();
    format!(
        "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: true
  admin:
    - {{name: internal, address: {ip}, port: 9644}}
  kafka_api:
    - {{name: internal, address: {ip}, port: 9093}}
    - {{name: default, address: {ip}, port: 9094}}
  advertised_kafka_api:
    - {{name: internal, address: {ip}, port: 9093}}
    - {{name: default, address: broker-{index}.example.com, port: 31092}}
  rpc_server: {{address: {ip}, port: 33145}}
  advertised_rpc_api: {{address: {ip}, port: 33145}}
  seed_servers:
{seeds}
pandaproxy:
  pandaproxy_api:
    - {{name: internal, address: {ip}, port: 8082}}
schema_registry:
  schema_registry_api:
    - {{name: internal, address: {ip}, port: 8081}}
"
    )
}

impl TestBroker {
    pub fn new(ip: IpAddr, yaml: String) -> TestBroker {
        let seed = u64::from(NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed));
        TestBroker {
            ip,
            volume: Fs::builder().seed(seed).build(),
            disk: None,
            status: BrokerStatus::new(),
            yaml,
            bootstrap: "alive_timeout_ms: 1000\nmetadata_dissemination_interval_ms: 100\n".to_owned(),
            environment: Environment::default(),
            seed,
            task: None,
        }
    }

    /// Starts the broker; it may take its time to become ready.
    pub fn start(&mut self) {
        self.seed += 1000;
        self.status = BrokerStatus::new();
        let parameters = StartParameters {
            config: NodeConfig::parse(&self.yaml, Some(&self.bootstrap)).unwrap(),
            volume: self.disk.clone().unwrap_or_else(|| Disk::Simulated(self.volume.clone())),
            clock: Arc::new(|| NOW_MS),
            seed: self.seed,
            status: self.status.clone(),
            environment: self.environment.clone(),
        };
        self.task = Some(tokio::spawn(async move {
            match Broker::start(parameters).await {
                Ok(never) => match never {},
                Err(error) => error,
            }
        }));
    }

    pub async fn ready(&self) {
        timeout(PATIENCE, self.status.wait_ready()).await.expect("the broker becomes ready");
    }

    /// Why the broker ended.
    pub async fn error(&mut self) -> BrokerError {
        let task = self.task.take().expect("the broker was started");
        timeout(PATIENCE, task).await.expect("the broker ends").expect("it was not killed")
    }

    /// Kills the process and, with it, everything that it had not synced.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        self.volume.crash();
        // The aborted tasks close their sockets when the runtime gets to them.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    pub fn id(&self) -> i32 {
        self.status.broker_id().expect("the broker has an id")
    }

    pub async fn client(&self) -> Client {
        self.client_by(9093).await
    }

    pub async fn client_by(&self, port: u16) -> Client {
        Client::connect(self.ip, port).await
    }
}

/// `count` brokers that are each other's seeds, started and ready.
pub async fn start_cluster(count: usize) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    brokers.iter_mut().for_each(TestBroker::start);
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

/// Until every broker has heard every other one: a broker that was never heard counts as alive (redpanda.md
/// 4.1).
pub async fn all_heard() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

pub fn new_cluster(count: usize) -> Vec<TestBroker> {
    let addresses: Vec<IpAddr> = (0..count).map(|_| own_address()).collect();
    let broker = |(index, ip): (usize, &IpAddr)| TestBroker::new(*ip, yaml(*ip, index, &addresses));
    addresses.iter().enumerate().map(broker).collect()
}

/// The place among `brokers` of the one that leads a partition and serves.
pub async fn leader_of(brokers: &[TestBroker], topic: &str, partition: i32) -> usize {
    let look = async {
        loop {
            for (place, broker) in brokers.iter().enumerate().filter(|(_, broker)| broker.status.ready()) {
                if broker.client().await.fetch(topic, partition, 0, 0).await.error_code == 0 {
                    return place;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, look).await.expect("a replica is elected")
}

/// A connection to a Kafka listener.
pub struct Client<S = TcpStream> {
    pub stream: S,
    correlation_id: i32,
}

impl Client {
    pub async fn connect(ip: IpAddr, port: u16) -> Client {
        Client::over(TcpStream::connect((ip, port)).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// On a connection that is already there.
    pub fn over(stream: S) -> Client<S> {
        Client { stream, correlation_id: 0 }
    }

    /// Sends a request and reads its answer.
    pub async fn ask<Q: Request>(&mut self, api: ApiKey, version: i16, request: &Q) -> Q::Response {
        self.send(api, version, request).await;
        let mut bytes = self.receive().await.expect("an answer");
        let header = ResponseHeader::decode(&mut bytes, Q::Response::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.correlation_id);
        let answer = Q::Response::decode(&mut bytes, version).unwrap();
        assert!(!bytes.has_remaining(), "the answer has {} bytes too many", bytes.remaining());
        answer
    }

    pub async fn send<Q: Encodable + HeaderVersion>(&mut self, api: ApiKey, version: i16, request: &Q) {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(api as i16)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("test")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, Q::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        self.send_frame(&frame).await;
    }

    pub async fn send_frame(&mut self, frame: &[u8]) {
        let mut bytes = BytesMut::new();
        bytes.put_u32(frame.len() as u32);
        bytes.put_slice(frame);
        // A broker that does not like the bytes may have closed the connection already.
        let _ = self.stream.write_all(&bytes).await;
        let _ = self.stream.flush().await;
    }

    /// The next frame; `None` if the broker closed the connection.
    pub async fn receive(&mut self) -> Option<Bytes> {
        let read = async {
            let length = self.stream.read_u32().await.ok()?;
            let mut bytes = vec![0; length as usize];
            self.stream.read_exact(&mut bytes).await.ok()?;
            Some(Bytes::from(bytes))
        };
        timeout(PATIENCE, read).await.expect("an answer in time")
    }

    pub async fn metadata(&mut self, topics: Option<&[&str]>) -> MetadataResponse {
        let topics = topics.map(|topics| {
            topics.iter().map(|topic| MetadataRequestTopic::default().with_name(Some(name(topic)))).collect()
        });
        self.ask(ApiKey::Metadata, 12, &MetadataRequest::default().with_topics(topics)).await
    }

    /// Creates a topic and returns its leaders.
    pub async fn create_topic(&mut self, topic: &str, partitions: i32, replication: i16) -> Vec<i32> {
        let answer = self.try_create_topic(topic, partitions, replication).await;
        assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
        let metadata = self.metadata(Some(&[topic])).await;
        metadata.topics[0].partitions.iter().map(|partition| partition.leader_id.0).collect()
    }

    pub async fn try_create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        replication: i16,
    ) -> CreateTopicsResponse {
        let topic = CreatableTopic::default()
            .with_name(name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(replication);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
        self.ask(ApiKey::CreateTopics, 7, &request).await
    }

    pub async fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        acks: i16,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, acks, records);
        let answer: ProduceResponse = self.ask(ApiKey::Produce, 9, &request).await;
        answer.responses[0].partition_responses[0].clone()
    }

    pub async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> PartitionData {
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(10 << 20)
            .with_topics(vec![
                FetchTopic::default().with_topic(name(topic)).with_partitions(vec![partition]),
            ]);
        let answer: FetchResponse = self.ask(ApiKey::Fetch, 11, &request).await;
        assert_eq!((answer.error_code, answer.session_id), (0, 0));
        answer.responses[0].partitions[0].clone()
    }

    /// The values of the records from an offset on, as far as one answer goes.
    pub async fn values(&mut self, topic: &str, partition: i32, offset: i64) -> Vec<(i64, String)> {
        let data = self.fetch(topic, partition, offset, 2000).await;
        assert_eq!(data.error_code, 0);
        let mut records = data.records.unwrap();
        let batches = RecordBatchDecoder::decode_all(&mut records).unwrap();
        let value = |record: Record| {
            (record.offset, String::from_utf8(record.value.unwrap_or_default().to_vec()).unwrap())
        };
        batches.into_iter().flat_map(|batch| batch.records).map(value).collect()
    }
}

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

pub fn produce_request(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    ProduceRequest::default().with_acks(acks).with_timeout_ms(3000).with_topic_data(vec![
        TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]),
    ])
}

/// A batch of records with these values; the timestamps are 1000, 1001 …
pub fn batch(values: &[&str], compression: Compression) -> Bytes {
    let record = |(index, value): (usize, &&str)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        sequence: index as i32,
        timestamp: 1000 + index as i64,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let records: Vec<Record> = values.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &RecordEncodeOptions { version: 2, compression })
        .unwrap();
    bytes.freeze()
}

/// A batch of records with these keys and values.
pub fn keyed_batch(records: &[(&[u8], Option<&[u8]>)]) -> Bytes {
    let record = |(index, (key, value)): (usize, &(&[u8], Option<&[u8]>))| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        sequence: index as i32 - 1,
        timestamp: 1000 + index as i64,
        key: Some(Bytes::copy_from_slice(key)),
        value: value.map(Bytes::copy_from_slice),
        headers: Default::default(),
    };
    let records: Vec<Record> = records.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}
