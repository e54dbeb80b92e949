//! What a broker knows and thinks, for diagnosis. Source: redpanda.md 3.1.1 (`debug/*`).

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Access;
use super::answer::{AdminError, Answer, number, ok};
use super::partitions::{internal_name, leader_of, ntp};
use crate::cluster::health;
use crate::kafka;
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/debug/is_node_isolated", access.superuser(get(is_node_isolated)))
        .route("/v1/debug/peer_status/{id}", access.superuser(get(peer_status)))
        .route("/v1/debug/partition_leaders_table", access.superuser(get(leaders_table)))
        .route("/v1/debug/controller_status", access.superuser(get(controller_status)))
        .route("/v1/debug/partition/{ns}/{topic}/{partition}", access.superuser(get(partition)))
}

/// Nobody was heard lately, and nobody else is the controller (redpanda.md 4.2).
async fn is_node_isolated(State(node): State<Arc<Node>>) -> Answer {
    let own = node.id();
    ok(node.with_cluster(|cluster| kafka::is_isolated(&cluster.members, own, Instant::now())))
}

async fn peer_status(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id: i32 = number("the broker's id", &id)?;
    let now = Instant::now();
    let status = node.with_cluster(|cluster| {
        cluster.members.get(id)?;
        Some((cluster.members.silence(id, now), cluster.members.alive(id, now)))
    });
    let (silence, alive) = status.ok_or_else(|| super::brokers::unknown(id))?;
    let silence = silence.map(|silence| silence.as_millis() as u64);
    ok(json!({"node_id": id, "since_last_status": silence, "is_alive": alive}))
}

async fn leaders_table(State(node): State<Arc<Node>>) -> Answer {
    let topics = node.with_cluster(|cluster| cluster.state.topics.clone());
    let mut table: Vec<Value> = Vec::new();
    for topic in topics.all() {
        let (ns, name) = ntp(&topic.name);
        for index in 0..topic.partitions.len() {
            let known = node.leader_of((topic.id, index as i32));
            let (leader, term) = known.unwrap_or((-1, -1));
            table.push(json!({
                "ns": ns, "topic": name, "partition_id": index, "leader": leader, "previous_leader": -1,
                "last_stable_leader_term": term, "update_term": term, "partition_revision": 0,
            }));
        }
    }
    ok(table)
}

/// How far the controller's commands have come on this broker. Offsets are numbers of commands.
async fn controller_status(State(node): State<Arc<Node>>) -> Answer {
    let version = node.with_cluster(|cluster| cluster.state.version);
    ok(json!({
        "start_offset": 0,
        "last_applied_offset": version,
        "committed_index": version,
        "dirty_offset": version,
        "leader_id": super::controller(&node).unwrap_or(-1),
    }))
}

/// A partition as this broker's replica sees it.
async fn partition(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
) -> Answer {
    let index: i32 = number("the partition", &partition)?;
    let name = internal_name(&ns, &topic);
    let found = node.with_cluster(|cluster| cluster.state.topics.get(&name).cloned());
    let found = found.filter(|found| usize::try_from(index).is_ok_and(|it| it < found.partitions.len()));
    let found =
        found.ok_or_else(|| AdminError::not_found(format!("Could not find ntp: {ns}/{topic}/{index}")))?;
    let replica = node.partition((found.id, index)).map(|replica| {
        let progress = replica.progress();
        json!({
            "raft_state": {
                "node_id": node.id(),
                "term": replica.leader_epoch(),
                "is_leader": replica.leads(),
                "is_elected_leader": progress.leading,
            },
            "start_offset": replica.start_offset(),
            "dirty_offset": progress.end - 1,
            "high_watermark": progress.high_watermark,
            "last_stable_offset": progress.last_stable_offset,
            "size_bytes": health::size_of(&replica),
            "replicas_behind": replica.replicas_behind(),
        })
    });
    ok(json!({
        "ntp": format!("{ns}/{topic}/{index}"),
        "leader": leader_of(&node, &found, index as usize),
        "replicas": replica.into_iter().collect::<Vec<_>>(),
    }))
}
