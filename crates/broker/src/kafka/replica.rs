//! What requests ask of a replica's log beyond reading batches: where epochs end, and which transactions were
//! aborted.

use crate::producers::Aborted;
use crate::replication::partition::{Partition, PartitionError};

/// The largest epoch that is at most `epoch` and has records here, and the offset where it ends (KIP-101,
/// KIP-320); `None` if the log starts in a later one.
pub(super) fn end_of_epoch(partition: &Partition, epoch: i32) -> Result<Option<(i32, i64)>, PartitionError> {
    let Ok(epoch) = u64::try_from(epoch) else { return Ok(None) };
    let found = partition.with_log(|log| Ok(log.end_of_epoch(epoch)))?;
    Ok(found.map(|(epoch, end)| (i32::try_from(epoch).unwrap_or(i32::MAX), end)))
}

/// The aborted transactions that have records at `from..to`.
pub(super) fn aborted(partition: &Partition, from: i64, to: i64) -> Result<Vec<Aborted>, PartitionError> {
    partition.with_log(|log| Ok(log.producers().aborted(from, to)))
}
