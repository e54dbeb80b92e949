//! Creating topics and partitions: what is checked, and where the controller puts the replicas.
//!
//! Source: redpanda.md 4.3, last row (any broker takes the request), 4.4 (defaults and limits).

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::cluster::command::{Applied, Command, NewTopic};
use crate::cluster::membership::Registered;
use crate::cluster::placement::{Candidate, place};
use crate::cluster::rate_limit::Kind;
use crate::cluster::submit::submit;
use crate::cluster::topics::{Topic, name_problem};
use crate::node::Node;
use crate::rpc::Refusal;

/// How long creating an internal topic may take.
const INTERNAL_TIMEOUT: Duration = Duration::from_secs(5);
/// redpanda.md 4.4: `wait_for_leader_timeout_ms`.
const LEADER_WAIT_MAX: Duration = Duration::from_secs(5);

fn kafka(error: ResponseError, message: impl Into<String>) -> Refusal {
    Refusal::Kafka(error.code(), message.into())
}

/// The Kafka error code and message of a refusal.
pub(crate) fn kafka_error(refusal: Refusal) -> (i16, String) {
    match refusal {
        Refusal::Kafka(code, message) => (code, message),
        Refusal::Storage(reason) => (ResponseError::KafkaStorageError.code(), reason),
        Refusal::TimedOut => (ResponseError::RequestTimedOut.code(), refusal.to_string()),
        other => (ResponseError::NotController.code(), other.to_string()),
    }
}

/// Creates a topic for a client.
///
/// # Errors
/// The Kafka error code and a message for the client.
pub(crate) async fn create(
    node: &Arc<Node>,
    topic: NewTopic,
    deadline: Instant,
) -> Result<Topic, (i16, String)> {
    if let Some(problem) = name_problem(&topic.name) {
        return Err((ResponseError::InvalidTopicException.code(), problem));
    }
    let exists = !topic.validate_only;
    match submit(node, Command::CreateTopic(topic), deadline).await {
        Ok(Applied::Topic(topic)) => {
            if exists {
                wait_for_leaders(node, &topic, deadline).await;
            }
            Ok(topic)
        }
        Ok(_) => {
            Err((ResponseError::UnknownServerError.code(), "the controller answers otherwise".to_owned()))
        }
        Err(refusal) => Err(kafka_error(refusal)),
    }
}

/// A client may produce at once, so the partitions have leaders when it hears of them, unless that takes too long
/// (Redpanda: `wait_for_leaders`).
async fn wait_for_leaders(node: &Arc<Node>, topic: &Topic, deadline: Instant) {
    let deadline = deadline.min(Instant::now() + LEADER_WAIT_MAX);
    for (index, _) in (0..).zip(&topic.partitions) {
        if !node.raft.leaders.wait((topic.id, index), deadline).await {
            tracing::debug!(topic = topic.name, index, "the topic is there, the partition has no leader yet");
            return;
        }
    }
}

/// The topic of this name; if it is not there it is created with `internal_topic_replication_factor` replicas, or
/// with one where there are fewer brokers than that (redpanda.md 4.4).
///
/// # Errors
/// Why it could not be created.
pub(crate) async fn ensure_internal(
    node: &Arc<Node>,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<Topic, Refusal> {
    if let Some(topic) = node.with_cluster(|cluster| cluster.state.topics.get(name).cloned()) {
        return Ok(topic);
    }
    let now = Instant::now();
    let brokers = node.with_cluster(|cluster| cluster.members.all().count());
    let wanted = node.properties().internal_topic_replication_factor;
    let fitting = if brokers >= wanted as usize { wanted } else { 1 };
    let new = NewTopic {
        name: name.to_owned(),
        id: None,
        partitions,
        replication_factor: fitting,
        assignments: None,
        configs: configs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        validate_only: false,
    };
    match submit(node, Command::CreateTopic(new), now + INTERNAL_TIMEOUT).await {
        Ok(Applied::Topic(topic)) => Ok(topic),
        Ok(_) => Err(Refusal::NotController),
        // Another broker was faster.
        Err(refusal) => node.with_cluster(|cluster| cluster.state.topics.get(name).cloned()).ok_or(refusal),
    }
}

/// Completes a command, as the controller, with what depends on the moment: ids and placement.
///
/// # Errors
/// What is wrong with the command.
pub(crate) fn complete(node: &Node, command: Command, now: Instant) -> Result<Command, Refusal> {
    if let Some(kind) = Kind::of(&command)
        && node.property("enable_controller_log_rate_limiting") == true
    {
        let per_second = node.property(kind.property()).as_u64().unwrap_or(u64::MAX);
        node.control.limits.admit(kind, per_second, now)?;
    }
    let limit = node.properties().topic_partitions_per_shard;
    match command {
        Command::CreateTopic(new) => {
            let id = Some(new.id.unwrap_or_else(|| node.new_uuid()));
            let placed = node.with_cluster(|cluster| check_and_place(cluster, &new, limit, now))?;
            Ok(Command::CreateTopic(NewTopic { id, assignments: Some(placed), ..new }))
        }
        Command::CreatePartitions { name, count, assignments: None, validate_only } => {
            let placed = node.with_cluster(|cluster| place_more(cluster, &name, count, limit, now))?;
            Ok(Command::CreatePartitions { name, count, assignments: Some(placed), validate_only })
        }
        Command::CreatePartitions { name, count, assignments: Some(assignments), validate_only } => {
            node.with_cluster(|cluster| check_assignments(&assignments, cluster))?;
            Ok(Command::CreatePartitions { name, count, assignments: Some(assignments), validate_only })
        }
        command => Ok(command),
    }
}

fn candidates(cluster: &Cluster, now: Instant) -> Vec<Candidate> {
    let stays = |id: i32| cluster.state.members.get(&id).is_none_or(Registered::takes_replicas);
    let reachable = cluster.members.all().filter(|member| cluster.members.reachable(member.id, now));
    reachable
        .filter(|member| stays(member.id))
        .map(|member| Candidate { id: member.id, rack: member.rack.clone() })
        .collect()
}

fn check_and_place(
    cluster: &Cluster,
    new: &NewTopic,
    replicas_per_broker_max: u32,
    now: Instant,
) -> Result<Vec<Vec<i32>>, Refusal> {
    if cluster.state.topics.get(&new.name).is_some() {
        let message = format!("topic '{}' already exists", new.name);
        return Err(kafka(ResponseError::TopicAlreadyExists, message));
    }
    if let Some(assignments) = &new.assignments {
        check_assignments(assignments, cluster)?;
        return Ok(assignments.clone());
    }
    if new.partitions < 1 {
        let message = format!("{} partitions; a topic has at least 1", new.partitions);
        return Err(kafka(ResponseError::InvalidPartitions, message));
    }
    let candidates = candidates(cluster, now);
    let replication = usize::try_from(new.replication_factor).unwrap_or(0);
    if replication < 1 || replication > candidates.len() {
        let message = format!(
            "replication factor {} with {} brokers available",
            new.replication_factor,
            candidates.len()
        );
        return Err(kafka(ResponseError::InvalidReplicationFactor, message));
    }
    check_capacity(cluster, new.partitions as usize, replication, candidates.len(), replicas_per_broker_max)?;
    Ok(place(new.partitions as usize, replication, &candidates, cluster.state.topics.all()))
}

fn place_more(
    cluster: &Cluster,
    name: &str,
    count: i32,
    replicas_per_broker_max: u32,
    now: Instant,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let topic = cluster.state.topics.get(name).ok_or_else(|| {
        kafka(ResponseError::UnknownTopicOrPartition, format!("there is no topic '{name}'"))
    })?;
    let added = usize::try_from(count).unwrap_or(0).saturating_sub(topic.partitions.len());
    if added == 0 {
        let message = format!("the topic has {} partitions, asked are {count}", topic.partitions.len());
        return Err(kafka(ResponseError::InvalidPartitions, message));
    }
    let candidates = candidates(cluster, now);
    let replication = topic.replication_factor() as usize;
    if replication > candidates.len() {
        let message = format!("replication factor {replication} with {} brokers available", candidates.len());
        return Err(kafka(ResponseError::InvalidReplicationFactor, message));
    }
    check_capacity(cluster, added, replication, candidates.len(), replicas_per_broker_max)?;
    Ok(place(added, replication, &candidates, cluster.state.topics.all()))
}

fn check_capacity(
    cluster: &Cluster,
    partitions: usize,
    replication: usize,
    brokers: usize,
    replicas_per_broker_max: u32,
) -> Result<(), Refusal> {
    let topics = cluster.state.topics.all();
    let held: usize = topics.flat_map(|topic| &topic.partitions).map(|replicas| replicas.len()).sum();
    let wanted = partitions.saturating_mul(replication);
    let capacity = brokers.saturating_mul(replicas_per_broker_max as usize);
    if held.saturating_add(wanted) > capacity {
        let message = format!(
            "{wanted} replicas more than the {held} that exist; the cluster holds at most {capacity}"
        );
        return Err(kafka(ResponseError::InvalidPartitions, message));
    }
    Ok(())
}

fn check_assignments(assignments: &[Vec<i32>], cluster: &Cluster) -> Result<(), Refusal> {
    let invalid = |message: String| Err(kafka(ResponseError::InvalidReplicaAssignment, message));
    let replication = assignments.first().map_or(0, Vec::len);
    for (partition, replicas) in assignments.iter().enumerate() {
        if replicas.is_empty() || replicas.len() != replication {
            return invalid(format!("partition {partition} has {} replicas", replicas.len()));
        }
        if let Some(id) = replicas.iter().find(|id| cluster.members.get(**id).is_none()) {
            return invalid(format!(
                "partition {partition} is assigned to broker {id}, which does not exist"
            ));
        }
        if (1..replicas.len()).any(|index| replicas[..index].contains(&replicas[index])) {
            return invalid(format!("partition {partition} is assigned to one broker twice"));
        }
    }
    Ok(())
}
