//! ListOffsets: the first, the next, or the first one at a time.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::authorization::Operation;
use super::{Session, lookup, partition_error};
use crate::cluster::topics::Topic;

/// Timestamps with a meaning of their own (Kafka: `ListOffsetsRequest`; KIP-734, KIP-405, KIP-1005).
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
/// First version whose answers have the leader's epoch (KIP-320).
const LEADER_EPOCH: i16 = 4;
/// Isolation level of a reader of committed records.
const READ_COMMITTED: i8 = 1;

/// A time, an offset and the epoch of the leader.
struct Found {
    timestamp_ms: i64,
    offset: i64,
    epoch: i32,
}

pub(super) async fn answer(
    session: &Session,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let committed_only = request.isolation_level == READ_COMMITTED;
    let mut topics = Vec::new();
    for asked in request.topics {
        let topic = session
            .node
            .with_cluster(|cluster| lookup::topic(session, &cluster.state, &asked.name, Operation::Describe));
        let mut partitions = Vec::new();
        for partition in &asked.partitions {
            let answer =
                ListOffsetsPartitionResponse::default().with_partition_index(partition.partition_index);
            partitions.push(match find(session, topic.clone(), partition, committed_only, version).await {
                Ok(found) => {
                    let answer = answer.with_timestamp(found.timestamp_ms).with_offset(found.offset);
                    if version >= LEADER_EPOCH { answer.with_leader_epoch(found.epoch) } else { answer }
                }
                Err(error) => answer.with_error_code(error.code()).with_timestamp(-1).with_offset(-1),
            });
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

/// The first version that has a timestamp with a meaning of its own; `None` for one that means nothing.
fn first_version(timestamp: i64) -> Option<i16> {
    match timestamp {
        LATEST | EARLIEST | 0.. => Some(1),
        MAX_TIMESTAMP => Some(7),
        EARLIEST_LOCAL => Some(8),
        LATEST_TIERED => Some(9),
        _ => None,
    }
}

async fn find(
    session: &Session,
    topic: Result<Arc<Topic>, ResponseError>,
    asked: &ListOffsetsPartition,
    committed_only: bool,
    version: i16,
) -> Result<Found, ResponseError> {
    if first_version(asked.timestamp).is_none_or(|first| first > version) {
        return Err(ResponseError::UnsupportedVersion);
    }
    let partition =
        lookup::leader(session, &*topic?, asked.partition_index, asked.current_leader_epoch).await?;
    let progress = partition.progress();
    let end = if committed_only { progress.last_stable_offset } else { progress.high_watermark };
    let failed = |error| partition_error(session, &error);
    let found = match asked.timestamp {
        LATEST => Some((-1, end)),
        EARLIEST | EARLIEST_LOCAL => Some((-1, partition.start_offset())),
        // Nothing is kept elsewhere.
        LATEST_TIERED => None,
        MAX_TIMESTAMP => partition.with_log(|log| log.newest(end)).map_err(failed)?,
        timestamp => partition.with_log(|log| log.first_at(timestamp, end)).map_err(failed)?,
    };
    Ok(match found {
        Some((timestamp_ms, offset)) => Found { timestamp_ms, offset, epoch: partition.leader_epoch() },
        None => Found { timestamp_ms: -1, offset: -1, epoch: -1 },
    })
}
