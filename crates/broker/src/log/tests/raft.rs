//! The Raft side: terms, conflicts, hard state, snapshots.

use super::*;

#[test]
fn what_was_synced_survives_a_crash_over_segments() {
    let fs = Fs::builder().seed(1).build();
    let before = all(&filled(&fs, 1000));
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!(recovery, Recovery::default());
    assert!(log.segments.len() > 2);
    assert_eq!((log.first_index(), log.last_index(), log.synced_index()), (1, 10, 10));
    assert_eq!((log.start_offset(), log.end_offset()), (0, 20));
    assert_eq!(all(&log), before);
}

#[test]
fn what_was_not_synced_is_told_apart_and_may_be_lost() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1 << 20);
    append(&mut log, 2, batch_at(20, 1));
    assert_eq!((log.last_index(), log.synced_index()), (11, 10));
    fs.crash();
    let (log, recovery) = open(&fs, 1 << 20);
    assert_eq!((log.last_index(), recovery), (10, Recovery::default()));
}

#[test]
fn what_a_killed_broker_had_written_is_durable_once_it_is_read_again() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1 << 20);
    append(&mut log, 2, batch_at(20, 1));
    let hard = HardState { term: 2, vote: 3, commit: 0 };
    log.state.write(&log.volume, hard_state::State { hard, ..log.state.state() }).unwrap();
    let (log, _) = open(&fs, 1 << 20);
    assert_eq!((log.last_index(), log.synced_index(), log.hard_state()), (11, 11, hard));
    fs.crash();
    let (log, _) = open(&fs, 1 << 20);
    assert_eq!((log.last_index(), log.hard_state()), (11, hard));
}

#[test]
fn commands_take_an_index_and_no_offset() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open(&fs, 1 << 20);
    let entry = command(&log, 1, b"");
    log.append(&[entry]).unwrap();
    append(&mut log, 1, batch_at(0, 3));
    let entry = command(&log, 2, b"change");
    log.append(&[entry]).unwrap();
    append(&mut log, 2, batch_at(3, 1));
    log.sync().unwrap();
    let after: Vec<i64> = (0..=5).map(|index| log.offset_after(index)).collect();
    assert_eq!(after, [0, 0, 3, 3, 4, 4]);
    assert_eq!(
        [log.index_of(0), log.index_of(2), log.index_of(3), log.index_of(4)],
        [Some(2), Some(2), Some(4), None]
    );
    assert_eq!(offsets(&log.read(0, 4, 1 << 20, true).unwrap()), [0, 3]);
    let terms: Vec<u64> = (0..=4).map(|index| log.term(index).unwrap()).collect();
    assert_eq!(terms, [0, 1, 1, 2, 2]);
    let (log, _) = open(&fs, 1 << 20);
    assert_eq!(all(&log)[2].payload, &b"change"[..]);
    assert_eq!(all(&log)[2].base_offset, 3);
}

#[test]
fn entries_obey_their_limits() {
    let fs = Fs::builder().seed(1).short_read_probability(0.5).build();
    let log = filled(&fs, 1000);
    let size = batch_at(0, 2).len();
    let indexes = |from, to, bytes| -> Vec<u64> {
        log.entries(from, to, bytes).unwrap().iter().map(|entry| entry.index).collect()
    };
    assert_eq!(indexes(3, 6, usize::MAX), [3, 4, 5]);
    assert_eq!(indexes(1, 11, usize::MAX), (1..=10).collect::<Vec<_>>());
    assert_eq!(indexes(2, 11, 2 * size), [2, 3]);
    assert_eq!(indexes(2, 11, 0), [2]);
    assert!(indexes(4, 4, 100).is_empty());
    assert!(matches!(log.entries(0, 2, 1), Err(LogError::Removed { index: 0, first: 1 })));
    assert!(matches!(log.entries(10, 12, 1), Err(LogError::Beyond { index: 11, last: 10 })));
    assert!(matches!(log.term(11), Err(LogError::Beyond { .. })));
}

#[test]
fn a_conflicting_suffix_is_replaced_and_the_same_entries_are_passed_over() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    let old = all(&log);
    log.append(&old[4..7]).unwrap();
    assert_eq!(all(&log), old);
    let (mut other, _) = open(&Fs::builder().seed(2).build(), 1000);
    other.append(&old[..3]).unwrap();
    append(&mut other, 2, batch_at(6, 1));
    append(&mut other, 2, batch_at(7, 5));
    let new = all(&other);
    log.append(&new[2..]).unwrap();
    assert_eq!(all(&log), new);
    assert_eq!((log.synced_index(), log.end_offset()), (3, 12));
    log.sync().unwrap();
    fs.crash();
    assert_eq!(all(&open(&fs, 1000).0), new);
}

#[test]
fn entries_that_do_not_fit_are_refused_and_change_nothing() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    let before = all(&log);
    let good = next(&log, 2, batch_at(20, 1));
    let second = next(&log, 2, batch_at(20, 1));
    let mut damaged = good.payload.to_vec();
    damaged[70] ^= 1;
    let bad = [
        Entry { index: 12, ..good.clone() },
        Entry { term: 0, ..good.clone() },
        Entry { base_offset: 21, ..good.clone() },
        Entry { payload: damaged.into(), ..good.clone() },
        Entry { payload: [&good.payload[..], &good.payload[..]].concat().into(), ..good.clone() },
        Entry { payload: batch_at(19, 1).into(), ..good.clone() },
    ];
    for entry in bad {
        assert!(matches!(log.append(&[entry]), Err(LogError::Invalid(_))));
    }
    assert!(matches!(log.append(&[good, second]), Err(LogError::Invalid(_))));
    assert_eq!(all(&log), before);
}

#[test]
fn what_is_committed_is_never_cut() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    log.save_hard_state(HardState { term: 1, vote: 1, commit: 5 }).unwrap();
    assert!(matches!(log.truncate(5), Err(LogError::Committed { index: 5, commit: 5 })));
    log.truncate(6).unwrap();
    assert_eq!(log.last_index(), 5);
}

#[test]
fn truncating_goes_back_over_segments() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    log.truncate(3).unwrap();
    assert_eq!((log.last_index(), log.end_offset(), log.synced_index()), (2, 4, 2));
    append(&mut log, 4, batch_at(4, 3));
    log.sync().unwrap();
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.end_offset(), recovery), (7, Recovery::default()));
    assert_eq!((log.index_of(6), log.index_of(7)), (Some(3), None));
    assert_eq!(log.term(3).unwrap(), 4);
}

#[test]
fn term_and_vote_survive_a_crash_at_any_write() {
    for tear in [1, 7, 64] {
        let fs = Fs::builder().seed(tear).block_size(tear).build();
        let (mut log, _) = open(&fs, 1000);
        for term in 1..6 {
            let hard = HardState { term, vote: term % 3, commit: 0 };
            log.save_hard_state(hard).unwrap();
            // A write that the crash tears.
            let next = hard_state::State { hard: HardState { term: 99, ..hard }, ..log.state.state() };
            log.state.write(&log.volume, next).unwrap();
            fs.crash();
            (log, _) = open(&fs, 1000);
            let term_now = log.hard_state().term;
            assert!(log.hard_state() == hard || term_now == 99, "{term_now}");
            log.save_hard_state(hard).unwrap();
        }
    }
}

#[test]
fn a_replica_that_cannot_read_its_vote_does_not_start() {
    let fs = Fs::builder().seed(1).build();
    filled(&fs, 1000);
    let path = Path::new(DIRECTORY).join("state");
    volume(&fs).write_at(&path, 20, &[0xff]).unwrap();
    volume(&fs).write_at(&path, 4096 + 20, &[0xff]).unwrap();
    let error = Log::open(&volume(&fs), Path::new(DIRECTORY), config(1000)).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_snapshot_replaces_all_that_was() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    let start = LogStart { index: 30, term: 4, offset: 55 };
    log.install(start, Producers::default()).unwrap();
    for _ in 0..2 {
        assert_eq!((log.first_index(), log.last_index(), log.start()), (31, 30, start));
        assert_eq!((log.start_offset(), log.end_offset(), log.hard_state().commit), (55, 55, 30));
        assert_eq!(log.term(30).unwrap(), 4);
        fs.crash();
        (log, _) = open(&fs, 1000);
    }
    append(&mut log, 5, batch_at(55, 2));
    log.sync().unwrap();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.last_index(), log.end_offset(), recovery), (31, 57, Recovery::default()));
}

#[test]
fn a_snapshot_that_was_half_installed_is_completed_at_the_next_start() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    let start = LogStart { index: 5, term: 4, offset: 11 };
    let state = hard_state::State { start, start_offset: 11, ..log.state.state() };
    log.state.save(&log.volume, state).unwrap();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.start(), log.last_index(), recovery), (start, 5, Recovery::default()));
    assert_eq!(volume(&fs).names(Path::new(DIRECTORY)).unwrap(), ["00000000000000000006.log", "state"]);
}

#[test]
fn epochs_end_where_the_next_one_begins() {
    let fs = Fs::builder().seed(1).build();
    let mut log = filled(&fs, 1000);
    append(&mut log, 4, batch_at(20, 3));
    append(&mut log, 7, batch_at(23, 1));
    let ends: Vec<_> = [0, 1, 3, 4, 6, 7, 9].map(|epoch| log.end_of_epoch(epoch)).into();
    let (one, four, seven) = (Some((1, 20)), Some((4, 23)), Some((7, 24)));
    assert_eq!(ends, [None, one, one, four, four, seven, seven]);
}
