//! DescribeTopicPartitions: topics page by page (KIP-966).

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};

use super::authorization::{Operation, Resource, allowed, authorized_operations};
use super::{Session, leaders, lookup, metadata, text};
use crate::cluster::topics::Topic;

/// Kafka: `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub(super) async fn answer(
    session: &Session,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(1).clamp(1, PARTITIONS_MAX);
    let (from_topic, mut from_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), usize::try_from(cursor.partition_index).unwrap_or(0)),
        None => (String::new(), 0),
    };
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for (name, found) in find(session, &request).into_iter().filter(|(name, _)| *name >= from_topic) {
        if left == 0 {
            next_cursor = Some(cursor(&name, 0));
            break;
        }
        let first = if name == from_topic { std::mem::take(&mut from_partition) } else { 0 };
        let topic = match found {
            Ok(topic) => topic,
            Err(error) => {
                topics.push(failed(&name, error));
                continue;
            }
        };
        let end = topic.partitions.len().min(first.saturating_add(left));
        left -= end.saturating_sub(first);
        topics.push(described(session, &topic, first..end));
        if end < topic.partitions.len() {
            next_cursor = Some(cursor(&name, end));
            break;
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(next_cursor)
}

fn cursor(name: &str, partition: usize) -> Cursor {
    Cursor::default().with_topic_name(TopicName(text(name))).with_partition_index(partition as i32)
}

/// The topics that are asked for, by name; nobody in particular means all.
fn find(
    session: &Session,
    request: &DescribeTopicPartitionsRequest,
) -> Vec<(String, Result<Arc<Topic>, ResponseError>)> {
    session.node.with_cluster(|cluster| {
        let state = &cluster.state;
        if request.topics.is_empty() {
            let visible = state.topics.visible();
            let visible = visible
                .filter(|topic| allowed(session, state, Operation::Describe, Resource::Topic(&topic.name)));
            let shared = visible.filter_map(|topic| state.topics.shared(&topic.name));
            return shared.map(|topic| (topic.name.clone(), Ok(topic))).collect();
        }
        let names: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
        let find = |name: &str| (name.to_owned(), lookup::topic(session, state, name, Operation::Describe));
        names.into_iter().map(find).collect()
    })
}

fn failed(name: &str, error: ResponseError) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(text(name))))
        .with_error_code(error.code())
}

fn described(
    session: &Session,
    topic: &Topic,
    range: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic {
    let isolated = leaders::isolated(session);
    let partition = |index: usize| {
        let leadership = leaders::leadership(session, topic, index as i32, isolated);
        let ids: Vec<BrokerId> = topic.partitions[index].iter().copied().map(BrokerId).collect();
        DescribeTopicPartitionsResponsePartition::default()
            .with_error_code(leadership.error.map_or(0, |error| error.code()))
            .with_partition_index(index as i32)
            .with_leader_id(BrokerId(leadership.leader))
            .with_leader_epoch(leadership.epoch)
            .with_replica_nodes(ids.clone())
            .with_isr_nodes(ids)
            // clients.md: null lists break the Java client.
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    };
    let operations = session
        .node
        .with_cluster(|cluster| authorized_operations(session, &cluster.state, Resource::Topic(&topic.name)));
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(TopicName(text(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_is_internal(metadata::is_internal(&topic.name))
        .with_partitions(range.map(partition).collect())
        .with_topic_authorized_operations(operations)
}
