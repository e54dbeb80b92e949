//! Moving leadership to another replica, here or at the broker that leads. Source: redpanda.md 4.5, 3.5.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::node::{Node, PartitionKey};
use crate::raft::{TransferError, broker_id};
use crate::rpc::{Refusal, Reply, Request};

/// A transfer has 10 s to catch the target up and 1 s for its election (redpanda.md 4.4); with a margin for RPC.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(12);

/// The brokers that leadership can be given to now: alive, and neither leaving nor in maintenance.
pub(crate) fn able_to_lead(node: &Node) -> BTreeSet<i32> {
    let now = Instant::now();
    node.with_cluster(|cluster| {
        let ids = cluster.members.all().map(|member| member.id);
        ids.filter(|id| cluster.members.reachable(*id, now) && cluster.state.takes_leaderships(*id)).collect()
    })
}

/// Moves the leadership of a partition that this broker leads; to any able replica if there is no `target`.
///
/// # Errors
/// Why it did not move.
pub(crate) async fn transfer(
    node: &Arc<Node>,
    key: PartitionKey,
    target: Option<i32>,
) -> Result<(), Refusal> {
    let partition = node.partition(key).ok_or(Refusal::UnknownPartition)?;
    if target == Some(node.id()) && partition.leads() {
        return Ok(());
    }
    let replicas = partition.replicas();
    let target = match target {
        Some(target) if replicas.contains(&target) => target,
        Some(target) => {
            return Err(Refusal::Invalid(format!("broker {target} has no replica of the partition")));
        }
        None => {
            let able = able_to_lead(node);
            let other = replicas.iter().find(|id| **id != node.id() && able.contains(id));
            *other.ok_or_else(|| Refusal::Invalid("no other replica can lead now".to_owned()))?
        }
    };
    partition.transfer_leadership(Some(target)).await.map_err(refused)
}

/// Asks the broker that leads a partition to give its leadership to `target`.
///
/// # Errors
/// Why it did not move.
pub(crate) async fn transfer_at(
    node: &Arc<Node>,
    leader: i32,
    key: PartitionKey,
    target: i32,
) -> Result<(), Refusal> {
    if leader == node.id() {
        return transfer(node, key, Some(target)).await;
    }
    let member = node.with_cluster(|cluster| cluster.members.get(leader).cloned());
    let member = member.ok_or_else(|| Refusal::NotFound(format!("broker {leader} is not a member")))?;
    let request = Request::TransferLeadership { topic: key.0, partition: key.1, target };
    match node.call(&member, request, &[], TRANSFER_TIMEOUT).await {
        Ok((Reply::Done, _)) => Ok(()),
        Ok(_) => Err(Refusal::NotReady),
        Err(error) => Err(error.refusal().cloned().unwrap_or(Refusal::TimedOut)),
    }
}

/// Moves the leadership of the controller's group, which this broker leads; to any able member if there is no
/// `target`.
///
/// # Errors
/// Why it did not move.
pub(crate) async fn transfer_controller(node: &Arc<Node>, target: Option<i32>) -> Result<(), Refusal> {
    let replica = node.controller.replica().ok_or(Refusal::NotReady)?;
    let target = match target {
        Some(target) => target,
        None => {
            let able = able_to_lead(node);
            let voters = replica.configuration().voters.into_iter().filter_map(broker_id);
            let other = voters.filter(|id| *id != node.id() && able.contains(id)).min();
            other.ok_or_else(|| Refusal::Invalid("no other member can lead now".to_owned()))?
        }
    };
    replica.transfer_leadership(Some(target)).await.map_err(refused)
}

fn refused(error: TransferError) -> Refusal {
    match error {
        TransferError::NotVoter(_) => Refusal::Invalid(error.to_string()),
        _ => Refusal::Busy(error.to_string()),
    }
}
