//! Connections to brokers: one per address, opened when first needed.
//!
//! Several requests may be under way on one; a broker answers them in their order. A connection whose answer
//! does not come in time is given up, and the next request opens another. Names are resolved at each attempt,
//! because a pod comes back with another IP.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::error::KafkaError;
use crate::config::HostPort;
use crate::rpc::client::connect_any;
use crate::rpc::frame::read_block;
use crate::tasks::Tasks;

/// Requests that wait for their connection.
const QUEUE_REQUESTS_MAX: usize = 64;
/// Largest answer, bytes: a fetch of the most that may be asked for, and its surroundings.
const ANSWER_BYTES_MAX: u32 = 128 << 20;
/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected stream, secured or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connections that are used together. Those that should not wait for each other have sets of their own: a
/// fetch that waits for records keeps everything behind it waiting.
pub(crate) struct Connections {
    client_id: StrBytes,
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
    pub fn new(client_id: &str, tasks: Tasks) -> Connections {
        let client_id = StrBytes::from_string(client_id.to_owned());
        Connections { client_id, tasks, links: Mutex::new(BTreeMap::new()) }
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
        let frame = self.encode(request, version)?;
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(links.entry(address.clone()).or_default())
        };
        let unreachable =
            |problem: &dyn std::fmt::Display| KafkaError::Unreachable(format!("{address}: {problem}"));
        let mut answer =
            match timeout(CONNECT_TIMEOUT + patience, self.ask(&link, address, frame, patience)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(unreachable(&error)),
                Err(_) => {
                    if let Ok(mut connection) = link.connection.try_lock() {
                        *connection = None;
                    }
                    return Err(unreachable(&"no answer in time"));
                }
            };
        let malformed = |error: &dyn std::fmt::Display| KafkaError::Malformed(error.to_string());
        ResponseHeader::decode(&mut answer, R::Response::header_version(version))
            .map_err(|error| malformed(&error))?;
        R::Response::decode(&mut answer, version).map_err(|error| malformed(&error))
    }

    fn encode<R: Request>(&self, request: &R, version: i16) -> Result<BytesMut, KafkaError> {
        let malformed = |error: &dyn std::fmt::Display| KafkaError::Malformed(error.to_string());
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::zeroed(4);
        encode_request_header_into_buffer(&mut frame, &header).map_err(|error| malformed(&error))?;
        request.encode(&mut frame, version).map_err(|error| malformed(&error))?;
        let length = u32::try_from(frame.len() - 4).map_err(|error| malformed(&error))?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    async fn ask(
        &self,
        link: &Link,
        address: &HostPort,
        frame: BytesMut,
        patience: Duration,
    ) -> io::Result<Bytes> {
        let connection = self.connection(link, address).await?;
        let (answer, wait) = oneshot::channel();
        let closed = || io::Error::new(io::ErrorKind::ConnectionReset, "the connection was closed");
        connection.requests.send(Outgoing { frame, answer }).await.map_err(|_| closed())?;
        match timeout(patience, wait).await {
            Ok(answer) => answer.map_err(|_| closed()),
            Err(_) => {
                // Later answers on it would come late too.
                *link.connection.lock().await = None;
                Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
            }
        }
    }

    async fn connection(&self, link: &Link, address: &HostPort) -> io::Result<Connection> {
        let mut slot = link.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.requests.is_closed()) {
            return Ok(connection.clone());
        }
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time"));
        let stream = timeout(CONNECT_TIMEOUT, connect_any(address)).await.unwrap_or_else(late)?;
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS_MAX);
        self.tasks.spawn(drive(Box::new(stream), queue));
        let connection = Connection { requests };
        *slot = Some(connection.clone());
        Ok(connection)
    }
}

/// Writes requests and hands out answers until the connection ends, or nobody holds it any more.
async fn drive(stream: Box<dyn Stream>, mut queue: mpsc::Receiver<Outgoing>) {
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
