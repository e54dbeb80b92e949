//! The rows of a sweep as they end, kept so that an interrupted sweep goes on where it was.
//!
//! Beside a result file `OUT` the rows are appended to `OUT.partial`, a line each, as seeds end: what a killed process has
//! written stays, and a torn last line is dropped. For an object store, which cannot append, they are appended to a
//! temporary file, and what is new goes every half a minute into another object under `OUT.parts/`; a pod that starts
//! again on another machine finds them there. Without a result file there is nothing to resume.
//!
//! The first line says whose rows they are. Rows of another scenario or version are refused: they are not overwritten
//! either. Rows of the same from another build of hopwise (a developer's) are dropped: that build may have run otherwise.
//!
//! Rows are found by seed through an index of places in the file, so that memory does not grow with what rows hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::location::{self, Location, LocationError};
use super::row::{Identity, SeedRow};
use super::seeds::Shard;
use super::table::{self, Format, TableError, TableWriter};
use crate::wall_time;

/// From one upload of what is new to the next.
const UPLOAD_EVERY: Duration = Duration::from_secs(30);

/// The first line of kept rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// What they are rows of.
    pub sweep: Identity,
    /// Which part of it.
    pub shard: Shard,
    /// A hash of the program that wrote them.
    pub program: String,
}

/// The kept rows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Rows cannot be read or written.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The result cannot be made.
    #[error("{out}: {error}")]
    Table {
        /// The result.
        out: Location,
        /// Why.
        #[source]
        error: TableError,
    },
    /// They are another sweep's.
    #[error(
        "{kept} holds rows of another sweep: {difference}; remove it to start anew, or give another --out"
    )]
    AnotherSweep {
        /// Where they are.
        kept: Location,
        /// What differs.
        difference: String,
    },
    /// They are none.
    #[error("{kept} holds no rows of a sweep ({why}); remove it, or give another --out")]
    NoRows {
        /// What it is.
        kept: Location,
        /// Why.
        why: String,
    },
}

/// The rows that have ended.
pub(super) struct Spool {
    file: File,
    /// What errors name.
    path: PathBuf,
    /// Place and length of each seed's line.
    index: BTreeMap<u64, (u64, usize)>,
    length: u64,
    store: Option<Uploads>,
}

/// The objects that hold the rows so far.
struct Uploads {
    prefix: Location,
    parts: u64,
    /// What the last part ends with.
    uploaded: u64,
    last: Instant,
}

impl Spool {
    /// The rows that are kept for the result at `out`, those of an interrupted sweep with the same header among them.
    ///
    /// # Errors
    /// If there are rows of another sweep, or they cannot be read.
    pub fn open(out: Option<&Location>, header: &Header) -> Result<Spool, SpoolError> {
        let mut spool = match out {
            Some(Location::Path(path)) => Spool::beside(path, header)?,
            Some(url) => Spool::of_objects(&url.with_suffix(".parts/"), header)?,
            None => Spool::temporary()?,
        };
        if spool.length == 0 {
            spool
                .append(&serde_json::to_vec(header).map_err(io::Error::from).map_err(|e| spool.error(e))?)?;
        }
        Ok(spool)
    }

    /// The seeds that have ended.
    pub fn seeds(&self) -> BTreeSet<u64> {
        self.index.keys().copied().collect()
    }

    /// Whether the seed has ended.
    pub fn holds(&self, seed: u64) -> bool {
        self.index.contains_key(&seed)
    }

    /// The rows, by seed.
    ///
    /// # Errors
    /// If one cannot be read; those after it come all the same.
    pub fn rows(&self) -> impl Iterator<Item = Result<SeedRow, SpoolError>> {
        self.index.values().map(|(at, length)| {
            let mut line = vec![0; *length];
            let mut file = &self.file;
            file.seek(SeekFrom::Start(*at))
                .and_then(|_| file.read_exact(&mut line))
                .map_err(|error| self.error(error))?;
            table::parse(&line).map_err(|why| SpoolError::NoRows { kept: self.location(), why })
        })
    }

    /// Keeps a row that has ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&mut self, row: &SeedRow) -> Result<(), SpoolError> {
        let line = serde_json::to_vec(row).map_err(io::Error::from).map_err(|error| self.error(error))?;
        let place = (self.length, line.len());
        self.append(&line)?;
        self.index.insert(row.seed, place);
        match &self.store {
            Some(store) if store.last.elapsed() >= UPLOAD_EVERY => self.upload(),
            _ => Ok(()),
        }
    }

    /// Puts the rows, by seed, in the place of the result, and lets the kept ones go.
    ///
    /// # Errors
    /// If the result cannot be written; the rows stay then.
    pub fn finish(self, out: &Location, format: Format) -> Result<(), SpoolError> {
        replace_table(out, format, self.rows())?;
        match &self.store {
            None => Location::Path(self.path).remove()?,
            Some(uploads) => {
                for part in uploads.prefix.members()? {
                    part.remove()?;
                }
            }
        }
        Ok(())
    }

    /// Makes what is kept outlast the end of this process and of the machine.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.file.sync_data().map_err(|error| self.error(error))?;
        match &self.store {
            Some(_) => self.upload(),
            None => Ok(()),
        }
    }

    fn beside(path: &Path, header: &Header) -> Result<Spool, SpoolError> {
        let Location::Path(path) = Location::Path(path.to_owned()).with_suffix(".partial") else {
            unreachable!("a path goes on as a path")
        };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|error| location::at(&path, error))?;
        let mut spool = Spool { file, path, index: BTreeMap::new(), length: 0, store: None };
        let kept = spool.location();
        let read = spool.file.try_clone().map_err(|error| spool.error(error))?;
        spool.take_in(read, &kept, header, true)?;
        spool.file.set_len(spool.length).map_err(|error| spool.error(error))?;
        Ok(spool)
    }

    fn of_objects(prefix: &Location, header: &Header) -> Result<Spool, SpoolError> {
        let mut spool = Spool::temporary()?;
        let parts = prefix.members()?;
        for part in &parts {
            spool.take_in(part.open()?, part, header, false)?;
        }
        spool.store = Some(Uploads {
            prefix: prefix.clone(),
            parts: parts.len() as u64,
            uploaded: spool.length,
            last: wall_time::now(),
        });
        Ok(spool)
    }

    fn temporary() -> Result<Spool, SpoolError> {
        let file = tempfile::tempfile().map_err(|error| location::at(&std::env::temp_dir(), error))?;
        let path = std::env::temp_dir();
        Ok(Spool { file, path, index: BTreeMap::new(), length: 0, store: None })
    }

    /// Takes the rows of an interrupted sweep; `in_place` if they are in this file already.
    fn take_in(
        &mut self,
        file: File,
        kept: &Location,
        header: &Header,
        in_place: bool,
    ) -> Result<(), SpoolError> {
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        let mut is_first = true;
        loop {
            line.clear();
            lines.read_until(b'\n', &mut line).map_err(|error| self.error(error))?;
            // A line without its end was being written when the process ended.
            let Some(whole) = line.strip_suffix(b"\n") else { return Ok(()) };
            if is_first {
                is_first = false;
                match check_header(whole, kept, header)? {
                    Kept::Ours if in_place || self.length > 0 => {}
                    Kept::Ours => self.append(whole)?,
                    Kept::OfAnotherBuild => return Ok(()),
                }
                if in_place {
                    self.length = line.len() as u64;
                }
                continue;
            }
            let row = table::parse(whole).map_err(|why| SpoolError::NoRows { kept: kept.clone(), why })?;
            let is_new = !self.holds(row.seed);
            if in_place || is_new {
                if is_new {
                    self.index.insert(row.seed, (self.length, whole.len()));
                }
                match in_place {
                    true => self.length += line.len() as u64,
                    false => self.append(whole)?,
                }
            }
        }
    }

    fn append(&mut self, line: &[u8]) -> Result<(), SpoolError> {
        let mut whole = Vec::with_capacity(line.len() + 1);
        whole.extend_from_slice(line);
        whole.push(b'\n');
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.length))
            .and_then(|_| file.write_all(&whole))
            .map_err(|error| self.error(error))?;
        self.length += whole.len() as u64;
        Ok(())
    }

    /// Puts what is new into an object of its own, with the header.
    fn upload(&mut self) -> Result<(), SpoolError> {
        let Some(uploads) = &self.store else { return Ok(()) };
        if uploads.uploaded == self.length {
            return Ok(());
        }
        let part = uploads.prefix.with_suffix(&format!("{:08}.jsonl", uploads.parts));
        let mut copy = part.beside()?;
        let from = uploads.uploaded;
        self.copy_part(&mut copy, from).map_err(|error| self.error(error))?;
        part.replace(copy)?;
        let length = self.length;
        if let Some(uploads) = &mut self.store {
            (uploads.parts, uploads.uploaded, uploads.last) = (uploads.parts + 1, length, wall_time::now());
        }
        Ok(())
    }

    /// The header, and the lines behind `from`.
    fn copy_part(&self, part: &mut NamedTempFile, from: u64) -> io::Result<()> {
        let mut file = &self.file;
        if from > 0 {
            file.seek(SeekFrom::Start(0))?;
            let mut header = Vec::new();
            BufReader::new(file).read_until(b'\n', &mut header)?;
            part.write_all(&header)?;
        }
        file.seek(SeekFrom::Start(from))?;
        io::copy(&mut file, part).map(drop)
    }

    fn location(&self) -> Location {
        Location::Path(self.path.clone())
    }

    fn error(&self, error: io::Error) -> SpoolError {
        location::at(&self.path, error).into()
    }
}

/// Writes rows as a table in the place of `out`, which is replaced at once or not at all.
///
/// # Errors
/// If a row is an error, or the file cannot be written.
pub(super) fn replace_table<E: From<SpoolError>>(
    out: &Location,
    format: Format,
    rows: impl Iterator<Item = Result<SeedRow, E>>,
) -> Result<(), E> {
    let table = |error: TableError| SpoolError::Table { out: out.clone(), error };
    let file = out.beside().map_err(SpoolError::from)?;
    let handle = file.reopen().map_err(|error| table(error.into()))?;
    let mut writer = TableWriter::new(format, handle).map_err(table)?;
    for row in rows {
        writer.write(&row?).map_err(table)?;
    }
    writer.finish().map_err(table)?;
    out.replace(file).map_err(SpoolError::from)?;
    Ok(())
}

/// Whose rows are kept.
enum Kept {
    Ours,
    OfAnotherBuild,
}

fn check_header(line: &[u8], kept: &Location, header: &Header) -> Result<Kept, SpoolError> {
    let found: Header = serde_json::from_slice(line)
        .map_err(|error| SpoolError::NoRows { kept: kept.clone(), why: error.to_string() })?;
    let shard = || {
        let is_other = found.shard != header.shard;
        is_other.then(|| format!("they are of its shard {}, not {}", found.shard, header.shard))
    };
    if let Some(difference) = found.sweep.difference(&header.sweep).or_else(shard) {
        return Err(SpoolError::AnotherSweep { kept: kept.clone(), difference });
    }
    Ok(if found.program == header.program { Kept::Ours } else { Kept::OfAnotherBuild })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fixture::{identity, row};

    fn header(program: &str) -> Header {
        Header { sweep: identity(), shard: Shard::WHOLE, program: program.to_owned() }
    }

    fn seeds(spool: &Spool) -> Vec<u64> {
        spool.rows().map(|row| row.expect("a row").seed).collect()
    }

    fn locations(directory: &Path) -> [Location; 2] {
        let url = url::Url::from_file_path(directory.join("object.jsonl")).expect("absolute");
        [Location::Path(directory.join("file.jsonl")), Location::Url(url)]
    }

    #[test]
    fn an_interrupted_sweep_finds_its_rows_and_ends_with_all_by_seed() {
        let directory = tempfile::tempdir().expect("a directory");
        for out in locations(directory.path()) {
            let mut spool = Spool::open(Some(&out), &header("a")).expect("opened");
            for seed in [5, 2] {
                spool.keep(&row(seed)).expect("kept");
            }
            spool.sync().expect("synced");
            drop(spool);
            let mut spool = Spool::open(Some(&out), &header("a")).expect("opened again");
            assert_eq!(seeds(&spool), [2, 5], "{out}");
            assert!(spool.holds(2) && !spool.holds(3));
            spool.keep(&row(3)).expect("kept");
            spool.sync().expect("synced");
            drop(spool);
            let spool = Spool::open(Some(&out), &header("a")).expect("opened a third time");
            assert_eq!(seeds(&spool), [2, 3, 5], "{out}");
            spool.finish(&out, Format::JsonLines).expect("finished");
            let rows = table::read(Format::JsonLines, out.open().expect("there")).expect("rows");
            let rows: Vec<SeedRow> = rows.collect::<Result<_, _>>().expect("rows");
            assert_eq!(rows, [2, 3, 5].map(row), "{out}");
        }
        let mut left: Vec<_> = std::fs::read_dir(directory.path())
            .expect("listed")
            .map(|entry| entry.expect("listed").path())
            .filter(|path| path.is_file())
            .collect();
        left.sort();
        assert_eq!(left.len(), 2, "the kept rows are gone: {left:?}");
    }

    #[test]
    fn a_torn_last_line_is_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let out = Location::Path(directory.path().join("rows.jsonl"));
        let mut spool = Spool::open(Some(&out), &header("a")).expect("opened");
        for seed in 0..3 {
            spool.keep(&row(seed)).expect("kept");
        }
        let path = spool.path.clone();
        let (end, last) = (spool.length, spool.index[&2]);
        drop(spool);
        for cut in [1, 10, u64::try_from(last.1).expect("small")] {
            let file = File::options().write(true).open(&path).expect("opened");
            file.set_len(end - cut).expect("cut");
            let mut spool = Spool::open(Some(&out), &header("a")).expect("opened again");
            assert_eq!(seeds(&spool), [0, 1], "cut by {cut}");
            spool.keep(&row(2)).expect("kept");
            assert_eq!(seeds(&spool), [0, 1, 2], "cut by {cut}");
        }
    }

    #[test]
    fn rows_of_another_sweep_are_refused_and_those_of_another_build_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        for out in locations(directory.path()) {
            let mut spool = Spool::open(Some(&out), &header("a")).expect("opened");
            spool.keep(&row(1)).expect("kept");
            spool.sync().expect("synced");
            drop(spool);
            let mut other = header("a");
            other.sweep.inputs_hash = "beef".into();
            let error = Spool::open(Some(&out), &other).err().expect("refused").to_string();
            assert!(error.contains("holds rows of another sweep: the scenario's files have"), "{error}");
            assert!(error.contains("give another --out"), "{error}");
            let shard = Header { shard: "1/4".parse().expect("a shard"), ..header("a") };
            let error = Spool::open(Some(&out), &shard).err().expect("refused").to_string();
            assert!(error.contains("they are of its shard 0/1, not 1/4"), "{error}");
            let spool = Spool::open(Some(&out), &header("b")).expect("opened by another build");
            assert_eq!(seeds(&spool), [0; 0], "{out}");
        }
        let path = directory.path().join("notes.jsonl.partial");
        std::fs::write(&path, "something else\n").expect("written");
        let out = Location::Path(directory.path().join("notes.jsonl"));
        let error = Spool::open(Some(&out), &header("a")).err().expect("refused").to_string();
        assert!(error.contains("notes.jsonl.partial holds no rows of a sweep"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).expect("still there"), "something else\n");
    }
}
