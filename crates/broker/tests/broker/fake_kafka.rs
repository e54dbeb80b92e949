//! A listener that speaks just enough Kafka to say what went wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiKey, MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
}

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
            produce(&request, answers.produce.load(Ordering::Relaxed)).encode(&mut bytes, version).unwrap();
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

fn produce(request: &ProduceRequest, code: i16) -> ProduceResponse {
    let partition = PartitionProduceResponse::default().with_error_code(code);
    let topics = request.topic_data.iter().map(|topic| {
        TopicProduceResponse::default()
            .with_name(topic.name.clone())
            .with_partition_responses(vec![partition.clone()])
    });
    ProduceResponse::default().with_responses(topics.collect())
}
