//! A batch's content, opened to see that it is what the header says.
//!
//! A batch is uncompressed within a bound: one that grows beyond the limit is refused, so nothing that is kept can fill
//! the memory of whoever opens it later. Each record is walked, none is copied (Kafka: `LogValidator`).

use crate::log::codec::CodecError;
use crate::log::records::varint;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ContentError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("record {0} of the batch is damaged")]
    Record(i32),
    #[error("record {0} has no key, which a compacted topic needs")]
    NoKey(i32),
    #[error("the batch does not have the records that its header counts")]
    Count,
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

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;
    use crate::log::codec::{UNCOMPRESSED_BYTES_MAX, uncompress};

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
            let content = uncompress(codec(&batch), &batch[61..], UNCOMPRESSED_BYTES_MAX).unwrap();
            assert_eq!(check(&content, 20, true), Ok(()), "{compression:?}");
            assert_eq!(check(&content, 19, true), Err(ContentError::Count));
            assert_eq!(check(&content, 21, true), Err(ContentError::Count));
        }
    }

    #[test]
    fn damage_is_told_and_nothing_panics() {
        for compression in CODECS {
            let batch = batch(3, compression, None);
            let content = &batch[61..];
            for length in 0..content.len() {
                let opened = uncompress(codec(&batch), &content[..length], 10_000);
                assert!(
                    opened.is_err() || check(&opened.unwrap(), 3, false).is_err(),
                    "{compression:?} {length}"
                );
            }
        }
    }

    #[test]
    fn compacted_topics_need_keys() {
        let batch = batch(2, Compression::None, None);
        assert_eq!(check(&batch[61..], 2, true), Err(ContentError::NoKey(0)));
        assert_eq!(check(&batch[61..], 2, false), Ok(()));
    }
}
