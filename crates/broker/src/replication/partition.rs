//! One replica on this broker: a partition's, or the controller's.
//!
//! What a replica does at an instant is decided by its [`Group`]; this is where the rest of the broker appends,
//! reads and waits. Whatever changes the group marks it for the broker's [`Driver`], which writes, syncs and sends
//! for all replicas that were marked, together.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::driver::Driver;
use super::settings::Settings;
use super::store::ReplicaStore;
use crate::bugs::Bugs;
use crate::log::batch::{self, BatchHeader};
use crate::log::{Log, LogError};
use crate::node::PartitionKey;
use crate::producers::{Marker, ProducerError, Standing, Verdict};
use crate::raft::{Configuration, Group, GroupError, Role, TransferError, broker_id, raft_id};
use crate::tenure::Leading;

/// A replica.
pub(crate) struct Partition {
    pub key: PartitionKey,
    topic: String,
    own: i32,
    directory: PathBuf,
    bugs: Bugs,
    driver: Arc<Driver>,
    core: Mutex<Core>,
    progress: watch::Sender<Progress>,
}

pub(super) struct Core {
    /// Why there is no group: the log could not be opened.
    pub group: Result<Box<Group<ReplicaStore>>, String>,
    /// The replicas that the partition is to have; the preferred leader first.
    pub replicas: Vec<i32>,
    /// What the table of leaders was told last: the leader, the epoch, whether that is this replica and it serves.
    pub told: (Option<i32>, i32, bool),
    /// How this replica leads, as the broker's status was told last.
    pub leading: Option<Leading>,
    /// Whether somebody asks already whether the group does without the replica.
    pub retires: bool,
    /// Whether a majority's memory is enough for acks=all (`write.caching`).
    pub write_caching: bool,
}

/// How far a replica has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The offset the next record gets.
    pub end: i64,
    /// Everything below is on a majority's disks; with write caching, or acks=1, in a majority's memory.
    pub high_watermark: i64,
    /// The first offset that the log keeps.
    pub start: i64,
    /// Every transaction below has ended.
    pub last_stable_offset: i64,
    /// Whether this broker leads, has committed an entry of its own epoch, and serves.
    pub leading: bool,
    /// The newest epoch that the replica knows.
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

impl From<GroupError> for PartitionError {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::NotLeader | GroupError::ChangeUnderWay => PartitionError::NotLeader,
            GroupError::Log(error) => error.into(),
        }
    }
}

impl From<ProducerError> for PartitionError {
    fn from(error: ProducerError) -> Self {
        let code = match error {
            ProducerError::InvalidEpoch { .. } => ResponseError::InvalidProducerEpoch,
            ProducerError::OutOfOrder { .. } => ResponseError::OutOfOrderSequenceNumber,
            ProducerError::CoordinatorFenced { .. } => ResponseError::TransactionCoordinatorFenced,
            ProducerError::NotTransactional { .. } | ProducerError::NotBegun { .. } => {
                ResponseError::InvalidTxnState
            }
        };
        PartitionError::Producer(code, error.to_string())
    }
}

/// An appended batch, and what is to be waited for.
struct Appended {
    produced: Produced,
    index: u64,
    term: u64,
}

/// A leader that hands over takes no records. It leads on when this is dropped, if it still leads: whoever waited for the
/// target may have given up (a broker whose maintenance ends, a client of the Admin API that goes away).
struct HandingOver<'a>(&'a Partition);

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        // A group that is closed leads nothing anyhow.
        let _ = self.0.with_group(|group| group.keep_leadership());
    }
}

impl Partition {
    pub fn new(
        key: PartitionKey,
        topic: &str,
        directory: PathBuf,
        replicas: Vec<i32>,
        group: Result<Group<ReplicaStore>, String>,
        driver: Arc<Driver>,
        bugs: Bugs,
    ) -> Partition {
        let group = group.map(Box::new);
        let core = Core {
            group,
            replicas,
            told: (None, -1, false),
            leading: None,
            retires: false,
            write_caching: false,
        };
        let partition = Partition {
            key,
            topic: topic.to_owned(),
            own: driver.own(),
            directory,
            bugs,
            driver,
            core: Mutex::new(core),
            progress: watch::Sender::new(Progress::default()),
        };
        partition.note_progress(&partition.core());
        partition
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the replica's files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes the replica out of its group.
    pub(super) fn close(&self, reason: &str) {
        let mut core = self.core();
        core.group = Err(reason.to_owned());
        self.note_tenure(&mut core);
        drop(core);
        self.progress.send_modify(|progress| progress.leading = false);
    }

    /// Puts the replica into its group, with its log opened anew.
    pub(super) fn put(&self, group: Group<ReplicaStore>) {
        self.core().group = Ok(Box::new(group));
    }

    /// Whether the caller is the one who asks whether the group does without the replica.
    pub(super) fn begin_to_retire(&self) -> bool {
        !std::mem::replace(&mut self.core().retires, true)
    }

    pub(super) fn end_to_retire(&self) {
        self.core().retires = false;
    }

    /// Takes over what the cluster's state says: the replicas that the partition is to have, the preferred leader
    /// first, and its properties.
    pub(super) fn take_over(&self, replicas: Vec<i32>, settings: Settings) {
        let mut core = self.core();
        core.write_caching = settings.write_caching;
        let position = replicas.iter().position(|id| *id == self.own).unwrap_or(replicas.len());
        if let Ok(group) = &mut core.group {
            group.set_position(position as u32);
            group.set_flush(settings.flush_delay, settings.flush_bytes);
        }
        core.replicas = replicas;
    }

    /// Works on the group; the driver looks after it afterwards.
    pub(crate) fn with_group<R>(
        &self,
        work: impl FnOnce(&mut Group<ReplicaStore>) -> R,
    ) -> Result<R, PartitionError> {
        let mut core = self.core();
        let group = core.group.as_mut().map_err(|reason| PartitionError::Storage(reason.clone()))?;
        let result = work(group);
        self.note_tenure(&mut core);
        drop(core);
        self.driver.mark(self.key);
        Ok(result)
    }

    fn read<R>(&self, otherwise: R, work: impl FnOnce(&Group<ReplicaStore>) -> R) -> R {
        match &self.core().group {
            Ok(group) => work(group),
            Err(_) => otherwise,
        }
    }

    /// The broker that leads, as far as this replica knows.
    pub fn leader(&self) -> Option<i32> {
        self.read(None, |group| group.leader().and_then(broker_id))
    }

    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.read(false, |group| group.role() == Role::Leader)
    }

    /// The newest epoch (Raft term) that this replica knows.
    pub fn leader_epoch(&self) -> i32 {
        self.read(-1, |group| epoch(group.term()))
    }

    /// The brokers that are to have a replica; the preferred leader first.
    pub fn replicas(&self) -> Vec<i32> {
        self.core().replicas.clone()
    }

    /// Who belongs to the group by now.
    pub fn configuration(&self) -> Configuration {
        self.read(Configuration::default(), |group| group.configuration().clone())
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Works on the log; entries are not to be changed, which is the group's business.
    pub fn with_log<R>(
        &self,
        work: impl FnOnce(&mut Log) -> Result<R, LogError>,
    ) -> Result<R, PartitionError> {
        let mut core = self.core();
        let group = core.group.as_mut().map_err(|reason| PartitionError::Storage(reason.clone()))?;
        Ok(work(&mut group.store_mut().log)?)
    }

    /// The first offset that is kept.
    pub fn start_offset(&self) -> i64 {
        self.read(0, |group| group.store().log.start_offset())
    }

    /// Waits until the leader serves.
    pub async fn wait_leading(&self, deadline: Instant) -> Result<(), PartitionError> {
        if let Err(reason) = &self.core().group {
            return Err(PartitionError::Storage(reason.clone()));
        }
        let mut progress = self.watch();
        loop {
            if progress.borrow_and_update().leading {
                return Ok(());
            }
            // Another broker leads, or nobody does and this one is not the next by right.
            let leader = self.leader();
            if leader.is_some_and(|leader| leader != self.own)
                || (leader.is_none() && self.replicas().first() != Some(&self.own))
            {
                return Err(PartitionError::NotLeader);
            }
            if !matches!(timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
                return Err(PartitionError::NotLeadingYet);
            }
        }
    }

    /// Appends one whole, checked batch as the leader, with the time of the append where that counts, and waits
    /// for whom `acks` names. The batch is appended when the future is first polled. A batch that its producer has
    /// sent before is not appended again; its first offsets are the answer. `standing` tells what the writer knows of
    /// the batch's transaction.
    ///
    /// # Errors
    /// The replica does not lead, or ceases to before the batch is kept (which it may still become); its producer
    /// must not send it; the volume fails; a majority does not write the batch before `deadline` (it may be
    /// committed later).
    pub async fn produce(
        &self,
        batch: Vec<u8>,
        standing: Standing,
        append_time_ms: Option<i64>,
        acks: Acks,
        deadline: Instant,
    ) -> Result<Produced, PartitionError> {
        let appended = self.append(batch, standing, append_time_ms, acks)?;
        if acks == Acks::All && !self.bugs.ack_before_majority {
            self.committed(&appended, deadline).await?;
        }
        Ok(appended.produced)
    }

    fn append(
        &self,
        mut bytes: Vec<u8>,
        standing: Standing,
        append_time_ms: Option<i64>,
        acks: Acks,
    ) -> Result<Appended, PartitionError> {
        let header = BatchHeader::read(&bytes).map_err(|error| PartitionError::Storage(error.to_string()))?;
        let mut core = self.core();
        let write_caching = core.write_caching;
        let group = core.group.as_mut().map_err(|reason| PartitionError::Storage(reason.clone()))?;
        let (term, index) = group.next_entry()?;
        if !group.serves() {
            return Err(PartitionError::NotLeadingYet);
        }
        let log = &group.store().log;
        let start_offset = log.start_offset();
        let verdict = match header.control() {
            true => {
                let coordinator_epoch = Marker::read(&bytes).map_or(-1, |marker| marker.coordinator_epoch);
                let (id, epoch) = (header.producer_id, header.producer_epoch);
                let raised_epoch = standing == Standing::RaisedMarker;
                log.producers().check_marker(id, epoch, raised_epoch, coordinator_epoch)?;
                Verdict::New
            }
            false => log.producers().check(&header)?,
        };
        if verdict == Verdict::New && !header.control() {
            log.producers().check_transaction(&header, standing)?;
        }
        if let Verdict::Duplicate { base_offset, last_offset } = verdict {
            let produced = Produced { base_offset, last_offset, start_offset };
            let index = log.index_of(base_offset).unwrap_or(index);
            let term = log.term(index).unwrap_or(term);
            return Ok(Appended { produced, index, term });
        }
        let base_offset = log.end_offset();
        batch::assign(&mut bytes, base_offset, epoch(term));
        if let Some(now_ms) = append_time_ms {
            batch::stamp(&mut bytes, now_ms);
        }
        group.propose_batch(Bytes::from(bytes), base_offset)?;
        match acks {
            Acks::All if !write_caching => group.wait_for_disk(index),
            _ => group.wait_for_memory(index),
        }
        let last_offset = group.store().log.end_offset() - 1;
        self.note_progress(&core);
        drop(core);
        self.driver.mark(self.key);
        let produced = Produced { base_offset, last_offset, start_offset };
        Ok(Appended { produced, index, term })
    }

    /// Waits until an appended batch is kept.
    async fn committed(&self, appended: &Appended, deadline: Instant) -> Result<(), PartitionError> {
        let mut progress = self.watch();
        let undecided = |progress: &Progress| {
            progress.leading
                && progress.epoch == epoch(appended.term)
                && progress.high_watermark <= appended.produced.last_offset
        };
        loop {
            let decided = async {
                let decided = progress.wait_for(|progress| !undecided(progress)).await;
                decided.map(|progress| *progress)
            };
            let now = match timeout_at(deadline, decided).await {
                Ok(Ok(progress)) => progress,
                Ok(Err(_)) => return Err(PartitionError::NotLeader),
                Err(_) => return Err(PartitionError::TimedOut),
            };
            if now.leading && now.epoch == epoch(appended.term) {
                return Ok(());
            }
            // The leader has lost its majority. As long as nobody else leads it may get it back, with the batch.
            let still_there = self.read(false, |group| {
                let others = group.leader().and_then(broker_id).filter(|leader| *leader != self.own);
                others.is_none()
                    && group.store().log.term(appended.index).is_ok_and(|term| term == appended.term)
            });
            if !still_there {
                return Err(PartitionError::NotLeader);
            }
            if now.leading && now.high_watermark > appended.produced.last_offset {
                return Ok(());
            }
            if !matches!(timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
                return Err(PartitionError::TimedOut);
            }
        }
    }

    /// How many other voting replicas lack something that is committed, as the leader knows.
    pub fn replicas_behind(&self) -> usize {
        let own = raft_id(self.own);
        self.read(0, |group| {
            let commit = group.commit();
            let others = group.configuration().voters.iter().filter(|id| **id != own);
            others.filter(|id| group.matched(**id).is_none_or(|matched| matched < commit)).count()
        })
    }

    /// Keeps the replica from becoming leader, or lets it again (maintenance mode).
    pub fn set_blocked(&self, blocked: bool) {
        // A group that is closed leads nothing anyhow.
        let _ = self.with_group(|group| group.set_blocked(blocked));
    }

    /// Hands leadership over, to `target` or to the replica that has most of the log. Returns when this replica
    /// has ceased to lead. If it is dropped before, the replica leads on.
    ///
    /// # Errors
    /// Why leadership stays; the replica then leads on.
    pub async fn transfer_leadership(&self, target: Option<i32>) -> Result<(), TransferError> {
        let preferred: Vec<u64> = self.replicas().into_iter().map(raft_id).collect();
        let (epoch, target) = {
            let core = self.core();
            let group = core.group.as_ref().map_err(|_| TransferError::NotLeader)?;
            if group.role() != Role::Leader {
                return Err(TransferError::NotLeader);
            }
            let id = match target {
                Some(target) if target == self.own => return Ok(()),
                Some(target) if !group.configuration().voters.contains(&raft_id(target)) => {
                    return Err(TransferError::NotVoter(target));
                }
                Some(target) => raft_id(target),
                None => group.transfer_target(&preferred).ok_or(TransferError::NoTarget)?,
            };
            (group.term(), id)
        };
        let timeouts = self.driver.timeouts;
        let behind = Instant::now() + timeouts.transfer_catch_up;
        self.until(epoch, behind, |group| group.is_close(target)).await.ok_or(TransferError::Behind)?;
        // Fails if the group is closed, which the next look shows.
        let _ = self.with_group(|group| group.hand_over(target));
        let _ends = HandingOver(self);
        let elected = Instant::now() + timeouts.timeout_now;
        self.until(epoch, elected, |_| false).await.ok_or(TransferError::NotElected)
    }

    /// Looks again and again until the replica no longer leads in `term`, or `done` says so; `None` if that takes
    /// longer than `deadline`.
    async fn until(
        &self,
        term: u64,
        deadline: Instant,
        done: impl Fn(&Group<ReplicaStore>) -> bool,
    ) -> Option<()> {
        loop {
            let reached =
                self.read(true, |group| group.role() != Role::Leader || group.term() != term || done(group));
            let now = Instant::now();
            if reached {
                return Some(());
            }
            if now >= deadline {
                return None;
            }
            let pause = self.driver.timeouts.heartbeat_interval / 10;
            sleep_until((now + pause).min(deadline)).await;
        }
    }

    /// Tells the broker's status if this replica has begun to lead, or has ceased to.
    pub(super) fn note_tenure(&self, core: &mut Core) {
        let group = core.group.as_ref().ok().filter(|group| group.role() == Role::Leader);
        let leading = group.map(|it| Leading { term: it.term(), hands_over: it.hands_over() });
        if leading != core.leading {
            core.leading = leading;
            self.driver.status.note_tenure(&self.topic, self.key, leading);
        }
    }

    /// Tells those who wait how far the replica has come.
    pub(super) fn note_progress(&self, core: &Core) {
        let Ok(group) = &core.group else { return };
        let log = &group.store().log;
        let leading = group.serves();
        let end = log.end_offset();
        let index = if leading { group.visible() } else { group.commit() };
        let high_watermark = log.offset_after(index).min(end);
        let next = Progress {
            start: log.start_offset(),
            end,
            high_watermark,
            last_stable_offset: log.producers().last_stable_offset(high_watermark),
            leading,
            epoch: epoch(group.term()),
        };
        self.progress.send_if_modified(|progress| {
            let changed = *progress != next;
            *progress = next;
            changed
        });
    }
}

/// The epoch that Kafka clients know a term by.
pub(super) fn epoch(term: u64) -> i32 {
    i32::try_from(term).unwrap_or(i32::MAX)
}
