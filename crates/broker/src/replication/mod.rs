//! Replicas of partitions: elections, replication, and when a record counts as kept.
//!
//! Each partition is a Raft group of its own ([`crate::raft`]); so is the controller
//! ([`crate::cluster::controller`]). [`reconcile`] opens and closes the replicas that the cluster's state gives to
//! this broker; [`driver`] keeps them going; [`membership`] moves groups to other replicas; [`leaders`] knows who
//! leads what. The rest of the broker uses [`partition::Partition`].
//!
//! A replica that joins a group starts with nothing and waits for a leader to send it a snapshot, which tells it
//! where the log begins and who belongs to the group. Only the first replicas of a partition start by themselves.

mod command;
pub(crate) mod driver;
pub(crate) mod leaders;
pub(crate) mod membership;
pub(crate) mod partition;
mod settings;
pub(crate) mod store;
mod syncs;
mod throttle;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::cluster::controller::{self, CONTROLLER};
use crate::cluster::state::State;
use crate::config::ClusterProperties;
use crate::housekeeping::log_config;
use crate::log::Recovery;
use crate::node::{Node, PartitionKey};
use crate::raft::{Group, Start, raft_id};
use crate::status::Counter;
use partition::Partition;
use settings::Settings;
use store::ReplicaStore;

/// Between two questions whether a group does without a replica.
const RETIRE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// A replica that this broker is to have.
struct Wanted {
    key: PartitionKey,
    topic: String,
    /// The preferred leader first.
    replicas: Vec<i32>,
    settings: Settings,
    /// The first voters of a new group; none if the group exists elsewhere.
    founders: Vec<i32>,
}

/// The replicas that the state gives to broker `own`, which was started with `file`.
fn wanted(state: &State, own: i32, file: &ClusterProperties) -> Vec<Wanted> {
    let mut all = Vec::new();
    for topic in state.topics.all() {
        let settings = Settings::of(state, &topic.configs, file);
        for (index, replicas) in topic.partitions.iter().enumerate() {
            let index = index as i32;
            let change = state.reassignments.get(&topic.name).and_then(|changes| changes.get(&index));
            let target = change.map(|change| &change.target);
            if !replicas.contains(&own) && !target.is_some_and(|target| target.contains(&own)) {
                continue;
            }
            let founds = replicas.contains(&own) && !state.has_moved(&topic.name, index);
            all.push(Wanted {
                key: (topic.id, index),
                topic: topic.name.clone(),
                replicas: target.unwrap_or(replicas).clone(),
                settings,
                founders: if founds { replicas.clone() } else { Vec::new() },
            });
        }
    }
    all
}

fn is_wanted(state: &State, own: i32, (topic, index): PartitionKey) -> bool {
    let Some(topic) = state.topics.by_id(topic) else { return false };
    let replicas = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
    let target = state.reassignment(&topic.name, index).map(|change| &change.target);
    replicas.into_iter().chain(target).any(|replicas| replicas.contains(&own))
}

/// Opens the replicas that the state gives to this broker, and closes and removes those that it gives to others
/// now, or to nobody.
pub(crate) fn reconcile(node: &Arc<Node>) {
    let own = node.id();
    if own < 0 {
        return;
    }
    let (wanted, topics) = node.with_cluster(|cluster| {
        let topics: BTreeSet<Uuid> = cluster.state.topics.all().map(|topic| topic.id).collect();
        (wanted(&cluster.state, own, &node.config.cluster), topics)
    });
    let keys: BTreeSet<PartitionKey> = wanted.iter().map(|wanted| wanted.key).collect();
    let unwanted: Vec<PartitionKey> = node
        .with_partitions(|partitions| partitions.keys().copied().filter(|key| !keys.contains(key)).collect());
    for key in unwanted {
        match topics.contains(&key.0) {
            true => node.tasks.spawn(retire(Arc::clone(node), key)),
            false => close(node, key, false),
        }
    }
    for wanted in wanted {
        match node.partition(wanted.key) {
            Some(replica) => replica.take_over(wanted.replicas, wanted.settings),
            None => open(node, wanted),
        }
    }
}

fn open(node: &Arc<Node>, wanted: Wanted) {
    let directory = directory(node, &wanted.topic, wanted.key);
    let group = open_group(node, &wanted, &directory);
    if let Err(reason) = &group {
        node.status.add(Counter::StorageErrors, 1);
        tracing::error!(topic = wanted.topic, partition = wanted.key.1, reason, "a log could not be opened");
    }
    let Wanted { key, topic, replicas, settings, .. } = wanted;
    let driver = Arc::clone(&node.raft);
    let replica = Partition::new(key, &topic, directory, replicas, group, driver, node.bugs);
    replica.take_over(replica.replicas(), settings);
    node.with_partitions(|partitions| partitions.insert(key, Arc::new(replica)));
    node.raft.mark(key);
}

/// `kafka/topic/partition_id`, below the data directory.
fn directory(node: &Node, topic: &str, (id, index): PartitionKey) -> PathBuf {
    let id = id.simple().to_string();
    node.volume.root().join("kafka").join(topic).join(format!("{index}_{}", &id[..8]))
}

fn open_group(
    node: &Node,
    wanted: &Wanted,
    directory: &std::path::Path,
) -> Result<Group<ReplicaStore>, String> {
    let config = node.with_cluster(|cluster| {
        let state = &cluster.state;
        state.topics.by_id(wanted.key.0).map(|topic| log_config(&state.properties, &topic.configs))
    });
    let config = config.unwrap_or_default();
    let founders: Vec<u64> = wanted.founders.iter().copied().map(raft_id).collect();
    let own = node.id();
    let (mut store, recovery) = ReplicaStore::open(&node.volume, directory, config, &founders, false)
        .map_err(|error| error.to_string())?;
    if node.bugs.forget_producers {
        store.log.forget_producers();
    }
    tell_recovery(node, &wanted.topic, wanted.key.1, &recovery);
    let position = wanted.replicas.iter().position(|id| *id == own).unwrap_or(wanted.replicas.len());
    let start = Start {
        id: raft_id(own),
        timeouts: node.raft.timeouts,
        position: position as u32,
        seed: node.new_seed(),
        // leaderCommit goes with the next AppendEntries (Raft, figure 2): who reads from a follower is up to a heartbeat late.
        tells_commits: false,
    };
    Group::open(store, start, Instant::now()).map_err(|error| error.to_string())
}

/// Tells what opening a log had to cut off.
pub(crate) fn tell_recovery(node: &Node, topic: &str, partition: i32, recovery: &Recovery) {
    if let Some(reason) = &recovery.reason {
        node.status.add(Counter::RecoveryCutBytes, recovery.cut_bytes);
        let (cut_bytes, damage) = (recovery.cut_bytes, recovery.damage);
        tracing::warn!(
            topic,
            partition,
            cut_bytes,
            damage,
            reason,
            "a log's end was torn or damaged and is cut"
        );
    }
}

/// Opens a replica's log again after the volume had failed; tries for as long as it fails.
fn reopen(node: &Arc<Node>, replica: &Arc<Partition>) {
    // The old log lets go of its files first.
    replica.close("the log is being opened again");
    let group = if replica.key == CONTROLLER {
        controller::open_group(node).map(|(group, _)| group).map_err(|error| error.to_string())
    } else {
        let own = node.id();
        let wanted = node.with_cluster(|cluster| wanted(&cluster.state, own, &node.config.cluster));
        let Some(wanted) = wanted.into_iter().find(|wanted| wanted.key == replica.key) else { return };
        open_group(node, &wanted, replica.directory())
    };
    match group {
        Ok(group) => {
            replica.put(group);
            reconcile(node);
            node.raft.mark(replica.key);
        }
        Err(reason) => {
            replica.close(&reason);
            driver::reopen_later(node, replica);
        }
    }
}

/// Closes a replica that the state gives to others, once its group does without it. Until then it may be needed
/// for a majority.
async fn retire(node: Arc<Node>, key: PartitionKey) {
    let own = node.id();
    loop {
        let replica = node.partition(key).filter(|replica| replica.begin_to_retire());
        if replica.is_none() {
            return;
        }
        let is_wanted = node.with_cluster(|cluster| is_wanted(&cluster.state, own, key));
        let configuration = membership::configuration_of(&node, key).await;
        let is_member = configuration.is_none_or(|configuration| configuration.contains(raft_id(own)));
        if let Some(replica) = node.partition(key) {
            replica.end_to_retire();
        }
        if is_wanted {
            return;
        }
        if !is_member {
            return close(&node, key, true);
        }
        tokio::time::sleep(RETIRE_INTERVAL).await;
    }
}

/// Ends a replica and removes its data. If its topic exists still, a mark stays that the group is elsewhere, so
/// that the replica never again starts by itself.
fn close(node: &Arc<Node>, key: PartitionKey, topic_exists: bool) {
    let Some(replica) = node.with_partitions(|partitions| partitions.remove(&key)) else { return };
    node.raft.forget(replica.key);
    node.metrics.forget_traffic(replica.key);
    if !topic_exists {
        node.raft.leaders.forget(replica.key);
    }
    replica.close("the replica was moved away, or its topic deleted");
    let directory = replica.directory();
    let removed = match topic_exists {
        true => store::leave(&node.volume, directory),
        false => node.volume.remove_directory(directory),
    };
    if let Err(error) = removed {
        node.status.add(Counter::StorageErrors, 1);
        tracing::warn!(%error, directory = %directory.display(), "a replica's data could not be removed");
    }
}
