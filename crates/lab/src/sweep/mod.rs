//! `hopwise sweep` and `hopwise merge`: one scenario with many seeds, on every core and on many machines.
//!
//! Seeds are independent of each other: a worker takes the next one, a thread of its own runs it (`one_seed`), and its
//! row is kept as it ends (`spool`), so that an interrupted sweep goes on where it was. At the end the rows, by seed,
//! take the place of the result file (`table`, `location`). A shard is a range of neighbouring seeds (`seeds`);
//! [`merge()`] joins the results of all shards to what one machine would have written. `docs/sweeps.md` is for users.

#[cfg(test)]
mod fixture;
mod location;
mod merge;
mod one_seed;
mod row;
mod seeds;
mod spool;
mod summary;
mod table;

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

pub use location::{Location, LocationError};
pub use merge::{MergeError, merge};
pub use row::{Counts, FailedCheck, Identity, SeedFault, SeedRow, SeedVerdict};
pub use seeds::{COMPLETIONS_VARIABLE, INDEX_VARIABLE, Seeds, SeedsError, Shard};
pub use spool::SpoolError;
pub use summary::{FailedSeed, SweepReport};
pub use table::{Format, TableError};

use crate::run::LoadedScenario;
use crate::wall_time;
use spool::{Header, Spool};
use summary::Tally;

/// Rows that wait to be written for each worker; workers wait when there are more.
const ROWS_WAITING: usize = 4;

/// What is swept, and where to.
#[derive(Clone, Debug)]
pub struct SweepOptions {
    /// All seeds of the sweep.
    pub seeds: Seeds,
    /// The part of them that is run here.
    pub shard: Shard,
    /// How many seeds are run at the same time.
    pub jobs: NonZeroUsize,
    /// Where the rows go; nowhere if absent.
    pub out: Option<(Location, Format)>,
}

/// How far a sweep has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Seeds that have ended, those of an interrupted sweep among them.
    pub ended: u64,
    /// Seeds of this shard.
    pub seeds: u64,
    /// Those that have ended and do not pass.
    pub failed: u64,
}

/// Runs every seed of the shard, and tells `watch` of each as it ends.
///
/// # Errors
/// If rows cannot be kept or the result cannot be written. What a seed itself comes to is never an error.
pub fn sweep(
    scenario: LoadedScenario,
    path: &Path,
    options: &SweepOptions,
    watch: &mut dyn FnMut(&SeedRow, Progress),
) -> Result<SweepReport, SpoolError> {
    let began = wall_time::now();
    let sweep = Identity {
        inputs_hash: scenario.hash.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        seeds: options.seeds,
    };
    let header = Header { sweep: sweep.clone(), shard: options.shard, program: program() };
    let mut spool = Spool::open(options.out.as_ref().map(|(out, _)| out), &header)?;
    let part = options.seeds.part(options.shard);
    let count = part.end - part.start;
    let mut tally = Tally::new(scenario.scenario.name.clone(), sweep.clone(), path);
    for row in spool.rows() {
        tally.add(&row?);
    }
    tally.resumed = tally.seeds();
    let ended = spool.seeds();
    let left = part.filter(move |seed| !ended.contains(seed));
    let mut keep = |row: SeedRow| {
        spool.keep(&row)?;
        tally.add(&row);
        watch(&row, Progress { ended: tally.seeds(), seeds: count, failed: tally.failed() });
        Ok::<(), SpoolError>(())
    };
    let jobs = usize::try_from(count).unwrap_or(usize::MAX).min(options.jobs.get());
    run_all(scenario, left, &sweep, jobs, &mut keep)?;
    if let Some((out, format)) = &options.out {
        spool.sync()?;
        spool.finish(out, *format)?;
    }
    let out = options.out.as_ref().map(|(out, _)| out);
    Ok(tally.report(Some(options.shard), out, began.elapsed()))
}

/// Runs the seeds on `jobs` workers and hands on the rows in the order in which they end.
fn run_all(
    scenario: LoadedScenario,
    seeds: impl Iterator<Item = u64> + Send,
    sweep: &Identity,
    jobs: usize,
    keep: &mut dyn FnMut(SeedRow) -> Result<(), SpoolError>,
) -> Result<(), SpoolError> {
    let scenario = Arc::new(scenario);
    let waiting = Mutex::new(seeds);
    let stop = AtomicBool::new(false);
    let (sender, rows) = mpsc::sync_channel(jobs * ROWS_WAITING);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, scenario, waiting, stop) = (sender.clone(), &scenario, &waiting, &stop);
            scope.spawn(move || {
                let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some(seed) = next().filter(|_| !stop.load(Ordering::Relaxed)) {
                    if sender.send(one_seed::run(scenario, seed, sweep)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        // Receiving ends when the last worker does. After an error nobody receives, and the workers stop.
        let kept = rows.iter().try_for_each(keep);
        stop.store(true, Ordering::Relaxed);
        drop(rows);
        kept
    })
}

/// A hash of the running program: results of two builds of one version may differ while hopwise itself is worked on.
fn program() -> String {
    let read = || {
        let mut hasher = twox_hash::XxHash3_128::new();
        let mut file = std::fs::File::open(std::env::current_exe()?)?;
        std::io::copy(&mut file, &mut HashWriter(&mut hasher))?;
        Ok::<_, std::io::Error>(format!("{:032x}", hasher.finish_128()))
    };
    // Where the program cannot be read, only the version tells builds apart.
    read().unwrap_or_default()
}

struct HashWriter<'a>(&'a mut twox_hash::XxHash3_128);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
