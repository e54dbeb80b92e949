//! ListOffsets: the first, the next, or the first one at a time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use tokio::time::Instant;

use super::{LEADER_WAIT_MAX, Session, fetch, partition_error};
use crate::cluster::topics::Topic;
use crate::status::Counter;

/// Timestamps with a meaning of their own (Kafka: `ListOffsetsRequest`; KIP-734, KIP-405, KIP-1005).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

pub(super) async fn answer(
    session: &Session,
    request: ListOffsetsRequest,
    _version: i16,
) -> ListOffsetsResponse {
    let mut topics = Vec::new();
    for asked in request.topics {
        let topic = session.node.with_cluster(|cluster| cluster.state.topics.get(&asked.name).cloned());
        let mut partitions = Vec::new();
        for partition in &asked.partitions {
            let answer =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            partitions.push(match find(session, topic.as_ref(), partition).await {
                Ok((timestamp, offset, epoch)) => {
                    answer.with_timestamp(timestamp).with_offset(offset).with_leader_epoch(epoch)
                }
                Err(error) => answer.with_error_code(error.code()).with_timestamp(-1).with_offset(-1),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

async fn find(
    session: &Session,
    topic: Option<&Topic>,
    asked: &ListOffsetsPartition,
) -> Result<(i64, i64, i32), ResponseError> {
    let topic = topic.ok_or(ResponseError::UnknownTopicOrPartition)?;
    if usize::try_from(asked.partition_index).map_or(true, |index| index >= topic.partitions.len()) {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let partition = session.node.partition((topic.id, asked.partition_index));
    let Some(partition) = partition.filter(|partition| partition.leads()) else {
        session.node.status.add(Counter::NotLeader, 1);
        return Err(ResponseError::NotLeaderOrFollower);
    };
    fetch::check_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    let failed = |error| partition_error(session, &error);
    partition.wait_leading(Instant::now() + LEADER_WAIT_MAX).await.map_err(failed)?;
    let high_watermark = partition.progress().high_watermark;
    let none = (-1, -1);
    let (timestamp, offset) = match asked.timestamp {
        LATEST => (-1, high_watermark),
        EARLIEST | EARLIEST_LOCAL => (-1, partition.start_offset()),
        LATEST_TIERED => none,
        MAX_TIMESTAMP => {
            let found = partition.with_log(|log| log.newest(high_watermark)).map_err(failed)?;
            found.unwrap_or(none)
        }
        timestamp if timestamp < 0 => return Err(ResponseError::InvalidRequest),
        timestamp => {
            let found = partition.with_log(|log| log.first_at(timestamp, high_watermark)).map_err(failed)?;
            found.unwrap_or(none)
        }
    };
    Ok((timestamp, offset, partition.leader_epoch()))
}
