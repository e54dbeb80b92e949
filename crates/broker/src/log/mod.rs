//! A partition's log: batches as received, in segment files that only grow.
//!
//! An append is on the disk (synced) when it returns. Opening a log checks every batch and cuts the log at
//! the first one that is torn or damaged; what was cut is told. An append that fails leaves the log as it
//! was; if even that cannot be made sure, the log refuses further appends until it is opened again. Left out:
//! retention and compaction; the log starts at offset 0 for ever.

pub(crate) mod batch;
mod segment;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use batch::BatchHeader;
use segment::Segment;

use crate::volume::Volume;

/// A partition's log on a volume.
pub(crate) struct PartitionLog {
    volume: Volume,
    directory: PathBuf,
    segment_bytes_max: u64,
    /// Never empty.
    segments: Vec<Segment>,
    refuses: Option<String>,
}

/// What opening a log had to cut off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    pub cut_bytes: u64,
    /// The first cut, in words.
    pub reason: Option<String>,
}

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("the volume failed: {0}")]
    Io(#[from] io::Error),
    #[error("the log takes no more appends: {0}")]
    Refuses(String),
    #[error("the batches do not continue the log at offset {0}")]
    Gap(i64),
}

/// A batch that the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchPlace {
    pub base_offset: i64,
    pub last_offset: i64,
    pub crc: u32,
}

impl PartitionLog {
    /// Opens the log in `directory`, creating it if there is none.
    pub fn open(
        volume: &Volume,
        directory: &Path,
        segment_bytes_max: u64,
    ) -> io::Result<(PartitionLog, Recovery)> {
        volume.create_directory(directory)?;
        let mut bases: Vec<i64> =
            volume.names(directory)?.iter().filter_map(|name| segment::base_offset(name)).collect();
        bases.sort_unstable();
        let mut recovery = Recovery::default();
        let mut segments: Vec<Segment> = Vec::new();
        for base in bases {
            let expected = segments.last().map_or(base, end);
            if recovery.reason.is_some() || base != expected {
                let path = segment::path(directory, base);
                recovery.cut(volume.length(&path)?.unwrap_or(0), || {
                    format!("a segment is missing before {base}")
                });
                volume.remove(&path)?;
                continue;
            }
            let (segment, tail) = Segment::open(volume, directory, base)?;
            if let Some(tail) = tail {
                volume.truncate(&segment.path, segment.length)?;
                recovery.cut(tail.bytes, || format!("{} at offset {}", tail.reason, end(&segment)));
            }
            segments.push(segment);
        }
        if segments.is_empty() {
            segments.push(Segment::create(volume, directory, 0)?);
        }
        let (volume, directory) = (volume.clone(), directory.to_owned());
        Ok((PartitionLog { volume, directory, segment_bytes_max, segments, refuses: None }, recovery))
    }

    /// The first offset that is kept.
    pub fn start_offset(&self) -> i64 {
        self.segments.first().map_or(0, |segment| segment.base_offset)
    }

    /// The offset that the next record gets.
    pub fn end_offset(&self) -> i64 {
        self.segments.last().map_or(0, end)
    }

    /// Appends whole batches whose offsets continue the log, and syncs.
    ///
    /// # Errors
    /// A gap, or the volume's error; then the log is as before.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Some(reason) = &self.refuses {
            return Err(LogError::Refuses(reason.clone()));
        }
        let headers = self.headers_that_continue(bytes)?;
        self.roll(bytes.len() as u64)?;
        let Some(segment) = self.segments.last_mut() else { return Ok(()) };
        if let Err(error) = self.volume.write_at(&segment.path, segment.length, bytes) {
            if let Err(second) = self.volume.truncate(&segment.path, segment.length) {
                self.refuses = Some(format!("{error}, then {second}"));
            }
            return Err(LogError::Io(error));
        }
        headers.iter().for_each(|header| segment.push(header));
        Ok(())
    }

    fn headers_that_continue(&self, bytes: &[u8]) -> Result<Vec<BatchHeader>, LogError> {
        let mut expected = self.end_offset();
        let mut headers = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let header = BatchHeader::check(rest).map_err(io::Error::other)?;
            if header.base_offset != expected {
                return Err(LogError::Gap(expected));
            }
            expected = header.last_offset() + 1;
            headers.push(header);
            rest = &rest[header.size..];
        }
        Ok(headers)
    }

    /// Starts a new segment if `bytes` more would make the last one too large.
    fn roll(&mut self, bytes: u64) -> io::Result<()> {
        let full = self.segments.last().is_some_and(|segment| {
            !segment.entries.is_empty() && segment.length + bytes > self.segment_bytes_max
        });
        if full {
            let base = self.end_offset();
            self.segments.push(Segment::create(&self.volume, &self.directory, base)?);
        }
        Ok(())
    }

    /// Whole batches from the one that holds `from`, all below `to`, of at most `bytes_max`; the first is
    /// given even if it is larger when `first_always`.
    pub fn read(
        &self,
        from: i64,
        to: i64,
        bytes_max: usize,
        first_always: bool,
    ) -> Result<Vec<u8>, LogError> {
        let mut bytes = Vec::new();
        let first_segment = self.segments.partition_point(|segment| end(segment) <= from);
        for segment in &self.segments[first_segment..] {
            let first = segment.find(from);
            let (mut last, mut size) = (first, bytes.len());
            for entry in &segment.entries[first..] {
                let fits = size + entry.size <= bytes_max || (size == 0 && first_always);
                if entry.last_offset >= to || !fits {
                    break;
                }
                size += entry.size;
                last += 1;
            }
            bytes.extend_from_slice(&segment.read(&self.volume, first, last)?);
            if last < segment.entries.len() {
                break;
            }
        }
        Ok(bytes)
    }

    /// The batch that holds `offset`.
    pub fn batch_at(&self, offset: i64) -> Option<BatchPlace> {
        let segment =
            self.segments.iter().find(|segment| segment.base_offset <= offset && offset < end(segment))?;
        let entry = segment.entries.get(segment.find(offset))?;
        Some(BatchPlace { base_offset: entry.base_offset, last_offset: entry.last_offset, crc: entry.crc })
    }

    /// Removes every batch from the one that holds `offset` on.
    pub fn truncate(&mut self, offset: i64) -> io::Result<()> {
        while let Some(segment) = self.segments.last() {
            if segment.base_offset < offset || self.segments.len() == 1 {
                break;
            }
            self.volume.remove(&segment.path)?;
            self.segments.pop();
        }
        let Some(segment) = self.segments.last_mut() else { return Ok(()) };
        let kept = segment.find(offset);
        let length = segment.entries.get(kept).map_or(segment.length, |entry| entry.position);
        self.volume.truncate(&segment.path, length)?;
        segment.entries.truncate(kept);
        segment.length = length;
        Ok(())
    }

    /// The first record at or after a time, below offset `to`: its timestamp and offset.
    pub fn first_at(&self, timestamp_ms: i64, to: i64) -> Result<Option<(i64, i64)>, LogError> {
        for segment in &self.segments {
            for (index, entry) in segment.entries.iter().enumerate() {
                if entry.base_offset >= to {
                    return Ok(None);
                }
                if entry.max_timestamp_ms < timestamp_ms {
                    continue;
                }
                let bytes = segment.read(&self.volume, index, index + 1)?;
                let header = BatchHeader::check(&bytes).map_err(io::Error::other)?;
                if let Some(found) = batch::first_at(&bytes, &header, timestamp_ms) {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The largest timestamp below offset `to` and the offset of the record that has it first.
    pub fn newest(&self, to: i64) -> Result<Option<(i64, i64)>, LogError> {
        let entries = self.segments.iter().flat_map(|segment| &segment.entries);
        let newest = entries.filter(|entry| entry.last_offset < to).map(|entry| entry.max_timestamp_ms).max();
        newest.map_or(Ok(None), |timestamp_ms| self.first_at(timestamp_ms, to))
    }
}

impl Recovery {
    fn cut(&mut self, bytes: u64, reason: impl FnOnce() -> String) {
        self.cut_bytes += bytes;
        self.reason.get_or_insert_with(reason);
    }
}

fn end(segment: &Segment) -> i64 {
    segment.entries.last().map_or(segment.base_offset, |entry| entry.last_offset + 1)
}
