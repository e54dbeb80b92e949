//! Torn tails, damage, full and failing disks.

use turmoil_fs::FsContext;

use super::*;

fn cut_file(fs: &Fs, base: u64, bytes: u64) {
    let length = volume(fs).length(&file(base)).unwrap().unwrap();
    volume(fs).set_length(&file(base), length - bytes).unwrap();
}

fn flip(fs: &Fs, base: u64, position: u64) {
    let mut byte = [0];
    volume(fs).read_at(&file(base), position, &mut byte).unwrap();
    volume(fs).write_at(&file(base), position, &[byte[0] ^ 1]).unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_the_log_goes_on() {
    let fs = Fs::builder().seed(1).build();
    filled(&fs, 1 << 20);
    cut_file(&fs, 1, 1);
    let (mut log, recovery) = open(&fs, 1 << 20);
    assert_eq!(recovery.cut_bytes, batch_at(0, 2).len() as u64 + 41 - 1);
    assert!(!recovery.damage);
    assert!(recovery.reason.unwrap().contains("at entry 10, offset 18"));
    assert_eq!((log.last_index(), log.end_offset()), (9, 18));
    append(&mut log, 1, batch_at(18, 1));
    log.sync().unwrap();
    assert_eq!(open(&fs, 1 << 20).0.end_offset(), 19);
}

#[test]
fn damage_to_what_was_synced_is_told_and_takes_all_that_follows() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open(&fs, 1 << 20);
    for offset in 0..10 {
        append(&mut log, 1, batch_at(offset, 1));
        log.sync().unwrap();
    }
    let position = log.segments[0].slots[4].position;
    flip(&fs, 1, position + 100);
    let (log, recovery) = open(&fs, 1 << 20);
    assert_eq!(log.last_index(), 4);
    assert!(recovery.damage);
    assert!(recovery.reason.unwrap().contains("checksum"));
}

#[test]
fn a_hole_among_entries_that_were_never_synced_is_no_damage() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open(&fs, 1 << 20);
    for offset in 0..10 {
        append(&mut log, 1, batch_at(offset, 1));
    }
    let position = log.segments[0].slots[4].position;
    flip(&fs, 1, position + 100);
    let (log, recovery) = open(&fs, 1 << 20);
    assert_eq!((log.last_index(), recovery.damage), (4, false));
}

#[test]
fn damage_in_a_closed_segment_is_an_error_of_the_read() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    let base = log.segments[1].start.index + 1;
    flip(&fs, base, 200);
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.last_index(), recovery), (10, Recovery::default()));
    assert!(matches!(log.entries(base, base + 1, 1), Err(LogError::Damaged { index, .. }) if index == base));
    let error = log.read(0, 20, 1 << 20, true).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[test]
fn without_its_index_a_closed_segment_is_checked_when_the_log_is_opened() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    let base = log.segments[1].start.index + 1;
    volume(&fs).remove(&file(base).with_extension("index")).unwrap();
    assert_eq!(all(&open(&fs, 1000).0), all(&log));
    flip(&fs, base, 200);
    let (log, recovery) = open(&fs, 1000);
    assert_eq!(log.last_index(), base - 1);
    assert!(recovery.damage);
    let names = volume(&fs).names(Path::new(DIRECTORY)).unwrap();
    // The mark of damage is one of them.
    assert!(names.len() <= 5 + 1, "{names:?}");
}

#[test]
fn a_missing_segment_is_damage() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    let base = log.segments[1].start.index + 1;
    volume(&fs).remove(&file(base)).unwrap();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!(log.last_index(), base - 1);
    assert!(recovery.damage && recovery.reason.unwrap().contains("missing"));
}

#[test]
fn damage_is_remembered_until_the_log_is_restored() {
    let fs = Fs::builder().seed(1).build();
    let log = filled(&fs, 1000);
    let base = log.segments[1].start.index + 1;
    volume(&fs).remove(&file(base)).unwrap();
    assert!(open(&fs, 1000).0.is_damaged());
    // Nothing shows it now but the mark.
    fs.crash();
    let (mut log, recovery) = open(&fs, 1000);
    assert!(log.is_damaged());
    assert_eq!(recovery, Recovery { damage: true, ..Recovery::default() });
    log.restored().unwrap();
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((log.is_damaged(), recovery), (false, Recovery::default()));
}

#[test]
fn a_read_that_is_wrong_once_is_not_taken_for_damage() {
    let fs = Fs::builder().seed(5).build();
    filled(&fs, 1 << 20);
    for _ in 0..50 {
        // Three wrong reads of the same entry in a row are very rare.
        set(&fs, |state| state.corruption_probability = 0.05);
        let (log, recovery) = open(&fs, 1 << 20);
        assert_eq!((log.end_offset(), recovery), (20, Recovery::default()));
        assert_eq!(all(&log).len(), 10);
    }
}

fn set(fs: &Fs, change: impl FnOnce(&mut turmoil_fs::FsState)) {
    let _inside = fs.enter();
    FsContext::current(|context| change(context.fs));
}

#[test]
fn a_failing_disk_loses_nothing_that_was_synced_and_shows_nothing_that_failed() {
    let fs = Fs::builder().seed(3).build();
    let (mut log, _) = open(&fs, 1000);
    let mut acknowledged: Vec<Entry> = Vec::new();
    let mut failures = 0;
    set(&fs, |state| state.io_error_probability = 0.2);
    for round in 0..200 {
        let entry = next(&log, 1, batch_at(round, 1));
        match log.append(std::slice::from_ref(&entry)).and_then(|()| log.sync()) {
            Ok(()) => acknowledged.push(entry),
            Err(error) => {
                assert!(matches!(error, LogError::Io(_)), "{error}");
                assert_eq!(log.last_index(), acknowledged.len() as u64);
                failures += 1;
            }
        }
    }
    assert!(failures > 20 && acknowledged.len() > 100, "{failures}, {}", acknowledged.len());
    set(&fs, |state| state.io_error_probability = 0.0);
    fs.crash();
    let (log, recovery) = open(&fs, 1000);
    assert_eq!((all(&log), recovery), (acknowledged, Recovery::default()));
}

#[test]
fn a_full_disk_is_an_error_and_space_heals_it() {
    let fs = Fs::builder().seed(3).capacity(6000).build();
    let filler = Path::new("/data/filler");
    volume(&fs).create_directory(Path::new("/data")).unwrap();
    volume(&fs).replace(filler, &[0; 3000]).unwrap();
    // Its state file alone takes more than 4 KiB, so the log cannot even be created.
    assert!(Log::open(&volume(&fs), Path::new(DIRECTORY), config(1 << 20)).is_err());
    volume(&fs).remove(filler).unwrap();
    let (mut log, _) = open(&fs, 1 << 20);
    let mut count = 0;
    let error = loop {
        let entry = next(&log, 1, batch_at(count, 1));
        match log.append(&[entry]).and_then(|()| log.sync()) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(count > 2);
    assert_eq!((log.last_index(), all(&log).len()), (count as u64, count as usize));
    log.truncate(count as u64).unwrap();
    append(&mut log, 2, batch_at(count - 1, 1));
    log.sync().unwrap();
    fs.crash();
    assert_eq!(open(&fs, 1 << 20).0.last_index(), count as u64);
}

#[test]
fn the_machine_keeps_a_log_as_the_simulation_does() {
    let directory = tempfile::tempdir().unwrap();
    let volume = Volume::machine(directory.path().to_owned());
    let folder = directory.path().join("kafka/orders/0_1");
    let (mut log, _) = Log::open(&volume, &folder, config(1000)).unwrap();
    for offset in (0..20).step_by(2) {
        append(&mut log, 1, batch_at(offset, 2));
    }
    log.sync().unwrap();
    log.save_hard_state(HardState { term: 3, vote: 2, commit: 4 }).unwrap();
    let before = all(&log);
    log.truncate(9).unwrap();
    let (log, recovery) = Log::open(&volume, &folder, config(1000)).unwrap();
    assert_eq!((all(&log), recovery), (before[..8].to_vec(), Recovery::default()));
    assert_eq!(log.hard_state(), HardState { term: 3, vote: 2, commit: 4 });
}
