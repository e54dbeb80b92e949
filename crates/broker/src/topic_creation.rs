//! Creating a topic: the broker that got the request checks it and asks the controller, which places the
//! replicas.
//!
//! The controller answers when every broker that it can reach knows the topic. Source: redpanda.md 4.3, last
//! row.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::{Instant, sleep};

use crate::cluster::placement::{Candidate, place};
use crate::cluster::topics::{Topic, name_problem};
use crate::cluster::{Cluster, gossip};
use crate::node::Node;
use crate::replication;
use crate::rpc::{NewTopic, Refusal, Reply, Request};

/// Added to the controller's own limit when another broker waits for it.
const FORWARD_MARGIN: Duration = Duration::from_secs(1);
/// Before asking again for the controller when the first answer was that it is another broker.
const CONTROLLER_RETRY: Duration = Duration::from_millis(200);

fn kafka(error: ResponseError, message: impl Into<String>) -> Refusal {
    Refusal::Kafka(error.code(), message.into())
}

/// Creates a topic, here or at the controller.
///
/// # Errors
/// The Kafka error code and a message for the client.
pub(crate) async fn create(node: &Arc<Node>, topic: NewTopic) -> Result<Topic, (i16, String)> {
    let mut result = create_once(node, topic.clone()).await;
    if let Err(Refusal::NotController | Refusal::NotReady | Refusal::WrongBroker) = result {
        sleep(CONTROLLER_RETRY).await;
        result = create_once(node, topic).await;
    }
    result.map_err(|refusal| match refusal {
        Refusal::Kafka(code, message) => (code, message),
        Refusal::Storage(reason) => (ResponseError::KafkaStorageError.code(), reason),
        Refusal::TimedOut => (ResponseError::RequestTimedOut.code(), refusal.to_string()),
        other => (ResponseError::NotController.code(), other.to_string()),
    })
}

async fn create_once(node: &Arc<Node>, topic: NewTopic) -> Result<Topic, Refusal> {
    let controller = node.with_cluster(|cluster| {
        let id = cluster.members.controller(Instant::now())?;
        cluster.members.get(id).cloned()
    });
    let controller = controller.ok_or(Refusal::NotController)?;
    if controller.id == node.id() {
        return create_here(node, topic).await;
    }
    let patience = Duration::from_millis(topic.timeout_ms) + FORWARD_MARGIN;
    match node.call(&controller, Request::CreateTopic(topic), &[], patience).await {
        Ok((Reply::TopicCreated(topic), _)) => Ok(topic),
        Ok(_) => Err(Refusal::NotController),
        Err(error) => Err(error.refusal().cloned().unwrap_or(Refusal::TimedOut)),
    }
}

/// Creates a topic as the controller.
pub(crate) async fn create_here(node: &Arc<Node>, new: NewTopic) -> Result<Topic, Refusal> {
    let id = node.new_uuid();
    let now = Instant::now();
    let own = node.id();
    let limit = node.config.cluster.topic_partitions_per_shard;
    let topic = node.with_cluster(|cluster| {
        if cluster.members.controller(now) != Some(own) {
            return Err(Refusal::NotController);
        }
        let partitions = check_and_place(cluster, &new, limit, now)?;
        let topic = Topic { name: new.name.clone(), id, partitions, configs: new.configs.clone() };
        if !new.validate_only {
            cluster.unsaved |= cluster.topics.merge(vec![topic.clone()]);
        }
        Ok(topic)
    })?;
    if new.validate_only {
        return Ok(topic);
    }
    node.save_tables().map_err(|error| Refusal::Storage(error.to_string()))?;
    replication::open_replicas(node);
    if !gossip::push_and_wait(node, Duration::from_millis(new.timeout_ms.max(1))).await {
        return Err(Refusal::TimedOut);
    }
    Ok(topic)
}

fn check_and_place(
    cluster: &Cluster,
    new: &NewTopic,
    replicas_per_broker_max: u32,
    now: Instant,
) -> Result<Vec<Vec<i32>>, Refusal> {
    if let Some(problem) = name_problem(&new.name) {
        return Err(kafka(ResponseError::InvalidTopicException, problem));
    }
    if cluster.topics.get(&new.name).is_some() {
        let message = format!("topic '{}' already exists", new.name);
        return Err(kafka(ResponseError::TopicAlreadyExists, message));
    }
    let reachable = cluster.members.all().filter(|member| cluster.members.reachable(member.id, now));
    let candidates: Vec<Candidate> =
        reachable.map(|member| Candidate { id: member.id, rack: member.rack.clone() }).collect();
    if let Some(assignments) = &new.assignments {
        check_assignments(assignments, cluster)?;
        return Ok(assignments.clone());
    }
    if new.partitions < 1 {
        let message = format!("{} partitions; a topic has at least 1", new.partitions);
        return Err(kafka(ResponseError::InvalidPartitions, message));
    }
    let replication = usize::try_from(new.replication_factor).unwrap_or(0);
    if replication < 1 || replication > candidates.len() {
        let message = format!(
            "replication factor {} with {} brokers available",
            new.replication_factor,
            candidates.len()
        );
        return Err(kafka(ResponseError::InvalidReplicationFactor, message));
    }
    let held: usize =
        cluster.topics.all().flat_map(|topic| &topic.partitions).map(|replicas| replicas.len()).sum();
    let wanted = (new.partitions as usize).saturating_mul(replication);
    let capacity = candidates.len().saturating_mul(replicas_per_broker_max as usize);
    if held.saturating_add(wanted) > capacity {
        let message = format!(
            "{wanted} replicas more than the {held} that exist; the cluster holds at most {capacity}"
        );
        return Err(kafka(ResponseError::InvalidPartitions, message));
    }
    Ok(place(new.partitions as usize, replication, &candidates, cluster.topics.all()))
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
