//! `hopwise sweep` and `hopwise merge` for people.

use std::fmt::Write as _;

use super::check::Verdict;
use super::paper::{Paper, Tone};
use super::units::{count, time};
use crate::sweep::{FailedSeed, SweepReport};

/// The failures that the text lists; all are in the results.
const LISTED: usize = 10;

/// The report as text.
pub fn sweep_text(report: &SweepReport, paper: Paper) -> String {
    let mut out = String::new();
    let (word, tone) = match report.verdict {
        Verdict::Pass => ("PASS", Tone::Good),
        Verdict::Fail => ("FAIL", Tone::Bad),
    };
    let ran = report.passed + report.failed;
    let shard = report.shard.map_or_else(String::new, |shard| match String::from(shard).as_str() {
        "0/1" => String::new(),
        shard => format!(", shard {shard}"),
    });
    let _ = writeln!(
        out,
        "{}  {} (seeds {}{shard}): {} of {} pass",
        paper.paint(word, tone),
        report.scenario,
        report.seeds,
        report.passed,
        count(usize::try_from(ran).unwrap_or(usize::MAX), "seed"),
    );
    let mut about = format!("{} simulated in {}", time(report.simulated_ns), time(report.wall_ns));
    if report.resumed > 0 {
        let _ = write!(about, "; {} had ended before", report.resumed);
    }
    if let Some(file) = &report.out {
        let _ = write!(about, "; the rows are in {file}");
    }
    paper.paragraph(&mut out, "      ", &format!("{about}."));
    if !report.failures.is_empty() {
        paper.heading(&mut out, "Seeds that do not pass");
    }
    for failure in report.failures.iter().take(LISTED) {
        out.push_str(&failure_text(failure, paper));
    }
    let more = report.failed.saturating_sub(LISTED as u64);
    if more > 0 {
        let _ = writeln!(out, "  and {more} more");
    }
    out
}

/// A seed that does not pass: its first failed check, and the line that runs it again.
pub fn failure_text(failure: &FailedSeed, paper: Paper) -> String {
    let mut out = String::new();
    let first = format!("  seed {}: ", failure.seed);
    paper.paragraph(&mut out, &first, &format!("{} ({})", failure.check, failure.detail));
    let _ = writeln!(out, "    {}", failure.replay);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::SeedVerdict;

    fn report() -> SweepReport {
        let failure = |seed| FailedSeed {
            seed,
            verdict: SeedVerdict::Fail,
            check: "every acknowledged record can be read once and in order".into(),
            detail: "600 acknowledged, 1 lost, 0 duplicated, 0 reordered".into(),
            replay: format!("hopwise run standard-faults.yaml --seed {seed}"),
        };
        SweepReport {
            scenario: "standard-faults".into(),
            verdict: Verdict::Fail,
            inputs_hash: "beef".into(),
            version: "0.1.0".into(),
            seeds: "0..400".parse().expect("seeds"),
            shard: Some("1/4".parse().expect("a shard")),
            passed: 88,
            failed: 12,
            resumed: 40,
            failures: (0..12).map(|index| failure(100 + index * 7)).collect(),
            out: Some("rows.parquet".into()),
            simulated_ns: 7_000_000_000_000,
            wall_ns: 5_000_000_000,
        }
    }

    #[test]
    fn failures_are_told_with_their_lines() {
        let paper = Paper { width: 100, colour: false };
        let text = sweep_text(&report(), paper);
        let head: Vec<&str> = text.lines().take(10).collect();
        insta::assert_snapshot!(head.join("\n"), @r"
        FAIL  standard-faults (seeds 0..400, shard 1/4): 88 of 100 seeds pass
              7000.00 s simulated in 5.000 s; 40 had ended before; the rows are in rows.parquet.

        Seeds that do not pass
          seed 100: every acknowledged record can be read once and in order (600 acknowledged, 1 lost, 0
                    duplicated, 0 reordered)
            hopwise run standard-faults.yaml --seed 100
          seed 107: every acknowledged record can be read once and in order (600 acknowledged, 1 lost, 0
                    duplicated, 0 reordered)
            hopwise run standard-faults.yaml --seed 107
        ");
        assert!(text.ends_with("  and 2 more\n"), "{text}");
    }

    #[test]
    fn a_whole_sweep_that_passes_is_two_lines() {
        let report = SweepReport {
            verdict: Verdict::Pass,
            shard: Some("0/1".parse().expect("a shard")),
            passed: 400,
            failed: 0,
            resumed: 0,
            failures: Vec::new(),
            out: None,
            ..report()
        };
        insta::assert_snapshot!(sweep_text(&report, Paper { width: 100, colour: false }), @r"
        PASS  standard-faults (seeds 0..400): 400 of 400 seeds pass
              7000.00 s simulated in 5.000 s.
        ");
    }
}
