//! Moving leadership: by partition, and by the number of the Raft group. Source: redpanda.md 3.1.1, 3.1.3.
//!
//! By partition the client is sent on to the leader; by group only the leader's broker answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::access::Access;
use super::answer::{AdminError, Answer, empty, number, ok};
use super::partitions::{internal_name, is_controller};
use super::redirect::{Origin, to_leader};
use crate::node::{Node, PartitionKey};
use crate::operations::leadership;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let by_partition = "/v1/partitions/{ns}/{topic}/{partition}/transfer_leadership";
    Router::new()
        .route(by_partition, access.superuser(post(of_partition)))
        .route("/v1/raft/{group}/transfer_leadership", access.superuser(post(of_group)))
        .route("/v1/raft/{group}/status", access.user(get(group_status)))
}

#[derive(Deserialize)]
struct Wanted {
    target: Option<String>,
}

impl Wanted {
    fn target(&self) -> Result<Option<i32>, AdminError> {
        self.target.as_deref().filter(|it| !it.is_empty()).map(|it| number("the target", it)).transpose()
    }
}

async fn of_partition(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
    Query(wanted): Query<Wanted>,
    origin: Origin,
) -> Answer {
    let index: i32 = number("the partition", &partition)?;
    let target = wanted.target()?;
    let name = format!("{ns}/{topic}/{index}");
    if is_controller(&ns, &topic, index) {
        let leader = super::controller(&node);
        return match to_leader(&node, &origin, leader, &name)? {
            Some(redirect) => Ok(redirect),
            None => controller(&node, target).await,
        };
    }
    let key = node.with_cluster(|cluster| {
        let topic = cluster.state.topics.get(&internal_name(&ns, &topic))?;
        let known = usize::try_from(index).is_ok_and(|index| index < topic.partitions.len());
        known.then_some((topic.id, index))
    });
    let key = key.ok_or_else(|| AdminError::not_found(format!("Could not find ntp: {name}")))?;
    let leader = node.leader_of(key).map(|(leader, _)| leader);
    match to_leader(&node, &origin, leader, &name)? {
        Some(redirect) => Ok(redirect),
        None => here(&node, key, target).await,
    }
}

async fn of_group(
    State(node): State<Arc<Node>>,
    Path(group): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Answer {
    let group: u64 = number("the Raft group", &group)?;
    let target = wanted.target()?;
    if group == 0 {
        return if super::controller(&node) == Some(node.id()) {
            controller(&node, target).await
        } else {
            Err(AdminError::bad_request("this broker does not lead the controller's group"))
        };
    }
    let key = key_of(&node, group)?;
    if !node.partition(key).is_some_and(|partition| partition.leads()) {
        return Err(AdminError::bad_request(format!("this broker does not lead Raft group {group}")));
    }
    here(&node, key, target).await
}

/// The partition of a group, if this broker has a replica of it.
fn key_of(node: &Node, group: u64) -> Result<PartitionKey, AdminError> {
    let key = node.with_cluster(|cluster| {
        let (topic, index) = cluster.state.partition_of(group)?;
        Some((cluster.state.topics.get(topic)?.id, index))
    });
    key.filter(|key| node.partition(*key).is_some())
        .ok_or_else(|| AdminError::not_found(format!("Raft group {group} is not on this broker")))
}

async fn group_status(State(node): State<Arc<Node>>, Path(group): Path<String>) -> Answer {
    let group: u64 = number("the Raft group", &group)?;
    let key = key_of(&node, group)?;
    let partition = node.partition(key).ok_or_else(|| AdminError::not_found("the replica is gone"))?;
    ok(json!({
        "raft_group_id": group,
        "leader_id": partition.leader().unwrap_or(-1),
        "term": partition.leader_epoch(),
        "replicas": partition.replicas(),
        "high_watermark": partition.progress().high_watermark,
        "end_offset": partition.progress().end,
    }))
}

async fn here(node: &Arc<Node>, key: PartitionKey, target: Option<i32>) -> Answer {
    leadership::transfer(node, key, target).await?;
    empty()
}

async fn controller(node: &Arc<Node>, target: Option<i32>) -> Answer {
    if target == Some(node.id()) {
        return empty();
    }
    leadership::transfer_controller(node, target).await?;
    empty()
}
