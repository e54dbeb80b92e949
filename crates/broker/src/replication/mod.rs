//! Replicas of partitions: who writes, who copies, and when a record counts as kept.
//!
//! In this version the leader of a partition is fixed: the first of its replicas. While that broker is away
//! the partition is unavailable. The leader appends, syncs, and sends each follower what it lacks; a record
//! is committed (below the high watermark) when a majority of the replicas have it on their disks.
//!
//! A leader that starts first hears a majority of the replicas and copies what one of them has more, so that
//! a log that recovery had to cut loses nothing that was committed. Since there is one leader, logs differ in
//! length alone, but for records that were cut at the leader before a majority had them; a follower replaces
//! those when it is sent others.
//!
//! **Boundary:** the rest of the broker uses [`partition::Partition`] for reading, appending and waiting, and
//! [`reconcile`]; what decides about leadership and commitment is in here, to be replaced by elections.

pub(crate) mod follower;
mod leader;
pub(crate) mod partition;

use std::sync::Arc;

use crate::cluster::topics::Topic;
use crate::log::{Log, LogConfig};
use crate::node::Node;
use crate::status::Counter;
use partition::Partition;

/// Opens the logs of the replicas that the topic table gives to this broker, and leads those that it leads.
/// Replicas of topics that are gone are closed.
pub(crate) fn reconcile(node: &Arc<Node>) {
    let Some(own) = node.membership().map(|membership| membership.id) else { return };
    let topics: Vec<Topic> = node.with_cluster(|cluster| cluster.state.topics.all().cloned().collect());
    let mut opened = Vec::new();
    node.with_partitions(|partitions| {
        partitions.retain(|(id, _), _| topics.iter().any(|topic| topic.id == *id));
        for topic in topics {
            for (index, replicas) in topic.partitions.iter().enumerate() {
                let key = (topic.id, index as i32);
                if !replicas.contains(&own) || partitions.contains_key(&key) {
                    continue;
                }
                let id = topic.id.simple().to_string();
                let directory =
                    node.volume.root().join("kafka").join(&topic.name).join(format!("{index}_{}", &id[..8]));
                let segment_bytes = node.config.cluster.log_segment_size;
                let config = LogConfig { segment_bytes, ..LogConfig::default() };
                let log = Log::open(&node.volume, &directory, config);
                let log = report(node, &topic.name, index, log);
                let partition = Arc::new(Partition::new(key, own, replicas.clone(), log));
                partitions.insert(key, Arc::clone(&partition));
                opened.push(partition);
            }
        }
    });
    for partition in opened.into_iter().filter(|partition| partition.leads()) {
        node.tasks.spawn(leader::lead(Arc::clone(node), partition));
    }
}

fn report(
    node: &Node,
    topic: &str,
    partition: usize,
    log: std::io::Result<(Log, crate::log::Recovery)>,
) -> Result<Log, String> {
    match log {
        Ok((log, recovery)) => {
            if let Some(reason) = recovery.reason {
                node.status.add(Counter::RecoveryCutBytes, recovery.cut_bytes);
                let cut_bytes = recovery.cut_bytes;
                tracing::warn!(topic, partition, cut_bytes, reason, "a log's end was damaged and is cut off");
            }
            Ok(log)
        }
        Err(error) => {
            node.status.add(Counter::StorageErrors, 1);
            tracing::error!(topic, partition, %error, "a log could not be opened");
            Err(error.to_string())
        }
    }
}
