//! A Kafka client that asks for metadata, and nothing else: a frame out, a frame in.

use std::io;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of Metadata that is spoken.
const VERSION: i16 = 9;
/// The longest answer that is read, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// A broker as the cluster's metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// `host:port` that clients are told to connect to.
    pub address: String,
}

/// Asks the broker at the other end of `stream` which brokers there are.
///
/// # Errors
/// If the connection breaks, or the answer cannot be read.
pub async fn brokers<S>(stream: &mut S) -> io::Result<Vec<Broker>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&request()?).await?;
    let length = stream.read_u32().await? as usize;
    if length > ANSWER_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("an answer of {length} bytes")));
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await?;
    let mut answer = &answer[..];
    ResponseHeader::decode(&mut answer, ApiKey::Metadata.response_header_version(VERSION))
        .map_err(invalid)?;
    let metadata = MetadataResponse::decode(&mut answer, VERSION).map_err(invalid)?;
    let mut brokers: Vec<Broker> = metadata
        .brokers
        .iter()
        .map(|broker| Broker { id: broker.node_id.0, address: format!("{}:{}", broker.host, broker.port) })
        .collect();
    brokers.sort_by_key(|broker| broker.id);
    Ok(brokers)
}

/// A frame that asks for the brokers and no topic.
fn request() -> io::Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(VERSION)
        .with_correlation_id(1)
        .with_client_id(Some(StrBytes::from_static_str("example")));
    let mut body = BytesMut::new();
    header.encode(&mut body, ApiKey::Metadata.request_header_version(VERSION)).map_err(invalid)?;
    MetadataRequest::default().with_topics(Some(Vec::new())).encode(&mut body, VERSION).map_err(invalid)?;
    let mut frame = BytesMut::with_capacity(4 + body.len());
    frame.put_u32(u32::try_from(body.len()).map_err(io::Error::other)?);
    frame.extend_from_slice(&body);
    Ok(frame)
}

fn invalid(error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
