//! CreateTopics: any broker takes it; the controller does it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::deadline;
use crate::cluster::command::NewTopic;
use crate::cluster::topics::Topic;
use crate::kafka::authorization::{Operation, Resource, allowed};
use crate::kafka::configs::{SOURCE_DEFAULT, SOURCE_TOPIC};
use crate::kafka::{Session, quotas, text};
use crate::{topic_creation, topic_properties};

/// First version that is refused rather than delayed while a quota is exceeded (KIP-599).
const STRICT_QUOTAS: i16 = 6;

type Refused = (i16, String);

fn refused<T>(error: ResponseError, reason: impl Into<String>) -> Result<T, Refused> {
    Err((error.code(), reason.into()))
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        if !seen.insert(topic.name.as_str()) {
            twice.insert(topic.name.as_str());
        }
    }
    let (twice, request) = (&twice, &request);
    let partitions = request.topics.iter().map(|topic| topic.num_partitions.max(1) as usize).sum();
    let throttle_ms = match quotas::charge_mutations(session, partitions, version >= STRICT_QUOTAS) {
        Ok(throttle_ms) => throttle_ms,
        Err(throttle_ms) => {
            let refuse = |topic: &CreatableTopic| {
                let exceeded = refused(ResponseError::ThrottlingQuotaExceeded, quotas::MUTATIONS_EXCEEDED);
                result(session, topic, exceeded)
            };
            let topics = request.topics.iter().map(refuse).collect();
            return CreateTopicsResponse::default().with_throttle_time_ms(throttle_ms).with_topics(topics);
        }
    };
    let results = request.topics.iter().map(|topic| async move {
        let created = match twice.contains(topic.name.as_str()) {
            true => refused(ResponseError::InvalidRequest, "the topic is in the request twice"),
            false => create(session, topic, request, version).await,
        };
        result(session, topic, created)
    });
    let topics = join_all(results).await;
    CreateTopicsResponse::default().with_throttle_time_ms(throttle_ms).with_topics(topics)
}

fn result(
    session: &Session,
    topic: &CreatableTopic,
    created: Result<Topic, Refused>,
) -> CreatableTopicResult {
    let result = CreatableTopicResult::default().with_name(topic.name.clone());
    let (code, reason) = match created {
        Ok(topic) => {
            return result
                .with_topic_id(topic.id)
                .with_num_partitions(i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX))
                .with_replication_factor(topic.replication_factor())
                .with_configs(Some(configs(session, &topic)));
        }
        Err(refused) => refused,
    };
    result
        .with_error_code(code)
        .with_error_message(Some(text(reason)))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        // clients.md: the list must not be null.
        .with_configs(Some(Vec::new()))
}

/// The properties that hold for the new topic.
fn configs(session: &Session, topic: &Topic) -> Vec<CreatableTopicConfigs> {
    session.node.with_cluster(|cluster| {
        let set = &cluster.state.properties;
        let config = |property: &topic_properties::Property| {
            let own = topic.configs.get(property.name);
            let value = own.cloned().unwrap_or_else(|| property.default_value(set));
            CreatableTopicConfigs::default()
                .with_name(text(property.name))
                .with_value(Some(text(value)))
                .with_config_source(if own.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT })
        };
        let shown = topic_properties::all()
            .filter(|property| property.obeyed || topic.configs.contains_key(property.name));
        shown.map(config).collect()
    })
}

async fn create(
    session: &Session,
    topic: &CreatableTopic,
    request: &CreateTopicsRequest,
    version: i16,
) -> Result<Topic, Refused> {
    let may = session.node.with_cluster(|cluster| {
        allowed(session, &cluster.state, Operation::Create, Resource::Cluster)
            || allowed(session, &cluster.state, Operation::Create, Resource::Topic(&topic.name))
    });
    if !may {
        return refused(ResponseError::TopicAuthorizationFailed, "the client may not create the topic");
    }
    let new = new_topic(session, topic, request.validate_only, version)?;
    let deadline = deadline(request.timeout_ms);
    topic_creation::create(&session.node, new, deadline).await
}

fn new_topic(
    session: &Session,
    topic: &CreatableTopic,
    validate_only: bool,
    version: i16,
) -> Result<NewTopic, Refused> {
    let bootstrap = &session.node.config.cluster;
    let assignments = assignments(topic)?;
    let (partitions, replication) = (topic.num_partitions, topic.replication_factor);
    if assignments.is_some() && (partitions != -1 || replication != -1) {
        let reason = "with assignments, partitions and replication factor are -1";
        return refused(ResponseError::InvalidRequest, reason);
    }
    // KIP-464: -1 asks for the default, from version 4 on.
    if version < 4 && assignments.is_none() && (partitions == -1 || replication == -1) {
        return refused(ResponseError::InvalidRequest, "defaults can be asked for from version 4 on");
    }
    let default_partitions = session.number("default_topic_partitions", bootstrap.default_topic_partitions);
    let default_replication =
        session.number("default_topic_replications", bootstrap.default_topic_replications);
    Ok(NewTopic {
        name: topic.name.to_string(),
        id: None,
        partitions: if partitions == -1 { default_partitions } else { partitions },
        replication_factor: if replication == -1 { default_replication } else { replication },
        assignments,
        configs: wanted_configs(topic)?,
        validate_only,
    })
}

/// The client's choice of replicas, by partition; they must be numbered from 0 without a gap.
fn assignments(topic: &CreatableTopic) -> Result<Option<Vec<Vec<i32>>>, Refused> {
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
        let reason = "assigned partitions are not numbered 0, 1, 2 …";
        return refused(ResponseError::InvalidReplicaAssignment, reason);
    }
    Ok(Some(by_index.into_values().collect()))
}

fn wanted_configs(topic: &CreatableTopic) -> Result<BTreeMap<String, String>, Refused> {
    let given =
        topic.configs.iter().filter_map(|config| Some((config.name.as_str(), config.value.as_deref()?)));
    let configs: BTreeMap<String, String> =
        given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let pairs = configs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    topic_properties::check(pairs).or_else(|problem| refused(ResponseError::InvalidConfig, problem))?;
    Ok(configs)
}
