//! What a segment has beside its entries: the index of a closed segment, and the producer state at its start.
//!
//! Both are caches of what the log itself says, so that opening a log need not read all of it: a file that is
//! missing or cannot be read costs a scan, and a failure to write one is no failure of the log. The rule that
//! makes them sound: an index is written after its segment is closed and removed before the segment changes,
//! and a segment's producer state belongs to the entries before it, which are removed after it. (The producer
//! state at the log's start is no cache, for there is nothing to rebuild it from; who makes it the start's
//! makes it durable first.)

use std::io;
use std::path::{Path, PathBuf};

use super::entry::EntryKind;
use super::hard_state::LogStart;
use super::segment::{HEADER_BYTES, Segment, Slot};
use crate::producers::Producers;
use crate::volume::Volume;

const MAGIC: [u8; 8] = *b"HWLINDX1";
/// Bytes before the slots: the magic, when the segment was compacted, when it last grew, whether it has
/// tombstones.
const HEAD_BYTES: usize = 25;
/// In place of a time: the segment was not compacted.
const NEVER: i64 = i64::MIN;
/// Bytes of a slot.
const SLOT_BYTES: usize = 33;

fn index_path(segment: &Path) -> PathBuf {
    segment.with_extension("index")
}

fn producers_path(segment: &Path) -> PathBuf {
    segment.with_extension("producers")
}

/// Writes the index of a closed segment, if the volume lets it.
pub(super) fn save(volume: &Volume, segment: &Segment) {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + segment.slots.len() * SLOT_BYTES + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&segment.compacted_ms.unwrap_or(NEVER).to_be_bytes());
    bytes.extend_from_slice(&segment.grown.map_or(NEVER, |(_, then)| then).to_be_bytes());
    bytes.push(u8::from(segment.tombstones));
    for slot in &segment.slots {
        bytes.extend_from_slice(&slot.payload_bytes.to_be_bytes());
        bytes.extend_from_slice(&slot.term.to_be_bytes());
        bytes.extend_from_slice(&slot.next_offset.to_be_bytes());
        bytes.extend_from_slice(&slot.max_timestamp_ms.to_be_bytes());
        bytes.extend_from_slice(&slot.record_count.to_be_bytes());
        bytes.push(u8::from(slot.kind == EntryKind::Command) | u8::from(slot.produced) << 1);
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    if let Err(error) = volume.replace(&index_path(&segment.path), &bytes) {
        tracing::debug!(segment = %segment.path.display(), %error, "a segment's index is not kept");
    }
}

/// Opens a closed segment by its index; `None` if there is none that fits the segment's file.
pub(super) fn load(volume: &Volume, path: &Path, start: LogStart) -> io::Result<Option<Segment>> {
    let Some(bytes) = volume.read(&index_path(path))? else { return Ok(None) };
    let length = volume.length(path)?.unwrap_or(0);
    let index = decode(&bytes).filter(|index| index.end == length);
    Ok(index.map(|index| {
        let mut segment = Segment::indexed(path.to_owned(), start, index.slots, length);
        segment.compacted_ms = index.compacted_ms;
        segment.grown = index.grown_ms.map(|then| (segment.end_index() - 1, then));
        segment.tombstones = index.tombstones;
        segment
    }))
}

struct Index {
    compacted_ms: Option<i64>,
    grown_ms: Option<i64>,
    tombstones: bool,
    slots: Vec<Slot>,
    end: u64,
}

fn decode(bytes: &[u8]) -> Option<Index> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    let (head, slots) = content.split_first_chunk::<HEAD_BYTES>()?;
    let whole = crc32c::crc32c(content) == u32::from_be_bytes(*crc) && slots.len().is_multiple_of(SLOT_BYTES);
    if !whole || head[..8] != MAGIC {
        return None;
    }
    let time = |at: usize| {
        let time = head[at..at + 8].iter().fold(0, |value, byte| value << 8 | i64::from(*byte));
        Some(time).filter(|time| *time != NEVER)
    };
    let (mut position, mut newest_ms) = (HEADER_BYTES, -1);
    let slots = slots.chunks_exact(SLOT_BYTES).map(|bytes| {
        let long = |at: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(field)
        };
        let short = |at: usize| (long(at) >> 32) as u32;
        newest_ms = newest_ms.max(long(20) as i64);
        let slot = Slot {
            position,
            newest_ms,
            payload_bytes: short(0),
            term: long(4),
            next_offset: long(12) as i64,
            max_timestamp_ms: long(20) as i64,
            record_count: i32::from_be_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]),
            kind: if bytes[32] & 1 == 0 { EntryKind::Batch } else { EntryKind::Command },
            produced: bytes[32] & 2 != 0,
        };
        position += slot.size();
        slot
    });
    let slots = slots.collect();
    Some(Index { compacted_ms: time(8), grown_ms: time(16), tombstones: head[24] != 0, slots, end: position })
}

/// Writes the producer state at a segment's start, if the volume lets it.
pub(super) fn save_producers(volume: &Volume, segment: &Path, producers: &Producers) {
    if let Err(error) = keep_producers(volume, segment, producers) {
        tracing::debug!(segment = %segment.display(), %error, "a segment's producer state is not kept");
    }
}

/// Writes the producer state at a segment's start, durably.
pub(super) fn keep_producers(volume: &Volume, segment: &Path, producers: &Producers) -> io::Result<()> {
    let mut bytes = producers.encode();
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    volume.replace(&producers_path(segment), &bytes)
}

/// Reads the producer state at a segment's start; `None` if there is none.
pub(super) fn load_producers(volume: &Volume, segment: &Path) -> io::Result<Option<Producers>> {
    let Some(bytes) = volume.read(&producers_path(segment))? else { return Ok(None) };
    let whole = bytes
        .split_last_chunk::<4>()
        .filter(|(content, crc)| crc32c::crc32c(content) == u32::from_be_bytes(**crc))
        .and_then(|(content, _)| Producers::decode(content));
    Ok(whole)
}

fn remove_if_there(volume: &Volume, path: &Path) -> io::Result<()> {
    match volume.length(path)? {
        Some(_) => volume.remove(path),
        None => Ok(()),
    }
}

/// Removes the index of a segment that is about to change.
pub(super) fn remove_index(volume: &Volume, segment: &Path) -> io::Result<()> {
    remove_if_there(volume, &index_path(segment))
}

/// Removes all that a segment has beside its entries.
pub(super) fn remove(volume: &Volume, segment: &Path) -> io::Result<()> {
    remove_index(volume, segment)?;
    remove_if_there(volume, &producers_path(segment))
}
