//! DescribeLogDirs: the replicas on this broker's disk and how large they are (KIP-113, KIP-827).

use std::collections::BTreeMap;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::authorization::{Operation, Resource, authorize};
use super::{Session, text};

pub(super) async fn answer(
    session: &Session,
    request: DescribeLogDirsRequest,
    _version: i16,
) -> DescribeLogDirsResponse {
    if let Err(error) = authorize(session, Operation::Describe, Resource::Cluster) {
        return DescribeLogDirsResponse::default().with_error_code(error.code());
    }
    let mut topics = Vec::new();
    for (name, partitions) in wanted(session, &request) {
        let held = partitions.into_iter().filter_map(|(id, index)| partition(session, id, index));
        let held: Vec<DescribeLogDirsPartition> = held.collect();
        if !held.is_empty() {
            topics
                .push(DescribeLogDirsTopic::default().with_name(TopicName(text(name))).with_partitions(held));
        }
    }
    let directory = session.node.config.data_directory.display().to_string();
    let result = DescribeLogDirsResult::default().with_log_dir(text(directory)).with_topics(topics);
    DescribeLogDirsResponse::default().with_results(vec![result])
}

/// The partitions that are asked for and exist, by topic; nothing in particular means all.
fn wanted(session: &Session, request: &DescribeLogDirsRequest) -> BTreeMap<String, Vec<(uuid::Uuid, i32)>> {
    session.node.with_cluster(|cluster| {
        let topics = &cluster.state.topics;
        match &request.topics {
            None => topics
                .visible()
                .map(|topic| {
                    let partitions = (0..).zip(&topic.partitions).map(|(index, _)| (topic.id, index));
                    (topic.name.clone(), partitions.collect())
                })
                .collect(),
            Some(asked) => {
                let known = asked.iter().filter_map(|asked| {
                    let topic = topics.get(&asked.topic).filter(|topic| topic.is_visible())?;
                    let indexes = asked.partitions.iter().copied();
                    let partitions = indexes.filter(|index| topic.has_partition(*index));
                    Some((topic.name.clone(), partitions.map(|index| (topic.id, index)).collect()))
                });
                known.collect()
            }
        }
    })
}

/// A replica on this broker; one whose log cannot be used is left out.
fn partition(session: &Session, topic: uuid::Uuid, index: i32) -> Option<DescribeLogDirsPartition> {
    let partition = session.node.partition((topic, index))?;
    let (size, end) = partition.with_log(|log| Ok((log.size_bytes(), log.end_offset()))).ok()?;
    Some(
        DescribeLogDirsPartition::default()
            .with_partition_index(index)
            .with_partition_size(i64::try_from(size).unwrap_or(i64::MAX))
            .with_offset_lag((partition.progress().high_watermark - end).max(0)),
    )
}
