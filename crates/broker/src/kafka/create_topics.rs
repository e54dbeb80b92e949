//! CreateTopics: any broker takes it; the controller does it.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use tokio::time::Instant;

use super::{Session, text};
use crate::cluster::command::NewTopic;
use crate::topic_creation;

/// Config source of a property that was given for the topic (Kafka: `DYNAMIC_TOPIC_CONFIG`).
const SOURCE_TOPIC: i8 = 1;
/// Topic properties that are kept; `message.timestamp.type` is the one obeyed in this version.
const KNOWN_CONFIGS: &[&str] = &[
    "cleanup.policy",
    "compression.type",
    "delete.retention.ms",
    "flush.bytes",
    "flush.ms",
    "max.message.bytes",
    "message.timestamp.type",
    "min.insync.replicas",
    "redpanda.remote.read",
    "redpanda.remote.write",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.ms",
];

pub(super) async fn answer(
    session: &Session,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    let mut results = Vec::new();
    for topic in &request.topics {
        let twice = names.iter().filter(|name| **name == *topic.name.as_str()).count() > 1;
        let created = if twice {
            Err((ResponseError::InvalidRequest.code(), "the topic is in the request twice".to_owned()))
        } else {
            create(session, topic, &request, version).await
        };
        let result = CreatableTopicResult::default().with_name(topic.name.clone());
        results.push(match created {
            Ok(topic) => result
                .with_topic_id(topic.id)
                .with_num_partitions(topic.partitions.len() as i32)
                .with_replication_factor(topic.replication_factor())
                .with_configs(Some(configs(&topic.configs))),
            Err((code, message)) => result
                .with_error_code(code)
                .with_error_message(Some(text(message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                // clients.md: the list must not be null.
                .with_configs(Some(Vec::new())),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

fn configs(configs: &BTreeMap<String, String>) -> Vec<CreatableTopicConfigs> {
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfigs::default()
            .with_name(text(name.clone()))
            .with_value(Some(text(value.clone())))
            .with_config_source(SOURCE_TOPIC)
    };
    configs.iter().map(config).collect()
}

async fn create(
    session: &Session,
    topic: &CreatableTopic,
    request: &CreateTopicsRequest,
    version: i16,
) -> Result<crate::cluster::topics::Topic, (i16, String)> {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(1) as u64);
    let properties = &session.node.config.cluster;
    let invalid = |error: ResponseError, message: &str| Err((error.code(), message.to_owned()));
    let assignments = assignments(topic)?;
    if assignments.is_some() && (topic.num_partitions != -1 || topic.replication_factor != -1) {
        let message = "with assignments, partitions and replication factor are -1";
        return invalid(ResponseError::InvalidRequest, message);
    }
    // KIP-464: -1 asks for the default, from version 4 on.
    if version < 4 && assignments.is_none() && (topic.num_partitions == -1 || topic.replication_factor == -1)
    {
        return invalid(ResponseError::InvalidRequest, "defaults can be asked for from version 4 on");
    }
    let or_default = |value: i32, default: i32| if value == -1 { default } else { value };
    let replication =
        or_default(topic.replication_factor.into(), properties.default_topic_replications.into());
    let new = NewTopic {
        name: topic.name.to_string(),
        id: None,
        partitions: or_default(topic.num_partitions, properties.default_topic_partitions),
        replication_factor: i16::try_from(replication).unwrap_or(-1),
        assignments,
        configs: wanted_configs(topic)?,
        validate_only: request.validate_only,
    };
    topic_creation::create(&session.node, new, deadline).await
}

/// The client's choice of replicas, by partition; they must be numbered from 0 without a gap.
fn assignments(topic: &CreatableTopic) -> Result<Option<Vec<Vec<i32>>>, (i16, String)> {
    if topic.assignments.is_empty() {
        return Ok(None);
    }
    let by_index: BTreeMap<i32, Vec<i32>> = topic
        .assignments
        .iter()
        .map(|entry| (entry.partition_index, entry.broker_ids.iter().map(|id| id.0).collect()))
        .collect();
    let consecutive = by_index.keys().copied().eq(0..topic.assignments.len() as i32);
    if !consecutive {
        let message = "assigned partitions are not numbered 0, 1, 2 …".to_owned();
        return Err((ResponseError::InvalidReplicaAssignment.code(), message));
    }
    Ok(Some(by_index.into_values().collect()))
}

fn wanted_configs(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, (i16, String)> {
    let invalid = |message: String| Err((ResponseError::InvalidConfig.code(), message));
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let name = config.name.as_str();
        if !KNOWN_CONFIGS.contains(&name) {
            return invalid(format!("the topic property \"{name}\" is not known"));
        }
        let Some(value) = &config.value else { continue };
        let times = ["CreateTime", "LogAppendTime"];
        if name == "message.timestamp.type" && !times.contains(&value.as_str()) {
            return invalid(format!("message.timestamp.type is {value:?}; use CreateTime or LogAppendTime"));
        }
        configs.insert(name.to_owned(), value.to_string());
    }
    Ok(configs)
}
