//! A batch's content, opened to see that it is what the header says.
//!
//! Decompression is bounded: a batch that grows beyond the limit is refused, so nothing that is kept can fill
//! the memory of whoever opens it later. Each record is walked, none is copied (Kafka: `LogValidator`).

use std::borrow::Cow;
use std::io::{self, Read};

/// Bytes that a batch's records may have when they are decompressed.
pub(crate) const CONTENT_BYTES_MAX: usize = 100 << 20;
/// The xerial framing that Java's snappy stream writes: magic, version, least compatible version.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ContentError {
    #[error("compression codec {0} is not known")]
    Codec(i16),
    #[error("the records cannot be decompressed: {0}")]
    Compression(String),
    #[error("the records have more than {0} bytes when decompressed")]
    Large(usize),
    #[error("record {0} of the batch is damaged")]
    Record(i32),
    #[error("record {0} has no key, which a compacted topic needs")]
    NoKey(i32),
    #[error("the batch does not have the records that its header counts")]
    Count,
}

impl From<io::Error> for ContentError {
    fn from(error: io::Error) -> Self {
        ContentError::Compression(error.to_string())
    }
}

/// The records of a batch: codec 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.
///
/// # Errors
/// A codec that nobody knows, damage, or too much.
pub(crate) fn open(codec: i16, bytes: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, ContentError> {
    let opened = match codec {
        0 => return Ok(Cow::Borrowed(bytes)),
        1 => bounded(flate2::read::MultiGzDecoder::new(bytes), bytes_max)?,
        2 => snappy(bytes, bytes_max)?,
        3 => lz4_frame(bytes, bytes_max)?,
        4 => bounded(zstd::stream::Decoder::with_buffer(bytes)?, bytes_max)?,
        codec => return Err(ContentError::Codec(codec)),
    };
    Ok(Cow::Owned(opened))
}

fn bounded(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, ContentError> {
    let mut opened = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut opened)?;
    if opened.len() > bytes_max { Err(ContentError::Large(bytes_max)) } else { Ok(opened) }
}

/// The decoder takes the end of the bytes for the end of the frame unless it is asked.
fn lz4_frame(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, ContentError> {
    let mut decoder = lz4::Decoder::new(bytes)?;
    let opened = bounded(&mut decoder, bytes_max)?;
    decoder.finish().1?;
    Ok(opened)
}

fn snappy(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, ContentError> {
    let mut opened = Vec::new();
    if !bytes.starts_with(XERIAL_MAGIC) {
        snappy_block(bytes, &mut opened, bytes_max)?;
        return Ok(opened);
    }
    let short = || ContentError::Compression("the snappy stream ends early".to_owned());
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).ok_or_else(short)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, after) = after.split_at_checked(length).ok_or_else(short)?;
        snappy_block(block, &mut opened, bytes_max)?;
        rest = after;
    }
    Ok(opened)
}

fn snappy_block(block: &[u8], opened: &mut Vec<u8>, bytes_max: usize) -> Result<(), ContentError> {
    let failed = |error: snap::Error| ContentError::Compression(error.to_string());
    let length = snap::raw::decompress_len(block).map_err(failed)?;
    let start = opened.len();
    if length > bytes_max - start {
        return Err(ContentError::Large(bytes_max));
    }
    opened.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut opened[start..]).map_err(failed)?;
    Ok(())
}

/// Walks `count` records with offsets 0, 1, 2 …, and nothing behind them.
///
/// # Errors
/// The first record that does not fit.
pub(super) fn check(mut content: &[u8], count: i32, needs_keys: bool) -> Result<(), ContentError> {
    for index in 0..count {
        if content.is_empty() {
            return Err(ContentError::Count);
        }
        let has_key = record(&mut content, index).ok_or(ContentError::Record(index))?;
        if needs_keys && !has_key {
            return Err(ContentError::NoKey(index));
        }
    }
    if content.is_empty() { Ok(()) } else { Err(ContentError::Count) }
}

/// Passes over a record; tells whether it has a key.
fn record(content: &mut &[u8], index: i32) -> Option<bool> {
    let length = usize::try_from(varint(content)?).ok()?;
    let (mut record, rest) = content.split_at_checked(length)?;
    *content = rest;
    // Attributes.
    record = record.get(1..)?;
    let _timestamp_delta = varint(&mut record)?;
    if varint(&mut record)? != i64::from(index) {
        return None;
    }
    let has_key = nullable(&mut record)?;
    nullable(&mut record)?;
    let headers = varint(&mut record)?;
    for _ in 0..usize::try_from(headers).ok()? {
        // A header's key is not null.
        nullable(&mut record)?.then_some(())?;
        nullable(&mut record)?;
    }
    record.is_empty().then_some(has_key)
}

/// Passes over bytes that may be null (length -1); tells whether they are there.
fn nullable(bytes: &mut &[u8]) -> Option<bool> {
    match varint(bytes)? {
        -1 => Some(false),
        length => {
            *bytes = bytes.get(usize::try_from(length).ok()?..)?;
            Some(true)
        }
    }
}

/// A zigzag variable-length integer.
fn varint(bytes: &mut &[u8]) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    fn batch(count: i32, compression: Compression, key: Option<Bytes>) -> Bytes {
        let record = |index: i32| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: index.into(),
            sequence: index,
            timestamp: 1000,
            key: key.clone(),
            value: Some(Bytes::from(vec![b'v'; 100])),
            headers: [("h".into(), Some(Bytes::from_static(b"x"))), ("n".into(), None)].into_iter().collect(),
        };
        let records: Vec<Record> = (0..count).map(record).collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes.freeze()
    }

    fn codec(batch: &[u8]) -> i16 {
        i16::from_be_bytes([batch[21], batch[22]]) & 7
    }

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn every_codec_is_opened_and_counted() {
        for compression in CODECS {
            let batch = batch(20, compression, Some(Bytes::from_static(b"k")));
            let content = open(codec(&batch), &batch[61..], CONTENT_BYTES_MAX).unwrap();
            assert_eq!(check(&content, 20, true), Ok(()), "{compression:?}");
            assert_eq!(check(&content, 19, true), Err(ContentError::Count));
            assert_eq!(check(&content, 21, true), Err(ContentError::Count));
        }
    }

    #[test]
    fn what_grows_too_large_is_refused() {
        for compression in CODECS.into_iter().skip(1) {
            let batch = batch(20, compression, None);
            let refused = open(codec(&batch), &batch[61..], 1000);
            assert_eq!(refused, Err(ContentError::Large(1000)), "{compression:?}");
        }
    }

    #[test]
    fn damage_is_told_and_nothing_panics() {
        for compression in CODECS {
            let batch = batch(3, compression, None);
            let content = &batch[61..];
            for length in 0..content.len() {
                let opened = open(codec(&batch), &content[..length], 10_000);
                assert!(
                    opened.is_err() || check(&opened.unwrap(), 3, false).is_err(),
                    "{compression:?} {length}"
                );
            }
        }
        assert_eq!(open(6, b"", 10), Err(ContentError::Codec(6)));
    }

    #[test]
    fn compacted_topics_need_keys() {
        let batch = batch(2, Compression::None, None);
        assert_eq!(check(&batch[61..], 2, true), Err(ContentError::NoKey(0)));
        assert_eq!(check(&batch[61..], 2, false), Ok(()));
    }
}
