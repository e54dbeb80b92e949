//! The log as raft-rs sees it.
//!
//! raft-rs hands out entries, we write them, and it reads them back when a follower lags. Committed entries of
//! records need nothing done, so they are handed to it without their payload; those of Raft's own and commands
//! are kept in memory until they are applied.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft::eraftpb::{self, EntryType};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use super::configuration::Configuration;
use crate::log::{Entry, EntryKind, HardState, LogError, LogStart};

/// Marks an entry of records in raft-rs' entry context.
const BATCH: &[u8] = b"b";
/// First byte of a command entry's payload: what it is.
const TAG_NORMAL: u8 = 0;
const TAG_CONFIGURATION: u8 = 1;

/// What a group needs of its log. Appended entries are durable after `sync` alone.
pub(crate) trait EntryStore: Send + 'static {
    fn start(&self) -> LogStart;
    /// The last entry's index; [`LogStart::index`] in an empty log.
    fn last_index(&self) -> u64;
    /// The term of an entry that is there, or of the one before the first.
    fn term(&self, index: u64) -> Option<u64>;
    /// The entries `from..to`, at least one, as far as `bytes_max` goes.
    fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError>;
    /// Writes entries, after cutting off what conflicts with them.
    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError>;
    fn sync(&mut self) -> Result<(), LogError>;
    /// The offset of the record after an entry's last.
    fn offset_after(&self, index: u64) -> i64;
    fn hard_state(&self) -> HardState;
    /// Durable when it returns, if the term or the vote changed.
    fn save_hard_state(&mut self, state: HardState) -> Result<(), LogError>;
    /// Everything up to here is committed and applied.
    fn applied_to(&mut self, index: u64) -> Result<(), LogError>;
    /// Carries out a committed command, durably, if the store is the group's state machine; `false` if that is
    /// elsewhere. A command may come again after a restart.
    fn apply(&mut self, _index: u64, _command: &[u8]) -> Result<bool, LogError> {
        Ok(false)
    }
    /// Whether the disk has lost what had been durable, and a leader has not sent it again yet.
    fn is_damaged(&self) -> bool {
        false
    }
    /// Everything that the disk had lost is there again. Durable when it returns.
    fn restored(&mut self) -> Result<(), LogError> {
        Ok(())
    }
    /// What the state machine holds already when the log is opened; `None` if it needs no entries.
    fn applied(&self) -> Option<u64> {
        None
    }
    fn configuration(&self) -> Configuration;
    /// Durable when it returns.
    fn save_configuration(&mut self, configuration: &Configuration) -> Result<(), LogError>;
    /// What a follower needs that cannot be sent the entries up to the snapshot's place.
    fn snapshot(&self) -> Result<Snapshot, LogError>;
    /// Starts anew from another replica's snapshot, durably.
    fn install(&mut self, snapshot: Snapshot) -> Result<(), LogError>;
}

/// What stands for a log's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub start: LogStart,
    /// As of `start` or later.
    pub configuration: Configuration,
    /// The state machine's content.
    pub data: Bytes,
}

/// raft-rs' storage over a store.
pub(super) struct LogStorage<S> {
    pub store: S,
    /// The last entry that raft-rs knows to be written. The store may have one more for a moment, while a
    /// leader proposes it.
    pub last: u64,
    /// Command entries that are not applied yet.
    commands: BTreeMap<u64, eraftpb::Entry>,
}

impl<S: EntryStore> LogStorage<S> {
    /// # Errors
    /// The unapplied entries cannot be read.
    pub fn new(store: S) -> Result<LogStorage<S>, LogError> {
        let last = store.last_index();
        let mut storage = LogStorage { store, last, commands: BTreeMap::new() };
        let mut next = storage.applied() + 1;
        while next <= last {
            let entries = storage.store.entries(next, last + 1, 1 << 20)?;
            let Some(end) = entries.last() else { break };
            next = end.index + 1;
            entries.into_iter().for_each(|entry| storage.remember(to_raft(entry)));
        }
        Ok(storage)
    }

    /// Everything up to here is applied. The commit index that is kept never runs ahead of it, so that a change
    /// of members is in the configuration, or is handed out again.
    pub fn applied(&self) -> u64 {
        self.store.applied().map_or(self.committed(), |applied| self.within(applied))
    }

    fn committed(&self) -> u64 {
        self.within(self.store.hard_state().commit.max(self.store.applied().unwrap_or(0)))
    }

    fn within(&self, index: u64) -> u64 {
        let start = self.store.start().index;
        index.clamp(start, self.last.max(start))
    }

    pub fn first(&self) -> u64 {
        self.store.start().index + 1
    }

    fn remember(&mut self, entry: eraftpb::Entry) {
        if entry.context.is_empty() {
            self.commands.insert(entry.index, entry);
        }
    }

    /// Writes entries that raft-rs hands out, and knows them from then on.
    pub fn append(&mut self, entries: &[eraftpb::Entry]) -> Result<(), LogError> {
        let Some(first) = entries.first() else { return Ok(()) };
        let mut offset = self.store.offset_after(first.index.saturating_sub(1));
        let mut written = Vec::with_capacity(entries.len());
        for entry in entries {
            let entry = from_raft(entry, offset);
            offset = next_offset(&entry)?;
            written.push(entry);
        }
        self.store.append(&written)?;
        self.commands.split_off(&first.index);
        entries.iter().for_each(|entry| self.remember(entry.clone()));
        self.last = entries.last().map_or(self.last, |entry| entry.index);
        Ok(())
    }

    /// The entries up to `index` are applied.
    pub fn forget(&mut self, index: u64) {
        self.commands = self.commands.split_off(&(index + 1));
    }

    pub fn install(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        self.store.install(snapshot)?;
        self.last = self.store.last_index();
        self.commands.clear();
        Ok(())
    }

    /// An entry for the state machine: records without their payload.
    fn light(&self, index: u64) -> raft::Result<eraftpb::Entry> {
        if let Some(command) = self.commands.get(&index) {
            return Ok(command.clone());
        }
        let mut entry = eraftpb::Entry { index, term: self.term(index)?, ..eraftpb::Entry::default() };
        entry.context = Bytes::from_static(BATCH);
        Ok(entry)
    }
}

/// The offset after an entry that has its base offset.
fn next_offset(entry: &Entry) -> Result<i64, LogError> {
    if entry.kind == EntryKind::Command {
        return Ok(entry.base_offset);
    }
    let header = crate::log::batch::BatchHeader::read(&entry.payload)
        .map_err(|error| LogError::Invalid(error.to_string()))?;
    Ok(header.last_offset() + 1)
}

/// A log entry as raft-rs has it.
fn to_raft(entry: Entry) -> eraftpb::Entry {
    let mut raft = eraftpb::Entry { index: entry.index, term: entry.term, ..eraftpb::Entry::default() };
    if entry.kind == EntryKind::Batch {
        raft.context = Bytes::from_static(BATCH);
        raft.data = entry.payload;
        return raft;
    }
    let mut payload = entry.payload;
    if payload.has_remaining() && payload.get_u8() == TAG_CONFIGURATION {
        raft.entry_type = EntryType::EntryConfChangeV2;
    }
    raft.data = payload;
    raft
}

fn from_raft(entry: &eraftpb::Entry, offset: i64) -> Entry {
    let (index, term) = (entry.index, entry.term);
    if !entry.context.is_empty() {
        let payload = entry.data.clone();
        return Entry { index, term, kind: EntryKind::Batch, base_offset: offset, payload };
    }
    let tag = match entry.entry_type {
        EntryType::EntryNormal => TAG_NORMAL,
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => TAG_CONFIGURATION,
    };
    let mut payload = BytesMut::with_capacity(entry.data.len() + 1);
    payload.put_u8(tag);
    payload.put_slice(&entry.data);
    Entry { index, term, kind: EntryKind::Command, base_offset: offset, payload: payload.freeze() }
}

/// The context that marks records.
pub(super) fn batch_context() -> Bytes {
    Bytes::from_static(BATCH)
}

impl Snapshot {
    pub(super) fn to_raft(&self) -> eraftpb::Snapshot {
        let mut data = BytesMut::with_capacity(self.data.len() + 16);
        data.put_i64(self.start.offset);
        data.put_u64(self.configuration.index);
        data.put_slice(&self.data);
        let mut raft = eraftpb::Snapshot::default();
        let metadata = raft.mut_metadata();
        metadata.index = self.start.index;
        metadata.term = self.start.term;
        metadata.set_conf_state(self.configuration.to_state());
        raft.data = data.freeze();
        raft
    }

    /// `None` if the bytes are no snapshot.
    pub(super) fn from_raft(raft: &eraftpb::Snapshot) -> Option<Snapshot> {
        let mut data = raft.data.clone();
        if data.len() < 16 {
            return None;
        }
        let (offset, index) = (data.get_i64(), data.get_u64());
        let metadata = raft.get_metadata();
        Some(Snapshot {
            start: LogStart { index: metadata.index, term: metadata.term, offset },
            configuration: Configuration::from_state(index, metadata.get_conf_state()),
            data,
        })
    }
}

impl<S: EntryStore> Storage for LogStorage<S> {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard = self.store.hard_state();
        let state = eraftpb::HardState {
            term: hard.term,
            vote: hard.vote,
            commit: self.committed(),
            ..eraftpb::HardState::default()
        };
        Ok(RaftState { hard_state: state, conf_state: self.store.configuration().to_state() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last + 1 {
            return Err(StorageError::Unavailable.into());
        }
        // Only entries that are to be sent can be fetched later; the others are for the state machine.
        if !context.can_async() {
            return (low..high).map(|index| self.light(index)).collect();
        }
        let bytes_max =
            max_size.into().map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        match self.store.entries(low, high, bytes_max) {
            Ok(entries) => Ok(entries.into_iter().map(to_raft).collect()),
            Err(LogError::Removed { .. }) => Err(StorageError::Compacted.into()),
            Err(error) => {
                // The next heartbeat asks again.
                tracing::warn!(%error, low, high, "entries for a follower cannot be read");
                Err(StorageError::LogTemporarilyUnavailable.into())
            }
        }
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.store.start().index {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last {
            return Err(StorageError::Unavailable.into());
        }
        self.store.term(index).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        match self.store.snapshot() {
            Ok(snapshot) => Ok(snapshot.to_raft()),
            Err(error) => {
                tracing::warn!(%error, "a snapshot for a follower cannot be made");
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}
