//! A Kafka client of a few lines, so that the tests decide themselves what is sent, sent again and believed.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use hopwise_fabric::net::TcpStream;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a connection or an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to one broker; one request at a time.
pub struct Connection {
    stream: TcpStream,
    correlation_id: i32,
}

fn bad(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Connection {
    pub async fn open(host: &str, port: u16) -> io::Result<Connection> {
        let address = std::net::SocketAddr::new(host.parse().map_err(bad)?, port);
        let stream = in_time(TcpStream::connect(address)).await?;
        Ok(Connection { stream, correlation_id: 0 })
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Request>(&mut self, request: &R, version: i16) -> io::Result<R::Response>
    where
        R::Response: Decodable,
    {
        self.correlation_id += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation_id)
            .with_client_id(Some(StrBytes::from_static_str("tests")));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header.encode(&mut frame, R::header_version(version)).map_err(bad)?;
        request.encode(&mut frame, version).map_err(bad)?;
        let length = frame.len() as u32 - 4;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        in_time(self.exchange(frame.freeze(), R::KEY, version)).await
    }

    async fn exchange<A: Decodable>(&mut self, frame: Bytes, key: i16, version: i16) -> io::Result<A> {
        self.stream.write_all(&frame).await?;
        let length = self.stream.read_u32().await?;
        let mut bytes = vec![0; length as usize];
        self.stream.read_exact(&mut bytes).await?;
        let mut bytes = Bytes::from(bytes);
        let api = ApiKey::try_from(key).map_err(|()| bad("an unknown key"))?;
        let header = ResponseHeader::decode(&mut bytes, api.response_header_version(version)).map_err(bad)?;
        if header.correlation_id != self.correlation_id {
            return Err(bad("an answer to another request"));
        }
        let answer = A::decode(&mut bytes, version).map_err(bad)?;
        if bytes.has_remaining() { Err(bad("bytes after the answer")) } else { Ok(answer) }
    }
}

/// Who sends, and its place in the sender's sequence.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub sequence: i32,
}

/// A batch of one record.
pub fn batch(value: &str, sequence: Sequence) -> Bytes {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: sequence.producer_id,
        producer_epoch: sequence.producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: sequence.sequence,
        timestamp: hopwise_engine::clock::unix_ms(),
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: Default::default(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).expect("a record can be encoded");
    bytes.freeze()
}

/// The records of a Fetch answer: offset and value.
pub fn records(mut bytes: Bytes) -> io::Result<Vec<(i64, String)>> {
    let batches = RecordBatchDecoder::decode_all(&mut bytes).map_err(bad)?;
    let records = batches.into_iter().flat_map(|batch| batch.records).filter(|record| !record.control);
    let text = |value: Option<Bytes>| String::from_utf8_lossy(&value.unwrap_or_default()).into_owned();
    Ok(records.map(|record| (record.offset, text(record.value))).collect())
}
