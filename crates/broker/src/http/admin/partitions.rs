//! Partitions: the replicas of this broker, and what the cluster has decided about all of them.
//!
//! Topics live in namespaces: `kafka` for those that clients see, others for the brokers' own (inside they are
//! named with a slash). `redpanda/controller/0` is the controller's group. Source: redpanda.md 3.1.1.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, empty, number, ok, read};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::Command;
use crate::cluster::state::State as ClusterState;
use crate::cluster::topics::Topic;
use crate::node::Node;

const KAFKA: &str = "kafka";
const REDPANDA: &str = "redpanda";

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let cluster_topic = access.user(get(cluster_topic)).merge(access.superuser(post(disable_topic)));
    Router::new()
        .route("/v1/partitions", access.user(get(local)))
        .route("/v1/partitions/local_summary", access.user(get(local_summary)))
        .route("/v1/partitions/{ns}/{topic}", access.user(get(topic)))
        .route("/v1/partitions/{ns}/{topic}/{partition}", access.user(get(partition)))
        .route("/v1/cluster/partitions", access.user(get(cluster_partitions)))
        .route("/v1/cluster/partitions/{ns}/{topic}", cluster_topic)
        .route("/v1/cluster/partitions/{ns}/{topic}/{partition}", access.superuser(post(disable_partition)))
}

/// A topic's namespace and its name in it.
pub(super) fn ntp(topic: &str) -> (&str, &str) {
    topic.split_once('/').unwrap_or((KAFKA, topic))
}

/// A topic's name inside the broker.
pub(super) fn internal_name(ns: &str, topic: &str) -> String {
    if ns == KAFKA { topic.to_owned() } else { format!("{ns}/{topic}") }
}

/// Whether a path names the controller's group.
pub(super) fn is_controller(ns: &str, topic: &str, partition: i32) -> bool {
    (ns, topic, partition) == (REDPANDA, "controller", 0)
}

/// Replicas as the API shows them; brokers have one core.
pub(super) fn replica_list(replicas: &[i32]) -> Value {
    replicas.iter().map(|id| json!({"node_id": id, "core": 0})).collect()
}

/// The leader that this broker knows; -1 for none.
pub(super) fn leader_of(node: &Node, topic: &Topic, index: usize) -> i32 {
    node.leader_of((topic.id, index as i32)).map_or(-1, |(leader, _)| leader)
}

/// What the cluster has decided about one topic.
struct TopicView {
    topic: Topic,
    groups: Vec<u64>,
    changing: BTreeSet<i32>,
    disabled: BTreeSet<i32>,
}

impl TopicView {
    fn of(state: &ClusterState, topic: &Topic) -> TopicView {
        let changes = state.reassignments.get(&topic.name).into_iter().flatten();
        TopicView {
            topic: topic.clone(),
            groups: state.groups.get(&topic.name).cloned().unwrap_or_default(),
            changing: changes.map(|(index, _)| *index).collect(),
            disabled: state.disabled.get(&topic.name).cloned().unwrap_or_default(),
        }
    }
}

async fn local(State(node): State<Arc<Node>>) -> Answer {
    let own = node.id();
    let topics = node.with_cluster(|cluster| cluster.state.topics.clone());
    let mut partitions = vec![json!({
        "ns": REDPANDA, "topic": "controller", "partition_id": 0, "core": 0, "materialized": false,
        "leader_id": super::controller(&node).unwrap_or(-1),
    })];
    for topic in topics.all() {
        let (ns, name) = ntp(&topic.name);
        for index in 0..topic.partitions.len() {
            if node.partition((topic.id, index as i32)).is_some() {
                let leader = leader_of(&node, topic, index);
                partitions.push(json!({
                    "ns": ns, "topic": name, "partition_id": index, "core": 0, "materialized": false,
                    "leader_id": leader, "leader": leader == own,
                }));
            }
        }
    }
    ok(partitions)
}

async fn local_summary(State(node): State<Arc<Node>>) -> Answer {
    let partitions: Vec<_> = node.with_partitions(|partitions| partitions.values().cloned().collect());
    let leaderless = partitions.iter().filter(|partition| partition.leader().is_none()).count();
    let behind =
        partitions.iter().filter(|partition| partition.leads() && partition.replicas_behind() > 0).count();
    // The controller's group is one of them.
    let no_controller = usize::from(super::controller(&node).is_none());
    ok(json!({
        "count": partitions.len() + 1,
        "leaderless": leaderless + no_controller,
        "under_replicated": behind,
    }))
}

fn detail(node: &Node, view: &TopicView, index: usize) -> Value {
    let (ns, name) = ntp(&view.topic.name);
    let changing = view.changing.contains(&(index as i32));
    json!({
        "ns": ns,
        "topic": name,
        "partition_id": index,
        "status": if changing { "in_progress" } else { "done" },
        "leader_id": leader_of(node, &view.topic, index),
        "raft_group_id": view.groups.get(index),
        "replicas": replica_list(&view.topic.partitions[index]),
        "disabled": view.disabled.contains(&(index as i32)),
    })
}

fn controller_detail(node: &Node) -> Value {
    let members: Vec<i32> =
        node.with_cluster(|cluster| cluster.members.all().map(|member| member.id).collect());
    json!({
        "ns": REDPANDA,
        "topic": "controller",
        "partition_id": 0,
        "status": "done",
        "leader_id": super::controller(node).unwrap_or(-1),
        "raft_group_id": 0,
        "replicas": replica_list(&members),
        "disabled": false,
    })
}

fn found(node: &Node, ns: &str, topic: &str) -> Result<TopicView, AdminError> {
    let name = internal_name(ns, topic);
    let view = node.with_cluster(|cluster| {
        cluster.state.topics.get(&name).map(|topic| TopicView::of(&cluster.state, topic))
    });
    view.ok_or_else(|| AdminError::not_found(format!("Could not find topic: {ns}/{topic}")))
}

async fn topic(State(node): State<Arc<Node>>, Path((ns, topic)): Path<(String, String)>) -> Answer {
    if is_controller(&ns, &topic, 0) {
        return ok([controller_detail(&node)]);
    }
    let view = found(&node, &ns, &topic)?;
    let partitions = 0..view.topic.partitions.len();
    ok(partitions.map(|index| detail(&node, &view, index)).collect::<Vec<_>>())
}

async fn partition(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
) -> Answer {
    let index: i32 = number("the partition", &partition)?;
    if is_controller(&ns, &topic, index) {
        return ok(controller_detail(&node));
    }
    let view = found(&node, &ns, &topic)?;
    match usize::try_from(index).ok().filter(|index| *index < view.topic.partitions.len()) {
        Some(index) => ok(detail(&node, &view, index)),
        None => Err(AdminError::not_found(format!("Could not find ntp: {ns}/{topic}/{partition}"))),
    }
}

#[derive(Deserialize)]
struct Shown {
    #[serde(default)]
    disabled: Option<bool>,
    #[serde(default)]
    with_internal: Option<bool>,
}

fn cluster_entries(node: &Node, view: &TopicView, shown: &Shown) -> Vec<Value> {
    let (ns, name) = ntp(&view.topic.name);
    let partitions = view.topic.partitions.iter().enumerate().filter_map(|(index, replicas)| {
        let disabled = view.disabled.contains(&(index as i32));
        if shown.disabled.is_some_and(|wanted| wanted != disabled) {
            return None;
        }
        let mut entry = json!({
            "ns": ns,
            "topic": name,
            "partition_id": index,
            "replicas": replica_list(replicas),
            "disabled": disabled,
        });
        let leader = leader_of(node, &view.topic, index);
        if leader >= 0 {
            entry["leader_id"] = json!(leader);
        }
        Some(entry)
    });
    partitions.collect()
}

async fn cluster_partitions(State(node): State<Arc<Node>>, Query(shown): Query<Shown>) -> Answer {
    let with_internal = shown.with_internal == Some(true);
    let views: Vec<TopicView> = node.with_cluster(|cluster| {
        let topics = cluster.state.topics.all().filter(|topic| with_internal || topic.is_visible());
        topics.map(|topic| TopicView::of(&cluster.state, topic)).collect()
    });
    ok(views.iter().flat_map(|view| cluster_entries(&node, view, &shown)).collect::<Vec<_>>())
}

async fn cluster_topic(
    State(node): State<Arc<Node>>,
    Path((ns, topic)): Path<(String, String)>,
    Query(shown): Query<Shown>,
) -> Answer {
    let view = found(&node, &ns, &topic)?;
    ok(cluster_entries(&node, &view, &shown))
}

#[derive(Deserialize)]
struct Disabled {
    disabled: bool,
}

async fn disable_topic(
    State(node): State<Arc<Node>>,
    Path((ns, topic)): Path<(String, String)>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    disable(&node, &ns, &topic, None, &origin, &body).await
}

async fn disable_partition(
    State(node): State<Arc<Node>>,
    Path((ns, topic, partition)): Path<(String, String, String)>,
    origin: Origin,
    body: Bytes,
) -> Answer {
    let partition = Some(number("the partition", &partition)?);
    disable(&node, &ns, &topic, partition, &origin, &body).await
}

async fn disable(
    node: &Arc<Node>,
    ns: &str,
    topic: &str,
    partition: Option<i32>,
    origin: &Origin,
    body: &Bytes,
) -> Answer {
    if ns != KAFKA {
        return Err(AdminError::bad_request(format!("partitions of namespace {ns} cannot be disabled")));
    }
    let Disabled { disabled } = read(body)?;
    if let Some(redirect) = to_controller(node, origin)? {
        return Ok(redirect);
    }
    let topic = internal_name(ns, topic);
    super::submit(node, Command::DisablePartitions { topic, partition, disabled }).await?;
    empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_by_namespace_and_put_together_again() {
        for name in ["orders", "kafka_internal/tx"] {
            let (ns, topic) = ntp(name);
            assert_eq!(internal_name(ns, topic), name);
        }
        assert_eq!(ntp("orders"), ("kafka", "orders"));
        assert!(is_controller("redpanda", "controller", 0) && !is_controller("kafka", "controller", 0));
    }
}
