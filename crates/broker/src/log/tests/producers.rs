//! Producer state follows the log through truncation, restart and snapshots.

use super::*;
use crate::producers::ProducerView;

/// Three producers with sequences, a transaction that was aborted and one that is open, over several segments.
fn busy(fs: &Fs) -> Log {
    let (mut log, _) = open(fs, 1000);
    for round in 0..8 {
        append(&mut log, 1, as_producer(batch_at(0, 2), 1, 0, 2 * round, false));
        append(&mut log, 1, batch_at(0, 1));
        append(&mut log, 1, as_producer(batch_at(0, 1), 2, 0, round, true));
        if round == 3 || round == 5 {
            append(&mut log, 1, marker(round == 3, 0, 2, 0));
        }
    }
    log.sync().unwrap();
    log
}

fn views(log: &Log) -> Vec<ProducerView> {
    log.producers().views().collect()
}

/// The state that following every entry from the start gives.
fn followed(log: &Log) -> Producers {
    let mut producers = Producers::default();
    all(log).iter().for_each(|entry| producers.follow(entry));
    producers
}

#[test]
fn a_restart_finds_the_same_producers_with_and_without_kept_state() {
    let fs = Fs::builder().seed(1).build();
    let log = busy(&fs);
    assert_eq!(log.producers(), &followed(&log));
    assert_eq!(log.producers().last_stable_offset(log.end_offset()), 29);
    assert_eq!(log.producers().aborted(0, 100).len(), 1);
    fs.crash();
    assert_eq!(open(&fs, 1000).0.producers(), log.producers());
    let mut removed = 0;
    for name in volume(&fs).names(Path::new(DIRECTORY)).unwrap() {
        if name.ends_with(".producers") {
            volume(&fs).remove(&Path::new(DIRECTORY).join(name)).unwrap();
            removed += 1;
        }
    }
    assert!(removed > 2);
    assert_eq!(open(&fs, 1000).0.producers(), log.producers());
}

#[test]
fn truncation_takes_producers_back_to_every_entry() {
    let fs = Fs::builder().seed(1).build();
    let mut log = busy(&fs);
    for last in (0..log.last_index()).rev() {
        log.truncate(last + 1).unwrap();
        assert_eq!(log.last_index(), last);
        assert_eq!(log.producers(), &followed(&log), "{last}");
    }
    assert!(views(&log).is_empty());
}

#[test]
fn producers_are_known_although_their_entries_were_removed() {
    let fs = Fs::builder().seed(1).build();
    let mut log = busy(&fs);
    let (end, last, before) = (log.end_offset(), log.last_index(), views(&log));
    for name in volume(&fs).names(Path::new(DIRECTORY)).unwrap() {
        if name.ends_with(".producers") {
            volume(&fs).remove(&Path::new(DIRECTORY).join(name)).unwrap();
        }
    }
    log.remove_before(end, last).unwrap();
    assert!(log.first_index() > 10);
    fs.crash();
    let (log, _) = open(&fs, 1000);
    assert_eq!(views(&log), before);
    assert!(log.producers().aborted(0, 100).is_empty());
}

#[test]
fn a_snapshot_brings_its_producers() {
    let fs = Fs::builder().seed(1).build();
    let mut leader = busy(&fs);
    leader.remove_before(leader.end_offset(), leader.last_index()).unwrap();
    let rest = all(&leader);
    let other = Fs::builder().seed(2).build();
    let (mut follower, _) = open(&other, 1000);
    append(&mut follower, 1, as_producer(batch_at(0, 2), 99, 0, 0, false));
    let state = leader.start_producers().unwrap().encode();
    follower.install(leader.start(), Producers::decode(&state).unwrap()).unwrap();
    follower.append(&rest).unwrap();
    follower.sync().unwrap();
    for _ in 0..2 {
        assert_eq!(views(&follower), views(&leader));
        other.crash();
        (follower, _) = open(&other, 1000);
    }
}
