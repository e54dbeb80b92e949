//! The records in a batch, as they lie there: read one by one, found by time, or some of them taken out.
//!
//! Source: Kafka protocol, "Record": length, attributes, timestamp and offset as differences to the batch's, key,
//! value, headers; lengths and differences are zigzag variable-length integers.

use std::borrow::Cow;

use super::batch::{self, BatchHeader, HEADER_BYTES};
use super::codec;

/// A record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// All of its bytes, the length included.
    pub bytes: &'a [u8],
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    /// `None` for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The records of a batch, uncompressed.
pub(super) struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

/// What [`Records::keep`] leaves of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// `None` if every record stays.
    pub batch: Option<Vec<u8>>,
    /// Whether a tombstone is among the records that stay.
    pub tombstones: bool,
}

impl<'a> Records<'a> {
    /// The records of a whole batch.
    ///
    /// # Errors
    /// Why they cannot be uncompressed.
    pub fn of(batch: &'a [u8]) -> Result<Records<'a>, String> {
        let header = BatchHeader::read(batch).map_err(|error| error.to_string())?;
        let bytes = batch.get(HEADER_BYTES..header.size).ok_or("the batch is cut off")?;
        let bytes = match header.codec() {
            // An emptied batch has no records to uncompress, whatever it says.
            _ if header.record_count == 0 => Cow::Borrowed(&bytes[..0]),
            codec => codec::uncompress(codec, bytes, codec::UNCOMPRESSED_BYTES_MAX)
                .map_err(|error| error.to_string())?,
        };
        Ok(Records { header, bytes })
    }

    /// One by one. After an error there are no more.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record<'_>, String>> {
        let mut rest = &self.bytes[..];
        let mut failed = false;
        std::iter::from_fn(move || {
            if rest.is_empty() || failed {
                return None;
            }
            let record = next(&mut rest, &self.header).ok_or_else(|| "a record is malformed".to_owned());
            failed = record.is_err();
            Some(record)
        })
    }

    /// The first record at or after `timestamp_ms` and `start_offset`: its timestamp and offset.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn first_at(&self, timestamp_ms: i64, start_offset: i64) -> Result<Option<(i64, i64)>, String> {
        for record in self.iter() {
            let Record { timestamp_ms: time, offset, .. } = record?;
            if time >= timestamp_ms && offset >= start_offset {
                return Ok(Some((time, offset)));
            }
        }
        Ok(None)
    }

    /// The batch without the records that `keep` does not want; offsets stay as they are.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn keep(&self, batch: &[u8], mut keep: impl FnMut(&Record) -> bool) -> Result<Kept, String> {
        let mut kept: Vec<u8> = Vec::new();
        let (mut count, mut dropped, mut newest, mut tombstones) = (0, 0, -1, false);
        for record in self.iter() {
            let record = record?;
            if !keep(&record) {
                dropped += 1;
                continue;
            }
            kept.extend_from_slice(record.bytes);
            count += 1;
            newest = newest.max(record.timestamp_ms);
            tombstones |= record.value.is_none();
        }
        if dropped == 0 {
            return Ok(Kept { batch: None, tombstones });
        }
        if self.header.log_append_time() {
            newest = self.header.max_timestamp_ms;
        }
        let codec = self.header.codec();
        let batch = match codec {
            codec if codec != 0 && count > 0 => {
                let kept = codec::compress(codec, &kept).map_err(|error| error.to_string())?;
                batch::with_records(batch, &kept, count, newest)
            }
            _ => batch::with_records(batch, &kept, count, newest),
        };
        Ok(Kept { batch: Some(batch), tombstones })
    }
}

fn next<'a>(rest: &mut &'a [u8], header: &BatchHeader) -> Option<Record<'a>> {
    let start = *rest;
    let length = usize::try_from(varint(rest)?).ok()?;
    let (mut fields, after) = rest.split_at_checked(length)?;
    let bytes = &start[..start.len() - after.len()];
    *rest = after;
    fields = fields.get(1..)?;
    let timestamp = header.base_timestamp_ms.checked_add(varint(&mut fields)?)?;
    let offset = header.base_offset.checked_add(varint(&mut fields)?)?;
    if offset < header.base_offset || offset > header.last_offset() {
        return None;
    }
    let timestamp_ms = if header.log_append_time() { header.max_timestamp_ms } else { timestamp };
    let key = sized(&mut fields)?;
    let value = sized(&mut fields)?;
    Some(Record { bytes, offset, timestamp_ms, key, value })
}

/// A field with its length before it; `None` inside for a length of -1.
fn sized<'a>(bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes)?;
    if length == -1 {
        return Some(None);
    }
    let (field, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(Some(field))
}

/// A zigzag variable-length integer, as records use it.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

/// Key and value of a batch's first record; `None` if there is none with both.
pub(crate) fn first_record(batch: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let records = Records::of(batch).ok()?;
    let record = records.iter().next()?.ok()?;
    Some((record.key?.to_vec(), record.value?.to_vec()))
}
