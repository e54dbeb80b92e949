//! Compaction: of the records with the same key only the newest stays.
//!
//! Entries keep their indexes and batches their offsets; records are taken out of batches, and a batch may be
//! left without any. Closed segments that are committed and below the last stable offset are compacted: the keys
//! of the segments that are new since the last time are mapped to their newest offsets, then every segment from
//! the log's start on is rewritten without what the map says is older. A segment is replaced as a whole, so that
//! a crash leaves the old one or the new one.
//!
//! As Kafka's `LogCleaner` does: records without a key go, records of aborted transactions go (and do not count
//! as newest), markers stay, and a producer's last batch stays, at least as an empty one, which here holds for
//! every batch. A tombstone goes once `delete.retention.ms` have passed since its segment was first compacted
//! (Kafka notes that time in the batch, KIP-534; here it is in the segment's index file, and a lost one lets
//! the time begin again). Left out: `min.compaction.lag.ms`, `max.compaction.lag.ms`, merging of small segments.

use std::collections::BTreeMap;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::records::{Record, Records};
use super::segment::Segment;
use super::{Entry, EntryKind, Log, LogError, index_file};
use crate::log::batch::BatchHeader;

/// What the map of keys may have, bytes of keys and of their places; Kafka: `log.cleaner.dedupe.buffer.size` is
/// 128 MiB for all partitions together. What does not fit is left to the next time.
const KEY_BYTES_MAX: usize = 64 << 20;
/// Bytes that a key costs beside its own.
const KEY_OVERHEAD_BYTES: usize = 64;
/// Bytes that are read at once.
const READ_BYTES: u64 = 1 << 20;

/// The newest offset of each key. Looked up, never iterated.
#[derive(Default)]
struct Keys {
    newest: FxHashMap<Bytes, i64>,
    bytes: usize,
}

/// Aborted transactions: the offset of the marker by producer and first offset.
struct AbortedRanges(BTreeMap<(i64, i64), i64>);

impl AbortedRanges {
    fn contain(&self, batch: &BatchHeader) -> bool {
        let up_to = (batch.producer_id, batch.base_offset);
        batch.transactional()
            && self
                .0
                .range((batch.producer_id, i64::MIN)..=up_to)
                .next_back()
                .is_some_and(|(_, end)| *end > batch.base_offset)
    }
}

impl Log {
    /// Compacts what can be, if there is enough of it (`min.cleanable.dirty.ratio`) or if tombstones are due;
    /// tells whether it did.
    ///
    /// # Errors
    /// `Io`, `Damaged`; then segments that were not reached are as before.
    pub fn compact(&mut self, now_ms: i64, committed: u64) -> Result<bool, LogError> {
        if !self.config.compacts {
            return Ok(false);
        }
        self.roll_if_old(now_ms)?;
        let stable = self.producers.last_stable_offset(self.offset_after(committed));
        let closed = &self.segments[..self.segments.len() - 1];
        let can_be =
            |segment: &&Segment| segment.end_index() - 1 <= committed && segment.end_offset() <= stable;
        let end = closed.iter().take_while(can_be).count();
        if !self.is_worth_it(end, now_ms) {
            return Ok(false);
        }
        let aborted = self.producers.aborted(self.start().offset, stable);
        let aborted = AbortedRanges(
            aborted.iter().map(|one| ((one.producer_id, one.first_offset), one.last_offset)).collect(),
        );
        let mut keys = Keys::default();
        let mut mapped = self.first_dirty(end);
        while mapped < end && (keys.bytes < KEY_BYTES_MAX) {
            self.map_keys(mapped, &aborted, &mut keys)?;
            mapped += 1;
        }
        for place in 0..mapped {
            self.rewrite(place, &aborted, &keys, now_ms)?;
        }
        Ok(mapped > 0)
    }

    fn first_dirty(&self, end: usize) -> usize {
        self.segments[..end].iter().take_while(|segment| segment.compacted_ms.is_some()).count()
    }

    fn is_worth_it(&self, end: usize, now_ms: i64) -> bool {
        let bytes = |segments: &[Segment]| segments.iter().map(|segment| segment.length).sum::<u64>();
        let (dirty, all) = (bytes(&self.segments[self.first_dirty(end)..end]), bytes(&self.segments[..end]));
        let due = |segment: &Segment| segment.tombstones && self.tombstones_are_due(segment, now_ms);
        (dirty > 0 && dirty as f64 >= self.config.min_cleanable_dirty_ratio * all as f64)
            || self.segments[..end].iter().any(due)
    }

    fn tombstones_are_due(&self, segment: &Segment, now_ms: i64) -> bool {
        segment
            .compacted_ms
            .is_some_and(|then| now_ms.saturating_sub(then) >= self.config.delete_retention_ms)
    }

    /// Notes the newest offset of each key in a segment.
    fn map_keys(&self, place: usize, aborted: &AbortedRanges, keys: &mut Keys) -> Result<(), LogError> {
        self.for_each_entry(place, |entry| {
            let Some(records) = data(entry).filter(|(header, _)| !aborted.contain(header)) else { return };
            for record in records.1.iter().map_while(Result::ok) {
                if let Some(key) = record.key {
                    keys.note(key, record.offset);
                }
            }
        })
    }

    /// Replaces a segment by one without the records that are superseded.
    fn rewrite(
        &mut self,
        place: usize,
        aborted: &AbortedRanges,
        keys: &Keys,
        now_ms: i64,
    ) -> Result<(), LogError> {
        let tombstones_go = self.tombstones_are_due(&self.segments[place], now_ms);
        let (mut entries, mut changed, mut tombstones) = (Vec::new(), false, false);
        let wanted = |record: &Record| {
            let newest = record.key.and_then(|key| keys.newest.get(key));
            record.key.is_some()
                && newest.is_none_or(|newest| *newest <= record.offset)
                && !(tombstones_go && record.value.is_none())
        };
        self.for_each_entry(place, |entry| {
            let mut entry = entry.clone();
            let kept = data(&entry).and_then(|(header, records)| {
                let counts = !aborted.contain(&header);
                records.keep(&entry.payload, |record| counts && wanted(record)).ok()
            });
            if let Some(kept) = kept {
                tombstones |= kept.tombstones;
                if let Some(batch) = kept.batch {
                    entry.payload = Bytes::from(batch);
                    changed = true;
                }
            }
            entries.push(entry);
        })?;
        let segment = &mut self.segments[place];
        if changed {
            index_file::remove_index(&self.volume, &segment.path)?;
            segment.replace(&self.volume, &entries)?;
        }
        segment.compacted_ms.get_or_insert(now_ms);
        segment.tombstones = tombstones;
        index_file::save(&self.volume, segment);
        Ok(())
    }

    fn for_each_entry(&self, place: usize, mut work: impl FnMut(&Entry)) -> Result<(), LogError> {
        let segment = &self.segments[place];
        let mut from = 0;
        while from < segment.slots.len() {
            let mut bytes = 0;
            let run = segment.slots[from..].iter().take_while(|slot| {
                let fits = bytes < READ_BYTES;
                bytes += slot.size();
                fits
            });
            let to = from + run.count();
            segment.read(&self.volume, from, to)?.iter().for_each(&mut work);
            from = to;
        }
        Ok(())
    }
}

impl Keys {
    fn note(&mut self, key: &[u8], offset: i64) {
        match self.newest.get_mut(key) {
            Some(newest) => *newest = offset.max(*newest),
            None => {
                self.newest.insert(Bytes::copy_from_slice(key), offset);
                self.bytes += key.len() + KEY_OVERHEAD_BYTES;
            }
        }
    }
}

/// The records of a client's batch. One whose records cannot be read is left as it is, for whoever reads it.
fn data(entry: &Entry) -> Option<(BatchHeader, Records<'_>)> {
    if entry.kind == EntryKind::Command {
        return None;
    }
    let header = BatchHeader::read(&entry.payload).ok()?;
    if header.control() || header.record_count == 0 {
        return None;
    }
    match Records::of(&entry.payload) {
        Ok(records) => Some((header, records)),
        Err(error) => {
            tracing::debug!(index = entry.index, error, "a batch is not compacted");
            None
        }
    }
}
