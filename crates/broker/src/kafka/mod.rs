//! The Kafka listeners: requests in, responses out, in order, one connection a task.
//!
//! Frames are read and written with `kafka-protocol`. Bytes that are no request end their connection and
//! nothing else. Left out in this version: groups, transactions and idempotent sequences, fetch sessions (every answer says "no session", which
//! clients accept), quotas.

mod address;
mod api_versions;
mod create_topics;
mod fetch;
mod find_coordinator;
mod guard;
mod list_offsets;
mod metadata;
pub(crate) mod principal;
mod produce;
mod sasl;
mod versions;

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use hopwise_fabric::net::{TcpListener, TcpStream};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use tokio::io::AsyncWriteExt;

use self::principal::Principal;
use crate::config::Listener;
use crate::node::Node;
use crate::replication::partition::PartitionError;
use crate::rpc::frame::read_block;
use crate::security::Stream;
use crate::status::Counter;

/// redpanda.md 4.4: `wait_for_leader_timeout_ms`.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);

/// A connection's view of the broker: answers depend on the listener it entered by.
#[derive(Clone)]
struct Session {
    node: Arc<Node>,
    listener: Arc<Listener>,
    /// Set once the client has proved who it is.
    principal: Arc<OnceLock<Principal>>,
}

impl Session {
    /// Who the client is.
    fn principal(&self) -> Principal {
        self.principal.get().cloned().unwrap_or(Principal::Anonymous)
    }
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("malformed request: {0}")]
    Malformed(String),
    #[error("api key {key} version {version} is not offered")]
    NotOffered { key: i16, version: i16 },
    #[error("a response could not be encoded: {0}")]
    Encode(String),
    #[error("the client did not authenticate: {0}")]
    Unauthenticated(String),
}

/// Accepts connections for ever.
pub(crate) async fn serve(node: Arc<Node>, listener: Listener, socket: TcpListener) {
    let listener = Arc::new(listener);
    loop {
        let stream = node.accept(&socket).await;
        let session =
            Session { node: Arc::clone(&node), listener: Arc::clone(&listener), principal: Arc::default() };
        node.tasks.spawn(connection(session, stream));
    }
}

async fn connection(session: Session, stream: TcpStream) {
    let peer = stream.peer_addr().ok();
    let Some(mut stream) = session.node.secure(&session.listener, stream).await else { return };
    let error = match answer_all(&session, &mut stream).await {
        Ok(()) => return,
        Err(error) => error,
    };
    let listener = &session.listener.name;
    match error {
        ConnectionError::Unauthenticated(why) => {
            session.node.status.add(Counter::FailedAuthentications, 1);
            tracing::warn!(?peer, listener, why, "closing a Kafka connection");
        }
        ConnectionError::Io(error) if error.kind() != io::ErrorKind::InvalidData => {
            tracing::debug!(?peer, listener, %error, "a Kafka connection ended");
        }
        error => {
            session.node.status.add(Counter::MalformedFrames, 1);
            tracing::warn!(?peer, listener, %error, "closing a Kafka connection");
        }
    }
}

async fn answer_all(session: &Session, stream: &mut Stream) -> Result<(), ConnectionError> {
    let mut gate = sasl::Gate::of(session, stream.peer_certificate())?;
    let bytes_max = session.node.config.cluster.kafka_request_max_bytes;
    while let Some(frame) = read_block(stream, bytes_max).await? {
        let response = match gate.take(session, frame)? {
            sasl::Passed::Through(frame) => answer(session, frame).await?,
            sasl::Passed::Answered(response) => Some(response),
        };
        session.node.status.add(Counter::KafkaRequests, 1);
        if let Some(response) = response {
            stream.write_all(&response).await?;
            stream.flush().await?;
        }
        gate.close_if_failed()?;
    }
    Ok(())
}

/// Answers one request; `None` for a Produce that wants no answer.
async fn answer(session: &Session, frame: Bytes) -> Result<Option<Bytes>, ConnectionError> {
    let [k0, k1, v0, v1, c0, c1, c2, c3, ..] = frame[..] else {
        return Err(ConnectionError::Malformed("shorter than a request header".to_owned()));
    };
    let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
    let Some(offered) = versions::offered(key) else {
        return Err(ConnectionError::NotOffered { key, version });
    };
    if !offered.answers(version) {
        if offered.key == ApiKey::ApiVersions {
            // The header's other fields depend on the version, the correlation id does not.
            let correlation_id = i32::from_be_bytes([c0, c1, c2, c3]);
            let body = api_versions::response(Some(ResponseError::UnsupportedVersion));
            return encode(ApiKey::ApiVersions, 0, correlation_id, &body).map(Some);
        }
        return Err(ConnectionError::NotOffered { key, version });
    }
    let api = offered.key;
    let mut bytes = frame;
    guard::check(api, version, &bytes).map_err(|error| ConnectionError::Malformed(error.to_string()))?;
    let header: RequestHeader = decode(&mut bytes, api.request_header_version(version))?;
    let correlation_id = header.correlation_id;
    let client_id = header.client_id.unwrap_or_default();
    tracing::trace!(?api, version, correlation_id, client = client_id.as_str(), principal = %session.principal(), "request");
    let encoded = match api {
        ApiKey::ApiVersions => {
            let _: kafka_protocol::messages::ApiVersionsRequest = decode(&mut bytes, version)?;
            encode(api, version, correlation_id, &api_versions::response(None))?
        }
        ApiKey::Metadata => {
            let response = metadata::answer(session, decode(&mut bytes, version)?, version).await;
            encode(api, version, correlation_id, &response)?
        }
        ApiKey::Produce => match produce::answer(session, decode(&mut bytes, version)?, version).await {
            Some(response) => encode(api, version, correlation_id, &response)?,
            None => return Ok(None),
        },
        ApiKey::Fetch => {
            let response = fetch::answer(session, decode(&mut bytes, version)?, version).await;
            encode(api, version, correlation_id, &response)?
        }
        ApiKey::ListOffsets => {
            let response = list_offsets::answer(session, decode(&mut bytes, version)?, version).await;
            encode(api, version, correlation_id, &response)?
        }
        ApiKey::FindCoordinator => {
            let response = find_coordinator::answer(session, decode(&mut bytes, version)?, version);
            encode(api, version, correlation_id, &response)?
        }
        ApiKey::CreateTopics => {
            let response = create_topics::answer(session, decode(&mut bytes, version)?, version).await;
            encode(api, version, correlation_id, &response)?
        }
        _ => return Err(ConnectionError::NotOffered { key, version }),
    };
    Ok(Some(encoded))
}

fn decode<T: Decodable>(bytes: &mut Bytes, version: i16) -> Result<T, ConnectionError> {
    T::decode(bytes, version).map_err(|error| ConnectionError::Malformed(error.to_string()))
}

fn encode(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &impl Encodable,
) -> Result<Bytes, ConnectionError> {
    let failed = |error: &dyn std::fmt::Display| ConnectionError::Encode(error.to_string());
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    let header_version = api.response_header_version(version);
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    header.encode(&mut frame, header_version).map_err(|error| failed(&error))?;
    body.encode(&mut frame, version).map_err(|error| failed(&error))?;
    let length = u32::try_from(frame.len() - 4).map_err(|error| failed(&error))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The code that a client gets where a replica cannot serve.
fn partition_error(session: &Session, error: &PartitionError) -> ResponseError {
    match error {
        PartitionError::NotLeader => {
            session.node.status.add(Counter::NotLeader, 1);
            ResponseError::NotLeaderOrFollower
        }
        PartitionError::NotLeadingYet => ResponseError::LeaderNotAvailable,
        PartitionError::TimedOut => ResponseError::RequestTimedOut,
        PartitionError::Producer(error, _) => *error,
        PartitionError::Storage(reason) => {
            session.node.status.add(Counter::StorageErrors, 1);
            tracing::error!(reason, "the volume cannot serve a request");
            ResponseError::KafkaStorageError
        }
    }
}
