//! What can be seen of a broker from outside it, without a request.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::node::PartitionKey;
use crate::tenure::{Leading, Tenure, Tenures};

/// How far a broker's start has come (redpanda.md 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not started, or ended.
    Stopped,
    /// The RPC server is open; the broker looks for its cluster.
    Joining,
    /// The broker is a member; listeners are being opened.
    Booting,
    /// Every listener is open.
    Ready,
}

/// A handle to one broker's state; cheap to clone, and it may outlive the broker.
#[derive(Clone, Debug)]
pub struct BrokerStatus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<Phase>,
    broker_id: AtomicI32,
    counters: [AtomicU64; Counter::ALL.len()],
    /// None if nobody wants them.
    tenures: Option<Mutex<Tenures>>,
}

/// Something a broker counts from its start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Connections accepted, on all listeners.
    Connections,
    /// Requests answered on Kafka listeners.
    KafkaRequests,
    /// Requests answered on HTTP listeners.
    HttpRequests,
    /// Requests answered on the RPC listener.
    RpcRequests,
    /// Batches appended as leader.
    BatchesProduced,
    /// Bytes of batches given to clients.
    BytesFetched,
    /// Partitions in requests that were answered with NOT_LEADER_OR_FOLLOWER.
    NotLeader,
    /// Connections closed because of bytes that are no request.
    MalformedFrames,
    /// Bytes cut from logs at the start because they were torn or damaged.
    RecoveryCutBytes,
    /// Reads and writes that the volume refused.
    StorageErrors,
    /// TLS handshakes with clients that failed.
    FailedHandshakes,
    /// Clients that did not prove who they are.
    FailedAuthentications,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Counter; 12] = [
        Counter::Connections,
        Counter::KafkaRequests,
        Counter::HttpRequests,
        Counter::RpcRequests,
        Counter::BatchesProduced,
        Counter::BytesFetched,
        Counter::NotLeader,
        Counter::MalformedFrames,
        Counter::RecoveryCutBytes,
        Counter::StorageErrors,
        Counter::FailedHandshakes,
        Counter::FailedAuthentications,
    ];
}

impl Default for BrokerStatus {
    fn default() -> Self {
        BrokerStatus::new()
    }
}

impl BrokerStatus {
    /// The status of a broker that is not started.
    pub fn new() -> BrokerStatus {
        BrokerStatus::with(None)
    }

    /// The status of a broker that is not started, which also keeps when the broker led which partition.
    pub fn with_tenures() -> BrokerStatus {
        BrokerStatus::with(Some(Mutex::default()))
    }

    fn with(tenures: Option<Mutex<Tenures>>) -> BrokerStatus {
        BrokerStatus(Arc::new(Inner {
            phase: watch::Sender::new(Phase::Stopped),
            broker_id: AtomicI32::new(-1),
            counters: Default::default(),
            tenures,
        }))
    }

    /// When the broker led which partition, in the order in which that began; empty unless it is kept
    /// ([`BrokerStatus::with_tenures`]).
    pub fn tenures(&self) -> Vec<Tenure> {
        let Some(tenures) = &self.0.tenures else { return Vec::new() };
        tenures.lock().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// The broker leads a partition so from now on, or no more.
    pub(crate) fn note_tenure(&self, topic: &str, key: PartitionKey, leading: Option<Leading>) {
        if let Some(tenures) = &self.0.tenures {
            let mut tenures = tenures.lock().unwrap_or_else(PoisonError::into_inner);
            tenures.note(hopwise_engine::now(), topic, key, leading);
        }
    }

    /// The broker's id; `None` until it is a member of a cluster.
    pub fn broker_id(&self) -> Option<i32> {
        Some(self.0.broker_id.load(Ordering::Relaxed)).filter(|id| *id >= 0)
    }

    /// How far its start has come.
    pub fn phase(&self) -> Phase {
        *self.0.phase.borrow()
    }

    /// Whether every listener is open.
    pub fn ready(&self) -> bool {
        self.phase() == Phase::Ready
    }

    /// Waits until every listener is open.
    pub async fn wait_ready(&self) {
        let mut phase = self.0.phase.subscribe();
        // The sender lives in this handle, so the channel cannot be closed.
        let _ = phase.wait_for(|phase| *phase == Phase::Ready).await;
    }

    /// How often something happened since the start.
    pub fn count(&self, counter: Counter) -> u64 {
        self.0.counters[counter as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.0.counters[counter as usize].fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.0.phase.send_replace(phase);
    }

    pub(crate) fn set_broker_id(&self, id: i32) {
        self.0.broker_id.store(id, Ordering::Relaxed);
    }
}
