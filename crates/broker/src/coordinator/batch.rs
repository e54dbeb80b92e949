//! Batches of coordinators' records: made for the log, read from it.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record as KafkaRecord,
    RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use super::Record;
use super::codec::FieldWriter;
use super::queue::{Batch, WriteKind};
use crate::log::batch::BatchHeader;

/// The version of control records' keys, and of their values.
const CONTROL_VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// A batch of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replayed {
    pub base_offset: i64,
    pub kind: WriteKind,
    pub records: Vec<Record>,
}

/// The batch's bytes, with this time in its records.
///
/// # Errors
/// What the encoder does not take: a batch of more than 2 GiB.
pub(crate) fn encode(batch: &Batch, now_ms: i64) -> Result<Vec<u8>, String> {
    let control;
    let (records, producer_id, producer_epoch) = match batch.kind {
        WriteKind::Plain => (&batch.records, NO_PRODUCER_ID, NO_PRODUCER_EPOCH),
        WriteKind::Transactional { producer_id, producer_epoch, .. } => {
            (&batch.records, producer_id, producer_epoch)
        }
        WriteKind::Marker { producer_id, producer_epoch, coordinator_epoch, commit, .. } => {
            control = vec![marker(coordinator_epoch, commit)];
            (&control, producer_id, producer_epoch)
        }
    };
    let record = |(index, record): (usize, &Record)| KafkaRecord {
        transactional: batch.kind != WriteKind::Plain,
        control: matches!(batch.kind, WriteKind::Marker { .. }),
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: index as i64,
        // The encoder makes one batch of records whose sequences rise with their offsets, and takes the first
        // one's for the batch: -1, no sequence.
        sequence: index as i32 - 1,
        timestamp: now_ms,
        key: Some(record.key.clone()),
        value: record.value.clone(),
        headers: IndexMap::new(),
    };
    let records: Vec<KafkaRecord> = records.iter().enumerate().map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).map_err(|error| error.to_string())?;
    Ok(bytes.into())
}

/// The batch that a marker is.
///
/// # Errors
/// As [`encode`].
pub(crate) fn control_batch(kind: WriteKind, now_ms: i64) -> Result<Vec<u8>, String> {
    encode(&Batch { kind, records: Vec::new() }, now_ms)
}

/// A transaction's end (KIP-98). clients.md: it needs a value, which sarama reads.
fn marker(coordinator_epoch: i32, commit: bool) -> Record {
    let key = FieldWriter::version(CONTROL_VERSION).i16(if commit { COMMIT } else { ABORT }).finish();
    let value = FieldWriter::version(CONTROL_VERSION).i32(coordinator_epoch).finish();
    Record { key, value: Some(value) }
}

/// Reads whole batches, as the log gives them; control batches of other kinds than transactions' ends are
/// passed over. Also tells the offset after the last one.
///
/// # Errors
/// What is wrong with a batch.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Vec<Replayed>, Option<i64>), String> {
    let mut batches = Vec::new();
    let mut rest = bytes;
    let mut end = None;
    while !rest.is_empty() {
        let header = BatchHeader::check(rest).map_err(|error| error.to_string())?;
        let mut batch = Bytes::copy_from_slice(&rest[..header.size]);
        rest = &rest[header.size..];
        end = Some(header.last_offset() + 1);
        let set = RecordBatchDecoder::decode(&mut batch).map_err(|error| error.to_string())?;
        batches.extend(replayed(header.base_offset, set.records));
    }
    Ok((batches, end))
}

fn replayed(base_offset: i64, records: Vec<KafkaRecord>) -> Option<Replayed> {
    let first = records.first()?;
    let (producer_id, producer_epoch) = (first.producer_id, first.producer_epoch);
    if first.control {
        let key = first.key.as_ref()?;
        let commit = match (key.len(), i16::from_be_bytes([*key.get(2)?, *key.get(3)?])) {
            (4, COMMIT) => true,
            (4, ABORT) => false,
            _ => return None,
        };
        let epoch = first.value.as_ref().and_then(|value| value.get(2..6)?.try_into().ok());
        let coordinator_epoch = epoch.map_or(-1, i32::from_be_bytes);
        let raised_epoch = false;
        let kind = WriteKind::Marker { producer_id, producer_epoch, raised_epoch, coordinator_epoch, commit };
        return Some(Replayed { base_offset, kind, records: Vec::new() });
    }
    let kind = match first.transactional {
        true => WriteKind::Transactional { producer_id, producer_epoch, begins: None },
        false => WriteKind::Plain,
    };
    let record = |record: KafkaRecord| Some(Record { key: record.key?, value: record.value });
    Some(Replayed { base_offset, kind, records: records.into_iter().filter_map(record).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let record = |key: &'static str, value: Option<&'static str>| Record {
            key: Bytes::from_static(key.as_bytes()),
            value: value.map(|value| Bytes::from_static(value.as_bytes())),
        };
        let records = vec![record("a", Some("1")), record("b", None)];
        let marker = |commit| WriteKind::Marker {
            producer_id: 7,
            producer_epoch: 2,
            raised_epoch: false,
            coordinator_epoch: 5,
            commit,
        };
        let transactional = WriteKind::Transactional { producer_id: 7, producer_epoch: 2, begins: None };
        for (kind, records) in [
            (WriteKind::Plain, records.clone()),
            (transactional, records),
            (marker(true), Vec::new()),
            (marker(false), Vec::new()),
        ] {
            let bytes = encode(&Batch { kind, records: records.clone() }, 1000).unwrap();
            let header = BatchHeader::check(&bytes).unwrap();
            assert_eq!(header.size, bytes.len(), "one batch");
            let base_sequence = i32::from_be_bytes(bytes[53..57].try_into().unwrap());
            assert_eq!(base_sequence, -1);
            let (batches, end) = decode(&bytes).unwrap();
            assert_eq!(batches, [Replayed { base_offset: 0, kind, records }]);
            assert_eq!(end, Some(header.last_offset() + 1));
        }
    }

    #[test]
    fn a_damaged_batch_is_told() {
        let batch = Batch { kind: WriteKind::Plain, records: vec![marker(1, true)] };
        let mut bytes = encode(&batch, 1000).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(decode(&bytes).is_err());
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
    }
}
