//! The ends of transactions in their partitions: control batches (KIP-98), written by the partitions' leaders.
//!
//! The coordinator asks each leader over RPC, again and again until every partition has its marker or is no
//! more. A marker that is written twice means nothing the second time. Offsets that a transaction commits lie
//! in partitions of `__consumer_offsets`; there the marker goes through the group coordinator, which then lets
//! them count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use super::machine::TransactionMachine;
use super::request::Ending;
use crate::coordinator::{Now, Shard, WriteKind, control_batch};
use crate::groups;
use crate::groups::request::Answer;
use crate::node::{Node, PartitionKey};
use crate::replication::partition::{Acks, PartitionError};
use crate::rpc::{Reply, Request};

/// Before asking again those leaders that have not written.
const RETRY: Duration = Duration::from_millis(100);
/// How long a leader may take to write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Added for the way to another broker.
const CALL_MARGIN: Duration = Duration::from_secs(1);

/// Markers for partitions of one leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Markers {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Whether no record of the transaction has the epoch (KIP-890; `TransactionVersion` in Kafka's WriteTxnMarkers).
    pub raised_epoch: bool,
    pub coordinator_epoch: i32,
    pub commit: bool,
    pub partitions: Vec<PartitionKey>,
}

impl Markers {
    fn kind(&self) -> WriteKind {
        WriteKind::Marker {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            raised_epoch: self.raised_epoch,
            coordinator_epoch: self.coordinator_epoch,
            commit: self.commit,
        }
    }
}

/// Writes the transaction's markers, however long that takes, and tells the coordinator. Ends early if this
/// broker ceases to be the coordinator; the next one does it again.
pub(super) async fn end(node: Arc<Node>, shard: Weak<Shard<TransactionMachine>>, ending: Ending) {
    let mut left: BTreeSet<PartitionKey> = keys(&node, &ending);
    loop {
        let asked = by_leader(&node, &left).into_iter().map(|(leader, partitions)| {
            let markers = Markers {
                producer_id: ending.producer.id,
                producer_epoch: ending.producer.epoch,
                raised_epoch: ending.raised_epoch,
                coordinator_epoch: ending.coordinator_epoch,
                commit: ending.commit,
                partitions,
            };
            ask(&node, leader, markers)
        });
        for key in join_all(asked).await.into_iter().flatten() {
            left.remove(&key);
        }
        // Partitions that have been deleted meanwhile need no marker.
        let existing = keys(&node, &ending);
        left.retain(|key| existing.contains(key));
        let Some(shard) = shard.upgrade() else { return };
        let now = Now::of(&node);
        if left.is_empty() {
            // If it is not the coordinator any more, the next one completes the transaction.
            let _ = shard.with(now, |machine, now| machine.markers_written(now, &ending));
            return;
        }
        if !shard.with(now, |machine, _| machine.awaits(&ending)).unwrap_or(false) {
            return;
        }
        drop(shard);
        sleep(RETRY).await;
    }
}

/// The partitions of the transaction that exist.
fn keys(node: &Node, ending: &Ending) -> BTreeSet<PartitionKey> {
    node.with_cluster(|cluster| {
        let key = |partition: &crate::groups::offsets::TopicPartition| {
            let topic = cluster.state.topics.get(&partition.topic)?;
            let index = usize::try_from(partition.partition).ok()?;
            (index < topic.partitions.len()).then_some((topic.id, partition.partition))
        };
        ending.partitions.iter().filter_map(key).collect()
    })
}

/// The partitions whose leader is known, by leader.
fn by_leader(node: &Node, keys: &BTreeSet<PartitionKey>) -> BTreeMap<i32, Vec<PartitionKey>> {
    let mut leaders: BTreeMap<i32, Vec<PartitionKey>> = BTreeMap::new();
    for key in keys {
        if let Some((leader, _)) = node.leader_of(*key) {
            leaders.entry(leader).or_default().push(*key);
        }
    }
    leaders
}

/// The partitions that the leader has written markers to.
async fn ask(node: &Arc<Node>, leader: i32, markers: Markers) -> Vec<PartitionKey> {
    if leader == node.id() {
        return write(node, &markers).await;
    }
    let Some(member) = node.with_cluster(|cluster| cluster.members.get(leader).cloned()) else {
        return Vec::new();
    };
    let request = Request::WriteTxnMarkers(markers);
    match node.call(&member, request, &[], WRITE_TIMEOUT + CALL_MARGIN).await {
        Ok((Reply::MarkersWritten(partitions), _)) => partitions,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::debug!(leader, %error, "markers are not written yet");
            Vec::new()
        }
    }
}

/// Writes markers as the leader; tells the partitions that have theirs.
pub(crate) async fn write(node: &Arc<Node>, markers: &Markers) -> Vec<PartitionKey> {
    let deadline = Instant::now() + WRITE_TIMEOUT;
    let offsets = node.groups.topic_id(node);
    let written = markers.partitions.iter().map(|key| async move {
        let result = match offsets {
            Some(topic) if topic == key.0 => end_in_groups(node, topic, key.1, markers, deadline).await,
            _ => write_one(node, *key, markers, deadline).await,
        };
        match result {
            // A newer epoch of the producer or of its coordinator has been here, and ended the transaction; or this
            // marker has been here already.
            Ok(())
            | Err(ResponseError::InvalidProducerEpoch | ResponseError::TransactionCoordinatorFenced) => {
                Some(*key)
            }
            Err(error) => {
                tracing::debug!(partition = ?key, %error, "a marker is not written yet");
                None
            }
        }
    });
    join_all(written).await.into_iter().flatten().collect()
}

async fn write_one(
    node: &Arc<Node>,
    key: PartitionKey,
    markers: &Markers,
    deadline: Instant,
) -> Result<(), ResponseError> {
    let partition = node.partition(key).ok_or(ResponseError::NotLeaderOrFollower)?;
    let batch =
        control_batch(markers.kind(), (node.clock)()).map_err(|_| ResponseError::UnknownServerError)?;
    match partition.produce(batch, markers.kind().standing(), None, Acks::All, deadline).await {
        Ok(_) => Ok(()),
        Err(PartitionError::Producer(error, _)) => Err(error),
        Err(PartitionError::TimedOut) => Err(ResponseError::RequestTimedOut),
        Err(PartitionError::Storage(_)) => Err(ResponseError::KafkaStorageError),
        Err(_) => Err(ResponseError::NotLeaderOrFollower),
    }
}

async fn end_in_groups(
    node: &Arc<Node>,
    topic: Uuid,
    index: i32,
    markers: &Markers,
    deadline: Instant,
) -> Result<(), ResponseError> {
    let shard = node.groups.shard_of(node, topic, index).ok_or(ResponseError::NotCoordinator)?;
    let kind = markers.kind();
    let waiting = shard.ask(Now::of(node), |machine, _, ticket| machine.end_transaction(kind, ticket))?;
    match timeout_at(deadline, waiting).await {
        Ok(Ok(Answer::Done(result))) => result,
        Ok(Ok(_)) => Err(ResponseError::UnknownServerError),
        Ok(Err(_)) => Err(ResponseError::NotCoordinator),
        Err(_) => Err(ResponseError::RequestTimedOut),
    }
}

/// The partition of `__consumer_offsets` that a group's offsets lie in.
pub(crate) fn partition_of_group(node: &Node, group: &str) -> Option<crate::groups::offsets::TopicPartition> {
    let (_, index) = node.groups.partition_of(node, group)?;
    Some(crate::groups::offsets::TopicPartition::new(groups::TOPIC, index))
}
