//! What a log remembers beside its entries: Raft's hard state, and where the log starts.
//!
//! One small file with two places; a write goes to the place that the last one did not use, so that a crash
//! in the middle of a write leaves the other. A write is one write and one sync of a file that exists.

use std::io;
use std::path::{Path, PathBuf};

use crate::volume::Volume;

/// Between the two places, bytes: more than a disk's sector, so that one write touches one of them.
const PLACE_BYTES: usize = 4096;
/// Bytes that are used of a place.
const RECORD_BYTES: usize = 76;
const MAGIC: [u8; 8] = *b"HWLSTAT1";
/// How often places that do not read right are read again before they count as broken.
const READ_ATTEMPTS: usize = 3;

/// Raft's hard state (Raft, figure 2: persistent state; the commit index is kept as well).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HardState {
    /// The newest term that the replica has seen.
    pub term: u64,
    /// Whom it voted for in that term; 0 for nobody.
    pub vote: u64,
    /// Everything up to this index is committed.
    pub commit: u64,
}

/// The entry before the first one that a log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogStart {
    /// Its index; 0 at the very start.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The offset that the first record after it has.
    pub offset: i64,
}

/// All that the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub hard: HardState,
    pub start: LogStart,
    /// The first offset that is shown to clients; not below `start.offset`.
    pub start_offset: i64,
}

/// The file.
pub(super) struct StateFile {
    path: PathBuf,
    /// Counts writes; its parity tells the place of the last one.
    sequence: u64,
    state: State,
}

fn encode(sequence: u64, state: &State) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..8].copy_from_slice(&MAGIC);
    let fields = [
        sequence,
        state.hard.term,
        state.hard.vote,
        state.hard.commit,
        state.start.index,
        state.start.term,
        state.start.offset as u64,
        state.start_offset as u64,
    ];
    for (place, field) in record[8..72].chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_be_bytes());
    }
    let crc = crc32c::crc32c(&record[..72]);
    record[72..].copy_from_slice(&crc.to_be_bytes());
    record
}

fn decode(record: &[u8]) -> Option<(u64, State)> {
    let record = record.get(..RECORD_BYTES)?;
    let crc = u32::from_be_bytes(record[72..].try_into().ok()?);
    if record[..8] != MAGIC || crc32c::crc32c(&record[..72]) != crc {
        return None;
    }
    let field = |index: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&record[8 + 8 * index..16 + 8 * index]);
        u64::from_be_bytes(bytes)
    };
    let hard = HardState { term: field(1), vote: field(2), commit: field(3) };
    let start = LogStart { index: field(4), term: field(5), offset: field(6) as i64 };
    Some((field(0), State { hard, start, start_offset: field(7) as i64 }))
}

impl StateFile {
    /// Reads the file, creating it if there is none.
    ///
    /// # Errors
    /// The volume's; `InvalidData` if neither place can be read: a replica that does not know how it voted
    /// must not take part.
    pub fn open(volume: &Volume, directory: &Path) -> io::Result<StateFile> {
        let path = directory.join("state");
        if volume.length(&path)?.is_none() {
            let mut bytes = vec![0; PLACE_BYTES + RECORD_BYTES];
            bytes[..RECORD_BYTES].copy_from_slice(&encode(0, &State::default()));
            volume.replace(&path, &bytes)?;
            return Ok(StateFile { path, sequence: 0, state: State::default() });
        }
        // A broker that was killed may have written what it had not synced.
        volume.sync(&path)?;
        for _ in 0..READ_ATTEMPTS {
            let bytes = volume.read(&path)?.unwrap_or_default();
            let places = [bytes.get(..RECORD_BYTES), bytes.get(PLACE_BYTES..)];
            let newest =
                places.into_iter().flatten().filter_map(decode).max_by_key(|(sequence, _)| *sequence);
            if let Some((sequence, state)) = newest {
                return Ok(StateFile { path, sequence, state });
            }
        }
        let reason = format!("{}: the replica's vote and log start cannot be read", path.display());
        Err(io::Error::new(io::ErrorKind::InvalidData, reason))
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// Replaces the state, durably. On an error the old one holds.
    pub fn save(&mut self, volume: &Volume, state: State) -> io::Result<()> {
        self.write(volume, state)?;
        volume.sync(&self.path)?;
        self.sequence += 1;
        self.state = state;
        Ok(())
    }

    /// Writes the state to the place that is not in use.
    pub(super) fn write(&self, volume: &Volume, state: State) -> io::Result<()> {
        let sequence = self.sequence + 1;
        let position = if sequence.is_multiple_of(2) { 0 } else { PLACE_BYTES as u64 };
        volume.write_at(&self.path, position, &encode(sequence, &state))
    }

    /// Moves the commit index without writing it: it goes to the disk with the next save. Raft does not need
    /// it to be durable.
    pub fn set_commit(&mut self, commit: u64) {
        self.state.hard.commit = commit;
    }
}
