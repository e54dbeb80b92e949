//! The property: every check of a run holds. What is done about a case for which it does not.

use std::fmt;
use std::path::{Path, PathBuf};

use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};

use super::Case;
use crate::inputs::InputError;
use crate::run::{LoadedScenario, RunOptions, run_scenario, save_scenario};
use crate::shrink::{self, Reason, Shrunk, failure};
use crate::simulate::SimulationError;

/// How many runs a failing case is made smaller with.
const SHRINK_RUNS_MAX: u32 = 100;
/// The file of the whole scenario's smallest part that still fails.
const SHRUNK: &str = "shrunk.yaml";

/// A case for which the property does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// The check that failed first, and what else failed.
    pub reason: Reason,
    /// What the failed checks of the whole scenario saw.
    pub seen: Vec<String>,
    /// Faults of the small scenario and of the whole one.
    pub faults: [usize; 2],
    /// The seed of both.
    pub seed: u64,
    /// The smallest scenario that still fails.
    pub file: PathBuf,
    /// The whole one.
    pub whole: PathBuf,
    /// How many runs it took.
    pub runs: u32,
}

/// Why the property does not hold.
#[derive(Debug, thiserror::Error)]
pub enum NotHeld {
    /// A check failed.
    #[error("{0}")]
    Broken(Box<Broken>),
    /// The case is no sound scenario: a mistake of the strategies.
    #[error("the case is no sound scenario: {0}")]
    Unsound(#[from] InputError),
    /// The simulation cannot end.
    #[error(transparent)]
    Endless(#[from] SimulationError),
    /// What failed cannot be written.
    #[error("{path}: {error}", path = path.display())]
    Unwritten {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// Runs the case; every check has to hold. A case that fails is made small and written below `failures`, into a directory
/// of its own that is named after the property and the seed.
///
/// # Errors
/// [`NotHeld::Broken`] if a check fails; the others if it cannot be tried.
pub fn holds(property: &str, case: &Case, failures: &Path) -> Result<(), NotHeld> {
    let unwritten = |path: &Path, error| NotHeld::Unwritten { path: path.to_owned(), error };
    let directory = tempfile::tempdir().map_err(|error| unwritten(&std::env::temp_dir(), error))?;
    let (_, loaded) = case.load(directory.path())?;
    let report = run_scenario(loaded.clone(), RunOptions::default())?;
    let Some(reason) = Reason::of(&report) else { return Ok(()) };
    let failed = report.checks.iter().filter(|check| !check.ok);
    let seen = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    let kept = failures.join(format!("{property}.seed-{}", case.seed));
    let whole = case.write(&loaded.scenario, &kept).map_err(|error| unwritten(&kept, error))?;
    let Shrunk { scenario, runs, .. } = small(&loaded, &reason);
    let file = kept.join(SHRUNK);
    save_scenario(&scenario, &whole, &file).map_err(|error| unwritten(&file, error))?;
    let faults = [scenario.faults.len(), loaded.scenario.faults.len()];
    let broken = Broken { reason, seen, faults, seed: case.seed, file, whole, runs };
    Err(NotHeld::Broken(Box::new(broken)))
}

/// How cases are drawn: `cases` of them unless `HOPWISE_CASES` says otherwise, the same ones each time unless
/// `HOPWISE_CASES_SEED` says otherwise, after those that have failed before, which are kept in `NAME.proptest-regressions`
/// beside the test `source` (give it `file!()`).
pub fn config(cases: u32, source: &'static str) -> Config {
    fn asked<T: std::str::FromStr>(variable: &str) -> Option<T> {
        std::env::var(variable).ok()?.parse().ok()
    }
    Config {
        cases: asked("HOPWISE_CASES").unwrap_or(cases),
        rng_seed: RngSeed::Fixed(asked("HOPWISE_CASES_SEED").unwrap_or(1)),
        // `holds` has made it small already.
        max_shrink_iters: 0,
        source_file: Some(source),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("proptest-regressions"))),
        ..Config::default()
    }
}

/// Where failing cases are written: `HOPWISE_FAILURES`, or `hopwise-failures` in the directory for temporary files.
pub fn failures_directory() -> PathBuf {
    std::env::var_os("HOPWISE_FAILURES")
        .map_or_else(|| std::env::temp_dir().join("hopwise-failures"), PathBuf::from)
}

fn small(loaded: &LoadedScenario, reason: &Reason) -> Shrunk {
    shrink::shrink(&loaded.scenario, &loaded.inputs, SHRINK_RUNS_MAX, |smaller| {
        // A scenario whose simulation cannot end fails for another reason.
        failure(loaded, smaller).ok().flatten().is_some_and(|other| reason.is_in(&other))
    })
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [faults, of] = self.faults;
        writeln!(f, "seed {} fails: {}", self.seed, self.reason.first())?;
        for seen in &self.seen {
            writeln!(f, "  {seen}")?;
        }
        writeln!(f, "{faults} of {of} faults are enough, after {} runs.", self.runs)?;
        writeln!(f, "replay: hopwise run {}", self.file.display())?;
        write!(f, "the whole: hopwise run {}", self.whole.display())
    }
}
