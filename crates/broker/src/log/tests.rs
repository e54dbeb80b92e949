//! A log through crashes, damage and a failing volume.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use turmoil_fs::Fs;

use super::*;

const DIRECTORY: &str = "/data/kafka/orders/0_12345678";

fn volume(fs: &Fs) -> Volume {
    Volume::new(fs.clone(), PathBuf::from("/data"))
}

fn open(fs: &Fs, segment_bytes: u64) -> (PartitionLog, Recovery) {
    PartitionLog::open(&volume(fs), Path::new(DIRECTORY), segment_bytes).unwrap()
}

fn file(base: i64) -> PathBuf {
    segment::path(Path::new(DIRECTORY), base)
}

/// A batch of `count` records of 100 bytes at `offset`, with timestamps from 10 times the offset on.
fn batch_at(offset: i64, count: i64) -> Vec<u8> {
    let record = |index: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: index,
        sequence: index as i32,
        timestamp: 10 * (offset + index),
        key: None,
        value: Some(Bytes::from(vec![offset as u8; 100])),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    let mut bytes = bytes.to_vec();
    batch::assign(&mut bytes, offset, 1);
    bytes
}

fn offsets(bytes: &[u8]) -> Vec<i64> {
    let mut rest = bytes;
    let mut offsets = Vec::new();
    while !rest.is_empty() {
        let header = BatchHeader::check(rest).unwrap();
        offsets.push(header.base_offset);
        rest = &rest[header.size..];
    }
    offsets
}

fn filled(fs: &Fs, segment_bytes: u64) -> PartitionLog {
    let (mut log, _) = open(fs, segment_bytes);
    for offset in (0..20).step_by(2) {
        log.append(&batch_at(offset, 2)).unwrap();
    }
    log
}

#[test]
fn what_was_appended_survives_a_crash_over_segments() {
    let fs = Fs::builder().seed(1).build();
    filled(&fs, 1000);
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!(recovery, Recovery::default());
    assert!(log.segments.len() > 2);
    assert_eq!((log.start_offset(), log.end_offset()), (0, 20));
    assert_eq!(offsets(&log.read(0, 20, 1 << 20, true).unwrap()), (0..20).step_by(2).collect::<Vec<_>>());
}

#[test]
fn reading_obeys_its_limits() {
    let fs = Fs::builder().seed(1).short_read_probability(0.5).build();
    let log = filled(&fs, 1000);
    let size = batch_at(0, 2).len();
    assert_eq!(offsets(&log.read(5, 20, 2 * size, true).unwrap()), [4, 6]);
    assert_eq!(offsets(&log.read(0, 4, 1 << 20, true).unwrap()), [0, 2]);
    // A batch that ends at the limit's other side is not given.
    assert_eq!(offsets(&log.read(0, 3, 1 << 20, true).unwrap()), [0]);
    assert_eq!(offsets(&log.read(6, 20, 1, true).unwrap()), [6]);
    assert!(log.read(6, 20, 1, false).unwrap().is_empty());
    assert!(log.read(20, 30, 1 << 20, true).unwrap().is_empty());
}

#[test]
fn a_torn_batch_is_cut_and_the_log_goes_on() {
    let fs = Fs::builder().seed(1).build();
    filled(&fs, 1 << 20);
    let length = volume(&fs).length(&file(0)).unwrap().unwrap();
    volume(&fs).truncate(&file(0), length - 1).unwrap();
    let (mut log, recovery) = open(&fs, 1 << 20);
    assert_eq!(recovery.cut_bytes, batch_at(0, 2).len() as u64 - 1);
    assert!(recovery.reason.unwrap().contains("at offset 18"));
    assert_eq!(log.end_offset(), 18);
    log.append(&batch_at(18, 1)).unwrap();
    assert_eq!(open(&fs, 1 << 20).0.end_offset(), 19);
}

#[test]
fn damage_in_the_middle_takes_all_that_follows() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    let second = log.segments[1].base_offset;
    let mut byte = [0];
    volume(&fs).read_at(&file(second), 80, &mut byte).unwrap();
    volume(&fs).write_at(&file(second), 80, &[byte[0] ^ 1]).unwrap();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!(log.end_offset(), second);
    assert!(recovery.reason.unwrap().contains("checksum"));
    assert_eq!(volume(&fs).names(Path::new(DIRECTORY)).unwrap().len(), 2);
}

#[test]
fn a_read_that_is_wrong_once_is_not_taken_for_damage() {
    let fs = Fs::builder().seed(5).build();
    filled(&fs, 1 << 20);
    // Each read of a batch is wrong with the same low chance; three in a row are very rare.
    let flaky = Fs::builder().seed(5).corruption_probability(0.05).build();
    filled_copy(&fs, &flaky);
    for _ in 0..50 {
        assert_eq!(open(&flaky, 1 << 20).0.end_offset(), 20);
    }
}

fn filled_copy(from: &Fs, to: &Fs) {
    let bytes = volume(from).read(&file(0)).unwrap().unwrap();
    let volume = volume(to);
    volume.create_directory(Path::new(DIRECTORY)).unwrap();
    volume.create(&file(0)).unwrap();
    volume.write_at(&file(0), 0, &bytes).unwrap();
}

#[test]
fn truncating_goes_back_over_segments() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    log.truncate(5).unwrap();
    // Offset 5 lies in the batch of 4 and 5, which goes as a whole.
    assert_eq!(log.end_offset(), 4);
    log.append(&batch_at(4, 3)).unwrap();
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.end_offset(), recovery), (7, Recovery::default()));
    assert_eq!(log.batch_at(6).unwrap().last_offset, 6);
    assert_eq!(log.batch_at(7), None);
}

#[test]
fn a_gap_is_refused() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    assert!(matches!(log.append(&batch_at(21, 1)), Err(LogError::Gap(20))));
}

#[test]
fn records_are_found_by_time() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    assert_eq!(log.first_at(0, 20).unwrap(), Some((0, 0)));
    assert_eq!(log.first_at(70, 20).unwrap(), Some((70, 7)));
    assert_eq!(log.first_at(71, 20).unwrap(), Some((80, 8)));
    assert_eq!(log.first_at(191, 20).unwrap(), None);
    assert_eq!(log.first_at(150, 10).unwrap(), None);
    assert_eq!(log.newest(20).unwrap(), Some((190, 19)));
}

#[test]
fn a_failing_volume_loses_nothing_that_was_acknowledged() {
    let fs = Fs::builder().seed(3).io_error_probability(0.2).build();
    let (mut log, _) = open(&fs, 1000);
    let mut acknowledged = 0;
    for _ in 0..200 {
        if log.append(&batch_at(log.end_offset(), 1)).is_ok() {
            acknowledged = log.end_offset();
        }
    }
    assert!(acknowledged > 20, "{acknowledged}");
    fs.crash();
    let reopened = std::iter::repeat_with(|| PartitionLog::open(&volume(&fs), Path::new(DIRECTORY), 1000));
    let (log, recovery) = reopened.take(10_000).find_map(Result::ok).unwrap();
    assert_eq!((log.end_offset(), recovery), (acknowledged, Recovery::default()));
}

#[test]
fn stamping_replaces_the_time_and_keeps_the_checksum_right() {
    let mut bytes = batch_at(0, 2);
    batch::stamp(&mut bytes, 777);
    let header = BatchHeader::check(&bytes).unwrap();
    assert_eq!(header.max_timestamp_ms, 777);
    assert_eq!(batch::first_at(&bytes, &header, 500), Some((777, 0)));
}
