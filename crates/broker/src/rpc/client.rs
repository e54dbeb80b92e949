//! Connections to other brokers.
//!
//! One per address, opened when first needed; the name is resolved at each attempt, because a pod comes back
//! with another IP. A connection whose answer does not come in time is given up, and the next call opens
//! another.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hopwise_fabric::net::{TcpStream, lookup_host};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::frame::{self, Frame};
use super::ping::{Ping, Pong};
use super::raft_frame::Route;
use super::{Refusal, Reply, ReplyHead, RequestHead};
use crate::config::HostPort;
use crate::gathered::Outgoing;
use crate::security::Stream;
use crate::security::listener_tls::ListenerTls;
use crate::tasks::Tasks;

/// Frames that wait for their connection.
const QUEUE_FRAMES_MAX: usize = 64;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection to {address}: {error}")]
    Connect { address: HostPort, error: io::Error },
    #[error("{address} did not answer in time")]
    TimedOut { address: HostPort },
    #[error("the connection to {address} was closed")]
    Closed { address: HostPort },
    #[error("{address} refused: {refusal}")]
    Refused { address: HostPort, refusal: Refusal },
}

impl CallError {
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            CallError::Refused { refusal, .. } => Some(refusal),
            _ => None,
        }
    }
}

type Answer = (Result<Reply, Refusal>, Bytes);
type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>>;

/// Every other broker, as this one reaches it.
pub(crate) struct Peers {
    tasks: Tasks,
    /// TLS, if the brokers speak it with each other.
    tls: Option<Arc<ListenerTls>>,
    links: Mutex<BTreeMap<HostPort, Arc<Link>>>,
}

#[derive(Default)]
struct Link {
    connection: tokio::sync::Mutex<Option<Connection>>,
}

#[derive(Clone)]
struct Connection {
    frames: mpsc::Sender<Outgoing>,
    waiting: Waiting,
    next_call: Arc<Mutex<u64>>,
}

impl Peers {
    pub fn new(tasks: Tasks, tls: Option<Arc<ListenerTls>>) -> Peers {
        Peers { tasks, tls, links: Mutex::new(BTreeMap::new()) }
    }

    /// Asks the broker at `address`, and waits for the answer for at most `patience`.
    ///
    /// # Errors
    /// Everything that keeps an answer away, and the peer's refusal.
    pub async fn call(
        &self,
        address: &HostPort,
        mut head: RequestHead,
        body: &[u8],
        patience: Duration,
    ) -> Result<(Reply, Bytes), CallError> {
        let write = |call| {
            head.call = call;
            frame::encode(&head, body).map(Outgoing::from)
        };
        self.exchange(address, write, patience).await
    }

    /// Asks the broker at `address` whether it is there, as [`Peers::call`] does.
    ///
    /// # Errors
    /// As for a call.
    pub async fn ping(&self, address: &HostPort, route: Route, patience: Duration) -> Result<(), CallError> {
        self.exchange(address, |call| Ok(Ping { call, route }.encode().outgoing()), patience)
            .await
            .map(|_| ())
    }

    async fn exchange(
        &self,
        address: &HostPort,
        write: impl FnOnce(u64) -> io::Result<Outgoing>,
        patience: Duration,
    ) -> Result<(Reply, Bytes), CallError> {
        let link = {
            let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(links.entry(address.clone()).or_default())
        };
        match timeout(patience, self.ask(&link, address, write)).await {
            Ok(result) => result,
            Err(_) => {
                if let Ok(mut connection) = link.connection.try_lock() {
                    *connection = None;
                }
                Err(CallError::TimedOut { address: address.clone() })
            }
        }
    }

    async fn ask(
        &self,
        link: &Link,
        address: &HostPort,
        write: impl FnOnce(u64) -> io::Result<Outgoing>,
    ) -> Result<(Reply, Bytes), CallError> {
        let connection = self.connection(link, address).await?;
        let (sender, answer) = oneshot::channel();
        let call = connection.number();
        connection.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(call, sender);
        let _forget = Forget { waiting: &connection.waiting, call };
        let frame = write(call).map_err(|error| CallError::Connect { address: address.clone(), error })?;
        let closed = || CallError::Closed { address: address.clone() };
        connection.frames.send(frame).await.map_err(|_| closed())?;
        let (reply, body) = answer.await.map_err(|_| closed())?;
        let refused = |refusal| CallError::Refused { address: address.clone(), refusal };
        Ok((reply.map_err(refused)?, body))
    }

    async fn connection(&self, link: &Link, address: &HostPort) -> Result<Connection, CallError> {
        let mut slot = link.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.frames.is_closed()) {
            return Ok(connection.clone());
        }
        let connect = |error| CallError::Connect { address: address.clone(), error };
        let stream = connect_secured(address, self.tls.as_deref()).await.map_err(connect)?;
        let connection = self.open(stream);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// Starts the connection's task, which ends with the connection or when nobody holds it any more.
    fn open(&self, stream: Stream) -> Connection {
        let (frames, mut queue) = mpsc::channel::<Outgoing>(QUEUE_FRAMES_MAX);
        let waiting = Waiting::default();
        let answers = Arc::clone(&waiting);
        self.tasks.spawn(async move {
            let (reader, mut writer) = tokio::io::split(stream);
            let mut reader = BufReader::new(reader);
            let write = async {
                while let Some(mut frame) = queue.recv().await {
                    if writer.write_all_buf(&mut frame).await.is_err() || writer.flush().await.is_err() {
                        break;
                    }
                }
            };
            let read = async {
                while let Ok(Some(frame)) = frame::read::<ReplyHead>(&mut reader).await {
                    let (call, answer) = match frame {
                        Frame::Json(head, body) => (head.call, (head.reply, body)),
                        Frame::Raft(kind, content) => match Pong::decode(kind, content) {
                            Some(pong) => (pong.call, (pong.verdict.map(|()| Reply::Pong), Bytes::new())),
                            None => break,
                        },
                    };
                    let sender = answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&call);
                    if let Some(sender) = sender {
                        // The caller may have given up meanwhile.
                        let _ = sender.send(answer);
                    }
                }
            };
            tokio::select! {
                biased;
                () = read => {}
                () = write => {}
            }
            drop(queue);
            answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Connection { frames, waiting, next_call: Arc::default() }
    }
}

impl Connection {
    fn number(&self) -> u64 {
        let mut next = self.next_call.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        *next
    }
}

/// Takes a call out of the table when its caller gives up.
struct Forget<'a> {
    waiting: &'a Waiting,
    call: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.call);
    }
}

/// Connects to another broker's RPC listener, by TLS if the brokers speak it with each other.
pub(crate) async fn connect_secured(address: &HostPort, tls: Option<&ListenerTls>) -> io::Result<Stream> {
    let stream = connect_any(address).await?;
    let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
    tls.connect(&address.host, stream).await.map_err(|failure| {
        tracing::warn!(%address, %failure, "the TLS handshake with another broker failed");
        io::Error::other(failure)
    })
}

/// Connects to the first of a name's addresses that answers.
pub(crate) async fn connect_any(address: &HostPort) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in lookup_host(&address.host, address.port).await? {
        match TcpStream::connect(candidate).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
