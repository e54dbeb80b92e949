//! AlterPartitionReassignments: begins changes of replicas, and gives them up.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use tokio::time::Instant;

use crate::cluster::command::Command;
use crate::cluster::reassignment::Reason;
use crate::cluster::submit::submit;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};
use crate::topic_creation::kafka_error;

type Refused = (i16, String);

fn refused<T>(error: ResponseError, reason: impl Into<String>) -> Result<T, Refused> {
    Err((error.code(), reason.into()))
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AlterPartitionReassignmentsRequest,
    version: i16,
) -> AlterPartitionReassignmentsResponse {
    let response = AlterPartitionReassignmentsResponse::default();
    if let Err(error) = authorize(session, Operation::Alter, Resource::Cluster) {
        return response
            .with_error_code(error.code())
            .with_error_message(Some(text("the client may not alter the cluster")));
    }
    if !session.flag("kafka_enable_partition_reassignment", true) {
        return response.with_error_code(ResponseError::InvalidRequest.code()).with_error_message(Some(
            text("kafka_enable_partition_reassignment is false; set it to true to reassign replicas"),
        ));
    }
    // Before version 1 a client cannot say that the number of replicas has to stay.
    let resize = version < 1 || request.allow_replication_factor_change;
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut responses = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let answer =
                ReassignablePartitionResponse::default().with_partition_index(partition.partition_index);
            partitions.push(match reassign(session, &topic.name, partition, resize, deadline).await {
                Ok(()) => answer,
                Err((code, reason)) => answer.with_error_code(code).with_error_message(Some(text(reason))),
            });
        }
        responses.push(
            ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions),
        );
    }
    let response = response.with_responses(responses);
    if version >= 1 { response.with_allow_replication_factor_change(resize) } else { response }
}

async fn reassign(
    session: &Session,
    topic: &str,
    asked: &ReassignablePartition,
    resize: bool,
    deadline: Instant,
) -> Result<(), Refused> {
    let index = asked.partition_index;
    let command = session.node.with_cluster(|cluster| {
        let state = &cluster.state;
        let known = state.topics.get(topic).filter(|topic| topic.is_visible() && topic.has_partition(index));
        let Some(known) = known else {
            return refused(ResponseError::UnknownTopicOrPartition, "there is no such partition");
        };
        let (topic, partition) = (topic.to_owned(), index);
        let Some(replicas) = &asked.replicas else {
            return match state.reassignment(&topic, partition) {
                Some(_) => Ok(Command::CancelReassignment { topic, partition }),
                None => refused(ResponseError::NoReassignmentInProgress, "nothing is being reassigned"),
            };
        };
        let replicas: Vec<i32> = replicas.iter().map(|id| id.0).collect();
        check(&replicas, |id| state.takes_replicas(id))?;
        if !resize && replicas.len() != known.partitions[index as usize].len() {
            let reason = "the number of replicas changes, which the client does not allow";
            return refused(ResponseError::InvalidReplicationFactor, reason);
        }
        Ok(Command::Reassign { topic, partition, replicas, reason: Reason::Request })
    })?;
    submit(&session.node, command, deadline).await.map(drop).map_err(kafka_error)
}

fn check(replicas: &[i32], takes_replicas: impl Fn(i32) -> bool) -> Result<(), Refused> {
    if replicas.is_empty() {
        return refused(ResponseError::InvalidReplicaAssignment, "a partition has at least one replica");
    }
    for (position, id) in replicas.iter().enumerate() {
        if replicas[..position].contains(id) {
            return refused(ResponseError::InvalidReplicaAssignment, format!("broker {id} is named twice"));
        }
        if !takes_replicas(*id) {
            let reason = format!("broker {id} is not there, or is being removed");
            return refused(ResponseError::InvalidReplicaAssignment, reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_different_brokers_that_take_them() {
        let takes = |id| id < 3;
        assert_eq!(check(&[2, 0, 1], takes), Ok(()));
        for wrong in [&[][..], &[1, 1], &[0, 3]] {
            assert_eq!(check(wrong, takes).unwrap_err().0, ResponseError::InvalidReplicaAssignment.code());
        }
    }
}
