//! The controller group, raft0: the log of commands that every broker applies to its [`State`].
//!
//! Every member of the cluster has a replica; the leader of the group is the controller. A command carries the
//! number of its request, and the results of the last requests are part of what is replicated, so that a request
//! that is tried again is carried out once. A snapshot is the serialized state with those results; it is made when
//! many commands have been applied since the last one.
//!
//! The founders of a cluster are its first voters. A broker that joins knows nobody: the controller takes it in as
//! a learner, sends it a snapshot, and makes it a voter. Source: redpanda.md 2.3.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::command::{Applied, Command};
use super::state::State;
use crate::log::{LogConfig, LogStart};
use crate::node::{Node, PartitionKey};
use crate::raft::{Committed, Group, Snapshot, Start, raft_id};
use crate::replication;
use crate::replication::driver;
use crate::replication::partition::Partition;
use crate::replication::store::ReplicaStore;
use crate::rpc::Refusal;

/// The group's name among those of partitions.
pub(crate) const CONTROLLER: PartitionKey = (Uuid::nil(), 0);
/// Requests whose results are remembered.
const ANSWERED_MAX: usize = 1000;
/// Commands that are applied from one snapshot to the next.
const SNAPSHOT_EVERY: u64 = 1000;

/// What a command came to.
pub(crate) type Outcome = Result<Applied, Refusal>;

/// A broker's part in the controller group.
pub(crate) struct Controller {
    replica: OnceLock<Arc<Partition>>,
    /// The last entry that was applied here.
    applied: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    answered: Answered,
    waiting: BTreeMap<Uuid, oneshot::Sender<(u64, Outcome)>>,
}

/// The results of the last requests, oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Answered(VecDeque<(Uuid, Outcome)>);

/// An entry of the log.
#[derive(Serialize, Deserialize)]
struct Envelope {
    request: Uuid,
    command: Command,
}

/// The content of a snapshot.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    state: State,
    answered: Answered,
}

impl Answered {
    fn get(&self, request: Uuid) -> Option<&Outcome> {
        self.0.iter().rev().find(|(known, _)| *known == request).map(|(_, outcome)| outcome)
    }

    fn push(&mut self, request: Uuid, outcome: Outcome) {
        self.0.push_back((request, outcome));
        if self.0.len() > ANSWERED_MAX {
            self.0.pop_front();
        }
    }
}

impl Default for Controller {
    fn default() -> Controller {
        Controller { replica: OnceLock::new(), applied: watch::Sender::new(0), inner: Mutex::default() }
    }
}

impl Controller {
    /// This broker's replica; `None` before it is a member.
    pub fn replica(&self) -> Option<&Arc<Partition>> {
        self.replica.get()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a request came to, if it has been carried out lately.
    pub fn outcome_of(&self, request: Uuid) -> Option<Outcome> {
        self.inner().answered.get(request).cloned()
    }

    /// Waits until this broker has applied an entry; whether that was before `deadline`.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(tokio::time::timeout_at(deadline, reached).await, Ok(Ok(_)))
    }
}

fn directory(node: &Node) -> PathBuf {
    node.volume.root().join("redpanda").join("controller").join("0_0")
}

/// Opens this broker's replica, and brings its state to where the replica had applied it.
///
/// # Errors
/// The volume's.
pub(crate) fn open(node: &Arc<Node>) -> io::Result<()> {
    let (group, content) = open_group(node)?;
    restore(node, content);
    let founders = founders(node);
    let replica = Partition::new(
        CONTROLLER,
        "controller",
        directory(node),
        founders,
        Ok(group),
        Arc::clone(&node.raft),
        node.bugs,
    );
    // It is opened once.
    let _ = node.controller.replica.set(Arc::new(replica));
    driver::settle(node, CONTROLLER);
    Ok(())
}

fn founders(node: &Node) -> Vec<i32> {
    let founders = node.membership().map(|membership| membership.founders).unwrap_or_default();
    founders.into_iter().map(|(_, id)| id).collect()
}

/// The group as its files have it, and the content of its last snapshot.
pub(crate) fn open_group(node: &Node) -> io::Result<(Group<ReplicaStore>, Bytes)> {
    let founders = founders(node);
    let voters: Vec<u64> = founders.iter().copied().map(raft_id).collect();
    let config = LogConfig::default();
    let (store, recovery) = ReplicaStore::open(&node.volume, &directory(node), config, &voters, true)?;
    replication::tell_recovery(node, "controller", 0, &recovery);
    let content = store.kept_snapshot().map(|snapshot| snapshot.data.clone()).unwrap_or_default();
    let own = node.id();
    let start = Start {
        id: raft_id(own),
        timeouts: node.raft.timeouts,
        position: founders.iter().position(|id| *id == own).unwrap_or(founders.len()) as u32,
        seed: node.new_seed(),
        // What the others know of the cluster follows from what is committed.
        tells_commits: true,
    };
    Ok((Group::open(store, start, Instant::now()).map_err(io::Error::other)?, content))
}

/// Replaces the state by that of a snapshot. An empty one is that of a new cluster.
fn restore(node: &Arc<Node>, content: Bytes) {
    let content: Content = match content.is_empty() {
        true => Content::default(),
        false => match serde_json::from_slice(&content) {
            Ok(content) => content,
            Err(error) => {
                tracing::error!(%error, "the controller's snapshot cannot be read");
                return;
            }
        },
    };
    node.with_cluster(|cluster| cluster.state = content.state);
    node.controller.inner().answered = content.answered;
}

/// Applies what the group has committed.
pub(crate) fn apply(
    node: &Arc<Node>,
    key: PartitionKey,
    installed: Option<Snapshot>,
    committed: Vec<Committed>,
) {
    if key != CONTROLLER {
        return;
    }
    let mut applied = None;
    if let Some(snapshot) = installed {
        applied = Some(snapshot.start.index);
        restore(node, snapshot.data);
    }
    let mut last = None;
    let mut moves = applied.is_some();
    for Committed { index, term, command } in committed {
        moves |= apply_one(node, index, &command);
        (applied, last) = (Some(index), Some((index, term)));
    }
    super::take_over_members(node);
    if moves {
        replication::reconcile(node);
    }
    if let Some(applied) = applied {
        node.controller.applied.send_replace(applied);
    }
    if let Some((index, term)) = last {
        snapshot_if_due(node, index, term);
    }
}

/// Tells whether replicas, or what is asked of them, may have changed.
fn apply_one(node: &Arc<Node>, index: u64, command: &[u8]) -> bool {
    let Envelope { request, command } = match serde_json::from_slice(command) {
        Ok(envelope) => envelope,
        Err(error) => {
            // Every broker passes over it alike.
            tracing::error!(%error, index, "a command of the controller cannot be read");
            return false;
        }
    };
    let mut inner = node.controller.inner();
    let outcome = match inner.answered.get(request) {
        Some(outcome) => outcome.clone(),
        None => {
            let outcome = node.with_cluster(|cluster| cluster.state.apply(&command));
            inner.answered.push(request, outcome.clone());
            outcome
        }
    };
    if let Some(waiting) = inner.waiting.remove(&request) {
        // Who asked may have given up.
        let _ = waiting.send((index, outcome));
    }
    concerns_replicas(&command)
}

/// Whether a command can change which replicas there are, or what topics ask of them.
fn concerns_replicas(command: &Command) -> bool {
    matches!(
        command,
        Command::CreateTopic(_)
            | Command::DeleteTopic { .. }
            | Command::CreatePartitions { .. }
            | Command::AlterTopicConfigs { .. }
            | Command::AlterClusterConfig { .. }
            | Command::Reassign { .. }
            | Command::CancelReassignment { .. }
            | Command::FinishReassignment { .. }
            | Command::Recommission { .. }
            | Command::SetMaintenance { .. }
    )
}

/// Keeps a snapshot when many entries have been applied since the last one.
fn snapshot_if_due(node: &Arc<Node>, index: u64, term: u64) {
    let Some(replica) = node.controller.replica() else { return };
    let kept = replica.with_group(|group| group.store().kept_snapshot().map_or(0, |kept| kept.start.index));
    if kept.is_ok_and(|kept| index < kept + SNAPSHOT_EVERY) {
        return;
    }
    let state = node.with_cluster(|cluster| cluster.state.clone());
    let answered = Answered(node.controller.inner().answered.0.clone());
    let Ok(data) = serde_json::to_vec(&Content { state, answered }) else { return };
    let kept = replica.with_group(|group| {
        let configuration = group.configuration().clone();
        let start = LogStart { index, term, offset: 0 };
        let store = group.store_mut();
        store.keep_snapshot(Snapshot { start, configuration, data: Bytes::from(data) })?;
        store.log.remove_through(index)
    });
    if let Ok(Err(error)) = kept {
        tracing::error!(%error, "the controller's snapshot could not be written");
    }
}

/// Proposes a command as the controller and waits until it is applied; gives its index and result.
///
/// # Errors
/// `NotController`, also if the leadership is lost meanwhile; `TimedOut`.
pub(crate) async fn propose(
    node: &Arc<Node>,
    request: Uuid,
    command: Command,
    deadline: Instant,
) -> Result<(u64, Outcome), Refusal> {
    let replica = node.controller.replica().ok_or(Refusal::NotReady)?;
    let envelope = serde_json::to_vec(&Envelope { request, command })
        .map_err(|error| Refusal::Invalid(error.to_string()))?;
    let (sender, outcome) = oneshot::channel();
    node.controller.inner().waiting.insert(request, sender);
    let _forget = Forget { node, request };
    let proposed =
        replica.with_group(|group| group.propose_command(Bytes::from(envelope)).map(|_| group.term()));
    let term = match proposed {
        Ok(Ok(term)) => term as i32,
        _ => return Err(Refusal::NotController),
    };
    let mut progress = replica.watch();
    let lost = progress.wait_for(|progress| progress.epoch != term || !progress.leading);
    tokio::select! {
        biased;
        outcome = outcome => outcome.map_err(|_| Refusal::NotController),
        _ = lost => Err(Refusal::NotController),
        () = tokio::time::sleep_until(deadline) => Err(Refusal::TimedOut),
    }
}

/// Takes a request out of the table when nobody waits for it any more.
struct Forget<'a> {
    node: &'a Arc<Node>,
    request: Uuid,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.node.controller.inner().waiting.remove(&self.request);
    }
}
