//! Compaction: what goes, what stays, and where everything is afterwards.

use super::*;
use crate::log::records::Records;

const LATER: i64 = 1_000_000;

fn compacting() -> LogConfig {
    LogConfig { compacts: true, deletes: false, min_cleanable_dirty_ratio: 0.0, ..config(400) }
}

/// Appends a batch of keys with values; an empty value is a tombstone.
fn put(log: &mut Log, pairs: &[(&str, &str)], compression: Compression) {
    append(log, 1, keyed(pairs, compression));
}

fn keyed(pairs: &[(&str, &str)], compression: Compression) -> Vec<u8> {
    let value = |value: &'static str| Some(value.as_bytes()).filter(|value| !value.is_empty());
    let records: Vec<_> = pairs
        .iter()
        .zip(0..)
        .map(|((key, text), index)| {
            let leaked: &'static str = String::leak((*text).to_owned());
            record(index, 10 + index, Some(key), value(leaked))
        })
        .collect();
    encode(&records, compression)
}

/// Fills up the segment, so that what was put before is in closed ones.
fn close(log: &mut Log) {
    log.roll().unwrap();
}

/// Offset, key and value of every record.
fn contents(log: &Log) -> Vec<(i64, String, String)> {
    let mut contents = Vec::new();
    for entry in all(log).iter().filter(|entry| entry.kind == EntryKind::Batch) {
        let header = BatchHeader::check(&entry.payload).unwrap();
        if header.control() {
            continue;
        }
        let records = Records::of(&entry.payload).unwrap();
        let before = contents.len();
        for record in records.iter().map(Result::unwrap) {
            let text = |field: Option<&[u8]>| String::from_utf8(field.unwrap_or(b"-").to_vec()).unwrap();
            contents.push((record.offset, text(record.key), text(record.value)));
        }
        assert_eq!(contents.len() - before, header.record_count as usize);
    }
    contents
}

fn at(offset: i64, key: &str, value: &str) -> (i64, String, String) {
    (offset, key.to_owned(), value.to_owned())
}

#[test]
fn only_the_newest_record_of_a_key_stays_and_nothing_moves() {
    for compression in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let fs = Fs::builder().seed(1).build();
        let (mut log, _) = open_as(&fs, compacting());
        put(&mut log, &[("a", "1"), ("b", "1"), ("a", "2")], compression);
        put(&mut log, &[("c", "1")], compression);
        let entry = command(&log, 1, b"raft");
        log.append(&[entry]).unwrap();
        put(&mut log, &[("a", "3"), ("d", "1")], compression);
        close(&mut log);
        put(&mut log, &[("c", "open")], compression);
        log.sync().unwrap();
        let before: Vec<_> =
            all(&log).iter().map(|entry| (entry.index, entry.term, entry.base_offset)).collect();
        let size = log.size_bytes();
        assert!(log.compact(LATER, 5).unwrap());
        let expected =
            [at(1, "b", "1"), at(3, "c", "1"), at(4, "a", "3"), at(5, "d", "1"), at(6, "c", "open")];
        assert_eq!(contents(&log), expected, "{compression:?}");
        assert!(log.size_bytes() < size);
        fs.crash();
        let (log, recovery) = open_as(&fs, compacting());
        assert_eq!((contents(&log), recovery), (expected.to_vec(), Recovery::default()));
        let after: Vec<_> =
            all(&log).iter().map(|entry| (entry.index, entry.term, entry.base_offset)).collect();
        assert_eq!(after, before);
        assert_eq!((log.end_offset(), log.offset_after(1), log.index_of(4)), (7, 3, Some(4)));
    }
}

#[test]
fn a_batch_that_is_left_empty_is_passed_over_by_readers() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, compacting());
    put(&mut log, &[("a", "1"), ("b", "1")], Compression::Zstd);
    put(&mut log, &[("a", "2"), ("b", "2")], Compression::Zstd);
    put(&mut log, &[("c", "1")], Compression::Zstd);
    close(&mut log);
    log.compact(LATER, 3).unwrap();
    assert_eq!(offsets(&log.read(0, 5, 1 << 20, true).unwrap()), [2, 4]);
    // Where nothing follows, the empty batch itself lets the reader get on.
    let alone = log.read(0, 2, 1 << 20, true).unwrap();
    let header = BatchHeader::check(&alone).unwrap();
    assert_eq!((header.record_count, header.last_offset(), header.codec()), (0, 1, 0));
    assert_eq!(log.first_at(0, 5).unwrap(), Some((10, 2)));
}

#[test]
fn what_is_open_uncommitted_or_unstable_is_left() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, compacting());
    put(&mut log, &[("a", "1")], Compression::None);
    put(&mut log, &[("a", "2")], Compression::None);
    assert!(!log.compact(LATER, 2).unwrap());
    close(&mut log);
    assert!(!log.compact(LATER, 1).unwrap());
    let transactional = as_producer(keyed(&[("b", "1")], Compression::None), 4, 0, 0, true);
    append(&mut log, 1, transactional);
    put(&mut log, &[("b", "2")], Compression::None);
    close(&mut log);
    assert!(log.compact(LATER, 4).unwrap());
    assert_eq!(contents(&log), [at(1, "a", "2"), at(2, "b", "1"), at(3, "b", "2")]);
    append(&mut log, 1, marker(true, 0, 4, 0));
    close(&mut log);
    assert!(log.compact(LATER, 5).unwrap());
    assert_eq!(contents(&log), [at(1, "a", "2"), at(3, "b", "2")]);
}

#[test]
fn aborted_records_go_and_do_not_replace_what_was_committed() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, compacting());
    put(&mut log, &[("a", "committed")], Compression::None);
    append(&mut log, 1, as_producer(keyed(&[("a", "aborted")], Compression::None), 4, 0, 0, true));
    append(&mut log, 1, marker(false, 0, 4, 0));
    append(&mut log, 1, as_producer(keyed(&[("b", "kept")], Compression::None), 4, 0, 1, true));
    append(&mut log, 1, marker(true, 0, 4, 0));
    close(&mut log);
    let producers = log.producers().clone();
    assert!(log.compact(LATER, 5).unwrap());
    assert_eq!(contents(&log), [at(0, "a", "committed"), at(3, "b", "kept")]);
    // Markers and what is known of the producers stay.
    assert_eq!(all(&log).len(), 5);
    let (log, _) = open_as(&fs, compacting());
    assert_eq!(log.producers(), &producers);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let fs = Fs::builder().seed(1).build();
    let config = LogConfig { delete_retention_ms: 100, ..compacting() };
    let (mut log, _) = open_as(&fs, config.clone());
    put(&mut log, &[("a", "1"), ("b", "1")], Compression::None);
    put(&mut log, &[("a", "")], Compression::None);
    close(&mut log);
    assert!(log.compact(1000, 2).unwrap());
    let with = [at(1, "b", "1"), at(2, "a", "-")];
    assert_eq!(contents(&log), with);
    assert!(!log.compact(1099, 2).unwrap());
    let (mut log, _) = open_as(&fs, config);
    assert!(log.compact(1100, 2).unwrap());
    assert_eq!(contents(&log), [at(1, "b", "1")]);
    assert!(!log.compact(9999, 2).unwrap());
}

#[test]
fn older_segments_lose_what_a_newer_one_replaces() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, LogConfig { min_cleanable_dirty_ratio: 0.3, ..compacting() });
    for round in 0..4 {
        put(&mut log, &[("a", "old"), ("b", "old"), ("c", "old")], Compression::None);
        if round == 2 {
            close(&mut log);
            assert!(log.compact(LATER, 3).unwrap());
            assert_eq!(contents(&log).len(), 3);
        }
    }
    put(&mut log, &[("a", "new")], Compression::None);
    close(&mut log);
    let committed = log.last_index();
    assert!(log.compact(LATER, committed).unwrap());
    let left: Vec<String> = contents(&log).into_iter().map(|(_, key, value)| key + &value).collect();
    assert_eq!(left, ["bold", "cold", "anew"]);
    // Little is new now, so that it is not worth the work.
    put(&mut log, &[("b", "new")], Compression::None);
    log.set_config(LogConfig { min_cleanable_dirty_ratio: 0.99, ..log.config().clone() });
    close(&mut log);
    assert!(!log.compact(LATER, log.last_index()).unwrap());
}

#[test]
fn records_without_a_key_go_and_garbage_stays() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, compacting());
    append(&mut log, 1, batch_at(0, 2));
    // Says zstd, and is not.
    let mut garbage = batch_at(0, 1);
    garbage[22] |= 4;
    let crc = crc32c::crc32c(&garbage[21..]);
    garbage[17..21].copy_from_slice(&crc.to_be_bytes());
    append(&mut log, 1, garbage.clone());
    put(&mut log, &[("a", "1")], Compression::None);
    close(&mut log);
    assert!(log.compact(LATER, 3).unwrap());
    let counts: Vec<i32> =
        all(&log).iter().map(|entry| BatchHeader::check(&entry.payload).unwrap().record_count).collect();
    assert_eq!(counts, [0, 1, 1]);
    assert_eq!(all(&log)[1].payload[21..], garbage[21..]);
}

#[test]
fn a_full_disk_during_compaction_leaves_what_was() {
    let fs = Fs::builder().seed(1).capacity(16_000).build();
    let (mut log, _) = open_as(&fs, LogConfig { segment_bytes: 1 << 20, ..compacting() });
    let long = "x".repeat(1000);
    for _ in 0..3 {
        put(&mut log, &[("a", &long), ("b", &long)], Compression::None);
        log.sync().unwrap();
    }
    put(&mut log, &[("b", &long)], Compression::None);
    close(&mut log);
    let before = contents(&log);
    let filler = Path::new("/data/filler");
    let mut size = 8000;
    while volume(&fs).replace(filler, &vec![0; size]).is_err() {
        size -= 100;
    }
    assert!(matches!(log.compact(LATER, 4), Err(LogError::Io(_))));
    assert_eq!(contents(&log), before);
    fs.crash();
    let (mut log, recovery) = open_as(&fs, compacting());
    assert_eq!((contents(&log), recovery), (before, Recovery::default()));
    volume(&fs).remove(filler).unwrap();
    assert!(log.compact(LATER, 4).unwrap());
    assert_eq!(contents(&log).len(), 2);
}
