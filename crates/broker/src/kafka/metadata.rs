//! Metadata: the brokers, by the addresses of the listener that was entered, and the topics' leaders.
//!
//! Source: redpanda.md 4.1 and 4.2. ISR is always the whole replica set, as Redpanda answers.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use tokio::time::Instant;

use super::{Session, address, text};
use crate::cluster::command::NewTopic;
use crate::cluster::topics::{Topic, name_problem};
use crate::node::Node;
use crate::topic_creation;

/// How long creating a topic that was merely asked for may take.
const AUTO_CREATE_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn answer(session: &Session, request: MetadataRequest, version: i16) -> MetadataResponse {
    let topics = topics(session, &request, version).await;
    let node = &session.node;
    let (own, now) = (node.id(), Instant::now());
    let (brokers, controller) = node.with_cluster(|cluster| {
        let named = cluster.members.named(now).into_iter();
        let brokers = named.filter_map(|member| {
            let address = address::for_metadata(member, own, &session.listener)?;
            Some(
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(member.id))
                    .with_host(text(address.host))
                    .with_port(address.port.into())
                    .with_rack(member.rack.clone().map(text)),
            )
        });
        (brokers.collect(), cluster.members.controller(now).unwrap_or(-1))
    });
    let cluster_id = node.membership().map_or_else(
        || "redpanda.initializing".to_owned(),
        |membership| format!("redpanda.{}", membership.cluster),
    );
    MetadataResponse::default()
        .with_brokers(brokers)
        .with_cluster_id(Some(text(cluster_id)))
        .with_controller_id(BrokerId(controller))
        .with_topics(topics)
}

async fn topics(session: &Session, request: &MetadataRequest, version: i16) -> Vec<MetadataResponseTopic> {
    let every = match &request.topics {
        None => true,
        // clients.md: an empty list at version 0 means all topics.
        Some(topics) => topics.is_empty() && version == 0,
    };
    if every {
        let node = &session.node;
        let topics: Vec<Topic> =
            node.with_cluster(|cluster| cluster.state.topics.visible().cloned().collect());
        return topics.iter().map(|topic| known(node, topic)).collect();
    }
    let mut answers = Vec::new();
    for asked in request.topics.iter().flatten() {
        let found = session.node.with_cluster(|cluster| match &asked.name {
            Some(name) => cluster.state.topics.get(name).cloned(),
            None => cluster.state.topics.by_id(asked.topic_id).cloned(),
        });
        // Before version 4 a client cannot say that it does not want the topic.
        let may_create = version < 4 || request.allow_auto_topic_creation;
        answers.push(match found {
            Some(topic) => known(&session.node, &topic),
            None => unknown(session, asked, may_create).await,
        });
    }
    answers
}

fn known(node: &Node, topic: &Topic) -> MetadataResponseTopic {
    let partition = |(index, replicas): (usize, &Vec<i32>)| {
        let ids: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
        let (leader, epoch) = node.leader_of((topic.id, index as i32)).unwrap_or((-1, 0));
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
            .with_isr_nodes(ids.clone())
            .with_replica_nodes(ids)
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_partitions(topic.partitions.iter().enumerate().map(partition).collect())
}

async fn unknown(session: &Session, asked: &MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    let answer = MetadataResponseTopic::default().with_name(asked.name.clone()).with_topic_id(asked.topic_id);
    let Some(name) = &asked.name else {
        return answer.with_error_code(ResponseError::UnknownTopicId.code());
    };
    if name_problem(name).is_some() {
        return answer.with_error_code(ResponseError::InvalidTopicException.code());
    }
    let properties = &session.node.config.cluster;
    if !may_create || !properties.auto_create_topics_enabled {
        return answer.with_error_code(ResponseError::UnknownTopicOrPartition.code());
    }
    let new = NewTopic {
        name: name.to_string(),
        id: None,
        partitions: properties.default_topic_partitions,
        replication_factor: properties.default_topic_replications,
        assignments: None,
        configs: BTreeMap::new(),
        validate_only: false,
    };
    match topic_creation::create(&session.node, new, Instant::now() + AUTO_CREATE_TIMEOUT).await {
        Ok(topic) => known(&session.node, &topic),
        Err((code, message)) => {
            tracing::warn!(topic = name.as_str(), message, "a topic could not be created on demand");
            answer.with_error_code(code)
        }
    }
}
