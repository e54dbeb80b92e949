//! Opening a log: which segments belong to it, what of them is good, and what has to be cut off.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::hard_state::{LogStart, StateFile};
use super::segment::{self, BadTail, Segment};
use super::{Log, LogConfig, LogError, Recovery, index_file};
use crate::producers::Producers;
use crate::volume::Volume;

/// The file that marks a log that has lost what had been synced.
const DAMAGE_MARK: &str = "damaged";
/// Bytes that a rebuild of producer state reads at once.
const REPLAY_BYTES: u64 = 1 << 20;

impl Log {
    /// Opens the log in `directory`, creating it if there is none.
    ///
    /// # Errors
    /// The volume's; `InvalidData` if the replica's hard state cannot be read.
    pub fn open(volume: &Volume, directory: &Path, config: LogConfig) -> io::Result<(Log, Recovery)> {
        let is_new = volume.create_directory(directory)?;
        let state = StateFile::open(volume, directory)?;
        let damage = volume.length(&directory.join(DAMAGE_MARK))?.is_some();
        let recovery = Recovery { damage, ..Recovery::default() };
        let mut opening = Opening { volume, directory, segments: Vec::new(), recovery };
        // On a simulated disk a look into a directory costs as much as there are files on the whole disk.
        if !is_new {
            opening.open(state.state().start)?;
        }
        let Opening { mut segments, recovery, .. } = opening;
        if segments.is_empty() {
            segments.push(Segment::create(volume, directory, state.state().start)?);
        }
        let mut log = Log {
            origin: Arc::new(()),
            volume: volume.clone(),
            directory: directory.to_owned(),
            config,
            state,
            segments,
            synced_index: 0,
            cuts: 0,
            producers: Producers::default(),
            producers_stale: true,
            garbage: Vec::new(),
            refuses: None,
            damaged: recovery.damage,
        };
        log.synced_index = log.last_index();
        let commit = log.hard_state().commit.clamp(log.start().index, log.last_index());
        log.state.set_commit(commit);
        log.load_producers().map_err(io::Error::other)?;
        Ok((log, recovery))
    }

    /// Whether the disk has lost what had been synced, and nobody has said since that it is there again.
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// What the disk had lost is there again, durably.
    ///
    /// # Errors
    /// The volume's; then the log stays marked.
    pub fn restored(&mut self) -> Result<(), LogError> {
        if self.damaged {
            self.volume.remove(&self.directory.join(DAMAGE_MARK))?;
            self.damaged = false;
        }
        Ok(())
    }

    /// Drops all segments and starts an empty one.
    pub(super) fn begin_at(&mut self, start: LogStart, producers: Producers) -> Result<(), LogError> {
        for segment in self.segments.iter().rev() {
            index_file::remove_index(&self.volume, &segment.path)?;
            self.volume.remove(&segment.path)?;
        }
        self.segments = vec![Segment::create(&self.volume, &self.directory, start)?];
        self.synced_index = start.index;
        self.cuts += 1;
        self.producers = producers;
        self.producers_stale = false;
        Ok(())
    }

    /// Makes the producer state that of the last entry.
    pub(super) fn load_producers(&mut self) -> Result<(), LogError> {
        let last = self.segments.len() - 1;
        let mut producers = self.producers_at_start_of(last)?;
        self.replay(&self.segments[last], &mut producers)?;
        producers.start_at(self.start_offset());
        producers.committed(self.offset_after(self.hard_state().commit));
        self.producers = producers;
        self.producers_stale = false;
        Ok(())
    }

    /// The producer state at a segment's start: as it was kept there, or else rebuilt from an earlier one.
    pub(super) fn producers_at_start_of(&self, segment: usize) -> Result<Producers, LogError> {
        let mut producers = Producers::default();
        let mut from = 0;
        for (place, earlier) in self.segments[..=segment].iter().enumerate().rev() {
            if let Some(kept) = index_file::load_producers(&self.volume, &earlier.path)? {
                (producers, from) = (kept, place);
                break;
            }
        }
        for earlier in &self.segments[from..segment] {
            self.replay(earlier, &mut producers)?;
        }
        Ok(producers)
    }

    /// Lets producer state follow a segment's entries.
    fn replay(&self, segment: &Segment, producers: &mut Producers) -> Result<(), LogError> {
        let mut from = 0;
        while let Some(next) = segment.slots[from..].iter().position(|slot| slot.produced) {
            from += next;
            let mut bytes = 0;
            let run = segment.slots[from..].iter().take_while(|slot| {
                let fits = slot.produced && bytes < REPLAY_BYTES;
                bytes += slot.size();
                fits
            });
            let to = from + run.count();
            for entry in segment.read(&self.volume, from, to)? {
                producers.follow(&entry);
            }
            from = to;
        }
        Ok(())
    }
}

/// A log being opened.
struct Opening<'a> {
    volume: &'a Volume,
    directory: &'a Path,
    segments: Vec<Segment>,
    recovery: Recovery,
}

impl Opening<'_> {
    fn open(&mut self, start: LogStart) -> io::Result<()> {
        let mut bases = Vec::new();
        for name in self.volume.names(self.directory)? {
            bases.extend(segment::base_index(&name));
            if name.ends_with(".next") {
                self.volume.remove(&self.directory.join(name))?;
            }
        }
        bases.sort_unstable();
        // A removal from the front that did not come to its end.
        let removed = bases.iter().skip(1).take_while(|next| **next - 1 <= start.index).count();
        for base in bases.drain(..removed) {
            self.remove(base)?;
        }
        for (place, base) in bases.iter().enumerate() {
            let last = place + 1 == bases.len();
            if !self.open_segment(*base, start, last)? {
                bases[place..]
                    .iter()
                    .rev()
                    .filter(|later| !self.holds(**later))
                    .try_for_each(|later| self.remove(*later))?;
                break;
            }
        }
        Ok(())
    }

    fn holds(&self, base: u64) -> bool {
        self.segments.iter().any(|segment| segment.start.index + 1 == base)
    }

    fn remove(&self, base: u64) -> io::Result<()> {
        let path = segment::path(self.directory, base);
        index_file::remove(self.volume, &path)?;
        self.volume.remove(&path)
    }

    /// Opens a segment; `false` if it or what follows it does not belong to the log.
    fn open_segment(&mut self, base: u64, start: LogStart, last: bool) -> io::Result<bool> {
        let path = segment::path(self.directory, base);
        let length = self.volume.length(&path)?.unwrap_or(0);
        let own_start = match Segment::read_start(self.volume, &path) {
            Ok(own_start) => own_start,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.cut(length, true, || format!("{error} of the segment at entry {base}"))?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let expected = self.segments.last().map_or(start, Segment::end);
        if own_start != expected {
            // A log that a snapshot has replaced goes without a word.
            if !self.segments.is_empty() || own_start.index > start.index {
                let belongs = expected.index + 1;
                self.cut(length, true, || format!("a segment is missing from entry {belongs} on"))?;
            }
            return Ok(false);
        }
        if last {
            index_file::remove_index(self.volume, &path)?;
        } else if let Some(segment) = index_file::load(self.volume, &path, own_start)? {
            self.segments.push(segment);
            return Ok(true);
        }
        let (segment, tail) = Segment::scan(self.volume, path, own_start)?;
        // A broker that was killed may have written what it had not synced.
        self.volume.sync(&segment.path)?;
        self.segments.push(segment);
        match tail {
            Some(tail) => self.cut_tail(&tail, last).map(|()| false),
            None => Ok(true),
        }
    }

    fn cut_tail(&mut self, tail: &BadTail, last: bool) -> io::Result<()> {
        let Some(segment) = self.segments.last() else { return Ok(()) };
        let (index, offset) = (segment.end_index(), segment.end_offset());
        // A closed segment was synced as a whole.
        self.cut(tail.bytes, tail.damage || !last, || {
            format!("{} at entry {index}, offset {offset}", tail.reason)
        })?;
        let Some(segment) = self.segments.last_mut() else { return Ok(()) };
        index_file::remove_index(self.volume, &segment.path)?;
        self.volume.set_length(&segment.path, segment.length)?;
        self.volume.sync(&segment.path)?;
        segment.synced = segment.length;
        Ok(())
    }

    /// Something is about to be cut. Damage is marked first: nothing shows it afterwards.
    fn cut(&mut self, bytes: u64, damage: bool, reason: impl FnOnce() -> String) -> io::Result<()> {
        if damage && !self.recovery.damage {
            self.volume.replace(&self.directory.join(DAMAGE_MARK), b"")?;
        }
        self.recovery.cut_bytes += bytes;
        self.recovery.damage |= damage;
        self.recovery.reason.get_or_insert_with(reason);
        Ok(())
    }
}
