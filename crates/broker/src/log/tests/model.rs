//! Random work on a log, compared with a model: a list of entries of which the first so many are synced.
//!
//! What is synced is never lost, what was not appended never appears, and after each step the log answers as the
//! list does: entries, terms, offsets, batches, producers.

use proptest::prelude::*;
use turmoil_fs::FsContext;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Entries of a term that is higher by so much; what each is.
    Append(u64, Vec<u8>),
    Sync,
    /// Everything that is not synced may be lost, whole or torn.
    Crash,
    /// Closes and opens, nothing is lost.
    Reopen,
    /// Replaces the last so many entries by one of a higher term.
    Replace(usize),
    Truncate(usize),
    RemoveBefore(usize),
    Vote(u64),
    /// From now on so many of a hundred operations of the disk fail.
    Failing(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..2u64, prop::collection::vec(any::<u8>(), 1..5)).prop_map(|(up, kinds)| Step::Append(up, kinds)),
        4 => Just(Step::Sync),
        2 => Just(Step::Crash),
        1 => Just(Step::Reopen),
        2 => (1..6usize).prop_map(Step::Replace),
        1 => (1..6usize).prop_map(Step::Truncate),
        1 => (0..12usize).prop_map(Step::RemoveBefore),
        1 => (1..4u64).prop_map(Step::Vote),
        1 => prop_oneof![Just(0), Just(20)].prop_map(Step::Failing),
    ];
    prop::collection::vec(step, 1..60)
}

struct Model {
    fs: Fs,
    log: Log,
    /// Every entry from index 1 on.
    entries: Vec<Entry>,
    synced: usize,
    term: u64,
    vote: u64,
    start_offset: i64,
    /// What counts as committed.
    floor: usize,
    sequence: i32,
    failing: u8,
}

const SEGMENT_BYTES: u64 = 700;

impl Model {
    fn new(seed: u64) -> Model {
        let fs = Fs::builder().seed(seed).block_size(64).build();
        let (log, _) = open(&fs, SEGMENT_BYTES);
        let (entries, synced) = (Vec::new(), 0);
        Model {
            fs,
            log,
            entries,
            synced,
            term: 1,
            vote: 0,
            start_offset: 0,
            floor: 0,
            sequence: 0,
            failing: 0,
        }
    }

    fn fail(&self, percent: u8) {
        let _inside = self.fs.enter();
        FsContext::current(|context| context.fs.io_error_probability = f64::from(percent) / 100.0);
    }

    fn end_offset(&self) -> i64 {
        self.entries
            .iter()
            .rfind(|entry| entry.kind == EntryKind::Batch)
            .map_or(0, |entry| BatchHeader::check(&entry.payload).unwrap().last_offset() + 1)
    }

    fn make(&mut self, kind: u8) -> Entry {
        let (index, term, base_offset) = (self.entries.len() as u64 + 1, self.term, self.end_offset());
        let batch = batch_at(0, i64::from(kind % 3) + 1);
        let mut batch = match kind % 8 {
            0 => {
                let payload = Bytes::from(vec![kind; usize::from(kind)]);
                return Entry { index, term, kind: EntryKind::Command, base_offset, payload };
            }
            1..4 => batch,
            4 => marker(kind > 128, 1, i64::from(kind % 2), 0),
            _ => as_producer(batch, i64::from(kind % 2), 0, self.sequence, kind.is_multiple_of(2)),
        };
        self.sequence += 1;
        batch::assign(&mut batch, base_offset, term as i32);
        Entry { index, term, kind: EntryKind::Batch, base_offset, payload: batch.into() }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(up, kinds) => {
                self.term += up;
                let before = self.entries.len();
                for kind in kinds {
                    let entry = self.make(kind);
                    self.entries.push(entry);
                }
                self.append_from(before, &[]);
            }
            Step::Replace(count) => {
                let from = self.entries.len().saturating_sub(count).max(self.floor);
                self.term += 1;
                let old = self.entries.split_off(from);
                let entry = self.make(5);
                self.entries.push(entry);
                self.append_from(from, &old);
            }
            Step::Sync => match self.log.sync() {
                Ok(()) => {
                    self.synced = self.entries.len();
                    assert_eq!(self.log.synced_index() as usize, self.synced);
                }
                Err(LogError::Refuses(_)) => self.reopen(false),
                Err(error) => panic!("{error}"),
            },
            Step::Crash => self.reopen(true),
            Step::Reopen => self.reopen(false),
            Step::Truncate(count) => {
                let to = self.entries.len().saturating_sub(count).max(self.floor);
                match self.log.truncate(to as u64 + 1) {
                    Ok(()) => self.entries.truncate(to),
                    Err(LogError::Io(_)) => self.entries.truncate(self.log.last_index() as usize),
                    Err(LogError::Refuses(_)) => self.reopen(false),
                    Err(error) => panic!("{error}"),
                }
                self.synced = self.synced.min(self.entries.len());
            }
            Step::RemoveBefore(back) => {
                let offset = self.end_offset() - back as i64;
                // What is said to be committed is not taken back.
                self.floor = self.floor.max(self.synced);
                let removed = self.log.remove_before(offset, self.synced as u64);
                let synced_offset = self.log.offset_after(self.synced as u64);
                match removed {
                    Ok(()) => self.start_offset = self.start_offset.max(offset.min(synced_offset)),
                    Err(LogError::Io(_)) => self.start_offset = self.log.start_offset(),
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Vote(vote) => {
                let hard = HardState { term: self.term, vote, commit: 0 };
                match self.log.save_hard_state(hard) {
                    Ok(()) => self.vote = vote,
                    Err(LogError::Io(_)) => self.vote = self.log.hard_state().vote,
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Failing(percent) => {
                self.failing = percent;
                self.fail(percent);
            }
        }
    }

    /// Gives the log the entries from `place` on, which replace `old` ones; if it refuses them, they never were,
    /// and what is left of the old ones stays.
    fn append_from(&mut self, place: usize, old: &[Entry]) {
        let result = self.log.append(&self.entries[place..]);
        let mut kept = place;
        if let Err(error) = result {
            assert!(self.failing > 0 && matches!(error, LogError::Io(_) | LogError::Refuses(_)), "{error}");
            kept = self.log.last_index() as usize;
            self.entries.truncate(place);
            self.entries.extend_from_slice(&old[..kept - place]);
        }
        if !old.is_empty() {
            self.synced = self.synced.min(kept);
        }
        assert!(self.log.synced_index() as usize >= self.synced);
        self.synced = self.log.synced_index() as usize;
        if self.log.refuses.is_some() {
            self.reopen(false);
        }
    }

    /// Entries that the log no longer has.
    fn removed(&self) -> usize {
        self.log.start().index as usize
    }

    fn reopen(&mut self, crash: bool) {
        self.fail(0);
        if crash {
            self.fs.crash();
        }
        let (log, recovery) = open(&self.fs, SEGMENT_BYTES);
        assert!(!recovery.damage, "{recovery:?}");
        let last = log.last_index() as usize;
        assert!(last >= self.synced, "{last} of {} synced", self.synced);
        assert!(last <= self.entries.len(), "{last} of {} appended", self.entries.len());
        if !crash {
            assert_eq!(last, self.entries.len());
        }
        self.entries.truncate(last);
        self.synced = last;
        assert_eq!(log.hard_state().vote, self.vote);
        self.log = log;
        self.fail(self.failing);
    }

    fn compare(&self) {
        self.fail(0);
        let (log, removed) = (&self.log, self.removed());
        assert_eq!((log.last_index() as usize, log.end_offset()), (self.entries.len(), self.end_offset()));
        assert_eq!(all(log), self.entries[removed..]);
        assert_eq!(log.start_offset(), self.start_offset);
        for entry in &self.entries[removed..] {
            assert_eq!(log.term(entry.index).unwrap(), entry.term);
            if entry.kind == EntryKind::Batch {
                assert_eq!(log.index_of(entry.base_offset), Some(entry.index));
            }
        }
        let start = log.start().offset;
        let batches = self.entries[removed..].iter().filter(|entry| entry.kind == EntryKind::Batch);
        let expected: Vec<u8> = batches.flat_map(|entry| entry.payload.to_vec()).collect();
        assert!(log.read(start, i64::MAX, usize::MAX, true).unwrap() == expected);
        let mut producers = Producers::default();
        self.entries.iter().for_each(|entry| producers.follow(entry));
        let end = self.end_offset();
        if log.refuses.is_some() || log.producers_stale {
            return;
        }
        assert!(log.producers().views().eq(producers.views()));
        assert_eq!(log.producers().last_stable_offset(end), producers.last_stable_offset(end));
        assert_eq!(
            log.producers().aborted(self.start_offset, end),
            producers.aborted(self.start_offset, end)
        );
        self.fail(self.failing);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_that_survives(seed in any::<u64>(), steps in steps()) {
        let mut model = Model::new(seed);
        for step in steps {
            model.run(step);
            model.compare();
        }
        model.reopen(true);
        model.compare();
    }
}
