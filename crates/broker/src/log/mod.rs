//! A replica's log: a Raft log whose data entries are Kafka batches, in segment files that only grow.
//!
//! An append is written; [`Log::sync`] makes all that was appended durable, so that many appends share one
//! sync. After a crash a log holds what was synced at least: opening it checks the last segment entry by entry
//! and cuts off what is torn, and tells so. Closed segments are durable as a whole and are opened by their
//! index file; what reads wrong in them later is an error of that read.
//!
//! Raft's indexes and Kafka's offsets both run without gaps. A batch takes an index and as many offsets as it
//! has records; a command of Raft's own takes an index only. Neither ever shifts: compaction leaves an entry
//! in place and takes records out of it.
//!
//! An append that fails leaves the log as it was. What could not be undone at once is undone before the next
//! append, which is refused while the disk does not let it; a failed sync makes the log refuse everything
//! until it is opened again, because nobody knows what the disk has kept.
//!
//! Sources: Raft (figure 2; section 7 for the log's start), Kafka's `UnifiedLog` for the record side.

pub(crate) mod batch;
pub(crate) mod codec;
mod compaction;
mod durability;
mod entry;
mod hard_state;
mod index_file;
mod open;
mod reads;
pub(crate) mod records;
mod retention;
mod segment;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use batch::BatchHeader;
use hard_state::{State, StateFile};
use segment::Segment;

pub(crate) use durability::DetachedSync;
pub(crate) use entry::{Entry, EntryKind};
pub(crate) use hard_state::{HardState, LogStart};

use crate::gathered::Gathered;
use crate::producers::Producers;
use crate::volume::Volume;

/// How a log keeps its entries: the topic's properties.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogConfig {
    /// `segment.bytes`: a segment is closed before it grows larger.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment is closed when its first entry is older; `None` for never.
    pub segment_ms: Option<i64>,
    /// `retention.bytes`: the log is cut from the front while it is larger; `None` for never.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`: segments whose last append is longer ago are removed; `None` for never.
    pub retention_ms: Option<i64>,
    /// `cleanup.policy` contains `delete`.
    pub deletes: bool,
    /// `cleanup.policy` contains `compact`.
    pub compacts: bool,
    /// `delete.retention.ms`: how long a tombstone stays after compaction has first seen it.
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio`: compaction works when at least this share of the closed bytes is new.
    pub min_cleanable_dirty_ratio: f64,
    /// `transactional_id_expiration_ms`: producers that are silent for longer are forgotten.
    pub producer_expiry_ms: i64,
}

impl Default for LogConfig {
    /// Redpanda's defaults where it has them, otherwise Kafka's.
    fn default() -> Self {
        LogConfig {
            segment_bytes: 128 << 20,
            segment_ms: Some(14 * 24 * 3_600_000),
            retention_bytes: None,
            retention_ms: Some(7 * 24 * 3_600_000),
            deletes: true,
            compacts: false,
            delete_retention_ms: 24 * 3_600_000,
            min_cleanable_dirty_ratio: 0.5,
            producer_expiry_ms: 7 * 24 * 3_600_000,
        }
    }
}

/// A replica's log on a volume.
pub(crate) struct Log {
    /// Only this log has it.
    origin: Arc<()>,
    volume: Volume,
    directory: PathBuf,
    config: LogConfig,
    state: StateFile,
    /// Never empty; the last one is written to.
    segments: Vec<Segment>,
    /// Everything up to this index is durable.
    synced_index: u64,
    /// How often entries were cut off.
    cuts: u64,
    producers: Producers,
    /// A truncation has changed the entries, and producer state could not be read again yet.
    producers_stale: bool,
    /// Files of removed segments that are still to go.
    garbage: Vec<PathBuf>,
    refuses: Option<String>,
    /// The disk has lost what had been synced, and it has not been filled in again.
    damaged: bool,
}

/// What opening a log had to cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub cut_bytes: u64,
    /// The first cut, in words.
    pub reason: Option<String>,
    /// Something that had been synced is gone, now or before and not filled in since: the disk is at fault, and
    /// the replica may lack entries that it once acknowledged. Otherwise only a tail that was never synced was cut.
    pub damage: bool,
}

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// Also a full disk. The log is as before.
    #[error("the volume failed: {0}")]
    Io(#[from] io::Error),
    /// Open the log again.
    #[error("the log takes no more appends until it is opened again: {0}")]
    Refuses(String),
    /// The caller's mistake.
    #[error("the entries do not continue the log: {0}")]
    Invalid(String),
    /// The caller's mistake: Raft never takes back what is committed.
    #[error("entry {index} is to be cut, but everything up to {commit} is committed")]
    Committed { index: u64, commit: u64 },
    /// The log starts later by now; a follower that needs the entry needs a snapshot instead.
    #[error("entry {index} is no longer there; the first one is {first}")]
    Removed { index: u64, first: u64 },
    /// There is no such entry yet.
    #[error("there is no entry {index} yet; the last one is {last}")]
    Beyond { index: u64, last: u64 },
    /// The disk has lost what was written.
    #[error("entry {index} reads wrong: {reason}")]
    Damaged { index: u64, reason: String },
}

// The Raft side.
impl Log {
    /// The index of the first entry that is there (or will be, in an empty log).
    pub fn first_index(&self) -> u64 {
        self.start().index + 1
    }

    /// The index of the last entry; one below [`Log::first_index`] in an empty log.
    pub fn last_index(&self) -> u64 {
        self.last().end_index() - 1
    }

    /// The entry before the first one.
    pub fn start(&self) -> LogStart {
        self.state.state().start
    }

    /// The term of an entry, or of the one before the first. No disk is touched.
    ///
    /// # Errors
    /// `Removed`, `Beyond`.
    pub fn term(&self, index: u64) -> Result<u64, LogError> {
        if index == self.start().index {
            return Ok(self.start().term);
        }
        self.check_index(index)?;
        let slot = self.segment_of(index).and_then(|segment| segment.slot(index));
        slot.map(|slot| slot.term).ok_or(LogError::Beyond { index, last: self.last_index() })
    }

    /// The entries `from..to`, at least one, and no more of them than `bytes_max` bytes of payload. They may be
    /// fewer for other reasons; ask again from where they end.
    ///
    /// # Errors
    /// `Removed`, `Beyond`, `Damaged`, `Io`.
    pub fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.check_index(from)?;
        self.check_index(to - 1)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        while let Some(segment) = self.segment_of(next).filter(|_| next < to) {
            let first = segment.place(next);
            let end = segment.place(to).min(segment.slots.len());
            let fits = |slot: &&segment::Slot| {
                let all = bytes + slot.payload_bytes as usize;
                let fits = all <= bytes_max || bytes == 0;
                bytes = if fits { all.max(1) } else { bytes };
                fits
            };
            let count = segment.slots[first..end].iter().take_while(fits).count();
            if count == 0 {
                break;
            }
            entries.extend(segment.read(&self.volume, first, first + count)?);
            next += count as u64;
            if first + count < end {
                break;
            }
        }
        Ok(entries)
    }

    /// Writes entries at the end; they are not durable before [`Log::sync`]. Entries that are there already
    /// (same index, same term) are passed over; where one conflicts, it and all that follows is cut off first,
    /// durably. The entries' indexes and base offsets must continue one another.
    ///
    /// # Errors
    /// `Invalid`, `Committed`, `Removed`; `Io`, `Refuses`. Then no new entry is there, and the log is as before
    /// but for a conflicting suffix that may be gone. If the disk does not even let the failed write be undone,
    /// entries of it may be there after a crash.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        self.check_usable()?;
        let entries = self.new_entries(entries)?;
        let Some(first) = entries.first() else { return Ok(()) };
        if first.index <= self.last_index() {
            self.truncate(first.index)?;
        }
        if self.producers_stale {
            self.load_producers()?;
        }
        let last = self.last_index();
        self.write(entries).inspect_err(|error| self.undo(last, error))
    }

    /// Everything up to this index is durable.
    #[cfg(test)]
    pub fn synced_index(&self) -> u64 {
        self.synced_index
    }

    /// The hard state as it was saved last.
    pub fn hard_state(&self) -> HardState {
        self.state.state().hard
    }

    /// Keeps the hard state. A new term or vote is durable when this returns; a commit index that alone has
    /// moved is written with the next change, because Raft learns it again.
    ///
    /// # Errors
    /// The volume's; then the old state holds.
    pub fn save_hard_state(&mut self, hard: HardState) -> Result<(), LogError> {
        let state = self.state.state();
        if (hard.term, hard.vote) == (state.hard.term, state.hard.vote) {
            self.state.set_commit(hard.commit);
        } else {
            self.state.save(&self.volume, State { hard, ..state })?;
        }
        let committed = self.offset_after(hard.commit);
        self.producers.committed(committed);
        Ok(())
    }

    /// Makes the commit index durable, for who wants to know it at once after a restart.
    ///
    /// # Errors
    /// The volume's.
    pub fn keep_commit(&mut self) -> Result<(), LogError> {
        Ok(self.state.save(&self.volume, self.state.state())?)
    }

    /// Removes the entry at `index` and all that follow, durably.
    ///
    /// # Errors
    /// `Committed`, `Removed`; `Io`, then some of the entries may be gone, from the end.
    pub fn truncate(&mut self, index: u64) -> Result<(), LogError> {
        let (commit, first) = (self.hard_state().commit, self.first_index());
        if index < first {
            return Err(LogError::Removed { index, first });
        }
        if index <= commit && index <= self.last_index() {
            return Err(LogError::Committed { index, commit });
        }
        if index > self.last_index() {
            return Ok(());
        }
        let result = self.cut(index);
        self.synced_index = self.synced_index.min(self.last_index());
        // If the disk does not let them be read now, they are read before the next append.
        self.producers_stale = true;
        let _ = self.load_producers();
        result
    }

    /// Begins anew after `start`, as a follower that got the leader's snapshot: all entries go, and
    /// `producers` is the producer state at that point (the leader's [`Log::start_producers`]).
    ///
    /// # Errors
    /// `Io`; then the log is as before, or is that of the snapshot once it is opened again.
    pub fn install(&mut self, start: LogStart, producers: Producers) -> Result<(), LogError> {
        self.check_usable()?;
        let state = self.state.state();
        let hard = HardState { commit: state.hard.commit.max(start.index), ..state.hard };
        let first = segment::path(&self.directory, start.index + 1);
        index_file::keep_producers(&self.volume, &first, &producers)?;
        self.state.save(&self.volume, State { hard, start, start_offset: start.offset })?;
        let installed = self.begin_at(start, producers);
        if let Err(error) = &installed {
            self.refuses = Some(format!("a snapshot was not installed as a whole: {error}"));
        }
        installed
    }

    /// The producer state at [`Log::start`], for a follower that needs a snapshot.
    pub fn start_producers(&self) -> Result<Producers, LogError> {
        self.producers_at_start_of(0)
    }
}

// The Kafka side; see `reads.rs` for records.
impl Log {
    /// The first offset that clients see.
    pub fn start_offset(&self) -> i64 {
        self.state.state().start_offset
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> i64 {
        self.last().end_offset()
    }

    /// The offset of the record after entry `index`'s last: with the commit index, the high watermark. Before
    /// the first entry it is the log's start, after the last one its end.
    pub fn offset_after(&self, index: u64) -> i64 {
        match self.segment_of(index).and_then(|segment| segment.slot(index)) {
            Some(slot) => slot.next_offset,
            None if index < self.first_index() => self.start().offset,
            None => self.end_offset(),
        }
    }

    /// The index of the batch that holds `offset`; `None` if there is none.
    pub fn index_of(&self, offset: i64) -> Option<u64> {
        if offset < self.start().offset {
            return None;
        }
        let segment = self.segments.iter().find(|segment| segment.end_offset() > offset)?;
        Some(segment.start.index + 1 + segment.find(offset) as u64)
    }

    /// The largest term that is at most `epoch` and has an entry here, and the offset where it ends (KIP-101,
    /// KIP-320); `None` if the log starts in a later one.
    pub fn end_of_epoch(&self, epoch: u64) -> Option<(u64, i64)> {
        for segment in self.segments.iter().rev() {
            let count = segment.slots.partition_point(|slot| slot.term <= epoch);
            if let Some(slot) = count.checked_sub(1).and_then(|last| segment.slots.get(last)) {
                return Some((slot.term, slot.next_offset));
            }
        }
        let start = self.start();
        (start.index > 0 && start.term <= epoch).then_some((start.term, start.offset))
    }

    /// Producer state as of the last appended entry. (After a truncation on a disk that cannot be read it is
    /// right from the next append on; a new leader appends before it asks.)
    pub fn producers(&self) -> &Producers {
        &self.producers
    }

    /// Forgets what the log tells of its producers. Only a deliberate fault does that (see `crate::bugs`).
    pub fn forget_producers(&mut self) {
        self.producers = Producers::default();
    }

    /// How entries are kept.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes new topic properties; they apply from the next append or clean-up on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// Bytes of all segments on the disk.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

impl Log {
    fn last(&self) -> &Segment {
        &self.segments[self.segments.len() - 1]
    }

    /// The segment that holds an entry.
    fn segment_of(&self, index: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.start.index < index);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        (index < segment.end_index()).then_some(segment)
    }

    fn check_index(&self, index: u64) -> Result<(), LogError> {
        let (first, last) = (self.first_index(), self.last_index());
        if index < first {
            return Err(LogError::Removed { index, first });
        }
        if index > last {
            return Err(LogError::Beyond { index, last });
        }
        Ok(())
    }

    fn check_usable(&self) -> Result<(), LogError> {
        self.refuses.as_ref().map_or(Ok(()), |reason| Err(LogError::Refuses(reason.clone())))
    }

    /// Checks that entries fit the log and one another, and passes over those that are there.
    fn new_entries<'a>(&self, entries: &'a [Entry]) -> Result<&'a [Entry], LogError> {
        let Some(first) = entries.first() else { return Ok(entries) };
        let invalid = |reason: String| Err(LogError::Invalid(reason));
        if first.index < self.first_index() {
            return Err(LogError::Removed { index: first.index, first: self.first_index() });
        }
        if first.index > self.last_index() + 1 {
            return invalid(format!("entry {} follows {}", first.index, self.last_index()));
        }
        let before = first.index - 1;
        let (mut index, mut term, mut offset) = (first.index, self.term(before)?, self.offset_after(before));
        for entry in entries {
            if entry.index != index || entry.term < term || entry.base_offset != offset {
                return invalid(format!(
                    "entry {} of term {} at offset {}, where {index} of term {term} or later at {offset} belongs",
                    entry.index, entry.term, entry.base_offset
                ));
            }
            if entry.payload.len() > entry::PAYLOAD_BYTES_MAX {
                return invalid(format!("entry {index} has {} bytes", entry.payload.len()));
            }
            if entry.kind == EntryKind::Batch {
                offset = batch_end(entry).map_err(LogError::Invalid)?;
            }
            (index, term) = (index + 1, entry.term);
        }
        let known = |entry: &&Entry| self.term(entry.index).is_ok_and(|term| term == entry.term);
        Ok(&entries[entries.iter().take_while(known).count()..])
    }

    /// Writes entries that continue the log, as many at once as fit a segment.
    fn write(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let mut rest = entries;
        while let Some(first) = rest.first() {
            if self.is_full_for(first) {
                self.roll()?;
            }
            self.clean()?;
            let last = self.segments.len() - 1;
            let segment = &mut self.segments[last];
            let mut bytes = Gathered::default();
            let mut length = segment.length;
            let mut count = 0;
            for entry in rest {
                let size = (entry::FRAME_BYTES + entry.payload.len()) as u64;
                let full = length + size > self.config.segment_bytes;
                if full && (count > 0 || !segment.slots.is_empty()) {
                    break;
                }
                entry.write(segment.synced, &mut bytes);
                length += size;
                count += 1;
            }
            if let Err(error) = self.volume.write_at(&segment.path, segment.length, bytes) {
                segment.dirty = true;
                return Err(LogError::Io(error));
            }
            for entry in &rest[..count] {
                segment.push_entry(entry).map_err(|error| LogError::Invalid(error.to_string()))?;
                self.producers.follow(entry);
            }
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Whether an entry belongs into a new segment (`segment.bytes`).
    fn is_full_for(&self, entry: &Entry) -> bool {
        let segment = self.last();
        let size = (entry::FRAME_BYTES + entry.payload.len()) as u64;
        !segment.slots.is_empty() && segment.length + size > self.config.segment_bytes
    }

    /// Closes the last segment, which is durable then, and starts another.
    fn roll(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let start = self.last().end();
        let segment = Segment::create(&self.volume, &self.directory, start)?;
        index_file::save(&self.volume, self.last());
        index_file::save_producers(&self.volume, &segment.path, &self.producers);
        self.segments.push(segment);
        Ok(())
    }

    /// Takes back what a failed append has written after entry `last`.
    fn undo(&mut self, last: u64, error: &LogError) {
        if last == self.last_index() {
            // If this fails, too, it is tried again before the next append.
            let _ = self.clean();
        } else if let Err(second) = self.truncate(last + 1) {
            self.refuses.get_or_insert_with(|| format!("{error}, then {second}"));
        }
    }

    /// Cuts off what a failed write left behind the last segment's entries.
    fn clean(&mut self) -> Result<(), LogError> {
        let segment = self.last();
        if segment.dirty { self.shorten(segment.slots.len()) } else { Ok(()) }
    }

    /// Removes entries from the end down to `index`.
    fn cut(&mut self, index: u64) -> Result<(), LogError> {
        while self.segments.len() > 1 && self.last().start.index >= index {
            index_file::remove(&self.volume, &self.last().path)?;
            self.volume.remove(&self.last().path)?;
            self.segments.pop();
        }
        index_file::remove_index(&self.volume, &self.last().path)?;
        self.shorten(self.last().place(index))
    }

    /// Cuts the last segment down to its first `count` entries, durably.
    fn shorten(&mut self, count: usize) -> Result<(), LogError> {
        let last = self.segments.len() - 1;
        let segment = &mut self.segments[last];
        let length = segment.slots.get(count).map_or(segment.length, |slot| slot.position);
        self.volume.set_length(&segment.path, length)?;
        segment.slots.truncate(count);
        segment.length = length;
        segment.synced = segment.synced.min(length);
        segment.dirty = false;
        self.cuts += 1;
        if let Err(error) = self.volume.sync(&segment.path) {
            return Err(self.refuse(error));
        }
        segment.synced = length;
        Ok(())
    }
}

/// The offset after a batch entry.
fn batch_end(entry: &Entry) -> Result<i64, String> {
    let batch = BatchHeader::check(&entry.payload).map_err(|error| error.to_string())?;
    if batch.size != entry.payload.len() {
        return Err(format!("entry {} is more than one batch", entry.index));
    }
    if batch.base_offset != entry.base_offset {
        return Err(format!("batch with offset {} in entry at {}", batch.base_offset, entry.base_offset));
    }
    batch.last_offset().checked_add(1).ok_or_else(|| "offsets are used up".to_owned())
}
