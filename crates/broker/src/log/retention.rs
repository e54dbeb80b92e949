//! Removing the log's beginning: on a client's demand, by age, by size, and after a snapshot.
//!
//! The start offset moves at once, to any offset; entries go with whole segments, and only those that are
//! committed. The last segment always stays, if need be an empty one. A segment's age is that of its last append
//! by the broker's clock, as in Redpanda (`broker_timestamp` of a segment's index), so that records with times of
//! their clients' own are neither removed early nor kept for ever; it is as exact as the log is looked at often.
//! By size a segment goes while the log without it is still large enough (Kafka: `UnifiedLog.deleteOldSegments`).
//! KIP-107: DeleteRecords.

use super::hard_state::State;
use super::{Log, LogError, index_file};

impl Log {
    /// Moves the start offset up to `offset` (not beyond what entry `committed` ends), durably, and removes the
    /// segments that lie wholly below.
    ///
    /// # Errors
    /// `Io`; then the start offset may have moved, and the removal goes on with the next call.
    pub fn remove_before(&mut self, offset: i64, committed: u64) -> Result<(), LogError> {
        let offset = offset.min(self.offset_after(committed));
        if offset > self.start_offset() {
            let state = self.state.state();
            self.state.save(&self.volume, State { start_offset: offset, ..state })?;
            self.producers.start_at(offset);
        }
        self.remove_below_start(committed)
    }

    /// Removes the segments whose entries are all at or below `index`, after a snapshot that replaces them was
    /// taken elsewhere.
    ///
    /// # Errors
    /// As [`Log::remove_before`].
    pub fn remove_through(&mut self, index: u64) -> Result<(), LogError> {
        let closed = &self.segments[..self.segments.len() - 1];
        let count = closed.iter().take_while(|segment| segment.end_index() - 1 <= index).count();
        self.remove_segments(count)
    }

    /// Applies the topic's retention at a time, to what is committed, and forgets silent producers; tells
    /// whether the start offset has moved. Entries that were not seen before count as appended now.
    ///
    /// # Errors
    /// As [`Log::remove_before`].
    pub fn apply_retention(&mut self, now_ms: i64, committed: u64) -> Result<bool, LogError> {
        self.producers.expire(now_ms, self.config.producer_expiry_ms);
        self.see(now_ms);
        self.roll_if_old(now_ms)?;
        self.remove_below_start(committed)?;
        if !self.config.deletes {
            return Ok(false);
        }
        let expired_before = self.config.retention_ms.map(|retention| now_ms.saturating_sub(retention));
        if expired_before.is_some_and(|limit| self.last().is_older_than(limit)) {
            self.roll()?;
        }
        let closed = &self.segments[..self.segments.len() - 1];
        let removable = closed.iter().take_while(|segment| segment.end_index() - 1 <= committed).count();
        let by_age = expired_before.map_or(0, |limit| self.expired(removable, limit));
        let by_size = self.config.retention_bytes.map_or(0, |limit| self.oversized(removable, limit));
        let before = self.start_offset();
        self.remove_segments(by_age.max(by_size))?;
        Ok(self.start_offset() > before)
    }

    /// Takes note of the time for segments that have grown. What a closed segment is known by is written down.
    fn see(&mut self, now_ms: i64) {
        let closed = self.segments.len() - 1;
        for (place, segment) in self.segments.iter_mut().enumerate().rev() {
            if segment.see(now_ms) && place < closed {
                index_file::save(&self.volume, segment);
            } else if place < closed {
                // Those before it have been seen as well.
                break;
            }
        }
    }

    fn expired(&self, removable: usize, limit: i64) -> usize {
        self.segments[..removable].iter().take_while(|segment| segment.is_older_than(limit)).count()
    }

    /// How many segments from the front the log can do without and still have `limit` bytes.
    fn oversized(&self, removable: usize, limit: u64) -> usize {
        let mut left = self.size_bytes();
        let can_go = self.segments[..removable].iter().take_while(|segment| {
            left = left.saturating_sub(segment.length);
            left >= limit
        });
        can_go.count()
    }

    /// `segment.ms`: closes the last segment when its first entry is too old.
    pub(super) fn roll_if_old(&mut self, now_ms: i64) -> Result<(), LogError> {
        let begun = self.last().begun_ms;
        let old = self.config.segment_ms.zip(begun);
        match old.is_some_and(|(limit, begun)| now_ms.saturating_sub(begun) > limit) {
            true => self.roll(),
            false => Ok(()),
        }
    }

    fn remove_below_start(&mut self, committed: u64) -> Result<(), LogError> {
        let start_offset = self.start_offset();
        let closed = &self.segments[..self.segments.len() - 1];
        let below = closed.iter().take_while(|segment| {
            segment.end_offset() <= start_offset
                && segment.end_offset() > self.start().offset
                && segment.end_index() - 1 <= committed
        });
        self.remove_segments(below.count())
    }

    /// Removes the first `count` segments: the log's start is moved durably, then their files go.
    fn remove_segments(&mut self, count: usize) -> Result<(), LogError> {
        if count > 0 {
            let first = &self.segments[count];
            if index_file::load_producers(&self.volume, &first.path)?.is_none() {
                let producers = self.producers_at_start_of(count)?;
                index_file::keep_producers(&self.volume, &first.path, &producers)?;
            }
            let (state, start) = (self.state.state(), first.start);
            let start_offset = state.start_offset.max(start.offset);
            self.state.save(&self.volume, State { start, start_offset, ..state })?;
            self.producers.start_at(start_offset);
            let gone = self.segments.drain(..count);
            self.garbage.extend(gone.map(|segment| segment.path));
        }
        while let Some(path) = self.garbage.first() {
            index_file::remove(&self.volume, path)?;
            if self.volume.length(path)?.is_some() {
                self.volume.remove(path)?;
            }
            self.garbage.remove(0);
        }
        Ok(())
    }
}
