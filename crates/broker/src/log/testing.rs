//! What tests of the log, and of what follows it, share.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use turmoil_fs::Fs;

use super::*;

pub(crate) const DIRECTORY: &str = "/data/kafka/orders/0_12345678";

pub(crate) fn volume(fs: &Fs) -> Volume {
    Volume::simulated(fs.clone(), PathBuf::from("/data"))
}

pub(crate) fn config(segment_bytes: u64) -> LogConfig {
    LogConfig { segment_bytes, segment_ms: None, ..LogConfig::default() }
}

pub(crate) fn open_as(fs: &Fs, config: LogConfig) -> (Log, Recovery) {
    Log::open(&volume(fs), Path::new(DIRECTORY), config).unwrap()
}

pub(crate) fn open(fs: &Fs, segment_bytes: u64) -> (Log, Recovery) {
    open_as(fs, config(segment_bytes))
}

pub(crate) fn file(base_index: u64) -> PathBuf {
    segment::path(Path::new(DIRECTORY), base_index)
}

/// A record with what the tests do not vary.
pub(crate) fn record(index: i64, timestamp: i64, key: Option<&str>, value: Option<&[u8]>) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: index,
        sequence: index as i32,
        timestamp,
        key: key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(Bytes::copy_from_slice),
        headers: Default::default(),
    }
}

pub(crate) fn encode(records: &[Record], compression: Compression) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, records, &RecordEncodeOptions { version: 2, compression })
        .unwrap();
    bytes.to_vec()
}

/// A batch of `count` records of 100 bytes at `offset`, with timestamps from 10 times the offset on.
pub(crate) fn batch_at(offset: i64, count: i64) -> Vec<u8> {
    let value = vec![offset as u8; 100];
    let records: Vec<Record> =
        (0..count).map(|index| record(index, 10 * (offset + index), None, Some(&value))).collect();
    let mut bytes = encode(&records, Compression::None);
    batch::assign(&mut bytes, offset, 1);
    bytes
}

/// A batch as a producer sends it.
pub(crate) fn as_producer(
    mut batch: Vec<u8>,
    id: i64,
    epoch: i16,
    sequence: i32,
    transactional: bool,
) -> Vec<u8> {
    batch[22] |= u8::from(transactional) << 4;
    batch[43..51].copy_from_slice(&id.to_be_bytes());
    batch[51..53].copy_from_slice(&epoch.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The control batch that ends a producer's transaction.
pub(crate) fn marker(committed: bool, coordinator_epoch: i32, id: i64, epoch: i16) -> Vec<u8> {
    let value = [&[0, 0], &coordinator_epoch.to_be_bytes()[..]].concat();
    let mut record = record(0, 50, None, Some(&value));
    record.key = Some(Bytes::copy_from_slice(&[0, 0, 0, u8::from(committed)]));
    record.control = true;
    as_producer(encode(&[record], Compression::None), id, epoch, -1, true)
}

/// A batch as the next entry of a log.
pub(crate) fn next(log: &Log, term: u64, mut batch: Vec<u8>) -> Entry {
    batch::assign(&mut batch, log.end_offset(), term as i32);
    let kind = EntryKind::Batch;
    Entry { index: log.last_index() + 1, term, kind, base_offset: log.end_offset(), payload: batch.into() }
}

pub(crate) fn command(log: &Log, term: u64, payload: &'static [u8]) -> Entry {
    let (index, base_offset) = (log.last_index() + 1, log.end_offset());
    Entry { index, term, kind: EntryKind::Command, base_offset, payload: Bytes::from_static(payload) }
}

pub(crate) fn append(log: &mut Log, term: u64, batch: Vec<u8>) {
    let entry = next(log, term, batch);
    log.append(&[entry]).unwrap();
}

/// Ten batches of two records in term 1, synced.
pub(crate) fn filled(fs: &Fs, segment_bytes: u64) -> Log {
    let (mut log, _) = open(fs, segment_bytes);
    for offset in (0..20).step_by(2) {
        append(&mut log, 1, batch_at(offset, 2));
    }
    log.sync().unwrap();
    log
}

pub(crate) fn offsets(bytes: &[u8]) -> Vec<i64> {
    let mut rest = bytes;
    let mut offsets = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::check(rest).unwrap();
        offsets.push(header.base_offset);
        rest = &rest[header.size..];
    }
    offsets
}

pub(crate) fn all(log: &Log) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut from = log.first_index();
    while from <= log.last_index() {
        entries.extend(log.entries(from, log.last_index() + 1, usize::MAX).unwrap());
        from = entries[entries.len() - 1].index + 1;
    }
    entries
}
