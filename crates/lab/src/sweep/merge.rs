//! Joins the results of shards to the result of the whole sweep.
//!
//! Every shard's rows are by seed, and shards are ranges, so the files are ordered by their first seeds and read one
//! after the other: nothing is held in memory. What is missing, there twice, or of another sweep is an error, and the
//! result is not written.

use std::iter::Peekable;
use std::path::Path;

use super::location::{Location, LocationError};
use super::row::{Identity, SeedRow};
use super::spool::{SpoolError, replace_table};
use super::summary::{SweepReport, Tally};
use super::table::{self, Format, TableError};
use crate::wall_time;

/// Results cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file cannot be read.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] SpoolError),
    /// A file is no result.
    #[error("{file}: {error}")]
    Table {
        /// The file.
        file: Location,
        /// Why.
        #[source]
        error: TableError,
    },
    /// A file's name tells no format.
    #[error("{file}: {why}")]
    Format {
        /// The file.
        file: Location,
        /// Why.
        why: String,
    },
    /// There is nothing to join.
    #[error("there are no rows in {0}; expected the results of `hopwise sweep`")]
    Nothing(String),
    /// The file is another sweep's.
    #[error("{second} is no part of the sweep of {first}: {difference}")]
    AnotherSweep {
        /// The first file.
        first: Location,
        /// The other.
        second: Location,
        /// What differs.
        difference: String,
    },
    /// A seed is there twice.
    #[error("seed {seed} is in {first} and in {second}; give each shard once")]
    Overlap {
        /// The seed.
        seed: u64,
        /// One file.
        first: Location,
        /// The other.
        second: Location,
    },
    /// The rows of a file are not in the order of their seeds.
    #[error(
        "{file}: seed {seed} comes after seed {before}; expected each seed once and in order, as `hopwise sweep` writes them"
    )]
    Order {
        /// The file.
        file: Location,
        /// The seed.
        seed: u64,
        /// The one before.
        before: u64,
    },
    /// A seed that the sweep does not have.
    #[error("{file}: seed {seed} is none of the sweep's seeds {sweep}")]
    Foreign {
        /// The file.
        file: Location,
        /// The seed.
        seed: u64,
        /// What the file itself calls its seeds.
        sweep: String,
    },
    /// Seeds are missing.
    #[error("the seeds {first}..{end} are in none of the files; a shard is missing, or has not ended")]
    Gap {
        /// The first that is missing.
        first: u64,
        /// The next that is there, or the end of the sweep.
        end: u64,
    },
}

type Rows = Peekable<Box<dyn Iterator<Item = Result<SeedRow, TableError>>>>;

/// A file with rows that are still to be read.
struct Shard {
    file: Location,
    rows: Rows,
    first: u64,
}

/// Joins `files` (directories and prefixes stand for the results in them) and writes all rows, by seed, to `out`.
///
/// # Errors
/// If the files are not all of one sweep, each seed of it once. `out` is as it was then.
pub fn merge(files: &[Location], out: &Location, format: Format) -> Result<SweepReport, MergeError> {
    let began = wall_time::now();
    let mut shards = open_all(files)?;
    let Some(first) = shards.first_mut() else { return Err(nothing(files)) };
    let head = peek(first)?.cloned();
    let Some(head) = head else { return Err(nothing(files)) };
    let name = first.file.clone();
    let mut tally = Tally::new(head.scenario.clone(), head.sweep.clone(), Path::new(&head.scenario));
    let joined = Joined {
        shards: shards.into_iter(),
        current: None,
        is_same_file: false,
        before: None,
        sweep: head.sweep,
        name,
    };
    let rows = joined.map(|row| row.inspect(|row| tally.add(row)));
    replace_table(out, format, rows)?;
    Ok(tally.report(None, Some(out), began.elapsed()))
}

/// Every file that has rows, by its first seed.
fn open_all(files: &[Location]) -> Result<Vec<Shard>, MergeError> {
    let mut shards = Vec::new();
    for given in files {
        for file in given.members()? {
            let format = match file.extension().unwrap_or_default().parse::<Format>() {
                Ok(format) => format,
                // A directory may hold other things too; a file that is named is meant.
                Err(_) if file != *given => continue,
                Err(why) => return Err(MergeError::Format { file, why }),
            };
            let rows = table::read(format, file.open()?)
                .map_err(|error| MergeError::Table { file: file.clone(), error })?;
            let mut shard = Shard { file, rows: rows.peekable(), first: 0 };
            // A shard that has more shards than seeds beside it may have no seed.
            if let Some(row) = peek(&mut shard)? {
                shard.first = row.seed;
                shards.push(shard);
            }
        }
    }
    shards.sort_by(|a, b| (a.first, &a.file).cmp(&(b.first, &b.file)));
    Ok(shards)
}

/// The next row of a file, without taking it.
fn peek(shard: &mut Shard) -> Result<Option<&SeedRow>, MergeError> {
    if matches!(shard.rows.peek(), Some(Err(_))) {
        let error = shard.rows.next().and_then(Result::err);
        let error = error.unwrap_or_else(|| TableError::File(std::io::ErrorKind::UnexpectedEof.into()));
        return Err(MergeError::Table { file: shard.file.clone(), error });
    }
    Ok(shard.rows.peek().and_then(|row| row.as_ref().ok()))
}

/// The rows of all files as one, checked as they come.
struct Joined {
    shards: std::vec::IntoIter<Shard>,
    current: Option<Shard>,
    /// Whether the last row was of the current file.
    is_same_file: bool,
    /// The seed of the last row, and its file.
    before: Option<(u64, Location)>,
    sweep: Identity,
    /// The file whose rows say which sweep it is.
    name: Location,
}

impl Iterator for Joined {
    type Item = Result<SeedRow, MergeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(shard) = &mut self.current
                && let Some(row) = shard.rows.next()
            {
                let file = shard.file.clone();
                return Some(match row {
                    Ok(row) => self.check(row, file),
                    Err(error) => Err(MergeError::Table { file, error }),
                });
            }
            self.is_same_file = false;
            self.current = match self.shards.next() {
                Some(shard) => Some(shard),
                None => return self.check_end().err().map(Err),
            };
        }
    }
}

impl Joined {
    fn check(&mut self, row: SeedRow, file: Location) -> Result<SeedRow, MergeError> {
        let seed = row.seed;
        if let Some(difference) = row.sweep.difference(&self.sweep) {
            return Err(MergeError::AnotherSweep { first: self.name.clone(), second: file, difference });
        }
        if !self.sweep.seeds.contains(seed) {
            return Err(MergeError::Foreign { file, seed, sweep: self.sweep.seeds.to_string() });
        }
        match &self.before {
            Some((before, first)) if *before >= seed => {
                return Err(if self.is_same_file {
                    MergeError::Order { file, seed, before: *before }
                } else {
                    MergeError::Overlap { seed, first: first.clone(), second: file }
                });
            }
            _ => {}
        }
        self.check_gap(seed)?;
        self.before = Some((seed, file));
        self.is_same_file = true;
        Ok(row)
    }

    /// The end of the rows has to be the end of the sweep.
    fn check_end(&mut self) -> Result<(), MergeError> {
        let checked = self.check_gap(self.sweep.seeds.end);
        self.before = self.sweep.seeds.end.checked_sub(1).map(|last| (last, self.name.clone()));
        checked
    }

    /// No seed before `seed` may be missing.
    fn check_gap(&self, seed: u64) -> Result<(), MergeError> {
        let expected = self.before.as_ref().map_or(self.sweep.seeds.first, |(before, _)| before + 1);
        if seed == expected { Ok(()) } else { Err(MergeError::Gap { first: expected, end: seed }) }
    }
}

fn nothing(files: &[Location]) -> MergeError {
    MergeError::Nothing(files.iter().map(Location::to_string).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::ops::Range;

    use super::*;
    use crate::sweep::fixture::row;
    use crate::sweep::table::TableWriter;

    struct Results(tempfile::TempDir);

    impl Results {
        fn new() -> Results {
            Results(tempfile::tempdir().expect("a directory"))
        }

        fn at(&self, name: &str) -> Location {
            Location::Path(self.0.path().join(name))
        }

        fn write(&self, name: &str, rows: impl IntoIterator<Item = SeedRow>) -> Location {
            let location = self.at(name);
            let format = location.extension().and_then(|it| it.parse().ok()).expect("a format");
            let file = File::create(self.0.path().join(name)).expect("created");
            let mut writer = TableWriter::new(format, file).expect("a writer");
            rows.into_iter().for_each(|row| writer.write(&row).expect("written"));
            writer.finish().expect("finished");
            location
        }

        fn bytes(&self, name: &str) -> Vec<u8> {
            std::fs::read(self.0.path().join(name)).expect("there")
        }

        fn refused(&self, files: &[Location]) -> String {
            let out = self.at("out.jsonl");
            let told = merge(files, &out, Format::JsonLines).expect_err("refused").to_string();
            assert!(out.open().is_err(), "nothing is written");
            told.replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    fn rows(seeds: Range<u64>) -> impl Iterator<Item = SeedRow> {
        seeds.map(row)
    }

    #[test]
    fn shards_in_any_order_and_format_give_the_whole() {
        let results = Results::new();
        let shards = [
            results.write("b.parquet", rows(600..1000)),
            results.write("a.jsonl", rows(0..250)),
            results.write("none.jsonl", rows(0..0)),
            results.write("c.jsonl", rows(250..600)),
        ];
        for (format, out, whole) in [
            (Format::JsonLines, "out.jsonl", "whole.jsonl"),
            (Format::Parquet, "out.parquet", "whole.parquet"),
        ] {
            results.write(whole, rows(0..1000));
            let report = merge(&shards, &results.at(out), format).expect("joined");
            assert!(results.bytes(out) == results.bytes(whole), "{out}");
            assert_eq!((report.passed, report.failed, report.failures.len()), (900, 100, 100));
        }
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["a.jsonl", "b.parquet", "c.jsonl"] {
            std::fs::copy(results.0.path().join(name), directory.path().join(name)).expect("copied");
        }
        std::fs::write(directory.path().join("notes.txt"), "something else").expect("written");
        let out = results.at("again.jsonl");
        merge(&[Location::Path(directory.path().to_owned())], &out, Format::JsonLines).expect("joined");
        assert!(results.bytes("again.jsonl") == results.bytes("whole.jsonl"));
    }

    #[test]
    fn gaps_and_overlaps_are_told_with_their_seeds() {
        let results = Results::new();
        let start = results.write("start.jsonl", rows(0..400));
        let end = results.write("end.jsonl", rows(600..1000));
        let told = results.refused(&[end.clone(), start.clone()]);
        insta::assert_snapshot!(told, @"the seeds 400..600 are in none of the files; a shard is missing, or has not ended");
        let told = results.refused(std::slice::from_ref(&start));
        insta::assert_snapshot!(told, @"the seeds 400..1000 are in none of the files; a shard is missing, or has not ended");
        let more = results.write("more.jsonl", rows(390..600));
        let told = results.refused(&[start.clone(), more, end.clone()]);
        insta::assert_snapshot!(told, @"seed 390 is in start.jsonl and in more.jsonl; give each shard once");
        let told = results.refused(&[start.clone(), start.clone()]);
        insta::assert_snapshot!(told, @"seed 0 is in start.jsonl and in start.jsonl; give each shard once");
        let mixed = results.write("mixed.jsonl", [row(0), row(2), row(1)]);
        let told = results.refused(&[mixed]);
        insta::assert_snapshot!(told, @"the seeds 1..2 are in none of the files; a shard is missing, or has not ended");
        let back = results.write("back.jsonl", [row(0), row(1), row(0)]);
        let told = results.refused(&[back]);
        insta::assert_snapshot!(told, @"back.jsonl: seed 0 comes after seed 1; expected each seed once and in order, as `hopwise sweep` writes them");
        let foreign = results.write("foreign.jsonl", rows(0..1001));
        let told = results.refused(&[foreign]);
        insta::assert_snapshot!(told, @"foreign.jsonl: seed 1000 is none of the sweep's seeds 0..1000");
    }

    #[test]
    fn rows_of_another_sweep_are_refused() {
        let results = Results::new();
        let start = results.write("start.jsonl", rows(0..500));
        let other = |change: fn(&mut SeedRow)| {
            let changed = rows(500..1000).map(|mut row| {
                change(&mut row);
                row
            });
            let file = results.write("other.jsonl", changed);
            results.refused(&[start.clone(), file])
        };
        let told = other(|row| row.sweep.inputs_hash = "beef".into());
        insta::assert_snapshot!(told, @"other.jsonl is no part of the sweep of start.jsonl: the scenario's files have the hash beef, not 00c0ffee");
        let told = other(|row| row.sweep.version = "0.2.0".into());
        insta::assert_snapshot!(told, @"other.jsonl is no part of the sweep of start.jsonl: hopwise's version is 0.2.0, not 0.1.0");
        let told = other(|row| row.sweep.seeds = "0..2000".parse().expect("seeds"));
        insta::assert_snapshot!(told, @"other.jsonl is no part of the sweep of start.jsonl: the sweep's seeds are 0..2000, not 0..1000");
    }

    #[test]
    fn what_is_no_result_is_told() {
        let results = Results::new();
        std::fs::write(results.0.path().join("notes.jsonl"), "hello\n").expect("written");
        let told = results.refused(&[results.at("notes.jsonl")]);
        assert!(told.starts_with("notes.jsonl: line 1: this is no row of a sweep"), "{told}");
        let told = results.refused(&[results.at("rows.csv")]);
        insta::assert_snapshot!(told, @"rows.csv: `.csv` is no format of results; expected `.parquet` or `.jsonl`");
        let empty = results.write("empty.jsonl", rows(0..0));
        let told = results.refused(&[empty]);
        insta::assert_snapshot!(told, @"there are no rows in empty.jsonl; expected the results of `hopwise sweep`");
        let told = results.refused(&[results.at("gone.jsonl")]);
        assert!(told.starts_with("gone.jsonl: No such file"), "{told}");
    }
}
