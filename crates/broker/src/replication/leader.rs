//! The leader's side: hear a majority, then keep each follower's log equal to its own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::sleep;

use super::partition::{Partition, PartitionError, append_batches};
use crate::node::Node;
use crate::rpc::client::CallError;
use crate::rpc::{Reply, Request};

/// Batches in one append or read, bytes.
const COPY_BYTES_MAX: u32 = 1 << 20;
/// redpanda.md 4.4: raft's append timeout.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a replica may take to tell its end.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Before trying again what a replica did not answer.
const RETRY: Duration = Duration::from_millis(100);

/// Leads a partition, for ever.
pub(super) async fn lead(node: Arc<Node>, partition: Arc<Partition>) {
    let ends = match hear_majority(&node, &partition).await {
        Ok(ends) => ends,
        Err(error) => {
            tracing::error!(partition = ?partition.key, %error, "the leader cannot use its log");
            return;
        }
    };
    partition.start_leading(&ends);
    for follower in others(&partition) {
        node.tasks.spawn(replicate(Arc::clone(&node), Arc::clone(&partition), follower));
    }
}

fn others(partition: &Partition) -> Vec<i32> {
    partition.replicas().into_iter().filter(|id| Some(*id) != partition.leader()).collect()
}

/// Copies what other replicas have more, until a majority is heard and none of it is ahead.
async fn hear_majority(node: &Arc<Node>, partition: &Partition) -> Result<Vec<(i32, i64)>, PartitionError> {
    loop {
        let own_end = partition.with_log(|log| Ok(log.end_offset()))?;
        let asked = others(partition).into_iter().map(|id| async move {
            let (end, _) = read(node, partition, id, own_end, 0, END_TIMEOUT).await.ok()?;
            Some((id, end))
        });
        let ends: Vec<(i32, i64)> = join_all(asked).await.into_iter().flatten().collect();
        if ends.len() + 1 < partition.majority() {
            sleep(RETRY).await;
            continue;
        }
        match ends.iter().max_by_key(|(id, end)| (*end, -*id)) {
            Some((id, end)) if *end > own_end => copy(node, partition, *id, own_end).await?,
            _ => return Ok(ends),
        }
    }
}

/// Copies batches from a replica that has more. What goes wrong at the replica is tried again by the caller.
async fn copy(node: &Arc<Node>, partition: &Partition, id: i32, from: i64) -> Result<(), PartitionError> {
    match read(node, partition, id, from, COPY_BYTES_MAX, APPEND_TIMEOUT).await {
        Ok((_, batches)) if !batches.is_empty() => partition.with_log(|log| append_batches(log, &batches)),
        Ok(_) => {
            sleep(RETRY).await;
            Ok(())
        }
        Err(error) => {
            tracing::debug!(id, %error, "a replica that is ahead does not answer");
            sleep(RETRY).await;
            Ok(())
        }
    }
}

async fn read(
    node: &Node,
    partition: &Partition,
    id: i32,
    offset: i64,
    bytes_max: u32,
    patience: Duration,
) -> Result<(i64, Bytes), CallError> {
    let (topic, index) = partition.key;
    let request = Request::ReadReplica { topic, partition: index, offset, bytes_max };
    match call(node, id, request, &[], patience).await? {
        (Reply::Replica { end }, batches) => Ok((end, batches)),
        _ => Err(CallError::TimedOut { address: node.config.advertised_rpc_api.clone() }),
    }
}

async fn call(
    node: &Node,
    id: i32,
    request: Request,
    body: &[u8],
    patience: Duration,
) -> Result<(Reply, Bytes), CallError> {
    match node.with_cluster(|cluster| cluster.members.get(id).cloned()) {
        Some(member) => node.call(&member, request, body, patience).await,
        None => Err(CallError::Closed { address: node.config.advertised_rpc_api.clone() }),
    }
}

/// Sends a follower what it lacks, for ever.
async fn replicate(node: Arc<Node>, partition: Arc<Partition>, follower: i32) {
    let mut progress = partition.watch();
    let mut next = progress.borrow().end;
    let mut known = false;
    loop {
        let now = *progress.borrow_and_update();
        if known && next >= now.end {
            if progress.changed().await.is_err() {
                return;
            }
            continue;
        }
        let batches = partition.with_log(|log| log.read(next, i64::MAX, COPY_BYTES_MAX as usize, true));
        let batches = match batches {
            Ok(batches) => batches,
            Err(error) => {
                tracing::error!(partition = ?partition.key, %error, "the leader cannot read its log");
                sleep(RETRY).await;
                continue;
            }
        };
        let (topic, index) = partition.key;
        let request = Request::Append {
            topic,
            partition: index,
            base_offset: next,
            high_watermark: now.high_watermark,
        };
        match call(&node, follower, request, &batches, APPEND_TIMEOUT).await {
            Ok((Reply::Appended { matched }, _)) => {
                partition.matched(follower, matched);
                (next, known) = (matched, true);
            }
            Ok((Reply::Behind { end }, _)) => next = end.clamp(0, next),
            Ok(_) => sleep(RETRY).await,
            Err(error) => {
                tracing::trace!(follower, %error, "a follower does not answer");
                known = false;
                sleep(RETRY).await;
            }
        }
    }
}
