//! One replica of a partition on this broker.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::log::batch::BatchHeader;
use crate::log::{Entry, EntryKind, Log, LogError, batch};
use crate::node::PartitionKey;

/// The epoch of every leader in this version, because leaders do not change.
const LEADER_EPOCH: i32 = 1;

/// A replica.
pub(crate) struct Partition {
    pub key: PartitionKey,
    /// The first one leads.
    replicas: Vec<i32>,
    own: i32,
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
}

struct State {
    log: Result<Log, String>,
    /// Per replica, the offset below which it holds what the leader holds.
    matched: BTreeMap<i32, i64>,
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The offset the next record gets.
    pub end: i64,
    /// Everything below is on a majority's disks.
    pub high_watermark: i64,
    /// Every transaction below has ended.
    pub last_stable_offset: i64,
    /// Whether this broker leads, has heard a majority, and serves.
    pub leading: bool,
    /// The leader's epoch.
    pub epoch: i32,
}

/// Whom a Produce waits for (redpanda.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// 0: nobody.
    None,
    /// 1: the leader.
    Leader,
    /// -1: a majority of the replicas.
    All,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Produced {
    pub base_offset: i64,
    pub last_offset: i64,
    /// The first offset that the log keeps.
    pub start_offset: i64,
}

/// Why a replica cannot serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PartitionError {
    #[error("the broker does not lead the partition")]
    NotLeader,
    #[error("the leader has not heard a majority of the replicas yet")]
    NotLeadingYet,
    #[error("a majority of the replicas did not write the batch in time")]
    TimedOut,
    /// The producer's epoch or sequence does not fit: the error for the client.
    #[error("{1}")]
    Producer(ResponseError, String),
    #[error("{0}")]
    Storage(String),
}

impl From<LogError> for PartitionError {
    fn from(error: LogError) -> Self {
        PartitionError::Storage(error.to_string())
    }
}

impl Partition {
    pub fn new(key: PartitionKey, own: i32, replicas: Vec<i32>, log: Result<Log, String>) -> Partition {
        let end = log.as_ref().map_or(0, Log::end_offset);
        let progress = watch::Sender::new(Progress { end, epoch: LEADER_EPOCH, ..Progress::default() });
        Partition { key, replicas, own, state: Mutex::new(State { log, matched: BTreeMap::new() }), progress }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker that leads, as far as this replica knows.
    pub fn leader(&self) -> Option<i32> {
        self.replicas.first().copied()
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.leader() == Some(self.own)
    }

    /// The epoch of the leader that this replica knows.
    pub fn leader_epoch(&self) -> i32 {
        LEADER_EPOCH
    }

    /// The brokers that have a replica; the preferred leader first.
    pub fn replicas(&self) -> Vec<i32> {
        self.replicas.clone()
    }

    pub fn majority(&self) -> usize {
        self.replicas.len() / 2 + 1
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Works on the log.
    pub fn with_log<R>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<R, LogError>,
    ) -> Result<R, PartitionError> {
        let mut state = self.state();
        let log = state.log.as_mut().map_err(|reason| PartitionError::Storage(reason.clone()))?;
        let result = work(log);
        let end = log.end_offset();
        self.progress.send_if_modified(|progress| {
            let changed = progress.end != end;
            progress.end = end;
            changed
        });
        Ok(result?)
    }

    /// The first offset that is kept.
    pub fn start_offset(&self) -> i64 {
        self.state().log.as_ref().map_or(0, Log::start_offset)
    }

    /// Waits until the leader serves.
    pub async fn wait_leading(&self, deadline: Instant) -> Result<(), PartitionError> {
        if !self.leads() {
            return Err(PartitionError::NotLeader);
        }
        if let Err(reason) = &self.state().log {
            return Err(PartitionError::Storage(reason.clone()));
        }
        let mut progress = self.watch();
        let leading = timeout_at(deadline, progress.wait_for(|progress| progress.leading)).await;
        leading.map(|_| ()).map_err(|_| PartitionError::NotLeadingYet)
    }

    /// Appends one whole, checked batch as the leader, with the time of the append where that counts, and waits
    /// for whom `acks` names. The batch is appended when the future is first polled.
    ///
    /// # Errors
    /// The replica does not lead; the volume fails; a majority does not write the batch before `deadline` (it may
    /// be committed later).
    pub async fn produce(
        &self,
        mut batch: Vec<u8>,
        append_time_ms: Option<i64>,
        acks: Acks,
        deadline: Instant,
    ) -> Result<Produced, PartitionError> {
        if !self.leads() {
            return Err(PartitionError::NotLeader);
        }
        let (base_offset, last_offset, start_offset) = self.with_log(|log| {
            let base_offset = log.end_offset();
            batch::assign(&mut batch, base_offset, LEADER_EPOCH);
            if let Some(now_ms) = append_time_ms {
                batch::stamp(&mut batch, now_ms);
            }
            append_batches(log, &batch)?;
            Ok((base_offset, log.end_offset() - 1, log.start_offset()))
        })?;
        self.matched(self.own, last_offset + 1);
        if acks == Acks::All && !self.committed(last_offset, deadline).await {
            return Err(PartitionError::TimedOut);
        }
        Ok(Produced { base_offset, last_offset, start_offset })
    }

    /// Waits until `offset` is committed; `false` if that takes longer.
    async fn committed(&self, offset: i64, deadline: Instant) -> bool {
        let mut progress = self.watch();
        timeout_at(deadline, progress.wait_for(|progress| progress.high_watermark > offset)).await.is_ok()
    }

    /// Notes that a replica holds what the leader holds below `offset`, and commits what a majority holds.
    pub fn matched(&self, replica: i32, offset: i64) {
        let mut state = self.state();
        let end = state.log.as_ref().map_or(0, Log::end_offset);
        state.matched.insert(replica, offset.min(end));
        let mut offsets: Vec<i64> = state.matched.values().copied().collect();
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        let Some(committed) = offsets.get(self.majority() - 1).copied() else { return };
        self.progress.send_if_modified(|progress| {
            let changed = committed > progress.high_watermark;
            progress.high_watermark = progress.high_watermark.max(committed);
            progress.last_stable_offset = progress.high_watermark;
            changed
        });
    }

    /// How many of the other replicas lack something that is committed, as the leader knows.
    pub fn replicas_behind(&self) -> usize {
        let committed = self.progress().high_watermark;
        let state = self.state();
        let others = self.replicas.iter().filter(|id| **id != self.own);
        others.filter(|id| state.matched.get(id).is_none_or(|matched| *matched < committed)).count()
    }

    /// Gives the leadership to another replica.
    pub async fn transfer_leadership(&self, _target: i32) -> Result<(), PartitionError> {
        // The first replica leads for good.
        Err(PartitionError::NotLeader)
    }

    /// The leader has heard a majority: `ends` are the other replicas' ends.
    pub fn start_leading(&self, ends: &[(i32, i64)]) {
        self.matched(self.own, i64::MAX);
        for (replica, end) in ends {
            self.matched(*replica, *end);
        }
        self.progress.send_modify(|progress| progress.leading = true);
    }

    /// A follower learns the leader's high watermark.
    pub fn follow(&self, high_watermark: i64) {
        self.progress.send_if_modified(|progress| {
            let next = high_watermark.min(progress.end).max(progress.high_watermark);
            let changed = next != progress.high_watermark;
            progress.high_watermark = next;
            progress.last_stable_offset = next;
            changed
        });
    }
}

/// Appends whole batches whose offsets continue the log, and syncs.
pub(super) fn append_batches(log: &mut Log, batches: &[u8]) -> Result<(), LogError> {
    let mut entries = Vec::new();
    let mut rest = batches;
    while !rest.is_empty() {
        let header = BatchHeader::check(rest).map_err(std::io::Error::other)?;
        entries.push(Entry {
            index: log.last_index() + 1 + entries.len() as u64,
            term: LEADER_EPOCH as u64,
            kind: EntryKind::Batch,
            base_offset: header.base_offset,
            payload: Bytes::copy_from_slice(&rest[..header.size]),
        });
        rest = &rest[header.size..];
    }
    log.append(&entries)?;
    log.sync()
}
