//! OffsetForLeaderEpoch: where an epoch ended, so that a client notices that records were lost (KIP-320).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::authorization::Operation;
use super::{Session, lookup, partition_error, replica};
use crate::cluster::topics::Topic;

pub(super) async fn answer(
    session: &Session,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::new();
    for asked in request.topics {
        let topic = session.node.with_cluster(|cluster| {
            lookup::topic(session, &cluster.state, &asked.topic, Operation::Describe)
        });
        let mut partitions = Vec::new();
        for partition in &asked.partitions {
            let answer = EpochEndOffset::default().with_partition(partition.partition);
            partitions.push(match find(session, topic.clone(), partition).await {
                Ok((epoch, end_offset)) => answer.with_leader_epoch(epoch).with_end_offset(end_offset),
                Err(error) => answer.with_error_code(error.code()),
            });
        }
        topics
            .push(OffsetForLeaderTopicResult::default().with_topic(asked.topic).with_partitions(partitions));
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

/// The epoch that was found and its end; -1 and -1 if the log knows none so old.
async fn find(
    session: &Session,
    topic: Result<Arc<Topic>, ResponseError>,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ResponseError> {
    let partition = lookup::leader(session, &*topic?, asked.partition, asked.current_leader_epoch).await?;
    let found = replica::end_of_epoch(&partition, asked.leader_epoch);
    let (epoch, end) = found.map_err(|error| partition_error(session, &error))?.unwrap_or((-1, -1));
    // What is not committed may yet go: the end of the newest epoch is the high watermark.
    Ok((epoch, end.min(partition.progress().high_watermark)))
}
