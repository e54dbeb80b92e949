//! A listener that speaks just enough Kafka to say what went wrong, or to be a log in which another writer is always
//! a record ahead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicI64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest,
    MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::keyed_batch;

/// The listener; each answer is as the test wants it.
pub struct FakeKafka {
    pub address: SocketAddr,
    answers: Arc<Answers>,
}

#[derive(Default)]
struct Answers {
    metadata: AtomicI16,
    produce: AtomicI16,
    nonsense: AtomicBool,
    /// Where the log of the one partition ends.
    end: AtomicI64,
}

/// What every record of the log is, whoever wrote it: nothing to the Schema Registry.
const NOOP: (&[u8], Option<&[u8]>) = (br#"{"keytype":"NOOP","magic":0}"#, Some(b"{}"));

impl FakeKafka {
    pub async fn start() -> FakeKafka {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answers = Arc::new(Answers::default());
        let shared = Arc::clone(&answers);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, address, Arc::clone(&shared)));
            }
        });
        FakeKafka { address, answers }
    }

    /// Every topic comes with this error; with 0 it has one partition, led from here.
    pub fn answer_metadata_with(&self, code: i16) {
        self.answers.metadata.store(code, Ordering::Relaxed);
    }

    pub fn answer_produce_with(&self, code: i16) {
        self.answers.produce.store(code, Ordering::Relaxed);
    }

    pub fn answer_nonsense(&self) {
        self.answers.nonsense.store(true, Ordering::Relaxed);
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr, answers: Arc<Answers>) {
    while let Ok(length) = stream.read_u32().await {
        let mut frame = vec![0; length as usize];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let answer = answer(Bytes::from(frame), address, &answers);
        let mut bytes = BytesMut::new();
        bytes.put_u32(answer.len() as u32);
        bytes.put_slice(&answer);
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

fn answer(mut frame: Bytes, address: SocketAddr, answers: &Answers) -> BytesMut {
    let key = ApiKey::try_from(i16::from_be_bytes([frame[0], frame[1]])).unwrap();
    let version = i16::from_be_bytes([frame[2], frame[3]]);
    let header = RequestHeader::decode(&mut frame, key.request_header_version(version)).unwrap();
    let mut bytes = BytesMut::new();
    if answers.nonsense.load(Ordering::Relaxed) {
        bytes.put_i32(header.correlation_id);
        bytes.put_slice(&[0xff; 12]);
        return bytes;
    }
    ResponseHeader::default()
        .with_correlation_id(header.correlation_id)
        .encode(&mut bytes, key.response_header_version(version))
        .unwrap();
    match key {
        ApiKey::Metadata => {
            let request = MetadataRequest::decode(&mut frame, version).unwrap();
            metadata(&request, address, answers.metadata.load(Ordering::Relaxed))
                .encode(&mut bytes, version)
                .unwrap();
        }
        ApiKey::Produce => {
            let request = ProduceRequest::decode(&mut frame, version).unwrap();
            // One record of somebody else, then the batch, which has one.
            let base = answers.end.fetch_add(2, Ordering::Relaxed) + 1;
            let code = answers.produce.load(Ordering::Relaxed);
            produce(&request, code, base).encode(&mut bytes, version).unwrap();
        }
        ApiKey::ListOffsets => {
            let request = ListOffsetsRequest::decode(&mut frame, version).unwrap();
            list_offsets(&request, answers.end.load(Ordering::Relaxed)).encode(&mut bytes, version).unwrap();
        }
        ApiKey::Fetch => {
            let request = FetchRequest::decode(&mut frame, version).unwrap();
            fetch(&request, answers.end.load(Ordering::Relaxed)).encode(&mut bytes, version).unwrap();
        }
        other => panic!("{other:?} is not expected"),
    }
    bytes
}

fn metadata(request: &MetadataRequest, address: SocketAddr, code: i16) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_host(StrBytes::from_string(address.ip().to_string()))
        .with_port(address.port().into());
    let topic = |name: &kafka_protocol::messages::TopicName| {
        let topic = MetadataResponseTopic::default().with_name(Some(name.clone())).with_error_code(code);
        if code == 0 { topic.with_partitions(vec![MetadataResponsePartition::default()]) } else { topic }
    };
    let topics = request.topics.iter().flatten();
    let topics = topics.filter_map(|asked| asked.name.as_ref().map(topic)).collect();
    MetadataResponse::default().with_brokers(vec![broker]).with_topics(topics)
}

fn list_offsets(request: &ListOffsetsRequest, end: i64) -> ListOffsetsResponse {
    let asked = &request.topics[0];
    let is_earliest = asked.partitions[0].timestamp == -2;
    let partition = ListOffsetsPartitionResponse::default().with_offset(if is_earliest { 0 } else { end });
    let topic = ListOffsetsTopicResponse::default().with_name(asked.name.clone());
    ListOffsetsResponse::default().with_topics(vec![topic.with_partitions(vec![partition])])
}

fn fetch(request: &FetchRequest, end: i64) -> FetchResponse {
    let asked = &request.topics[0];
    let from = asked.partitions[0].fetch_offset;
    let count = usize::try_from(end - from).unwrap();
    let mut records = BytesMut::new();
    if count > 0 {
        records.put_slice(&keyed_batch(&vec![NOOP; count]));
        // A batch begins with its base offset, which its checksum does not cover.
        records[..8].copy_from_slice(&from.to_be_bytes());
    }
    let partition = PartitionData::default()
        .with_high_watermark(end)
        .with_last_stable_offset(end)
        .with_records(Some(records.freeze()));
    let topic = FetchableTopicResponse::default().with_topic(asked.topic.clone());
    FetchResponse::default().with_responses(vec![topic.with_partitions(vec![partition])])
}

fn produce(request: &ProduceRequest, code: i16, base: i64) -> ProduceResponse {
    let partition = PartitionProduceResponse::default().with_error_code(code).with_base_offset(base);
    let topics = request.topic_data.iter().map(|topic| {
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(vec![partition.clone()])
    });
    ProduceResponse::default().with_responses(topics.collect())
}
