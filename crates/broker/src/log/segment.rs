//! One file of a log and the index of its batches, which is rebuilt when the file is opened.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::{BatchError, BatchHeader};
use crate::volume::Volume;

/// How often a batch with a wrong checksum is read again before it counts as broken on the disk.
const READ_ATTEMPTS: usize = 3;

/// A batch in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub base_offset: i64,
    pub last_offset: i64,
    /// Byte position in the file.
    pub position: u64,
    pub size: usize,
    pub crc: u32,
    pub max_timestamp_ms: i64,
}

/// A file of batches that follow one another without a gap.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub base_offset: i64,
    /// Bytes of good batches.
    pub length: u64,
    pub entries: Vec<Entry>,
}

/// A file's end that is not made of good batches.
#[derive(Debug)]
pub(super) struct BadTail {
    pub bytes: u64,
    pub reason: String,
}

/// `00000000000000000042.log`
pub(super) fn path(directory: &Path, base_offset: i64) -> PathBuf {
    directory.join(format!("{base_offset:020}.log"))
}

/// The base offset in a segment's file name.
pub(super) fn base_offset(name: &str) -> Option<i64> {
    name.strip_suffix(".log")?.parse().ok()
}

impl Segment {
    /// Creates an empty segment, durably.
    pub fn create(volume: &Volume, directory: &Path, base_offset: i64) -> io::Result<Segment> {
        let path = path(directory, base_offset);
        volume.create(&path)?;
        Ok(Segment { path, base_offset, length: 0, entries: Vec::new() })
    }

    /// Reads a segment and indexes its good batches. What follows the last good one is described, not
    /// removed.
    pub fn open(volume: &Volume, directory: &Path, base: i64) -> io::Result<(Segment, Option<BadTail>)> {
        let path = path(directory, base);
        let bytes = volume.read(&path)?.unwrap_or_default();
        let mut segment = Segment { path, base_offset: base, length: 0, entries: Vec::new() };
        let mut next_offset = base;
        while (segment.length as usize) < bytes.len() {
            let rest = &bytes[segment.length as usize..];
            let reason = match segment.check(volume, rest) {
                Ok(header) if header.base_offset == next_offset => {
                    next_offset = header.last_offset() + 1;
                    segment.push(&header);
                    continue;
                }
                Ok(header) => format!("offset {} where {next_offset} belongs", header.base_offset),
                Err(error) => error.to_string(),
            };
            return Ok((segment, Some(BadTail { bytes: rest.len() as u64, reason })));
        }
        Ok((segment, None))
    }

    fn check(&self, volume: &Volume, bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let mut result = BatchHeader::check(bytes);
        let mut again = bytes.to_vec();
        for _ in 1..READ_ATTEMPTS {
            if result.is_ok() || volume.read_at(&self.path, self.length, &mut again).is_err() {
                break;
            }
            result = BatchHeader::check(&again);
        }
        result
    }

    /// Adds a batch that was written at the end of the file.
    pub fn push(&mut self, header: &BatchHeader) {
        self.entries.push(Entry {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            position: self.length,
            size: header.size,
            crc: header.crc,
            max_timestamp_ms: header.max_timestamp_ms,
        });
        self.length += header.size as u64;
    }

    /// The index of the batch that holds `offset`, or of the first one after it.
    pub fn find(&self, offset: i64) -> usize {
        self.entries.partition_point(|entry| entry.last_offset < offset)
    }

    /// Reads the batches `from..to` and checks each.
    pub fn read(&self, volume: &Volume, from: usize, to: usize) -> io::Result<Vec<u8>> {
        let (Some(first), Some(last)) = (self.entries.get(from), self.entries[..to].last()) else {
            return Ok(Vec::new());
        };
        let length = last.position + last.size as u64 - first.position;
        let mut bytes = vec![0; length as usize];
        volume.read_at(&self.path, first.position, &mut bytes)?;
        for entry in &self.entries[from..to] {
            let batch = &bytes[(entry.position - first.position) as usize..];
            BatchHeader::check(batch).map_err(|error| {
                io::Error::other(format!("batch at offset {} reads wrong: {error}", entry.base_offset))
            })?;
        }
        Ok(bytes)
    }
}
