//! DeleteRecords: a partition begins later (KIP-107).
//!
//! The leader moves its start offset durably, and then tells the other replicas, so that the records stay gone
//! when another one leads; a replica that cannot be reached keeps them until its own retention removes them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::time::{Instant, timeout_at};

use super::authorization::Operation;
use super::{Session, lookup, partition_error};
use crate::cluster::topics::Topic;
use crate::node::{Node, PartitionKey};
use crate::replication::partition::{Partition, PartitionError};
use crate::rpc::{Refusal, Reply, Request};
use crate::topic_properties;

/// Asks for everything that is committed.
const HIGH_WATERMARK: i64 = -1;
/// How long another replica may take to hear that the records are committed.
const REPLICA_PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn answer(
    session: &Session,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut topics = Vec::new();
    for asked in request.topics {
        let topic = session.node.with_cluster(|cluster| {
            let topic = lookup::topic(session, &cluster.state, &asked.name, Operation::Delete)?;
            let policy =
                topic_properties::effective(&cluster.state.properties, &topic.configs, "cleanup.policy");
            // What is only compacted is not to be cut (Kafka: `ReplicaManager.deleteRecords`).
            match policy.is_some_and(|policy| policy.contains("delete")) {
                true => Ok(topic),
                false => Err(ResponseError::PolicyViolation),
            }
        });
        let partitions = asked.partitions.iter().map(|partition| {
            let topic = topic.clone();
            async move {
                let answer =
                    DeleteRecordsPartitionResult::default().with_partition_index(partition.partition_index);
                let index = partition.partition_index;
                match delete(session, topic, index, partition.offset, deadline).await {
                    Ok(low_watermark) => answer.with_low_watermark(low_watermark),
                    Err(error) => answer.with_error_code(error.code()).with_low_watermark(-1),
                }
            }
        });
        let partitions = join_all(partitions).await;
        topics.push(DeleteRecordsTopicResult::default().with_name(asked.name).with_partitions(partitions));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// Removes the records before an offset; the first offset that is kept.
async fn delete(
    session: &Session,
    topic: Result<Arc<Topic>, ResponseError>,
    index: i32,
    offset: i64,
    deadline: Instant,
) -> Result<i64, ResponseError> {
    let topic = topic?;
    let partition = lookup::leader(session, &topic, index, -1).await?;
    let high_watermark = partition.progress().high_watermark;
    let offset = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if !(0..=high_watermark).contains(&offset) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let start = remove_before(&partition, offset).map_err(|error| partition_error(session, &error))?;
    tell_others(&session.node, (topic.id, index), &partition.replicas(), start, deadline).await;
    Ok(start)
}

/// Moves a replica's start offset up to `offset`, as far as it knows that to be committed.
fn remove_before(partition: &Partition, offset: i64) -> Result<i64, PartitionError> {
    let high_watermark = partition.progress().high_watermark;
    partition.with_log(|log| {
        let before = log.first_index().saturating_sub(1);
        let committed = log.index_of(high_watermark - 1).unwrap_or(before);
        log.remove_before(offset.min(high_watermark), committed)?;
        Ok(log.start_offset())
    })
}

async fn tell_others(node: &Arc<Node>, key: PartitionKey, replicas: &[i32], offset: i64, deadline: Instant) {
    let others = node.with_cluster(|cluster| {
        let ids = replicas.iter().filter(|id| **id != node.id());
        ids.filter_map(|id| cluster.members.get(*id).cloned()).collect::<Vec<_>>()
    });
    let patience = deadline.saturating_duration_since(Instant::now()).min(2 * REPLICA_PATIENCE);
    join_all(others.iter().map(|member| async move {
        let request = Request::RemoveRecords { key, offset };
        if let Err(error) = node.call(member, request, &[], patience).await {
            tracing::warn!(broker = member.id, %error, "a replica keeps records that were deleted");
        }
    }))
    .await;
}

/// The leader has removed records; so does this replica, once it knows that they are committed.
///
/// # Errors
/// There is no such replica here, it does not hear of the commit, or its volume fails.
pub(crate) async fn remove_at_replica(node: &Node, key: PartitionKey, offset: i64) -> Result<Reply, Refusal> {
    let partition = node.partition(key).ok_or(Refusal::UnknownPartition)?;
    let mut progress = partition.watch();
    let committed = progress.wait_for(|progress| progress.high_watermark >= offset);
    let waited =
        timeout_at(Instant::now() + REPLICA_PATIENCE, committed).await.is_ok_and(|waited| waited.is_ok());
    if !waited {
        return Err(Refusal::TimedOut);
    }
    remove_before(&partition, offset).map_err(|error| Refusal::Storage(error.to_string()))?;
    Ok(Reply::Done)
}
