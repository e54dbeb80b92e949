//! Records in batches of message format v2: written by `kafka-protocol`, read one by one.
//!
//! What is read may come from any producer, so nothing in it is believed: lengths are checked against what is
//! there. Source: Kafka protocol guide, "Record Batch". Left out: headers, which neither service shows.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record as KafkaRecord,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::error::KafkaError;
use crate::log::batch::{BatchHeader, HEADER_BYTES};
use crate::log::codec::{UNCOMPRESSED_BYTES_MAX, uncompress};

/// The message format in use since Kafka 0.11.
const FORMAT_VERSION: i8 = 2;
/// Attribute bits 0 to 2: the compression codec.
const CODEC_BITS: i16 = 0b111;

/// Key and value of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub key: Option<Bytes>,
    /// `None` is a tombstone.
    pub value: Option<Bytes>,
}

impl Record {
    /// About how many bytes it takes in a batch.
    pub fn size(&self) -> usize {
        const OVERHEAD_BYTES: usize = 24;
        OVERHEAD_BYTES + self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FetchedRecord {
    pub offset: i64,
    pub record: Record,
}

/// One batch of these records, at least one, stamped with `now_ms`.
///
/// # Errors
/// A batch of more than 2 GiB.
pub(crate) fn encode(records: &[Record], now_ms: i64) -> Result<Bytes, KafkaError> {
    let written: Vec<KafkaRecord> = records
        .iter()
        .enumerate()
        .map(|(index, record)| KafkaRecord {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            timestamp_type: TimestampType::Creation,
            offset: index as i64,
            // The encoder makes one batch of records whose sequences rise with their offsets, and takes the
            // first one's for the batch: -1, no sequence.
            sequence: (index as i32).wrapping_sub(1),
            timestamp: now_ms,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: IndexMap::new(),
        })
        .collect();
    let options = RecordEncodeOptions { version: FORMAT_VERSION, compression: Compression::None };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &written, &options)
        .map_err(|error| KafkaError::Malformed(error.to_string()))?;
    Ok(bytes.freeze())
}

/// The records of `batches` at `from` and later, and the offset to read next.
///
/// A broker sends from the beginning of a batch, so earlier records may come along; it cuts its answer at its
/// byte limit, inside a batch if need be; control records are for brokers alone (Kafka protocol guide, Fetch).
///
/// # Errors
/// Damage.
pub(crate) fn decode(batches: &Bytes, from: i64) -> Result<(Vec<FetchedRecord>, i64), KafkaError> {
    let damaged = |problem: &dyn std::fmt::Display| KafkaError::Malformed(problem.to_string());
    let (mut records, mut next, mut at) = (Vec::new(), from, 0);
    while batches.len() - at >= HEADER_BYTES {
        let header = BatchHeader::read(&batches[at..]).map_err(|error| damaged(&error))?;
        if batches.len() - at < header.size {
            break;
        }
        let content = batches.slice(at + HEADER_BYTES..at + header.size);
        at += header.size;
        next = next.max(header.last_offset().saturating_add(1));
        if header.control() {
            continue;
        }
        let codec = header.attributes & CODEC_BITS;
        let opened = uncompress(codec, &content, UNCOMPRESSED_BYTES_MAX).map_err(|error| damaged(&error))?;
        let mut content = match opened {
            Cow::Borrowed(_) => content.clone(),
            Cow::Owned(opened) => Bytes::from(opened),
        };
        for _ in 0..header.record_count {
            let record = read_record(&mut content, header.base_offset)
                .ok_or_else(|| damaged(&format!("a record of the batch at {}", header.base_offset)))?;
            if record.offset >= from {
                records.push(record);
            }
        }
    }
    Ok((records, next))
}

fn read_record(content: &mut Bytes, base_offset: i64) -> Option<FetchedRecord> {
    let length = usize::try_from(varint(content)?).ok()?;
    if length > content.len() {
        return None;
    }
    let mut record = content.split_to(length);
    // Attributes.
    take(&mut record, 1)?;
    let _timestamp_delta = varint(&mut record)?;
    let offset = base_offset.checked_add(varint(&mut record)?)?;
    let key = nullable(&mut record)?;
    let value = nullable(&mut record)?;
    Some(FetchedRecord { offset, record: Record { key, value } })
}

fn take(bytes: &mut Bytes, count: usize) -> Option<Bytes> {
    (count <= bytes.len()).then(|| bytes.split_to(count))
}

/// Bytes that may be null, which their length -1 says.
fn nullable(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match varint(bytes)? {
        -1 => Some(None),
        length => take(bytes, usize::try_from(length).ok()?).map(Some),
    }
}

/// A zigzag variable-length integer.
fn varint(bytes: &mut Bytes) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::batch::assign;

    fn record(key: Option<&'static str>, value: Option<&'static str>) -> Record {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        Record { key: key.map(bytes), value: value.map(bytes) }
    }

    fn batch(base_offset: i64, records: &[Record]) -> Vec<u8> {
        let mut bytes = encode(records, 1000).unwrap().to_vec();
        assign(&mut bytes, base_offset, 0);
        bytes
    }

    #[test]
    fn records_come_back_as_they_went() {
        let records = [record(Some("k"), Some("v")), record(None, None), record(Some(""), Some(""))];
        let mut bytes = batch(10, &records);
        bytes.extend(batch(13, &records[..1]));
        let whole = bytes.len();
        bytes.extend(&batch(14, &records)[..70]);
        let (read, next) = decode(&Bytes::from(bytes.clone()), 11).unwrap();
        let offsets: Vec<i64> = read.iter().map(|read| read.offset).collect();
        assert_eq!((offsets, next), (vec![11, 12, 13], 14));
        assert_eq!(read[0].record, records[1]);
        assert_eq!(read[2].record, records[0]);
        bytes.truncate(whole);
        assert_eq!(decode(&Bytes::from(bytes), 20).unwrap(), (vec![], 20));
    }

    #[test]
    fn every_codec_is_read() {
        for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let written = KafkaRecord {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id: -1,
                producer_epoch: -1,
                timestamp_type: TimestampType::Creation,
                offset: 0,
                sequence: -1,
                timestamp: 1000,
                key: None,
                value: Some(Bytes::from_static(b"value")),
                headers: [("h".into(), None)].into_iter().collect(),
            };
            let mut bytes = BytesMut::new();
            let options = RecordEncodeOptions { version: 2, compression };
            RecordBatchEncoder::encode(&mut bytes, &[written], &options).unwrap();
            let (read, _) = decode(&bytes.freeze(), 0).unwrap();
            assert_eq!(read[0].record, record(None, Some("value")), "{compression:?}");
        }
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic() {
        let bytes = batch(0, &[record(Some("key"), Some("value"))]);
        for position in HEADER_BYTES..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[position] = value;
                let _ = decode(&Bytes::from(damaged), 0);
            }
        }
        let mut counted = bytes;
        counted[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(decode(&Bytes::from(counted), 0).is_err());
    }
}
