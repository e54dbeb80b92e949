//! Reading one partition for a Fetch.
//!
//! Source: redpanda.md 4.3; KIP-320 (epochs), KIP-392 (followers), KIP-98 (committed records only).

use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::nearby;
use super::sessions::{Answered, Asked};
use crate::cluster::topics::Topic;
use crate::kafka::{Session, leaders, partition_error, replica};
use crate::producers::Aborted;
use crate::replication::partition::{Partition, Progress};
use crate::status::Counter;

/// A partition that is asked for, found or not.
pub(super) struct Wanted {
    pub asked: Asked,
    pub topic: Option<Arc<Topic>>,
    pub partition: Result<Arc<Partition>, ResponseError>,
}

/// How a request reads.
pub(super) struct Manner<'a> {
    pub session: &'a Session,
    /// Nothing of a transaction that has not been committed.
    pub committed_only: bool,
    /// The client's rack, if it may read from followers.
    pub rack: Option<&'a str>,
}

/// What reading a partition came to.
pub(super) enum Outcome {
    Records {
        progress: Progress,
        start_offset: i64,
        records: Bytes,
        aborted: Option<Vec<Aborted>>,
    },
    /// Read from this broker instead.
    Nearer {
        progress: Progress,
        start_offset: i64,
        broker: i32,
    },
    /// The reader's last epoch ended elsewhere.
    Diverging {
        progress: Progress,
        start_offset: i64,
        epoch: i32,
        end_offset: i64,
    },
    Failed {
        error: ResponseError,
        /// The leader and its epoch, where the error is that it is elsewhere.
        leader: Option<(i32, i32)>,
    },
}

impl Outcome {
    pub fn bytes(&self) -> usize {
        match self {
            Outcome::Records { records, .. } => records.len(),
            _ => 0,
        }
    }

    /// Whether the client must be told at once.
    pub fn is_urgent(&self) -> bool {
        !matches!(self, Outcome::Records { .. })
    }

    pub fn answered(&self) -> Answered {
        match self {
            Outcome::Records { progress, start_offset, records, .. } => Answered {
                high_watermark: progress.high_watermark,
                start_offset: *start_offset,
                must_tell: !records.is_empty(),
                error: false,
            },
            Outcome::Nearer { progress, start_offset, .. }
            | Outcome::Diverging { progress, start_offset, .. } => Answered {
                high_watermark: progress.high_watermark,
                start_offset: *start_offset,
                must_tell: true,
                error: false,
            },
            Outcome::Failed { .. } => {
                Answered { high_watermark: -1, start_offset: -1, must_tell: true, error: true }
            }
        }
    }
}

/// What a client believes of the leader's epoch (KIP-320); -1 if it believes nothing.
///
/// # Errors
/// The client, or this broker, is behind.
pub(in crate::kafka) fn check_epoch(epoch: i32, current: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 => Ok(()),
        epoch if epoch == current => Ok(()),
        older if older < current => Err(ResponseError::FencedLeaderEpoch),
        _ => Err(ResponseError::UnknownLeaderEpoch),
    }
}

/// Reads a partition; the first batch is given even beyond `bytes_left` when `first`.
pub(super) fn read(manner: &Manner, wanted: &Wanted, bytes_left: usize, first: bool) -> Outcome {
    let result = wanted
        .partition
        .as_ref()
        .map_err(|error| *error)
        .and_then(|partition| read_replica(manner, partition, &wanted.asked, bytes_left, first));
    result.unwrap_or_else(|error| failed(manner.session, wanted, error))
}

fn failed(session: &Session, wanted: &Wanted, error: ResponseError) -> Outcome {
    let elsewhere = matches!(
        error,
        ResponseError::NotLeaderOrFollower
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch
    );
    if error == ResponseError::NotLeaderOrFollower {
        session.node.status.add(Counter::NotLeader, 1);
    }
    let topic = wanted.topic.as_ref().filter(|_| elsewhere);
    let leader = topic.and_then(|topic| leaders::leader(session, topic, wanted.asked.partition));
    Outcome::Failed { error, leader }
}

fn read_replica(
    manner: &Manner,
    partition: &Partition,
    asked: &Asked,
    bytes_left: usize,
    first: bool,
) -> Result<Outcome, ResponseError> {
    let storage = |error| partition_error(manner.session, &error);
    let leads = partition.leads();
    let bugs = manner.session.node.bugs;
    if !leads && manner.rack.is_none() && !bugs.serve_without_leading {
        return Err(ResponseError::NotLeaderOrFollower);
    }
    check_epoch(asked.current_leader_epoch, partition.leader_epoch())?;
    let progress = partition.progress();
    if leads && !progress.leading {
        // The log may be unusable; then that is the reason.
        partition.with_log(|_| Ok(())).map_err(storage)?;
        return Err(ResponseError::LeaderNotAvailable);
    }
    let readable = readable(manner, &progress);
    let bytes_max = usize::try_from(asked.bytes_max).unwrap_or(0).min(bytes_left);
    let offset = asked.fetch_offset;
    let (start_offset, records) = partition
        .with_log(|log| {
            let start_offset = log.start_offset();
            let there = (start_offset..readable).contains(&offset) && (bytes_max > 0 || first);
            let records = if there { log.read(offset, readable, bytes_max, first)? } else { Vec::new() };
            Ok((start_offset, records))
        })
        .map_err(storage)?;
    if asked.last_fetched_epoch >= 0
        && let Some((epoch, end_offset)) =
            replica::end_of_epoch(partition, asked.last_fetched_epoch).map_err(storage)?
        && (epoch < asked.last_fetched_epoch || end_offset < offset)
    {
        return Ok(Outcome::Diverging { progress, start_offset, epoch, end_offset });
    }
    if offset < start_offset || offset > progress.end {
        return Err(ResponseError::OffsetOutOfRange);
    }
    if !leads && offset > progress.high_watermark {
        // The follower has not heard yet that these records are committed (KIP-392).
        return Err(ResponseError::OffsetNotAvailable);
    }
    if leads && let Some(broker) = nearer(manner, partition) {
        return Ok(Outcome::Nearer { progress, start_offset, broker });
    }
    let aborted = match manner.committed_only {
        true if records.is_empty() || bugs.hide_aborts => Some(Vec::new()),
        true => Some(replica::aborted(partition, offset, readable).map_err(storage)?),
        false => None,
    };
    Ok(Outcome::Records { progress, start_offset, records: Bytes::from(records), aborted })
}

/// The offset below which the client may read.
fn readable(manner: &Manner, progress: &Progress) -> i64 {
    if manner.session.node.bugs.read_beyond_high_watermark {
        return progress.end;
    }
    if manner.committed_only { progress.last_stable_offset } else { progress.high_watermark }
}

/// A random alive replica in the client's rack.
fn nearer(manner: &Manner, partition: &Partition) -> Option<i32> {
    let (node, now) = (&manner.session.node, tokio::time::Instant::now());
    let rack = manner.rack?;
    let replicas = partition.replicas();
    let near =
        node.with_cluster(|cluster| nearby::candidates(&cluster.members, node.id(), &replicas, rack, now));
    match near[..] {
        [] => None,
        [only] => Some(only),
        _ => Some(near[(node.new_uuid().as_u128() % near.len() as u128) as usize]),
    }
}
