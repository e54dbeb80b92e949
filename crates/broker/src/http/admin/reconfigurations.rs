//! Changes of replicas that are under way. Source: redpanda.md 3.1.1.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, empty, number, ok, read};
use super::partitions::{internal_name, ntp, replica_list};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::Command;
use crate::cluster::health;
use crate::cluster::reassignment::{Reason, Reassignment};
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let path = "/v1/partitions/{ns}/{topic}/{partition}";
    Router::new()
        .route("/v1/partitions/reconfigurations", access.user(get(list)))
        .route("/v1/cluster/cancel_reconfigurations", access.superuser(post(cancel_all)))
        .route(&format!("{path}/replicas"), access.superuser(post(set_replicas)))
        .route(&format!("{path}/cancel_reconfiguration"), access.superuser(post(cancel_one)))
        .route("/v1/partitions/rebalance", access.superuser(post(rebalance)))
}

/// One change of replicas.
pub(super) struct Change {
    topic: String,
    partition: i32,
    current: Vec<i32>,
    change: Reassignment,
    /// Bytes of the leader's replica, and of the largest replica among those that are new.
    size: u64,
    moved: u64,
}

impl Change {
    /// Whether a broker loses its replica.
    pub fn leaves(&self, id: i32) -> bool {
        self.current.contains(&id) && !self.change.target.contains(&id)
    }

    /// Whether a broker gets a replica.
    pub fn reaches(&self, id: i32) -> bool {
        !self.current.contains(&id) && self.change.target.contains(&id)
    }

    /// Bytes that the new replica still lacks.
    pub fn left(&self) -> u64 {
        self.size.saturating_sub(self.moved)
    }

    /// The entry of a decommission's status.
    pub fn decommission_entry(&self) -> Value {
        let (ns, topic) = ntp(&self.topic);
        let to = self.change.target.iter().find(|id| !self.current.contains(id)).copied().unwrap_or(-1);
        json!({
            "ns": ns,
            "topic": topic,
            "partition": self.partition,
            "moving_to": {"node_id": to, "core": 0},
            "bytes_left_to_move": self.left(),
            "bytes_moved": self.moved,
            "partition_size": self.size,
            "reconfiguration_policy": "full_local_retention",
        })
    }

    fn entry(&self) -> Value {
        let (ns, topic) = ntp(&self.topic);
        json!({
            "ns": ns,
            "topic": topic,
            "partition": self.partition,
            "partition_size": self.size,
            "bytes_moved": self.moved,
            "bytes_left_to_move": self.left(),
            "previous_replicas": replica_list(&self.current),
            "current_replicas": replica_list(&self.change.target),
            "state": if self.change.cancelled { "cancelled" } else { "in_progress" },
            "reconciliation_statuses": [],
        })
    }

    fn name(&self) -> Value {
        let (ns, topic) = ntp(&self.topic);
        json!({"ns": ns, "topic": topic, "partition": self.partition, "result": "success"})
    }
}

/// Every change that is under way.
pub(super) async fn all(node: &Arc<Node>) -> Vec<Change> {
    let reports = health::reports(node).await;
    node.with_cluster(|cluster| {
        let change = |(topic, partition, change): (&str, i32, &Reassignment)| {
            let replicas =
                cluster.state.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)?;
            let size = |id: &i32| reports.size(*id, topic, partition).unwrap_or(0);
            let new = change.target.iter().filter(|id| !replicas.contains(id));
            Some(Change {
                topic: topic.to_owned(),
                partition,
                current: replicas.clone(),
                change: change.clone(),
                size: replicas.iter().map(size).max().unwrap_or(0),
                moved: new.map(size).max().unwrap_or(0),
            })
        };
        cluster.state.all_reassignments().filter_map(change).collect()
    })
}

async fn list(State(node): State<Arc<Node>>) -> Answer {
    ok(all(&node).await.iter().map(Change::entry).collect::<Vec<_>>())
}

/// Gives up the changes that are meant and names them.
pub(super) async fn cancel(node: &Arc<Node>, meant: impl Fn(&Change) -> bool) -> Answer {
    let mut cancelled = Vec::new();
    for change in all(node).await.into_iter().filter(|change| !change.change.cancelled && meant(change)) {
        let (topic, partition) = (change.topic.clone(), change.partition);
        super::submit(node, Command::CancelReassignment { topic, partition }).await?;
        cancelled.push(change.name());
    }
    ok(cancelled)
}

async fn cancel_all(State(node): State<Arc<Node>>, origin: Origin) -> Answer {
    match to_controller(&node, &origin)? {
        Some(redirect) => Ok(redirect),
        None => cancel(&node, |_| true).await,
    }
}

async fn cancel_one(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
    origin: Origin,
) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let partition = number("the partition", &partition)?;
    let topic = internal_name(&ns, &topic);
    super::submit(&node, Command::CancelReassignment { topic, partition }).await?;
    empty()
}

#[derive(Deserialize)]
struct Replica {
    node_id: i32,
    #[serde(default)]
    core: i32,
}

async fn set_replicas(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    let partition = number("the partition", &partition)?;
    if (ns.as_str(), topic.as_str()) == ("redpanda", "controller") {
        return Err(AdminError::bad_request(
            "the replicas of the controller follow the members of the cluster",
        ));
    }
    let replicas: Vec<Replica> = read(&body)?;
    if let Some(replica) = replicas.iter().find(|replica| replica.core != 0) {
        let message = format!("broker {} has no core {}; each has core 0", replica.node_id, replica.core);
        return Err(AdminError::bad_request(message));
    }
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let command = Command::Reassign {
        topic: internal_name(&ns, &topic),
        partition,
        replicas: replicas.iter().map(|replica| replica.node_id).collect(),
        reason: Reason::Request,
    };
    super::submit(&node, command).await?;
    empty()
}

/// Lets the balancer look at the cluster at once.
async fn rebalance(State(node): State<Arc<Node>>, origin: Origin) -> Result<Response, AdminError> {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    node.control.rebalance();
    empty()
}
