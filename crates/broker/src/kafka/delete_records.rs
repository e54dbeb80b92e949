//! DeleteRecords: a partition begins later (KIP-107).
//!
//! The new start offset is a command of the partition's log, so that the records stay gone whoever leads next
//! ([`Partition::remove_before`](crate::replication::partition::Partition::remove_before)).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use tokio::time::Instant;

use super::authorization::Operation;
use super::{Session, lookup, partition_error};
use crate::cluster::topics::Topic;
use crate::topic_properties;

/// Asks for everything that is committed.
const HIGH_WATERMARK: i64 = -1;

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
    let removed = partition.remove_before(offset, deadline).await;
    removed.map_err(|error| partition_error(session, &error))
}
