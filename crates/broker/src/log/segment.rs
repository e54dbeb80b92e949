//! One file of a log, and the index of its entries in memory.
//!
//! The file begins with a header that says where the segment belongs (base index, term of the entry before,
//! base offset, checksum); frames follow one another without a gap. A segment's file is created as a whole
//! and moved into place, so that it never lacks its header.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::LogError;
use super::batch::{BatchError, BatchHeader};
use super::entry::{Entry, EntryKind, FRAME_BYTES, Frame};
use super::hard_state::LogStart;
use crate::gathered::Gathered;
use crate::volume::Volume;

/// Bytes before the first frame.
pub(super) const HEADER_BYTES: u64 = 36;
const MAGIC: [u8; 8] = *b"HWLSEGM1";
/// How often what reads wrong is read again before it counts as broken on the disk.
const READ_ATTEMPTS: usize = 3;

/// An entry in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Byte position of the frame in the file.
    pub position: u64,
    pub payload_bytes: u32,
    pub kind: EntryKind,
    pub term: u64,
    /// The offset of the record after this entry's last.
    pub next_offset: i64,
    /// The batch's largest timestamp; -1 without records.
    pub max_timestamp_ms: i64,
    /// The largest timestamp in the segment up to this entry; -1 without records. It never falls, so that
    /// times are found by halving.
    pub newest_ms: i64,
    /// Records of the batch; 0 for a command and for a batch that compaction has emptied.
    pub record_count: i32,
    /// Whether the batch matters to producer state: it has a producer id.
    pub produced: bool,
}

/// A file of entries that follow one another without a gap.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    /// What comes before its first entry.
    pub start: LogStart,
    /// Bytes of good frames, the header included.
    pub length: u64,
    /// Bytes that are known to be durable.
    pub synced: u64,
    /// Of the entries from `start.index + 1` on.
    pub slots: Vec<Slot>,
    /// Bytes may follow `length` in the file: what a failed write left. They are cut off before the next.
    pub dirty: bool,
    /// When entries in it were first seen, ms since 1970; `None` before that.
    pub begun_ms: Option<i64>,
    /// The entry that was last when it was last seen to have grown, and that time, ms since 1970.
    pub grown: Option<(u64, i64)>,
    /// When it was first compacted, ms since 1970; `None` if it was not.
    pub compacted_ms: Option<i64>,
    /// Whether compaction has left tombstones in it.
    pub tombstones: bool,
}

/// A file's end that is not made of good entries.
#[derive(Debug)]
pub(super) struct BadTail {
    pub bytes: u64,
    pub reason: String,
    /// The bytes had been synced, so that no crash explains it.
    pub damage: bool,
}

/// `00000000000000000042.log`, by the index of the first entry.
pub(super) fn path(directory: &Path, base_index: u64) -> PathBuf {
    directory.join(format!("{base_index:020}.log"))
}

/// The index of the first entry in a segment's file name.
pub(super) fn base_index(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

fn header(start: LogStart) -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&start.index.to_be_bytes());
    bytes[16..24].copy_from_slice(&start.term.to_be_bytes());
    bytes[24..32].copy_from_slice(&start.offset.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..32]);
    bytes[32..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

fn read_header(bytes: &[u8]) -> Option<LogStart> {
    let bytes: &[u8; HEADER_BYTES as usize] = bytes.get(..HEADER_BYTES as usize)?.try_into().ok()?;
    let field = |at: usize| {
        let mut field = [0; 8];
        field.copy_from_slice(&bytes[at..at + 8]);
        u64::from_be_bytes(field)
    };
    let start = LogStart { index: field(8), term: field(16), offset: field(24) as i64 };
    (header(start) == *bytes).then_some(start)
}

impl Slot {
    /// Bytes of the frame.
    pub fn size(&self) -> u64 {
        FRAME_BYTES as u64 + u64::from(self.payload_bytes)
    }

    fn end(&self) -> u64 {
        self.position + self.size()
    }
}

impl Segment {
    /// Creates an empty segment, durably.
    pub fn create(volume: &Volume, directory: &Path, start: LogStart) -> io::Result<Segment> {
        let path = path(directory, start.index + 1);
        volume.replace(&path, &header(start))?;
        Ok(Segment::empty(path, start))
    }

    fn empty(path: PathBuf, start: LogStart) -> Segment {
        Segment::indexed(path, start, Vec::new(), HEADER_BYTES)
    }

    /// A durable segment of which the index is known.
    pub fn indexed(path: PathBuf, start: LogStart, slots: Vec<Slot>, length: u64) -> Segment {
        Segment {
            path,
            start,
            length,
            synced: length,
            slots,
            dirty: false,
            begun_ms: None,
            grown: None,
            compacted_ms: None,
            tombstones: false,
        }
    }

    /// Where a segment's file says it belongs.
    pub fn read_start(volume: &Volume, path: &Path) -> io::Result<LogStart> {
        let mut bytes = [0; HEADER_BYTES as usize];
        for _ in 0..READ_ATTEMPTS {
            if volume.length(path)?.unwrap_or(0) < HEADER_BYTES {
                break;
            }
            volume.read_at(path, 0, &mut bytes)?;
            if let Some(start) = read_header(&bytes) {
                return Ok(start);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "the segment's header cannot be read"))
    }

    /// Reads a segment as a whole and indexes its good entries. What follows the last good one is described,
    /// not removed.
    pub fn scan(volume: &Volume, path: PathBuf, start: LogStart) -> io::Result<(Segment, Option<BadTail>)> {
        let mut segment = Segment::empty(path, start);
        let bytes = volume.read(&segment.path)?.unwrap_or_default();
        while (segment.length as usize) < bytes.len() {
            let rest = &bytes[segment.length as usize..];
            let (frame, reread) = match segment.check(volume, rest) {
                Ok(good) => good,
                Err(reason) => {
                    let damage = claims_synced(rest, segment.end_index()) > segment.length;
                    return Ok((segment, Some(BadTail { bytes: rest.len() as u64, reason, damage })));
                }
            };
            let frame_bytes = reread.as_deref().unwrap_or(rest);
            let payload = &frame_bytes[FRAME_BYTES..frame.size()];
            segment.push(&frame, payload).map_err(io::Error::other)?;
        }
        segment.synced = segment.length;
        Ok((segment, None))
    }

    /// Checks the frame at the end of what is indexed; gives the bytes of a later reading if those were good.
    fn check(&self, volume: &Volume, bytes: &[u8]) -> Result<(Frame, Option<Vec<u8>>), String> {
        let mut result = self.continues(bytes);
        for _ in 1..READ_ATTEMPTS {
            let Err(reason) = result else { break };
            let mut again = bytes.to_vec();
            result = match volume.read_at(&self.path, self.length, &mut again) {
                Ok(()) => match self.continues(&again) {
                    Ok((frame, _)) => Ok((frame, Some(again))),
                    Err(reason) => Err(reason),
                },
                Err(_) => Err(reason),
            };
        }
        result
    }

    fn continues(&self, bytes: &[u8]) -> Result<(Frame, Option<Vec<u8>>), String> {
        let frame = Frame::read(bytes).map_err(|error| error.to_string())?;
        if frame.index != self.end_index() || frame.term < self.end_term() {
            return Err(format!(
                "entry {} of term {} where {} belongs",
                frame.index,
                frame.term,
                self.end_index()
            ));
        }
        if frame.base_offset != self.end_offset() {
            return Err(format!("offset {} where {} belongs", frame.base_offset, self.end_offset()));
        }
        if frame.kind == EntryKind::Batch {
            let batch = BatchHeader::check(&bytes[FRAME_BYTES..frame.size()]);
            if batch.map_err(|error| error.to_string())?.size != frame.payload_bytes {
                return Err(format!("entry {} is not one batch", frame.index));
            }
        }
        Ok((frame, None))
    }

    /// The index that the next entry has.
    pub fn end_index(&self) -> u64 {
        self.start.index + 1 + self.slots.len() as u64
    }

    /// The term of the last entry.
    pub fn end_term(&self) -> u64 {
        self.slots.last().map_or(self.start.term, |slot| slot.term)
    }

    /// The offset that the next record has.
    pub fn end_offset(&self) -> i64 {
        self.slots.last().map_or(self.start.offset, |slot| slot.next_offset)
    }

    /// What comes before a segment that follows this one.
    pub fn end(&self) -> LogStart {
        LogStart { index: self.end_index() - 1, term: self.end_term(), offset: self.end_offset() }
    }

    /// The place of an entry in `slots`.
    pub fn place(&self, index: u64) -> usize {
        index.saturating_sub(self.start.index + 1) as usize
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        if index <= self.start.index { None } else { self.slots.get(self.place(index)) }
    }

    /// The offset of an entry's first record.
    pub fn base_offset(&self, place: usize) -> i64 {
        match place.checked_sub(1).and_then(|before| self.slots.get(before)) {
            Some(before) => before.next_offset,
            None => self.start.offset,
        }
    }

    /// The place of the batch that holds `offset`, or of the first entry after it.
    pub fn find(&self, offset: i64) -> usize {
        self.slots.partition_point(|slot| slot.next_offset <= offset)
    }

    /// The largest timestamp; -1 without records.
    pub fn newest_ms(&self) -> i64 {
        self.slots.last().map_or(-1, |slot| slot.newest_ms)
    }

    /// Whether it has entries, all of them seen before a time.
    pub fn is_older_than(&self, limit_ms: i64) -> bool {
        self.grown.is_some_and(|(last, then)| last + 1 == self.end_index() && then < limit_ms)
    }

    /// Takes note of the time if there are entries that were not there before; tells whether there were.
    pub fn see(&mut self, now_ms: i64) -> bool {
        let last = self.end_index() - 1;
        let grew = !self.slots.is_empty() && self.grown.is_none_or(|(seen, _)| seen != last);
        if grew {
            self.begun_ms.get_or_insert(now_ms);
            self.grown = Some((last, now_ms));
        }
        grew
    }

    fn push(&mut self, frame: &Frame, payload: &[u8]) -> Result<(), BatchError> {
        let mut slot = Slot {
            position: self.length,
            payload_bytes: frame.payload_bytes as u32,
            kind: frame.kind,
            term: frame.term,
            next_offset: frame.base_offset,
            max_timestamp_ms: -1,
            newest_ms: self.newest_ms(),
            record_count: 0,
            produced: false,
        };
        if frame.kind == EntryKind::Batch {
            let batch = BatchHeader::read(payload)?;
            slot.next_offset = frame.base_offset + i64::from(batch.last_offset_delta) + 1;
            slot.record_count = batch.record_count;
            if batch.record_count > 0 {
                slot.max_timestamp_ms = batch.max_timestamp_ms;
                slot.newest_ms = slot.newest_ms.max(batch.max_timestamp_ms);
            }
            slot.produced = batch.producer_id >= 0;
        }
        self.length = slot.end();
        self.slots.push(slot);
        Ok(())
    }

    /// Puts others in place of its entries, with the same indexes and offsets, durably and all at once.
    pub fn replace(&mut self, volume: &Volume, entries: &[Entry]) -> io::Result<()> {
        let mut bytes = Gathered::from(&header(self.start));
        let mut next = Segment::empty(self.path.clone(), self.start);
        for entry in entries {
            entry.write(next.length, &mut bytes);
            next.push_entry(entry).map_err(io::Error::other)?;
        }
        volume.replace(&self.path, &bytes.whole())?;
        (self.slots, self.length, self.synced) = (next.slots, next.length, next.length);
        Ok(())
    }

    /// Indexes an entry that was written at the end of the file.
    pub fn push_entry(&mut self, entry: &Entry) -> Result<(), BatchError> {
        let Entry { index, term, kind, base_offset, ref payload } = *entry;
        let frame =
            Frame { index, term, kind, base_offset, payload_bytes: payload.len(), synced: self.synced };
        self.push(&frame, payload)
    }

    /// Reads the entries at `from..to` and checks each.
    pub fn read(&self, volume: &Volume, from: usize, to: usize) -> Result<Vec<Entry>, LogError> {
        let Some((first, last)) = self.slots.get(from..to).and_then(|slots| slots.first().zip(slots.last()))
        else {
            return Ok(Vec::new());
        };
        let mut damaged = None;
        for _ in 0..READ_ATTEMPTS {
            let mut bytes = vec![0; (last.end() - first.position) as usize];
            volume.read_at(&self.path, first.position, &mut bytes)?;
            match self.parse(from, to, Bytes::from(bytes)) {
                Ok(entries) => return Ok(entries),
                Err(error) => damaged = Some(error),
            }
        }
        damaged.map_or(Ok(Vec::new()), Err)
    }

    fn parse(&self, from: usize, to: usize, bytes: Bytes) -> Result<Vec<Entry>, LogError> {
        let origin = self.slots[from].position;
        let mut entries = Vec::with_capacity(to - from);
        for (place, slot) in (from..to).zip(&self.slots[from..to]) {
            let index = self.start.index + 1 + place as u64;
            let at = (slot.position - origin) as usize;
            let frame = Frame::read(&bytes[at..])
                .map_err(|error| LogError::Damaged { index, reason: error.to_string() })?;
            let same = frame.index == index
                && frame.term == slot.term
                && frame.payload_bytes == slot.payload_bytes as usize;
            if !same {
                let reason = format!("entry {} of term {} lies in its place", frame.index, frame.term);
                return Err(LogError::Damaged { index, reason });
            }
            entries.push(Entry {
                index,
                term: frame.term,
                kind: frame.kind,
                base_offset: frame.base_offset,
                payload: bytes.slice(at + FRAME_BYTES..at + frame.size()),
            });
        }
        Ok(entries)
    }
}

/// The most that a good frame after a bad one calls synced. Frames are looked for at every byte; only where
/// the index is one that can follow is the checksum computed.
fn claims_synced(bytes: &[u8], expected_index: u64) -> u64 {
    let possible = expected_index + 1..=expected_index + (bytes.len() / FRAME_BYTES) as u64;
    let mut synced = 0;
    let mut at = 1;
    while at + FRAME_BYTES <= bytes.len() {
        match Frame::index(&bytes[at..]).filter(|index| possible.contains(index)) {
            Some(_) => match Frame::read(&bytes[at..]) {
                Ok(frame) => {
                    synced = synced.max(frame.synced);
                    at += frame.size();
                }
                Err(_) => at += 1,
            },
            None => at += 1,
        }
    }
    synced
}
