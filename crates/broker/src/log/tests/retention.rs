//! Removing the log's beginning.

use super::*;

/// Ten entries of two records in segments of two entries.
fn segmented(fs: &Fs, config: LogConfig) -> Log {
    let (mut log, _) = open_as(fs, LogConfig { segment_bytes: 900, ..config });
    for offset in (0..20).step_by(2) {
        append(&mut log, 1, batch_at(offset, 2));
    }
    log.sync().unwrap();
    assert_eq!(log.segments.iter().map(|segment| segment.slots.len()).collect::<Vec<_>>(), [2; 5]);
    log
}

fn plain() -> LogConfig {
    LogConfig { retention_ms: None, ..config(0) }
}

#[test]
fn the_start_offset_moves_to_any_record_and_segments_follow() {
    let fs = Fs::builder().seed(1).build();
    let mut log = segmented(&fs, plain());
    log.remove_before(3, 10).unwrap();
    assert_eq!((log.start_offset(), log.first_index()), (3, 1));
    assert_eq!(log.first_at(0, 20).unwrap(), Some((30, 3)));
    log.remove_before(9, 10).unwrap();
    assert_eq!((log.start_offset(), log.first_index(), log.start().offset), (9, 5, 8));
    log.remove_before(4, 10).unwrap();
    fs.crash();
    let (mut log, recovery) = open_as(&fs, LogConfig { segment_bytes: 900, ..plain() });
    assert_eq!((log.start_offset(), log.first_index(), recovery), (9, 5, Recovery::default()));
    assert_eq!((log.term(4).unwrap(), log.offset_after(4)), (1, 8));
    assert!(matches!(log.entries(4, 6, 1), Err(LogError::Removed { index: 4, first: 5 })));
    assert_eq!(offsets(&log.read(9, 20, 1 << 20, true).unwrap()), [8, 10, 12, 14, 16, 18]);
    log.remove_before(20, 10).unwrap();
    assert_eq!((log.start_offset(), log.first_index(), log.end_offset()), (20, 9, 20));
    assert_eq!(log.newest(20).unwrap(), None);
}

#[test]
fn what_is_not_committed_is_not_removed() {
    let fs = Fs::builder().seed(1).build();
    let mut log = segmented(&fs, LogConfig { retention_ms: Some(0), ..plain() });
    log.remove_before(20, 5).unwrap();
    assert_eq!((log.start_offset(), log.first_index()), (10, 5));
    assert!(!log.apply_retention(0, 5).unwrap());
    assert!(!log.apply_retention(1_000_000, 5).unwrap());
    assert_eq!(log.first_index(), 5);
    assert!(log.apply_retention(1_000_000, 10).unwrap());
}

#[test]
fn segments_go_when_their_last_append_is_too_long_ago() {
    let fs = Fs::builder().seed(1).build();
    let config = LogConfig { segment_bytes: 900, retention_ms: Some(100), ..plain() };
    let (mut log, _) = open_as(&fs, config.clone());
    let mut moved = Vec::new();
    for round in 0..5 {
        for _ in 0..2 {
            let offset = log.end_offset();
            append(&mut log, 1, batch_at(offset, 2));
        }
        log.sync().unwrap();
        // The segments are seen to have grown at 0, 40, 80, 120 and 160.
        moved.push(log.apply_retention(40 * round, log.last_index()).unwrap());
    }
    assert_eq!(moved, [false, false, false, true, true]);
    assert_eq!((log.start_offset(), log.first_index()), (8, 5));
    // A restart does not make closed segments young again.
    let (mut log, _) = open_as(&fs, config);
    assert!(!log.apply_retention(180, 10).unwrap());
    assert!(log.apply_retention(181, 10).unwrap());
    assert_eq!(log.start_offset(), 12);
    // In the end the segment that is written to is closed and goes as well; it was seen anew at 180.
    assert!(log.apply_retention(281, 10).unwrap());
    assert_eq!((log.start_offset(), log.end_offset(), log.last_index()), (20, 20, 10));
    append(&mut log, 1, batch_at(20, 1));
    assert_eq!(log.end_offset(), 21);
}

#[test]
fn segments_go_while_the_rest_is_large_enough() {
    let fs = Fs::builder().seed(1).build();
    let mut log = segmented(&fs, plain());
    let segment = log.segments[0].length;
    assert_eq!(log.size_bytes(), 5 * segment);
    log.set_config(LogConfig { retention_bytes: Some(3 * segment + 1), ..log.config().clone() });
    assert!(log.apply_retention(0, 10).unwrap());
    assert_eq!(log.start_offset(), 4);
    log.set_config(LogConfig { retention_bytes: Some(0), ..log.config().clone() });
    log.apply_retention(0, 10).unwrap();
    assert_eq!((log.start_offset(), log.size_bytes()), (16, segment));
}

#[test]
fn a_policy_without_delete_keeps_what_is_old() {
    let fs = Fs::builder().seed(1).build();
    let mut log = segmented(&fs, LogConfig { retention_ms: Some(1), deletes: false, ..plain() });
    log.apply_retention(0, 10).unwrap();
    assert!(!log.apply_retention(1_000_000, 10).unwrap());
    assert_eq!(log.start_offset(), 0);
}

#[test]
fn a_segment_is_closed_when_its_first_entry_is_old() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open_as(&fs, LogConfig { segment_ms: Some(50), ..config(1 << 20) });
    log.apply_retention(1000, 0).unwrap();
    let lengths = |log: &Log| log.segments.iter().map(|segment| segment.slots.len()).collect::<Vec<_>>();
    append(&mut log, 1, batch_at(0, 1));
    log.apply_retention(1100, 1).unwrap();
    append(&mut log, 1, batch_at(1, 1));
    log.apply_retention(1150, 2).unwrap();
    assert_eq!(lengths(&log), [2]);
    log.apply_retention(1151, 2).unwrap();
    assert_eq!(lengths(&log), [2, 0]);
    log.apply_retention(9999, 2).unwrap();
    assert_eq!(lengths(&log), [2, 0]);
}

#[test]
fn a_removal_that_a_crash_cut_short_is_completed() {
    let fs = Fs::builder().seed(1).build();
    let mut log = segmented(&fs, plain());
    let first = volume(&fs).read(&file(1)).unwrap().unwrap();
    log.remove_before(9, 10).unwrap();
    volume(&fs).replace(&file(1), &first).unwrap();
    let (log, recovery) = open_as(&fs, plain());
    assert_eq!((log.first_index(), recovery), (5, Recovery::default()));
    assert_eq!(volume(&fs).length(&file(1)).unwrap(), None);
}

#[test]
fn after_a_snapshot_entries_go_without_their_offsets_mattering() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open(&fs, 200);
    for _ in 0..10 {
        let entry = command(&log, 1, &[7; 80]);
        log.append(&[entry]).unwrap();
    }
    log.remove_before(0, 10).unwrap();
    assert_eq!(log.first_index(), 1);
    log.remove_through(7).unwrap();
    assert_eq!((log.first_index(), log.start().offset), (8, 0));
}
