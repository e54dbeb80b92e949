//! Metadata: the brokers, by the addresses of the listener that was entered, and the topics' leaders.
//!
//! Source: redpanda.md 4.1 and 4.2. ISR is always the whole replica set, as Redpanda answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use tokio::time::Instant;

use super::authorization::{Operation, Resource, allowed, authorized_operations};
use super::leaders::{self, Leadership};
use super::{Session, lookup, text};
use crate::cluster::command::NewTopic;
use crate::cluster::topics::{Topic, name_problem};
use crate::topic_creation;

/// How long creating a topic that was merely asked for may take.
const AUTO_CREATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Topics that brokers keep in the clients' sight.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

/// A topic that is asked for: found, or why not.
enum Found {
    Topic(Arc<Topic>),
    Missing(MetadataRequestTopic),
    Forbidden(MetadataRequestTopic),
}

pub(super) async fn answer(session: &Session, request: MetadataRequest, version: i16) -> MetadataResponse {
    let found = find(session, &request, version);
    // Before version 4 a client cannot say that it does not want the topic.
    let may_create = version < 4 || request.allow_auto_topic_creation;
    let isolated = leaders::isolated(session);
    let mut topics = Vec::with_capacity(found.len());
    for found in found {
        topics.push(match found {
            Found::Topic(topic) => {
                known(session, &topic, request.include_topic_authorized_operations, isolated)
            }
            Found::Missing(asked) => missing(session, asked, &request, may_create).await,
            Found::Forbidden(asked) => failed(asked, ResponseError::TopicAuthorizationFailed),
        });
    }
    let overview = overview(session, Instant::now());
    let broker = |broker: leaders::Endpoint| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(broker.id))
            .with_host(text(broker.address.host))
            .with_port(broker.address.port.into())
            .with_rack(broker.rack.map(text))
    };
    let response = MetadataResponse::default()
        .with_brokers(overview.brokers.into_iter().map(broker).collect())
        .with_cluster_id(Some(text(cluster_id(session))))
        .with_controller_id(BrokerId(overview.controller))
        .with_topics(topics);
    match request.include_cluster_authorized_operations && (8..=10).contains(&version) {
        true => response.with_cluster_authorized_operations(
            session
                .node
                .with_cluster(|cluster| authorized_operations(session, &cluster.state, Resource::Cluster)),
        ),
        false => response,
    }
}

/// The cluster's name for clients (redpanda.md 4.2).
pub(super) fn cluster_id(session: &Session) -> String {
    session.node.membership().map_or_else(
        || "redpanda.initializing".to_owned(),
        |membership| format!("redpanda.{}", membership.cluster),
    )
}

/// The brokers of the cluster as a client is told them.
pub(super) struct Overview {
    pub brokers: Vec<leaders::Endpoint>,
    /// -1 if there is none.
    pub controller: i32,
}

/// The alive brokers and the controller. A broker that is cut off from all others leaves itself out and names no
/// controller (redpanda.md 4.2).
pub(super) fn overview(session: &Session, now: Instant) -> Overview {
    let own = session.node.id();
    session.node.with_cluster(|cluster| {
        let isolated = leaders::is_isolated(&cluster.members, own, now);
        let named = cluster.members.named(now).into_iter();
        let named = named.filter(|member| !(isolated && member.id == own));
        let brokers = named.filter_map(|member| leaders::endpoint(member, own, session)).collect();
        let controller = cluster.members.controller(now).filter(|_| !isolated);
        Overview { brokers, controller: controller.unwrap_or(-1) }
    })
}

fn find(session: &Session, request: &MetadataRequest, version: i16) -> Vec<Found> {
    let every = match &request.topics {
        None => true,
        // clients.md: an empty list at version 0 means all topics.
        Some(topics) => topics.is_empty() && version == 0,
    };
    session.node.with_cluster(|cluster| {
        let state = &cluster.state;
        if every {
            let visible = state.topics.visible();
            let visible = visible
                .filter(|topic| allowed(session, state, Operation::Describe, Resource::Topic(&topic.name)));
            return visible.filter_map(|topic| state.topics.shared(&topic.name)).map(Found::Topic).collect();
        }
        let find = |asked: &MetadataRequestTopic| {
            let found = match &asked.name {
                Some(name) => lookup::topic(session, state, name, Operation::Describe),
                None => lookup::topic_by_id(session, state, asked.topic_id, Operation::Describe),
            };
            match found {
                Ok(topic) => Found::Topic(topic),
                Err(ResponseError::TopicAuthorizationFailed) => Found::Forbidden(asked.clone()),
                Err(_) => Found::Missing(asked.clone()),
            }
        };
        request.topics.iter().flatten().map(find).collect()
    })
}

pub(super) fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

fn known(session: &Session, topic: &Topic, operations: bool, isolated: bool) -> MetadataResponseTopic {
    let partition = |(index, replicas): (i32, &Vec<i32>)| {
        let Leadership { leader, epoch, error } = leaders::leadership(session, topic, index, isolated);
        let error = lookup::out_of_service(session, &topic.name, index).or(error);
        let ids: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
        MetadataResponsePartition::default()
            .with_error_code(error.map_or(0, |error| error.code()))
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(epoch)
            .with_isr_nodes(ids.clone())
            .with_replica_nodes(ids)
    };
    let answer = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_is_internal(is_internal(&topic.name))
        .with_partitions((0..).zip(&topic.partitions).map(partition).collect());
    match operations {
        true => answer.with_topic_authorized_operations(session.node.with_cluster(|cluster| {
            authorized_operations(session, &cluster.state, Resource::Topic(&topic.name))
        })),
        false => answer,
    }
}

fn failed(asked: MetadataRequestTopic, error: ResponseError) -> MetadataResponseTopic {
    // Versions before 12 have no null name; an id without a name is then not to be asked for.
    let name = asked.name.or_else(|| Some(TopicName::default()));
    MetadataResponseTopic::default()
        .with_name(name)
        .with_topic_id(asked.topic_id)
        .with_error_code(error.code())
}

async fn missing(
    session: &Session,
    asked: MetadataRequestTopic,
    request: &MetadataRequest,
    may_create: bool,
) -> MetadataResponseTopic {
    let Some(name) = asked.name.clone() else {
        return failed(asked, ResponseError::UnknownTopicId);
    };
    if name_problem(&name).is_some() {
        return failed(asked, ResponseError::InvalidTopicException);
    }
    let auto =
        session.flag("auto_create_topics_enabled", session.node.properties().auto_create_topics_enabled);
    if !may_create || !auto {
        return failed(asked, ResponseError::UnknownTopicOrPartition);
    }
    let (may, isolated) = session.node.with_cluster(|cluster| {
        let may = allowed(session, &cluster.state, Operation::Create, Resource::Cluster)
            || allowed(session, &cluster.state, Operation::Create, Resource::Topic(&name));
        (may, leaders::is_isolated(&cluster.members, session.node.id(), Instant::now()))
    });
    if !may {
        return failed(asked, ResponseError::TopicAuthorizationFailed);
    }
    if isolated {
        return failed(asked, ResponseError::BrokerNotAvailable);
    }
    let bootstrap = &session.node.config.cluster;
    let new = NewTopic {
        name: name.to_string(),
        id: None,
        partitions: session.number("default_topic_partitions", bootstrap.default_topic_partitions),
        replication_factor: session
            .number("default_topic_replications", bootstrap.default_topic_replications),
        assignments: None,
        configs: BTreeMap::new(),
        validate_only: false,
    };
    match topic_creation::create(&session.node, new, Instant::now() + AUTO_CREATE_TIMEOUT).await {
        Ok(topic) => known(session, &topic, request.include_topic_authorized_operations, isolated),
        Err((code, message)) => {
            tracing::warn!(topic = name.as_str(), message, "a topic could not be created on demand");
            failed(asked, ResponseError::LeaderNotAvailable).with_error_code(code)
        }
    }
}
