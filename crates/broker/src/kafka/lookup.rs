//! Finding the topic and replica that a request names, as far as the client may.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

use super::authorization::{Operation, Resource, allowed};
use super::fetch::read::check_epoch;
use super::{LEADER_WAIT_MAX, Session, partition_error};
use crate::cluster::state::State;
use crate::cluster::topics::Topic;
use crate::replication::partition::Partition;
use crate::status::Counter;

/// A topic by its name.
///
/// # Errors
/// The client may not do this to a topic of that name, or there is none.
pub(super) fn topic(
    session: &Session,
    state: &State,
    name: &str,
    operation: Operation,
) -> Result<Arc<Topic>, ResponseError> {
    // A client that may not see a topic does not learn whether it exists (Kafka: `KafkaApis`).
    if !allowed(session, state, operation, Resource::Topic(name)) {
        return Err(ResponseError::TopicAuthorizationFailed);
    }
    let topic = state.topics.shared(name).filter(|topic| topic.is_visible());
    topic.ok_or(ResponseError::UnknownTopicOrPartition)
}

/// A topic by its id.
///
/// # Errors
/// As [`topic`].
pub(super) fn topic_by_id(
    session: &Session,
    state: &State,
    id: Uuid,
    operation: Operation,
) -> Result<Arc<Topic>, ResponseError> {
    let topic = state.topics.shared_by_id(id).filter(|topic| topic.is_visible());
    let topic = topic.ok_or(ResponseError::UnknownTopicId)?;
    if allowed(session, state, operation, Resource::Topic(&topic.name)) {
        Ok(topic)
    } else {
        Err(ResponseError::TopicAuthorizationFailed)
    }
}

/// Why clients get nothing of a partition (redpanda.md 4.2); `None` if they do.
pub(super) fn out_of_service(session: &Session, topic: &str, index: i32) -> Option<ResponseError> {
    if session.node.config.recovery_mode_enabled {
        return Some(ResponseError::PolicyViolation);
    }
    let disabled = session.node.with_cluster(|cluster| cluster.state.is_disabled(topic, index));
    disabled.then_some(ResponseError::ReplicaNotAvailable)
}

/// This broker's replica of a partition, whoever leads.
///
/// # Errors
/// There is no such partition, it is out of service (redpanda.md 4.2), or its replicas are elsewhere.
pub(super) fn replica(session: &Session, topic: &Topic, index: i32) -> Result<Arc<Partition>, ResponseError> {
    if !topic.has_partition(index) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    if let Some(error) = out_of_service(session, &topic.name, index) {
        return Err(error);
    }
    session.node.partition((topic.id, index)).ok_or(ResponseError::NotLeaderOrFollower)
}

/// The replica of a partition that this broker leads, once it serves.
///
/// # Errors
/// There is no such partition, another broker leads it, or the client or this broker is behind.
pub(super) async fn leader(
    session: &Session,
    topic: &Topic,
    index: i32,
    epoch: i32,
) -> Result<Arc<Partition>, ResponseError> {
    let partition = match replica(session, topic, index) {
        Err(ResponseError::NotLeaderOrFollower) => None,
        found => Some(found?),
    };
    let Some(partition) = partition.filter(|partition| partition.leads()) else {
        session.node.status.add(Counter::NotLeader, 1);
        return Err(ResponseError::NotLeaderOrFollower);
    };
    check_epoch(epoch, partition.leader_epoch())?;
    if !partition.progress().leading {
        let waited = partition.wait_leading(Instant::now() + LEADER_WAIT_MAX).await;
        waited.map_err(|error| partition_error(session, &error))?;
    }
    Ok(partition)
}
