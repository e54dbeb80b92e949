//! A log in memory for tests of groups, which loses what is not synced when it crashes.

use bytes::Bytes;

use super::{Configuration, EntryStore, Snapshot};
use crate::log::{Entry, HardState, LogError, LogStart};

/// A log in memory that loses what is not synced.
#[derive(Clone, Debug, Default)]
pub(super) struct MemoryLog {
    pub start: LogStart,
    pub entries: Vec<Entry>,
    synced: u64,
    hard: HardState,
    configuration: Configuration,
    /// Appends fail: the disk is full.
    pub full: bool,
    damaged: bool,
}

impl MemoryLog {
    pub fn new(voters: &[u64]) -> MemoryLog {
        let start = LogStart { index: 1, term: 1, offset: 0 };
        let hard = HardState { term: 1, vote: 0, commit: 1 };
        let configuration = Configuration::of_voters(1, voters);
        match voters.is_empty() {
            true => MemoryLog::default(),
            false => MemoryLog { start, hard, configuration, synced: 1, ..MemoryLog::default() },
        }
    }

    /// The disk forgets all but the first `kept` entries, synced or not, and knows it.
    pub fn forget(&mut self, kept: usize) {
        self.entries.truncate(kept);
        self.synced = self.synced.min(self.last_index());
        self.hard.commit = self.hard.commit.min(self.last_index());
        self.damaged = true;
    }

    pub fn crash(mut self) -> MemoryLog {
        let kept = self.synced.saturating_sub(self.start.index) as usize;
        self.entries.truncate(kept);
        self
    }
}

impl EntryStore for MemoryLog {
    fn start(&self) -> LogStart {
        self.start
    }

    fn last_index(&self) -> u64 {
        self.start.index + self.entries.len() as u64
    }

    fn term(&self, index: u64) -> Option<u64> {
        if index == self.start.index {
            return Some(self.start.term);
        }
        let place = index.checked_sub(self.start.index + 1)?;
        self.entries.get(place as usize).map(|entry| entry.term)
    }

    fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        let first = self.start.index + 1;
        if from < first {
            return Err(LogError::Removed { index: from, first });
        }
        let mut bytes = 0;
        let wanted = self.entries[(from - first) as usize..(to - first) as usize].iter();
        let fits = |entry: &&Entry| {
            bytes += entry.payload.len();
            bytes <= bytes_max || bytes == entry.payload.len()
        };
        Ok(wanted.take_while(fits).cloned().collect())
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if self.full {
            return Err(LogError::Io(std::io::Error::other("no space left")));
        }
        for entry in entries {
            if self.term(entry.index) == Some(entry.term) && entry.index > self.start.index {
                continue;
            }
            assert!(entry.index > self.start.index && entry.index <= self.last_index() + 1, "a gap");
            assert!(entry.index > self.hard.commit, "a committed entry is replaced");
            self.entries.truncate((entry.index - self.start.index - 1) as usize);
            self.synced = self.synced.min(entry.index - 1);
            self.entries.push(entry.clone());
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.synced = self.last_index();
        Ok(())
    }

    fn offset_after(&self, _index: u64) -> i64 {
        0
    }

    fn hard_state(&self) -> HardState {
        self.hard
    }

    fn is_damaged(&self) -> bool {
        self.damaged
    }

    fn restored(&mut self) -> Result<(), LogError> {
        self.damaged = false;
        Ok(())
    }

    fn save_hard_state(&mut self, state: HardState) -> Result<(), LogError> {
        self.hard = state;
        Ok(())
    }

    fn applied_to(&mut self, index: u64) -> Result<(), LogError> {
        self.hard.commit = index;
        Ok(())
    }

    fn configuration(&self) -> Configuration {
        self.configuration.clone()
    }

    fn save_configuration(&mut self, configuration: &Configuration) -> Result<(), LogError> {
        self.configuration = configuration.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        let configuration = self.configuration.clone();
        Ok(Snapshot { start: self.start, configuration, data: Bytes::new() })
    }

    fn install(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        self.start = snapshot.start;
        self.entries.clear();
        self.synced = self.start.index;
        self.hard.commit = self.hard.commit.max(self.start.index);
        self.configuration = snapshot.configuration;
        Ok(())
    }
}
