//! Connections for Raft's frames, which are posted and not waited for.
//!
//! Each peer has two lanes, each a connection that is opened when there is something to send: heartbeats and
//! votes do not wait behind records. What comes back on a lane is what the peer answers, so that a peer that can
//! be reached, but cannot reach this broker, still answers it. A lane holds a bounded number of frames; what does
//! not fit is dropped, and Raft sends it again. The peer's name is resolved at each attempt to connect; between
//! attempts that fail there is a pause that grows. A lane that is sent frames and hears nothing for the heartbeat
//! timeout is given up and opened anew (redpanda.md 4.4: `raft_heartbeat_disconnect_failures`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ReplyHead;
use super::client::connect_secured;
use super::frame::{self, Frame};
use crate::config::HostPort;
use crate::gathered::Outgoing;
use crate::security::Stream;
use crate::security::listener_tls::ListenerTls;
use crate::tasks::Tasks;

/// Frames that wait for a lane.
const QUEUE_FRAMES_MAX: usize = 256;
/// The pause after a first failed attempt to connect, and the longest one.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long an attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Which of a peer's connections a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Heartbeats, votes, and what is as small.
    Control,
    /// Records and snapshots.
    Data,
}

/// What the lanes tell the broker.
pub(crate) trait Receiver: Send + Sync + 'static {
    /// A frame of Raft's arrived from a peer.
    fn receive(&self, kind: u8, content: Bytes);
    /// Frames to a peer may be lost.
    fn lost(&self, peer: i32);
}

/// The lanes to all peers.
pub(crate) struct Lanes {
    tasks: Tasks,
    patience: Duration,
    /// TLS, if the brokers speak it with each other.
    tls: Option<Arc<ListenerTls>>,
    lanes: Mutex<BTreeMap<(i32, Lane), Handle>>,
}

struct Handle {
    address: HostPort,
    frames: mpsc::Sender<Outgoing>,
}

impl Lanes {
    /// `patience` is how long a lane may be silent while it is sent frames.
    pub fn new(tasks: Tasks, patience: Duration, tls: Option<Arc<ListenerTls>>) -> Lanes {
        Lanes { tasks, patience, tls, lanes: Mutex::default() }
    }

    /// Sends a frame to a peer, or drops it; tells which. `receiver` is for a lane that is opened now.
    pub fn post(
        &self,
        (peer, lane): (i32, Lane),
        address: &HostPort,
        frame: Outgoing,
        receiver: impl FnOnce() -> Arc<dyn Receiver>,
    ) -> bool {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let current = lanes.get(&(peer, lane)).filter(|handle| handle.address == *address);
        match current {
            Some(handle) => handle.frames.try_send(frame).is_ok(),
            None => {
                let (frames, queue) = mpsc::channel(QUEUE_FRAMES_MAX);
                let run = Run {
                    peer,
                    address: address.clone(),
                    patience: self.patience,
                    tls: self.tls.clone(),
                    receiver: receiver(),
                };
                self.tasks.spawn(run.run(queue));
                let sent = frames.try_send(frame).is_ok();
                lanes.insert((peer, lane), Handle { address: address.clone(), frames });
                sent
            }
        }
    }
}

/// One lane's task.
struct Run {
    peer: i32,
    address: HostPort,
    patience: Duration,
    tls: Option<Arc<ListenerTls>>,
    receiver: Arc<dyn Receiver>,
}

impl Run {
    /// Ends when the lane's handle is replaced.
    async fn run(self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut backoff = BACKOFF_MIN;
        while let Some(first) = queue.recv().await {
            match timeout(CONNECT_TIMEOUT, connect_secured(&self.address, self.tls.as_deref())).await {
                Ok(Ok(stream)) => {
                    backoff = BACKOFF_MIN;
                    self.carry(stream, first, &mut queue).await;
                }
                failed => {
                    let failed = failed.map(|connected| connected.err());
                    tracing::trace!(address = %self.address, ?failed, "no connection for Raft");
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            // What waited meanwhile is old.
            while queue.try_recv().is_ok() {}
            self.receiver.lost(self.peer);
        }
    }

    async fn carry(&self, stream: Stream, first: Outgoing, queue: &mut mpsc::Receiver<Outgoing>) {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = BufReader::new(reader);
        // Since when frames were sent that nothing was heard after.
        let waiting: Mutex<Option<Instant>> = Mutex::new(None);
        let set = |since: Option<Instant>| {
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            *waiting = if since.is_some() { waiting.or(since) } else { None };
        };
        let write = async {
            let mut next = Some(first);
            while let Some(mut frame) = next {
                set(Some(Instant::now()));
                if writer.write_all_buf(&mut frame).await.is_err() || writer.flush().await.is_err() {
                    break;
                }
                next = queue.recv().await;
            }
        };
        let read = async {
            while let Ok(Some(frame)) = frame::read::<ReplyHead>(&mut reader).await {
                set(None);
                if let Frame::Raft(kind, content) = frame {
                    self.receiver.receive(kind, content);
                }
            }
        };
        let watch = async {
            loop {
                let since = *waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                match since.map(|since| since + self.patience) {
                    Some(end) if end <= now => return,
                    Some(end) => sleep_until(end).await,
                    None => sleep(self.patience).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = read => {}
            () = write => {}
            () = watch => {}
        }
    }
}
