//! DeleteTopics: by name, and from version 6 on by name or id.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};

use super::deadline;
use crate::cluster::command::Command;
use crate::cluster::properties;
use crate::cluster::state::State;
use crate::cluster::submit::submit;
use crate::cluster::topics::Topic;
use crate::kafka::authorization::{Operation, Resource, allowed};
use crate::kafka::{Session, lookup, quotas, text};
use crate::topic_creation::kafka_error;

/// First version that is refused rather than delayed while a quota is exceeded (KIP-599).
const STRICT_QUOTAS: i16 = 5;

type Refused = (i16, String);

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let deadline = deadline(request.timeout_ms);
    let wanted: Vec<DeleteTopicState> = match version {
        6.. => request.topics,
        _ => {
            let named = |name: TopicName| DeleteTopicState::default().with_name(Some(name));
            request.topic_names.into_iter().map(named).collect()
        }
    };
    let mut seen = BTreeSet::new();
    let found: Vec<Result<Arc<Topic>, Refused>> = session.node.with_cluster(|cluster| {
        let find = |wanted: &DeleteTopicState| {
            let topic = find(session, &cluster.state, wanted)?;
            if seen.insert(topic.id) {
                Ok(topic)
            } else {
                Err((ResponseError::InvalidRequest.code(), "the topic is in the request twice".to_owned()))
            }
        };
        wanted.iter().map(find).collect()
    });
    let partitions = found.iter().flatten().map(|topic| topic.partitions.len()).sum();
    let charged = quotas::charge_mutations(session, partitions, version >= STRICT_QUOTAS);
    let found: Vec<Result<Arc<Topic>, Refused>> = match charged {
        Ok(_) => found,
        Err(_) => {
            let code = ResponseError::ThrottlingQuotaExceeded.code();
            found.into_iter().map(|_| Err((code, quotas::MUTATIONS_EXCEEDED.to_owned()))).collect()
        }
    };
    let (Ok(throttle_ms) | Err(throttle_ms)) = charged;
    let results = wanted.into_iter().zip(found).map(|(wanted, found)| async move {
        let deleted = match found {
            Ok(topic) => {
                let command = Command::DeleteTopic { name: topic.name.clone() };
                submit(&session.node, command, deadline).await.map(|_| topic).map_err(kafka_error)
            }
            Err(refused) => Err(refused),
        };
        result(wanted, deleted)
    });
    let responses = join_all(results).await;
    DeleteTopicsResponse::default().with_throttle_time_ms(throttle_ms).with_responses(responses)
}

fn result(wanted: DeleteTopicState, deleted: Result<Arc<Topic>, Refused>) -> DeletableTopicResult {
    let result = DeletableTopicResult::default();
    match deleted {
        Ok(topic) => result.with_name(Some(TopicName(text(topic.name.clone())))).with_topic_id(topic.id),
        Err((code, reason)) => result
            .with_name(wanted.name)
            .with_topic_id(wanted.topic_id)
            .with_error_code(code)
            .with_error_message(Some(text(reason))),
    }
}

fn find(session: &Session, state: &State, wanted: &DeleteTopicState) -> Result<Arc<Topic>, Refused> {
    let topic = match &wanted.name {
        Some(_) if !wanted.topic_id.is_nil() => {
            let reason = "a topic is named by its name or by its id, not by both";
            return Err((ResponseError::InvalidRequest.code(), reason.to_owned()));
        }
        Some(name) => lookup::topic(session, state, name, Operation::Describe),
        None => lookup::topic_by_id(session, state, wanted.topic_id, Operation::Describe),
    };
    let topic = topic.map_err(|error| (error.code(), "the topic is not there to be deleted".to_owned()))?;
    // Redpanda's `kafka_nodelete_topics` are refused as if the client had no right to it.
    let kept = properties::value_of(&state.properties, "kafka_nodelete_topics");
    let is_kept = kept.as_array().is_some_and(|names| names.iter().any(|name| *name == topic.name));
    if is_kept || !allowed(session, state, Operation::Delete, Resource::Topic(&topic.name)) {
        let reason = format!("topic '{}' may not be deleted", topic.name);
        return Err((ResponseError::TopicAuthorizationFailed.code(), reason));
    }
    Ok(topic)
}
