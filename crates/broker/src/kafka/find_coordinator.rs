//! FindCoordinator: which broker looks after a group or a transaction.
//!
//! Source: redpanda.md 4.1. The key belongs to a partition of an internal topic, which is made when it is first
//! needed; the partition's leader is the coordinator, and is waited for. The broker is named by the address of
//! the listener's name alone, so where it advertises none the answer is COORDINATOR_NOT_AVAILABLE.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use tokio::time::{Instant, sleep, timeout_at};

use super::authorization::{Operation, Resource, authorize};
use super::{LEADER_WAIT_MAX, Session, address, text};
use crate::cluster::topics::Topic;
use crate::coordinator::partition_of;
use crate::node::PartitionKey;
use crate::{groups, transactions};

/// Key types (KIP-98); share groups (2) are not known here.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
/// Between two looks whether a partition has a leader.
const LEADER_RETRY: std::time::Duration = std::time::Duration::from_millis(20);

pub(super) async fn answer(
    session: &Session,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let deadline = Instant::now() + LEADER_WAIT_MAX;
    if version >= 4 {
        let mut coordinators = Vec::new();
        for key in &request.coordinator_keys {
            let found = find(session, key, request.key_type, deadline).await;
            coordinators.push(found.with_key(key.clone()));
        }
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = find(session, &request.key, request.key_type, deadline).await;
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

async fn find(session: &Session, key: &str, key_type: i8, deadline: Instant) -> Coordinator {
    match try_find(session, key, key_type, deadline).await {
        Ok(coordinator) => coordinator,
        Err((error, message)) => Coordinator::default()
            .with_error_code(error.code())
            .with_error_message(Some(text(message)))
            .with_node_id(BrokerId(-1))
            .with_port(-1),
    }
}

async fn try_find(
    session: &Session,
    key: &str,
    key_type: i8,
    deadline: Instant,
) -> Result<Coordinator, (ResponseError, String)> {
    let unavailable = |message: String| (ResponseError::CoordinatorNotAvailable, message);
    let resource = match key_type {
        TRANSACTION => Resource::TransactionalId(key),
        _ => Resource::Group(key),
    };
    authorize(session, Operation::Describe, resource)
        .map_err(|error| (error, "the client may not describe it".to_owned()))?;
    let topic = match key_type {
        GROUP => groups::ensure_topic(&session.node).await,
        TRANSACTION => transactions::ensure_topic(&session.node).await,
        other => return Err((ResponseError::InvalidRequest, format!("key type {other} is not known"))),
    };
    let topic: Topic = topic.map_err(|refusal| unavailable(refusal.to_string()))?;
    let partition = (topic.id, partition_of(key, topic.partitions.len()));
    let Ok(leader) = timeout_at(deadline, leader_of(session, partition)).await else {
        let (topic, index) = (topic.name, partition.1);
        return Err(unavailable(format!("partition {index} of {topic} has no leader")));
    };
    let member = session.node.with_cluster(|cluster| cluster.members.get(leader).cloned());
    let member = member.ok_or_else(|| unavailable(format!("broker {leader} is not known")))?;
    match address::for_coordinator(&member, &session.listener) {
        Some(address) => Ok(Coordinator::default()
            .with_node_id(BrokerId(member.id))
            .with_host(text(address.host))
            .with_port(address.port.into())),
        None => Err(unavailable(format!(
            "broker {} advertises nothing for listener \"{}\"",
            member.id, session.listener.name
        ))),
    }
}

/// Waits until the partition has a leader that is not known to be dead.
async fn leader_of(session: &Session, partition: PartitionKey) -> i32 {
    loop {
        if let Some((leader, _)) = session.node.leader_of(partition)
            && session.node.with_cluster(|cluster| cluster.members.alive(leader, Instant::now()))
        {
            return leader;
        }
        sleep(LEADER_RETRY).await;
    }
}
