//! The Kafka side: reading by offset and by time.

use kafka_protocol::records::Record;

use super::*;

#[test]
fn reading_obeys_its_limits() {
    let fs = Fs::builder().seed(1).short_read_probability(0.5).build();
    let log = filled(&fs, 1000);
    let size = batch_at(0, 2).len();
    assert_eq!(offsets(&log.read(5, 20, 2 * size, true).unwrap()), [4, 6]);
    assert_eq!(offsets(&log.read(0, 4, 1 << 20, true).unwrap()), [0, 2]);
    assert_eq!(offsets(&log.read(0, 20, 1 << 20, true).unwrap()), (0..20).step_by(2).collect::<Vec<_>>());
    // A batch that ends at the limit's other side is not given.
    assert_eq!(offsets(&log.read(0, 3, 1 << 20, true).unwrap()), [0]);
    assert_eq!(offsets(&log.read(6, 20, 1, true).unwrap()), [6]);
    assert!(log.read(6, 20, 1, false).unwrap().is_empty());
    assert!(log.read(20, 30, 1 << 20, true).unwrap().is_empty());
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
    assert_eq!(log.newest(10).unwrap(), Some((90, 9)));
    assert_eq!(log.newest(0).unwrap(), None);
}

#[test]
fn records_are_found_by_time_inside_compressed_batches() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let (mut log, _) = open(&Fs::builder().seed(1).build(), 1 << 20);
        let times = [50, 20, 90, 70];
        let records: Vec<Record> = times
            .iter()
            .zip(0..)
            .map(|(time, index)| record(index, *time, Some("key"), Some(&[7; 300])))
            .collect();
        append(&mut log, 1, encode(&records, compression));
        assert_eq!(log.first_at(60, 4).unwrap(), Some((90, 2)), "{compression:?}");
        assert_eq!(log.newest(4).unwrap(), Some((90, 2)));
        assert_eq!(log.first_at(91, 4).unwrap(), None);
    }
}

#[test]
fn stamping_replaces_the_time_and_keeps_the_checksum_right() {
    let mut bytes = batch_at(0, 2);
    batch::stamp(&mut bytes, 777);
    let header = BatchHeader::check(&bytes).unwrap();
    assert_eq!(header.max_timestamp_ms, 777);
    let records = super::super::records::Records::of(&bytes).unwrap();
    assert_eq!(records.first_at(500, 1).unwrap(), Some((777, 1)));
}
