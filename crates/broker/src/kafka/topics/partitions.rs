//! CreatePartitions: more partitions for a topic; the controller chooses their replicas unless the client does.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use tokio::time::Instant;

use super::deadline;
use crate::cluster::command::Command;
use crate::cluster::submit::submit;
use crate::kafka::authorization::Operation;
use crate::kafka::{Session, lookup, quotas, text};
use crate::topic_creation::kafka_error;

/// First version that is refused rather than delayed while a quota is exceeded (KIP-599).
const STRICT_QUOTAS: i16 = 3;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: CreatePartitionsRequest,
    version: i16,
) -> CreatePartitionsResponse {
    let deadline = deadline(request.timeout_ms);
    let charged = quotas::charge_mutations(session, added(session, &request), version >= STRICT_QUOTAS);
    let mut seen = BTreeSet::new();
    let mut results = Vec::new();
    for topic in &request.topics {
        let twice = !seen.insert(topic.name.as_str());
        results.push(async move {
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            let grown = match twice {
                true => Err((
                    ResponseError::InvalidRequest.code(),
                    "the topic is in the request twice".to_owned(),
                )),
                false => grow(session, topic, request.validate_only, deadline).await,
            };
            match grown {
                Ok(()) => result,
                Err((code, reason)) => result.with_error_code(code).with_error_message(Some(text(reason))),
            }
        });
    }
    let results = join_all(results).await;
    let (Ok(throttle_ms) | Err(throttle_ms)) = charged;
    CreatePartitionsResponse::default().with_throttle_time_ms(throttle_ms).with_results(results)
}

/// How many partitions the request adds.
fn added(session: &Session, request: &CreatePartitionsRequest) -> usize {
    session.node.with_cluster(|cluster| {
        let added = |topic: &CreatePartitionsTopic| {
            let have = cluster.state.topics.get(&topic.name).map_or(0, |topic| topic.partitions.len());
            usize::try_from(topic.count).unwrap_or(0).saturating_sub(have)
        };
        request.topics.iter().map(added).sum()
    })
}

async fn grow(
    session: &Session,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    deadline: Instant,
) -> Result<(), (i16, String)> {
    let topic = session
        .node
        .with_cluster(|cluster| lookup::topic(session, &cluster.state, &asked.name, Operation::Alter))
        .map_err(|error| (error.code(), "the topic is not there to be altered".to_owned()))?;
    let have = topic.partitions.len();
    let added = usize::try_from(asked.count).unwrap_or(0).saturating_sub(have);
    if added == 0 {
        let reason = format!("the topic has {have} partitions, asked are {}", asked.count);
        return Err((ResponseError::InvalidPartitions.code(), reason));
    }
    let assignments = asked.assignments.as_ref().map(|assignments| -> Vec<Vec<i32>> {
        let replicas = assignments.iter().map(|assignment| &assignment.broker_ids);
        replicas.map(|ids| ids.iter().map(|id| id.0).collect()).collect()
    });
    if let Some(assignments) = assignments.as_ref().filter(|assignments| assignments.len() != added) {
        let reason = format!("{added} partitions are added, replicas are given for {}", assignments.len());
        return Err((ResponseError::InvalidReplicaAssignment.code(), reason));
    }
    let (name, count) = (topic.name.clone(), asked.count);
    let command = Command::CreatePartitions { name, count, assignments, validate_only };
    submit(&session.node, command, deadline).await.map(drop).map_err(kafka_error)
}
