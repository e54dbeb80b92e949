//! Connections to brokers: one per address, opened when first needed.
//!
//! Several requests may be under way on one; a broker answers them in their order. A connection whose answer
//! does not come in time is given up, and the next request opens another. Names are resolved at each attempt,
//! because a pod comes back with another IP.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hopwise_fabric::net::TcpStream;
use hopwise_security::tls::Stream;
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::KafkaError;
use super::transport::Transport;
use crate::config::HostPort;
use crate::rpc::frame::read_block;
use crate::tasks::Tasks;

/// Requests that wait for their connection.
const QUEUE_REQUESTS_MAX: usize = 64;
/// Largest answer, bytes: a fetch of the most that may be asked for, and its surroundings.
const ANSWER_BYTES_MAX: u32 = 128 << 20;
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections that are used together. Those that should not wait for each other have sets of their own: a
/// fetch that waits for records keeps everything behind it waiting.
pub(crate) struct Connections {
    client_id: StrBytes,
    transport: Transport,
    tasks: Tasks,
    links: Mutex<BTreeMap<HostPort, Arc<Link>>>,
}

#[derive(Default)]
struct Link {
    connection: tokio::sync::Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    requests: mpsc::Sender<Outgoing>,
}

struct Outgoing {
    frame: BytesMut,
    answer: oneshot::Sender<Bytes>,
}

/// Where the correlation id is in a frame: behind the length, the key and the version.
const CORRELATION_ID: std::ops::Range<usize> = 8..12;

impl Connections {
    pub fn new(client_id: &str, transport: Transport, tasks: Tasks) -> Connections {
        let client_id = StrBytes::from_string(client_id.to_owned());
        Connections { client_id, transport, tasks, links: Mutex::new(BTreeMap::new()) }
    }

    /// Sends a request to the broker at an address, and waits for its answer for at most `patience`.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] and [`KafkaError::Malformed`]; what the answer says is not looked at.
    pub async fn request<R: Request>(
        &self,
        address: &HostPort,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<R::Response, KafkaError> {
        let frame = encode(request, version, &self.client_id)?;
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(links.entry(address.clone()).or_default())
        };
        let answer =
            match timeout(CONNECT_TIMEOUT + patience, self.ask(&link, address, frame, patience)).await {
                Ok(answer) => answer?,
                Err(_) => {
                    if let Ok(mut connection) = link.connection.try_lock() {
                        *connection = None;
                    }
                    return Err(unreachable(address, &"no answer in time"));
                }
            };
        decode::<R>(answer, version)
    }

    async fn ask(
        &self,
        link: &Link,
        address: &HostPort,
        frame: BytesMut,
        patience: Duration,
    ) -> Result<Bytes, KafkaError> {
        let connection = self.connection(link, address).await?;
        let (answer, wait) = oneshot::channel();
        let closed = || unreachable(address, &"the connection was closed");
        connection.requests.send(Outgoing { frame, answer }).await.map_err(|_| closed())?;
        match timeout(patience, wait).await {
            Ok(answer) => answer.map_err(|_| closed()),
            Err(_) => {
                // Later answers on it would come late too.
                *link.connection.lock().await = None;
                Err(unreachable(address, &"no answer in time"))
            }
        }
    }

    async fn connection(&self, link: &Link, address: &HostPort) -> Result<Connection, KafkaError> {
        let mut slot = link.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.requests.is_closed()) {
            return Ok(connection.clone());
        }
        let late = |_| Err(unreachable(address, &"no connection in time"));
        let open = self.transport.open(address, &self.client_id);
        let stream = timeout(CONNECT_TIMEOUT, open).await.unwrap_or_else(late)?;
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        self.tasks.spawn(drive(stream, queue));
        let connection = Connection { requests };
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

fn unreachable(address: &HostPort, problem: &dyn std::fmt::Display) -> KafkaError {
    KafkaError::Unreachable(format!("{address}: {problem}"))
}

fn malformed(error: impl std::fmt::Display) -> KafkaError {
    KafkaError::Malformed(error.to_string())
}

/// A request's frame, without its correlation id.
pub(super) fn encode<R: Request>(
    request: &R,
    version: i16,
    client_id: &StrBytes,
) -> Result<BytesMut, KafkaError> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(client_id.clone()));
    let mut frame = BytesMut::zeroed(4);
    encode_request_header_into_buffer(&mut frame, &header).map_err(malformed)?;
    request.encode(&mut frame, version).map_err(malformed)?;
    let length = u32::try_from(frame.len() - 4).map_err(malformed)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The answer in a frame.
pub(super) fn decode<R: Request>(mut answer: Bytes, version: i16) -> Result<R::Response, KafkaError> {
    ResponseHeader::decode(&mut answer, R::Response::header_version(version)).map_err(malformed)?;
    R::Response::decode(&mut answer, version).map_err(malformed)
}

/// Writes requests and hands out answers until the connection ends, or nobody holds it any more.
async fn drive(stream: Stream<TcpStream>, mut queue: mpsc::Receiver<Outgoing>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let waiting = Mutex::new(VecDeque::new());
    let write = async {
        let mut correlation_id = 0_i32;
        while let Some(mut outgoing) = queue.recv().await {
            correlation_id = correlation_id.wrapping_add(1);
            outgoing.frame[CORRELATION_ID].copy_from_slice(&correlation_id.to_be_bytes());
            waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back((correlation_id, outgoing.answer));
            if writer.write_all(&outgoing.frame).await.is_err() {
                break;
            }
        }
    };
    let read = async {
        while let Ok(Some(answer)) = read_block(&mut reader, ANSWER_BYTES_MAX).await {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match (next, answer.first_chunk::<4>()) {
                (Some((expected, sender)), Some(id)) if i32::from_be_bytes(*id) == expected => {
                    // The caller may have given up meanwhile.
                    let _ = sender.send(answer);
                }
                _ => break,
            }
        }
    };
    tokio::select! {
        biased;
        () = read => {}
        () = write => {}
    }
}
