//! Reading records: batches by offset, and offsets by time.

use super::records::Records;
use super::segment::Segment;
use super::{EntryKind, Log, LogError};

impl Log {
    /// Whole batches from the one that holds `from`, all below `to`, of at most `bytes_max`; the first is
    /// given even if it is larger when `first_always`. Batches that compaction has emptied are left out where
    /// another one follows, which is all that a client needs to get on.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn read(
        &self,
        from: i64,
        to: i64,
        bytes_max: usize,
        first_always: bool,
    ) -> Result<Vec<u8>, LogError> {
        let mut bytes = Vec::new();
        let mut emptied = Vec::new();
        let first_segment = self.segments.partition_point(|segment| segment.end_offset() <= from);
        for segment in &self.segments[first_segment..] {
            let first = segment.find(from);
            let mut size = bytes.len();
            let taken = segment.slots[first..].iter().take_while(|slot| {
                let fits = slot.next_offset <= to
                    && (size + slot.payload_bytes as usize <= bytes_max || (size == 0 && first_always));
                if slot.kind == EntryKind::Batch {
                    size += slot.payload_bytes as usize;
                }
                fits
            });
            let last = first + taken.count();
            for entry in segment.read(&self.volume, first, last)? {
                if entry.kind == EntryKind::Command {
                    continue;
                }
                let place = segment.place(entry.index);
                if segment.slots[place].record_count == 0 {
                    emptied = entry.payload.to_vec();
                } else {
                    emptied.clear();
                    bytes.extend_from_slice(&entry.payload);
                }
            }
            if last < segment.slots.len() {
                break;
            }
        }
        bytes.extend_from_slice(&emptied);
        Ok(bytes)
    }

    /// The first record at or after a time, below offset `to`: its timestamp and offset. Records below the
    /// start offset do not count.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn first_at(&self, timestamp_ms: i64, to: i64) -> Result<Option<(i64, i64)>, LogError> {
        let start_offset = self.start_offset();
        for segment in &self.segments {
            if segment.start.offset >= to {
                break;
            }
            let old = segment.slots.partition_point(|slot| slot.newest_ms < timestamp_ms);
            let first = old.max(segment.find(start_offset));
            for (place, slot) in segment.slots.iter().enumerate().skip(first) {
                if segment.base_offset(place) >= to {
                    return Ok(None);
                }
                if slot.max_timestamp_ms < timestamp_ms || slot.record_count == 0 {
                    continue;
                }
                let found = self.first_in(segment, place, timestamp_ms, start_offset)?;
                if let Some(found) = found.filter(|(_, offset)| *offset < to) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn first_in(
        &self,
        segment: &Segment,
        place: usize,
        timestamp_ms: i64,
        start_offset: i64,
    ) -> Result<Option<(i64, i64)>, LogError> {
        let entries = segment.read(&self.volume, place, place + 1)?;
        let Some(entry) = entries.first() else { return Ok(None) };
        let found =
            Records::of(&entry.payload).and_then(|records| records.first_at(timestamp_ms, start_offset));
        found.map_err(|reason| LogError::Damaged { index: entry.index, reason })
    }

    /// The largest timestamp below offset `to` and the offset of the record that has it first.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn newest(&self, to: i64) -> Result<Option<(i64, i64)>, LogError> {
        let start_offset = self.start_offset();
        let newest_of = |segment: &Segment| {
            let first = segment.find(start_offset);
            let end = segment.slots.partition_point(|slot| slot.next_offset <= to).max(first);
            match first {
                // What the entries before it have counts as well.
                0 => end.checked_sub(1).map(|last| segment.slots[last].newest_ms),
                _ => segment.slots[first..end].iter().map(|slot| slot.max_timestamp_ms).max(),
            }
        };
        let newest = self.segments.iter().filter_map(newest_of).max().filter(|timestamp| *timestamp >= 0);
        newest.map_or(Ok(None), |timestamp_ms| self.first_at(timestamp_ms, to))
    }
}
