//! Syncs that another thread does while the log goes on.

use super::*;

fn machine(directory: &Path, segment_bytes: u64) -> Log {
    let volume = Volume::machine(directory.to_owned());
    Log::open(&volume, &directory.join("orders"), config(segment_bytes)).unwrap().0
}

#[test]
fn a_detached_sync_covers_what_was_there_when_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = machine(directory.path(), 1 << 20);
    assert!(log.detach_sync().is_none(), "there is nothing to sync");
    append(&mut log, 1, batch_at(0, 1));
    let sync = log.detach_sync().expect("a machine's disk blocks");
    let length = log.last().length;
    append(&mut log, 1, batch_at(1, 1));
    log.finish_sync(&sync, sync.run()).unwrap();
    assert_eq!((log.synced_index(), log.last().synced), (1, length));
    assert!(log.detach_sync().is_some(), "the second entry is not synced");
    log.sync().unwrap();
    assert_eq!(log.synced_index(), 2);
}

#[test]
fn a_simulated_disk_is_synced_at_once() {
    let fs = Fs::builder().seed(1).build();
    let (mut log, _) = open(&fs, 1 << 20);
    append(&mut log, 1, batch_at(0, 1));
    assert!(log.detach_sync().is_none());
}

#[test]
fn entries_that_were_cut_off_meanwhile_do_not_count() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = machine(directory.path(), 1 << 20);
    for offset in 0..3 {
        append(&mut log, 1, batch_at(offset, 1));
    }
    let sync = log.detach_sync().unwrap();
    log.truncate(2).unwrap();
    append(&mut log, 2, batch_at(1, 1));
    let synced = log.last().synced;
    log.finish_sync(&sync, sync.run()).unwrap();
    assert_eq!(log.last().synced, synced, "the new entry is not synced");
    // The first entry is durable, but that is only counted by the next sync.
    assert_eq!(log.synced_index(), 0);
    log.sync().unwrap();
    assert_eq!(log.synced_index(), 2);
}

#[test]
fn a_segment_that_is_gone_was_durable_and_one_that_fails_ends_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = machine(directory.path(), 300);
    append(&mut log, 1, batch_at(0, 1));
    let sync = log.detach_sync().unwrap();
    // The second entry starts a segment, which syncs the first.
    append(&mut log, 1, batch_at(1, 1));
    append(&mut log, 1, batch_at(2, 1));
    assert!(log.segments.len() > 1);
    std::fs::remove_file(&log.segments[0].path).unwrap();
    let gone = sync.run();
    assert_eq!(gone.as_ref().unwrap_err().kind(), io::ErrorKind::NotFound);
    log.finish_sync(&sync, gone).unwrap();

    let sync = log.detach_sync().unwrap();
    assert!(log.finish_sync(&sync, Err(io::Error::other("the disk is broken"))).is_err());
    let entry = next(&log, 1, batch_at(3, 1));
    assert!(matches!(log.append(&[entry]), Err(LogError::Refuses(_))));
}

#[test]
fn a_log_that_was_opened_again_has_not_begun_the_sync() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = machine(directory.path(), 1 << 20);
    append(&mut log, 1, batch_at(0, 1));
    let sync = log.detach_sync().unwrap();
    assert!(log.began(&sync));
    drop(log);
    assert!(!machine(directory.path(), 1 << 20).began(&sync));
}
