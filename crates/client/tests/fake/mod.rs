//! A few Kafka brokers in the test's own process, on loopback, with faults that can be switched on.

// Each test file uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hopwise_client::HostPort;
use hopwise_fabric::net::{TcpListener, TcpStream};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, CreateTopicsRequest, CreateTopicsResponse, FetchRequest,
    FetchResponse, FindCoordinatorResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer};
use kafka_protocol::records::{Compression, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The cluster as all its brokers see it.
#[derive(Default)]
pub struct Cluster {
    pub advertised: BTreeMap<i32, HostPort>,
    /// Who leads, as Metadata tells it.
    pub told: BTreeMap<(String, i32), (i32, i32)>,
    /// Who takes records, where that differs from what Metadata tells.
    pub really: BTreeMap<(String, i32), i32>,
    pub logs: BTreeMap<(String, i32), Vec<kafka_protocol::records::Record>>,
    pub faults: Faults,
    /// API keys in the order they arrived, with the broker.
    pub seen: Vec<(i32, ApiKey)>,
    /// Metadata answers after which the told leaders become the real ones.
    pub told_late: u32,
    /// Offers the versions of Produce that name the leader beside NOT_LEADER_OR_FOLLOWER (KIP-951), and names it.
    pub hints: bool,
}

#[derive(Default)]
pub struct Faults {
    /// Close instead of answering this request, so many times.
    pub close: Option<(ApiKey, u32)>,
    /// Never answer this request.
    pub ignore: Option<ApiKey>,
    /// Answer requests of a connection only when so many of this kind came.
    pub hold: Option<(ApiKey, usize)>,
    /// The newest ApiVersions version that is understood.
    pub api_versions_max: Option<i16>,
    /// Keys that are not offered.
    pub not_offered: Vec<ApiKey>,
}

pub type Shared = Arc<Mutex<Cluster>>;

pub fn locked(cluster: &Shared) -> MutexGuard<'_, Cluster> {
    cluster.lock().expect("no test panics with the cluster locked")
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub fn host_port(address: SocketAddr) -> HostPort {
    HostPort::new(address.ip().to_string(), address.port())
}

/// Starts the brokers 0 to `count`; each advertises its own listener.
pub async fn start(count: i32) -> Shared {
    let cluster = Shared::default();
    for id in 0..count {
        let listener = TcpListener::bind(loopback()).await.expect("loopback has a free port");
        let address = host_port(listener.local_addr().expect("bound"));
        locked(&cluster).advertised.insert(id, address);
        accept(listener, id, cluster.clone());
    }
    cluster
}

/// Lets a broker advertise another address, at which it listens too.
pub async fn moves(cluster: &Shared, id: i32) -> HostPort {
    let listener = TcpListener::bind(loopback()).await.expect("loopback has a free port");
    let address = host_port(listener.local_addr().expect("bound"));
    locked(cluster).advertised.insert(id, address.clone());
    accept(listener, id, cluster.clone());
    address
}

fn accept(listener: TcpListener, id: i32, cluster: Shared) {
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, id, cluster.clone()));
        }
    });
}

/// A topic whose partition `p` is led by broker `leaders[p]`.
pub fn make_topic(cluster: &Shared, topic: &str, leaders: &[i32]) {
    let mut cluster = locked(cluster);
    for (partition, &leader) in (0..).zip(leaders) {
        cluster.told.insert((topic.to_owned(), partition), (leader, 1));
        cluster.logs.entry((topic.to_owned(), partition)).or_default();
    }
}

/// A port on which nobody listens.
pub async fn closed_port() -> HostPort {
    let listener = TcpListener::bind(loopback()).await.expect("loopback has a free port");
    host_port(listener.local_addr().expect("bound"))
}

/// A server that reads something, answers with `answer` and then closes or, with `None`, stays silent.
pub async fn server(answer: Option<&'static [u8]>) -> HostPort {
    let listener = TcpListener::bind(loopback()).await.expect("loopback has a free port");
    let address = host_port(listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                match answer {
                    Some(answer) => {
                        let _ = stream.write_all(answer).await;
                        let _ = stream.shutdown().await;
                    }
                    None => std::future::pending().await,
                }
            });
        }
    });
    address
}

async fn serve(mut stream: TcpStream, id: i32, cluster: Shared) {
    let mut held: Vec<Bytes> = Vec::new();
    loop {
        let Ok(length) = stream.read_u32().await else { return };
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let Some(answer) = handle(Bytes::from(frame), id, &cluster) else { return };
        let Handled { key, reply } = answer;
        held.extend(reply);
        let hold = locked(&cluster).faults.hold;
        if hold.is_some_and(|(kind, count)| kind == key && held.len() < count) {
            continue;
        }
        for reply in held.drain(..) {
            if stream.write_all(&reply).await.is_err() {
                return;
            }
        }
    }
}

struct Handled {
    key: ApiKey,
    reply: Option<Bytes>,
}

/// The framed answer; `None` closes the connection.
fn handle(mut frame: Bytes, id: i32, cluster: &Shared) -> Option<Handled> {
    let key = ApiKey::try_from((&frame[..]).get_i16()).ok()?;
    let version = (&frame[2..]).get_i16();
    let mut cluster = locked(cluster);
    cluster.seen.push((id, key));
    if let Some((kind, times)) = &mut cluster.faults.close
        && *kind == key
        && *times > 0
    {
        *times -= 1;
        return None;
    }
    if cluster.faults.ignore == Some(key) {
        return Some(Handled { key, reply: None });
    }
    if key == ApiKey::ApiVersions {
        let correlation = (&frame[4..]).get_i32();
        return Some(Handled { key, reply: Some(api_versions(&cluster, correlation, version)) });
    }
    let header = decode_request_header_from_buffer(&mut frame).expect("the client sends sound headers");
    let mut body = BytesMut::new();
    let answered = answer(key, version, &mut frame, &mut body, id, &mut cluster);
    let reply = answered.then(|| framed(key, version, header.correlation_id, &body));
    Some(Handled { key, reply })
}

fn framed(key: ApiKey, version: i16, correlation: i32, body: &[u8]) -> Bytes {
    let mut head = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut head, key.response_header_version(version)).expect("encodes");
    let mut reply = BytesMut::new();
    reply.put_u32((head.len() + body.len()) as u32);
    reply.extend_from_slice(&head);
    reply.extend_from_slice(body);
    reply.freeze()
}

fn api_versions(cluster: &Cluster, correlation: i32, version: i16) -> Bytes {
    let newest = cluster.faults.api_versions_max.unwrap_or(4);
    let offered = [
        (ApiKey::Produce, 3, if cluster.hints { 12 } else { 9 }),
        (ApiKey::Fetch, 4, 12),
        (ApiKey::ListOffsets, 1, 5),
        (ApiKey::Metadata, 1, 9),
        (ApiKey::FindCoordinator, 0, 4),
        (ApiKey::ApiVersions, 0, newest),
        (ApiKey::CreateTopics, 2, 7),
    ];
    let keys = offered.into_iter().filter(|(key, ..)| !cluster.faults.not_offered.contains(key));
    let keys = keys.map(|(key, least, greatest)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(least).with_max_version(greatest)
    });
    let (code, version) = if version > newest { (35, 0) } else { (0, version) };
    let mut body = BytesMut::new();
    let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(keys.collect());
    response.encode(&mut body, version).expect("encodes");
    framed(ApiKey::ApiVersions, version, correlation, &body)
}

fn answer(
    key: ApiKey,
    version: i16,
    frame: &mut Bytes,
    body: &mut BytesMut,
    id: i32,
    cluster: &mut Cluster,
) -> bool {
    match key {
        ApiKey::Metadata => {
            let request = MetadataRequest::decode(frame, version).expect("decodes");
            metadata(&request, cluster).encode(body, version).expect("encodes");
        }
        ApiKey::Produce => {
            let request = ProduceRequest::decode(frame, version).expect("decodes");
            let response = produce(&request, id, cluster);
            response.encode(body, version).expect("encodes");
            return request.acks != 0;
        }
        ApiKey::Fetch => {
            let request = FetchRequest::decode(frame, version).expect("decodes");
            fetch(&request, id, cluster).encode(body, version).expect("encodes");
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(frame, version).expect("decodes");
            list_offsets(&request, id, cluster).encode(body, version).expect("encodes");
        }
        ApiKey::CreateTopics => {
            let request = CreateTopicsRequest::decode(frame, version).expect("decodes");
            create_topics(&request, cluster).encode(body, version).expect("encodes");
        }
        ApiKey::FindCoordinator => {
            let address = &cluster.advertised[&id];
            let one = kafka_protocol::messages::find_coordinator_response::Coordinator::default()
                .with_node_id(BrokerId(id))
                .with_host(StrBytes::from_string(address.host.clone()))
                .with_port(i32::from(address.port));
            FindCoordinatorResponse::default()
                .with_coordinators(vec![one])
                .encode(body, version)
                .expect("encodes");
        }
        _ => panic!("{key:?} is not offered"),
    }
    true
}

fn metadata(request: &MetadataRequest, cluster: &mut Cluster) -> MetadataResponse {
    if cluster.told_late > 0 {
        cluster.told_late -= 1;
        if cluster.told_late == 0 {
            for (place, leader) in std::mem::take(&mut cluster.really) {
                cluster.told.insert(place, (leader, 2));
            }
        }
    }
    let brokers = cluster.advertised.iter().map(|(&id, address)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(id))
            .with_host(StrBytes::from_string(address.host.clone()))
            .with_port(i32::from(address.port))
    });
    let names: Vec<String> = match &request.topics {
        None => cluster.told.keys().map(|(topic, _)| topic.clone()).collect(),
        Some(topics) => {
            topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.0.as_str().to_owned())).collect()
        }
    };
    let names = std::collections::BTreeSet::from_iter(names);
    let topics = names.into_iter().map(|name| {
        let of_topic = cluster.told.iter().filter(|((topic, _), _)| *topic == name);
        let partitions: Vec<_> = of_topic
            .map(|((_, partition), &(leader, epoch))| {
                MetadataResponsePartition::default()
                    .with_partition_index(*partition)
                    .with_leader_id(BrokerId(leader))
                    .with_leader_epoch(epoch)
            })
            .collect();
        MetadataResponseTopic::default()
            .with_error_code(if partitions.is_empty() { 3 } else { 0 })
            .with_name(Some(TopicName(StrBytes::from_string(name))))
            .with_partitions(partitions)
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_topics(topics.collect())
        .with_cluster_id(Some(StrBytes::from_static_str("redpanda.fake")))
        .with_controller_id(BrokerId(*cluster.advertised.keys().next_back().expect("a broker runs")))
}

/// 0 at the leader, else NOT_LEADER_OR_FOLLOWER or UNKNOWN_TOPIC_OR_PARTITION.
fn code_at(cluster: &Cluster, topic: &str, partition: i32, id: i32) -> i16 {
    let place = (topic.to_owned(), partition);
    let leader = cluster.really.get(&place).or(cluster.told.get(&place).map(|(leader, _)| leader));
    match leader {
        None => 3,
        Some(&leader) if leader == id => 0,
        Some(_) => 6,
    }
}

fn produce(request: &ProduceRequest, id: i32, cluster: &mut Cluster) -> ProduceResponse {
    let (mut topics, mut endpoints) = (Vec::new(), Vec::new());
    for topic in &request.topic_data {
        let mut partitions = Vec::new();
        for data in &topic.partition_data {
            let code = code_at(cluster, &topic.name.0, data.index, id);
            let mut answer = PartitionProduceResponse::default().with_index(data.index).with_error_code(code);
            if code == 0 {
                let log = cluster.logs.entry((topic.name.0.to_string(), data.index)).or_default();
                answer.base_offset = log.len() as i64;
                let mut records = data.records.clone().expect("records are sent");
                let set = RecordBatchDecoder::decode(&mut records).expect("a sound batch");
                for mut record in set.records {
                    record.offset = log.len() as i64;
                    record.sequence = record.offset as i32;
                    log.push(record);
                }
            }
            if code == 6
                && cluster.hints
                && let Some(&leader) = cluster.really.get(&(topic.name.0.to_string(), data.index))
            {
                let epoch = LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(2);
                answer.current_leader = epoch;
                let address = &cluster.advertised[&leader];
                let node =
                    NodeEndpoint::default().with_node_id(BrokerId(leader)).with_port(address.port.into());
                endpoints.push(node.with_host(StrBytes::from_string(address.host.clone())));
            }
            partitions.push(answer);
        }
        topics.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(topics).with_node_endpoints(endpoints)
}

fn fetch(request: &FetchRequest, id: i32, cluster: &Cluster) -> FetchResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let log = cluster.logs.get(&(topic.topic.0.to_string(), wanted.partition));
            let log = log.map_or(&[][..], Vec::as_slice);
            let mut code = code_at(cluster, &topic.topic.0, wanted.partition, id);
            let start = usize::try_from(wanted.fetch_offset).unwrap_or(usize::MAX);
            if code == 0 && start > log.len() {
                code = 1;
            }
            let mut records = BytesMut::new();
            let options = RecordEncodeOptions { version: 2, compression: Compression::None };
            if code == 0 && start < log.len() {
                // The whole log is one batch, so records before the offset come along.
                RecordBatchEncoder::encode(&mut records, log, &options).expect("encodes");
            }
            PartitionData::default()
                .with_partition_index(wanted.partition)
                .with_error_code(code)
                .with_high_watermark(log.len() as i64)
                .with_log_start_offset(0)
                .with_records(Some(records.freeze()))
        });
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    FetchResponse::default().with_responses(topics.collect())
}

fn list_offsets(request: &ListOffsetsRequest, id: i32, cluster: &Cluster) -> ListOffsetsResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let log = cluster.logs.get(&(topic.name.0.to_string(), wanted.partition_index));
            let end = log.map_or(0, Vec::len) as i64;
            ListOffsetsPartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(code_at(cluster, &topic.name.0, wanted.partition_index, id))
                .with_offset(if wanted.timestamp == -2 { 0 } else { end })
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

fn create_topics(request: &CreateTopicsRequest, cluster: &mut Cluster) -> CreateTopicsResponse {
    let brokers: Vec<i32> = cluster.advertised.keys().copied().collect();
    let mut results = Vec::new();
    for topic in &request.topics {
        let name = topic.name.0.to_string();
        let exists = cluster.told.contains_key(&(name.clone(), 0));
        if !exists {
            for partition in 0..topic.num_partitions {
                let leader = brokers[partition as usize % brokers.len()];
                cluster.told.insert((name.clone(), partition), (leader, 1));
            }
        }
        let code = if exists { 36 } else { 0 };
        results.push(CreatableTopicResult::default().with_name(topic.name.clone()).with_error_code(code));
    }
    CreateTopicsResponse::default().with_topics(results)
}
