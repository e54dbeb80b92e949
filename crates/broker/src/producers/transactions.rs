//! The transactions of a partition: which are open, how they ended, and what a reader of committed records may
//! see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::log::records;

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aborted {
    pub producer_id: i64,
    /// The offset of its first record.
    pub first_offset: i64,
    /// The offset of its marker.
    pub last_offset: i64,
}

/// Where a producer's newest marker lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastEnd(i64);

impl Default for LastEnd {
    /// There is none.
    fn default() -> Self {
        LastEnd(-1)
    }
}

impl LastEnd {
    pub fn at(offset: i64) -> LastEnd {
        LastEnd(offset)
    }
}

/// What the writer of a batch knows of the producer's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: the batch goes on with a transaction, or belongs to none.
    Plain,
    /// The coordinator has said that the partition belongs to the open transaction. It was asked while this was the
    /// producer's newest marker, so that its word does not count once the transaction has ended.
    Begins(LastEnd),
    /// The batch is a marker whose epoch was raised for it.
    RaisedMarker,
}

/// What a marker (a control batch) says (KIP-98: `EndTxnMarker`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub committed: bool,
    pub coordinator_epoch: i32,
}

/// Open and ended transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transactions {
    /// First offset of each producer's open transaction.
    open: BTreeMap<i64, i64>,
    /// Ended ones whose marker may lie above the high watermark: first and marker offset, by the latter.
    ended: Vec<(i64, i64)>,
    /// By marker offset.
    aborted: Vec<Aborted>,
}

impl Marker {
    /// Reads a control batch; `None` if it is of another kind (KIP-98: control record types 0 and 1).
    pub fn read(batch: &[u8]) -> Option<Marker> {
        let (key, value) = records::first_record(batch)?;
        let kind = i16::from_be_bytes(key.get(2..4)?.try_into().ok()?);
        let coordinator_epoch = i32::from_be_bytes(value.get(2..6)?.try_into().ok()?);
        match kind {
            0 => Some(Marker { committed: false, coordinator_epoch }),
            1 => Some(Marker { committed: true, coordinator_epoch }),
            _ => None,
        }
    }
}

impl Transactions {
    /// A transactional batch begins a transaction unless it goes on with one.
    pub fn begin(&mut self, producer_id: i64, base_offset: i64) {
        self.open.entry(producer_id).or_insert(base_offset);
    }

    /// A marker ends the producer's transaction; without an open one it means nothing.
    pub fn end(&mut self, producer_id: i64, last_offset: i64, committed: bool) {
        let Some(first_offset) = self.open.remove(&producer_id) else { return };
        self.ended.push((first_offset, last_offset));
        if !committed {
            self.aborted.push(Aborted { producer_id, first_offset, last_offset });
        }
    }

    pub fn first_offset(&self, producer_id: i64) -> Option<i64> {
        self.open.get(&producer_id).copied()
    }

    pub fn last_stable_offset(&self, high_watermark: i64) -> i64 {
        let ended = self.ended.iter().filter(|(_, last)| *last >= high_watermark).map(|(first, _)| *first);
        self.open.values().copied().chain(ended).fold(high_watermark, i64::min)
    }

    pub fn aborted(&self, from: i64, to: i64) -> Vec<Aborted> {
        let first = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        self.aborted[first..].iter().filter(|aborted| aborted.first_offset < to).copied().collect()
    }

    pub fn committed(&mut self, high_watermark: i64) {
        let done = self.ended.partition_point(|(_, last)| *last < high_watermark);
        self.ended.drain(..done);
    }

    pub fn start_at(&mut self, start_offset: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start_offset);
        self.aborted.drain(..gone);
    }
}
