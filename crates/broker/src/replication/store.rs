//! A replica's files, as its group sees them: the log, and beside it who belongs to the group.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::command::PartitionCommand;
use crate::log::{Entry, HardState, Log, LogConfig, LogError, LogStart, Recovery};
use crate::producers::Producers;
use crate::raft::{Configuration, EntryStore, Snapshot};
use crate::volume::Volume;

/// The log of a partition's replica, or of the controller's.
pub(crate) struct ReplicaStore {
    pub log: Log,
    volume: Volume,
    directory: PathBuf,
    configuration: Configuration,
    is_controller: bool,
    /// The controller's last snapshot, which stands for the entries up to its place. Partitions have none: their
    /// log begins where it begins.
    snapshot: Option<Snapshot>,
}

/// What a new group begins with: an entry that every first voter has, so that a replica that comes later, and
/// lacks it, is sent a snapshot, which tells it the members.
const BEGINNING: LogStart = LogStart { index: 1, term: 1, offset: 0 };

fn invalid(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
}

impl ReplicaStore {
    /// Opens the files in `directory`. Where there are none, the replica is one of the first `voters` of a new
    /// group; or, without any, knows nobody and waits for a leader.
    ///
    /// # Errors
    /// The volume's, or files that cannot be read.
    pub fn open(
        volume: &Volume,
        directory: &Path,
        config: LogConfig,
        voters: &[u64],
        is_controller: bool,
    ) -> io::Result<(ReplicaStore, Recovery)> {
        let (log, recovery) = Log::open(volume, directory, config)?;
        let path = configuration_path(directory);
        let known = match volume.read(&path)? {
            Some(bytes) => Some(serde_json::from_slice(&bytes).map_err(|error| invalid(&path, error))?),
            None => None,
        };
        let snapshot = if is_controller { read_snapshot(volume, directory)? } else { None };
        let mut store = ReplicaStore {
            log,
            volume: volume.clone(),
            directory: directory.to_owned(),
            configuration: Configuration::default(),
            is_controller,
            snapshot,
        };
        match known {
            Some(configuration) => store.configuration = configuration,
            None if !voters.is_empty() && store.log.last_index() <= BEGINNING.index => {
                store.begin(voters).map_err(io::Error::other)?;
            }
            None => {}
        }
        store.catch_up().map_err(io::Error::other)?;
        Ok((store, recovery))
    }

    /// The files of a new group. The configuration comes last: without it the rest is done again.
    fn begin(&mut self, voters: &[u64]) -> Result<(), LogError> {
        let configuration = Configuration::of_voters(BEGINNING.index, voters);
        self.log.install(BEGINNING, Producers::default())?;
        let (term, commit) = (BEGINNING.term, BEGINNING.index);
        self.log.save_hard_state(HardState { term, vote: 0, commit })?;
        if self.is_controller {
            let data = Bytes::new();
            self.keep_snapshot(Snapshot { start: BEGINNING, configuration: configuration.clone(), data })?;
        }
        self.save_configuration(&configuration)
    }

    /// A snapshot that was kept before a crash, and not put to use.
    fn catch_up(&mut self) -> Result<(), LogError> {
        let Some(snapshot) = self.snapshot.clone() else { return Ok(()) };
        if snapshot.configuration.index > self.configuration.index {
            self.configuration = snapshot.configuration.clone();
        }
        if self.term(snapshot.start.index) != Some(snapshot.start.term) {
            self.log.install(snapshot.start, Producers::default())?;
        }
        Ok(())
    }

    /// The controller's last snapshot.
    pub fn kept_snapshot(&self) -> Option<&Snapshot> {
        self.snapshot.as_ref()
    }

    /// Keeps a snapshot durably, so that the entries before it can go.
    ///
    /// # Errors
    /// The volume's.
    pub fn keep_snapshot(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        let start = snapshot.start;
        let head = serde_json::json!({
            "index": start.index, "term": start.term, "configuration": snapshot.configuration,
        });
        let head = serde_json::to_vec(&head).map_err(io::Error::other)?;
        let mut bytes = (head.len() as u64).to_be_bytes().to_vec();
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&snapshot.data);
        self.volume.replace(&snapshot_path(&self.directory), &bytes)?;
        self.snapshot = Some(snapshot);
        Ok(())
    }
}

/// Removes a replica's data but for a mark that its group is elsewhere: a replica with the mark never starts by
/// itself.
///
/// # Errors
/// The volume's.
pub(super) fn leave(volume: &Volume, directory: &Path) -> io::Result<()> {
    let mark = serde_json::to_vec(&Configuration::default())?;
    let path = configuration_path(directory);
    volume.replace(&path, &mark)?;
    for name in volume.names(directory)? {
        let file = directory.join(name);
        if file != path {
            volume.remove(&file)?;
        }
    }
    Ok(())
}

fn configuration_path(directory: &Path) -> PathBuf {
    directory.join("members.json")
}

fn snapshot_path(directory: &Path) -> PathBuf {
    directory.join("snapshot")
}

fn read_snapshot(volume: &Volume, directory: &Path) -> io::Result<Option<Snapshot>> {
    #[derive(serde::Deserialize)]
    struct Head {
        index: u64,
        term: u64,
        configuration: Configuration,
    }
    let path = snapshot_path(directory);
    let Some(bytes) = volume.read(&path)? else { return Ok(None) };
    let mut bytes = Bytes::from(bytes);
    if bytes.len() < 8 {
        return Err(invalid(&path, "the snapshot is too short"));
    }
    let length = usize::try_from(bytes::Buf::get_u64(&mut bytes)).unwrap_or(usize::MAX);
    if length > bytes.len() {
        return Err(invalid(&path, "the snapshot ends within its head"));
    }
    let head = bytes.split_to(length);
    let head: Head = serde_json::from_slice(&head).map_err(|error| invalid(&path, error))?;
    let start = LogStart { index: head.index, term: head.term, offset: 0 };
    Ok(Some(Snapshot { start, configuration: head.configuration, data: bytes }))
}

impl EntryStore for ReplicaStore {
    fn start(&self) -> LogStart {
        self.log.start()
    }

    fn last_index(&self) -> u64 {
        self.log.last_index()
    }

    fn term(&self, index: u64) -> Option<u64> {
        self.log.term(index).ok()
    }

    fn entries(&self, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        self.log.entries(from, to, bytes_max)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        self.log.append(entries)
    }

    fn sync(&mut self) -> Result<(), LogError> {
        self.log.sync()
    }

    fn offset_after(&self, index: u64) -> i64 {
        self.log.offset_after(index)
    }

    fn hard_state(&self) -> HardState {
        self.log.hard_state()
    }

    fn save_hard_state(&mut self, state: HardState) -> Result<(), LogError> {
        self.log.save_hard_state(state)
    }

    fn apply(&mut self, index: u64, command: &[u8]) -> Result<bool, LogError> {
        if self.is_controller {
            return Ok(false);
        }
        match PartitionCommand::decode(command) {
            Some(PartitionCommand::RemoveBefore(offset)) => self.log.remove_before(offset, index)?,
            // Every replica passes over it alike.
            None => tracing::error!(index, "a command of a partition cannot be read"),
        }
        Ok(true)
    }

    fn is_damaged(&self) -> bool {
        self.log.is_damaged()
    }

    fn restored(&mut self) -> Result<(), LogError> {
        self.log.restored()
    }

    fn applied_to(&mut self, index: u64) -> Result<(), LogError> {
        let hard = self.log.hard_state();
        self.log.save_hard_state(HardState { commit: index, ..hard })?;
        // A broker that starts while the others are away knows the cluster as it was.
        if self.is_controller { self.log.keep_commit() } else { Ok(()) }
    }

    fn applied(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.start.index)
    }

    fn configuration(&self) -> Configuration {
        self.configuration.clone()
    }

    fn save_configuration(&mut self, configuration: &Configuration) -> Result<(), LogError> {
        let bytes = serde_json::to_vec(configuration).map_err(io::Error::other)?;
        self.volume.replace(&configuration_path(&self.directory), &bytes)?;
        self.configuration = configuration.clone();
        Ok(())
    }

    fn snapshot(&self) -> Result<Snapshot, LogError> {
        // The members of now, so that the receiver, who may be new, is one of them; changes that are in the log
        // after the snapshot are passed over by their index.
        let configuration = self.configuration.clone();
        if let Some(snapshot) = &self.snapshot {
            return Ok(Snapshot { configuration, ..snapshot.clone() });
        }
        let data = Bytes::from(self.log.start_producers()?.encode());
        Ok(Snapshot { start: self.log.start(), configuration, data })
    }

    fn install(&mut self, snapshot: Snapshot) -> Result<(), LogError> {
        // The members first: with an older log they do no harm.
        self.save_configuration(&snapshot.configuration)?;
        if self.is_controller {
            self.keep_snapshot(snapshot.clone())?;
            return self.log.install(snapshot.start, Producers::default());
        }
        let producers = Producers::decode(&snapshot.data)
            .ok_or_else(|| LogError::Invalid("the snapshot's producers cannot be read".to_owned()))?;
        self.log.install(snapshot.start, producers)
    }
}
