//! Fetch: batches below the high watermark, waiting for them if there are not enough.
//!
//! Sessions are not kept: an answer carries session id 0, which tells the client to send whole requests
//! (KIP-227). A follower is never named as a better replica to read from.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::select_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::{FetchRequest, FetchResponse};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Session, partition_error};
use crate::replication::partition::{Partition, Progress};
use crate::status::Counter;

/// A partition that is asked for, found or not.
struct Wanted<'a> {
    asked: &'a FetchPartition,
    partition: Result<Arc<Partition>, ResponseError>,
}

/// What one look at the partitions gave.
struct Look {
    topics: Vec<Vec<PartitionData>>,
    bytes: usize,
    failed: bool,
}

pub(super) async fn answer(session: &Session, request: FetchRequest, version: i16) -> FetchResponse {
    if request.session_id != 0 {
        return FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code());
    }
    let deadline = Instant::now() + Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or(0);
    let wanted: Vec<Vec<Wanted>> = find(session, &request, version);
    wait_for_leaders(&wanted, deadline).await;
    let look = loop {
        let mut changes: Vec<watch::Receiver<Progress>> = Vec::new();
        for partition in wanted.iter().flatten().filter_map(|wanted| wanted.partition.as_ref().ok()) {
            changes.push(partition.watch());
        }
        let look = look(session, &request, &wanted);
        if look.bytes >= min_bytes || look.failed || changes.is_empty() {
            break look;
        }
        let changed = select_all(changes.iter_mut().map(|change| change.changed().boxed()));
        if timeout_at(deadline, changed).await.is_err() {
            break look;
        }
    };
    session.node.status.add(Counter::BytesFetched, look.bytes as u64);
    let topics = request.topics.iter().zip(look.topics).map(|(topic, partitions)| {
        FetchableTopicResponse::default()
            .with_topic(topic.topic.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions)
    });
    FetchResponse::default().with_responses(topics.collect())
}

fn find<'a>(session: &Session, request: &'a FetchRequest, version: i16) -> Vec<Vec<Wanted<'a>>> {
    let find_topic = |topic: &'a kafka_protocol::messages::fetch_request::FetchTopic| {
        let known = session.node.with_cluster(|cluster| match version {
            13.. => cluster.state.topics.by_id(topic.topic_id).cloned(),
            _ => cluster.state.topics.get(&topic.topic).cloned(),
        });
        let unknown = match version {
            13.. => ResponseError::UnknownTopicId,
            _ => ResponseError::UnknownTopicOrPartition,
        };
        let find_partition = |asked: &'a FetchPartition| {
            let known = known.as_ref().ok_or(unknown);
            let partition = known.and_then(|topic| {
                let index = usize::try_from(asked.partition).unwrap_or(usize::MAX);
                if index >= topic.partitions.len() {
                    return Err(ResponseError::UnknownTopicOrPartition);
                }
                session
                    .node
                    .partition((topic.id, asked.partition))
                    .filter(|partition| partition.leads())
                    .ok_or_else(|| {
                        session.node.status.add(Counter::NotLeader, 1);
                        ResponseError::NotLeaderOrFollower
                    })
            });
            Wanted { asked, partition }
        };
        topic.partitions.iter().map(find_partition).collect()
    };
    request.topics.iter().map(find_topic).collect()
}

/// A leader that has just started may not have heard its followers yet.
async fn wait_for_leaders(wanted: &[Vec<Wanted<'_>>], deadline: Instant) {
    for wanted in wanted.iter().flatten() {
        if let Ok(partition) = &wanted.partition {
            // What it comes to is seen when the partition is read.
            let _ = partition.wait_leading(deadline).await;
        }
    }
}

fn look(session: &Session, request: &FetchRequest, wanted: &[Vec<Wanted>]) -> Look {
    let limit = session.node.config.cluster.fetch_max_bytes as usize;
    let limit = usize::try_from(request.max_bytes).unwrap_or(0).min(limit);
    let mut look = Look { topics: Vec::new(), bytes: 0, failed: false };
    for wanted in wanted {
        let mut partitions = Vec::new();
        for wanted in wanted {
            let data = PartitionData::default().with_partition_index(wanted.asked.partition);
            let result = wanted.partition.as_ref().map_err(|error| *error).and_then(|partition| {
                read(session, partition, wanted.asked, limit.saturating_sub(look.bytes), look.bytes == 0)
            });
            partitions.push(match result {
                Ok((progress, start_offset, records)) => {
                    look.bytes += records.len();
                    data.with_high_watermark(progress.high_watermark)
                        .with_last_stable_offset(progress.last_stable_offset)
                        .with_log_start_offset(start_offset)
                        .with_aborted_transactions((request.isolation_level == 1).then(Vec::new))
                        .with_records(Some(records))
                }
                Err(error) => {
                    look.failed = true;
                    data.with_error_code(error.code())
                        .with_high_watermark(-1)
                        .with_last_stable_offset(-1)
                        .with_log_start_offset(-1)
                        .with_records(Some(Bytes::new()))
                }
            });
        }
        look.topics.push(partitions);
    }
    look
}

fn read(
    session: &Session,
    partition: &Partition,
    asked: &FetchPartition,
    bytes_left: usize,
    first: bool,
) -> Result<(Progress, i64, Bytes), ResponseError> {
    check_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    let start_offset = partition.start_offset();
    let progress = partition.progress();
    if !progress.leading {
        // The log may be unusable; then that is the reason.
        partition.with_log(|_| Ok(())).map_err(|error| partition_error(session, &error))?;
        return Err(ResponseError::LeaderNotAvailable);
    }
    if asked.fetch_offset < start_offset || asked.fetch_offset > progress.end {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let bytes_max = usize::try_from(asked.partition_max_bytes).unwrap_or(0).min(bytes_left);
    let read =
        partition.with_log(|log| log.read(asked.fetch_offset, progress.high_watermark, bytes_max, first));
    let records = read.map_err(|error| partition_error(session, &error))?;
    Ok((progress, start_offset, Bytes::from(records)))
}

/// What a client believes of the leader's epoch (KIP-320); -1 if it believes nothing.
pub(super) fn check_epoch(epoch: i32, current: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 => Ok(()),
        same if same == current => Ok(()),
        older if older < current => Err(ResponseError::FencedLeaderEpoch),
        _ => Err(ResponseError::UnknownLeaderEpoch),
    }
}
