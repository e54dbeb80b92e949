//! What a sweep came to: how many seeds passed, and how each that did not can be run again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::location::Location;
use super::row::{Identity, SeedRow, SeedVerdict};
use super::seeds::{Seeds, Shard};
use crate::report::check::Verdict;
use crate::report::replay;

/// The most seeds that are listed one by one; more are only counted.
const LISTED_MAX: usize = 1_000;

/// The report of `hopwise sweep` and `hopwise merge`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepReport {
    /// The scenario's name.
    pub scenario: String,
    /// Whether every seed passes.
    pub verdict: Verdict,
    /// The hash of the scenario's files.
    pub inputs_hash: String,
    /// hopwise's version.
    pub version: String,
    /// All seeds of the sweep.
    pub seeds: Seeds,
    /// Which part of them was run. Absent for a merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// Seeds that pass.
    pub passed: u64,
    /// Seeds that do not.
    pub failed: u64,
    /// Seeds that an interrupted sweep had run before.
    pub resumed: u64,
    /// The seeds that do not pass, by seed; a thousand at most.
    pub failures: Vec<FailedSeed>,
    /// Where the rows are. Absent if they were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out: Option<String>,
    /// Virtual time of all seeds together.
    pub simulated_ns: u64,
    /// How long the command took on this machine.
    pub wall_ns: u64,
}

/// A seed that does not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: SeedVerdict,
    /// The first check that failed.
    pub check: String,
    /// What was found instead.
    pub detail: String,
    /// The line that runs the seed again.
    pub replay: String,
}

/// Counts rows as they come.
pub(super) struct Tally {
    scenario: String,
    sweep: Identity,
    path: PathBuf,
    passed: u64,
    failures: Vec<FailedSeed>,
    /// Failures that are not listed.
    unlisted: u64,
    simulated_ns: u64,
    /// Seeds that had ended before.
    pub resumed: u64,
}

impl Tally {
    pub fn new(scenario: String, sweep: Identity, path: &Path) -> Tally {
        Tally {
            scenario,
            sweep,
            path: path.to_owned(),
            passed: 0,
            failures: Vec::new(),
            unlisted: 0,
            simulated_ns: 0,
            resumed: 0,
        }
    }

    pub fn add(&mut self, row: &SeedRow) {
        self.simulated_ns = self.simulated_ns.saturating_add(row.simulated_ns);
        if row.verdict == SeedVerdict::Pass {
            self.passed += 1;
            return;
        }
        let at = self.failures.partition_point(|failure| failure.seed < row.seed);
        self.failures.insert(at, FailedSeed::of(row, &self.path));
        if self.failures.len() > LISTED_MAX {
            self.failures.pop();
            self.unlisted += 1;
        }
    }

    /// Seeds that do not pass.
    pub fn failed(&self) -> u64 {
        self.failures.len() as u64 + self.unlisted
    }

    /// All seeds so far.
    pub fn seeds(&self) -> u64 {
        self.passed + self.failed()
    }

    pub fn report(self, shard: Option<Shard>, out: Option<&Location>, took: Duration) -> SweepReport {
        let failed = self.failed();
        SweepReport {
            scenario: self.scenario,
            verdict: if failed == 0 { Verdict::Pass } else { Verdict::Fail },
            inputs_hash: self.sweep.inputs_hash,
            version: self.sweep.version,
            seeds: self.sweep.seeds,
            shard,
            passed: self.passed,
            failed,
            resumed: self.resumed,
            failures: self.failures,
            out: out.map(Location::to_string),
            simulated_ns: self.simulated_ns,
            wall_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

impl FailedSeed {
    /// What is said of a row that does not pass; `path` is the scenario's.
    pub fn of(row: &SeedRow, path: &Path) -> FailedSeed {
        let first = row.failed_checks.first();
        let part =
            |of: fn(&super::FailedCheck) -> &String| first.map_or_else(String::new, |it| of(it).clone());
        FailedSeed {
            seed: row.seed,
            verdict: row.verdict,
            check: part(|check| &check.name),
            detail: part(|check| &check.detail),
            replay: replay(&path.display().to_string(), row.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fixture::{identity, row};

    #[test]
    fn failures_are_listed_by_seed_with_their_line_whatever_order_they_end_in() {
        let mut tally = Tally::new("small".into(), identity(), Path::new("a scenario.yaml"));
        for seed in [13, 4, 3, 5] {
            tally.add(&row(seed));
        }
        let report = tally.report(None, None, Duration::from_secs(1));
        assert_eq!((report.verdict, report.passed, report.failed), (Verdict::Fail, 2, 2));
        let lines: Vec<&str> = report.failures.iter().map(|failure| failure.replay.as_str()).collect();
        assert_eq!(
            lines,
            ["hopwise run 'a scenario.yaml' --seed 3", "hopwise run 'a scenario.yaml' --seed 13"]
        );
        assert_eq!(report.failures[0].check, "nothing is lost");
    }

    #[test]
    fn more_failures_than_are_listed_are_counted() {
        let mut tally = Tally::new("small".into(), identity(), Path::new("s.yaml"));
        for seed in (0..=LISTED_MAX as u64).rev() {
            tally.add(&row(seed * 10 + 3));
        }
        assert_eq!(tally.failed(), LISTED_MAX as u64 + 1);
        let report = tally.report(None, None, Duration::ZERO);
        assert_eq!((report.failures.len(), report.failures[0].seed), (LISTED_MAX, 3));
    }
}
