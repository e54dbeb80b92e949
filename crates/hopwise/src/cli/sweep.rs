//! `hopwise sweep`.

use std::io::{IsTerminal, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::{failure_text, sweep_text};
use hopwise_lab::run::load_scenario;
use hopwise_lab::sweep::{
    FailedSeed, Format as Table, Location, Progress, SeedRow, SeedVerdict, Seeds, Shard, SweepOptions,
    SweepReport, sweep as sweep_seeds,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use miette::{IntoDiagnostic, Result, miette};

use super::Ending;
use super::output::{self, Console};

/// Run a scenario with many seeds on all cores; print the line that replays each seed that does not pass.
#[derive(Args)]
pub struct SweepArguments {
    /// The scenario file.
    scenario: PathBuf,
    /// The seeds: the first, and the one after the last.
    #[arg(long, value_name = "A..B")]
    seeds: Seeds,
    /// How many seeds to run at the same time (default: as many as there are cores).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Run one of N equal parts of the seeds, I from 0 (default: JOB_COMPLETION_INDEX of JOB_COMPLETIONS if set, or all).
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Where the rows go: a path, or a URL of an object (s3://, gs://, az://, file://), ending in .parquet or .jsonl.
    #[arg(long, value_name = "FILE|URL", value_parser = result_place)]
    out: Option<(Location, Table)>,
}

/// Runs the seeds.
pub fn sweep(arguments: SweepArguments, console: Console) -> Result<Ending> {
    let scenario = load_scenario(&arguments.scenario)?;
    let options = SweepOptions {
        seeds: arguments.seeds,
        shard: match arguments.shard {
            Some(shard) => shard,
            None => shard_of_job()?,
        },
        jobs: match arguments.jobs {
            Some(jobs) => NonZeroUsize::new(usize::from(jobs)).unwrap_or(NonZeroUsize::MIN),
            None => std::thread::available_parallelism().into_diagnostic()?,
        },
        out: arguments.out,
    };
    let bar = Bar::new(console);
    let path = arguments.scenario;
    let mut watch = |row: &SeedRow, progress: Progress| bar.note(row, progress, &path);
    let report = sweep_seeds(scenario, &path, &options, &mut watch).map_err(|error| miette!("{error}"))?;
    bar.end();
    ending(&report, console)
}

/// Prints what a sweep or a merge came to.
pub fn ending(report: &SweepReport, console: Console) -> Result<Ending> {
    output::print(report, console, sweep_text)?;
    Ok(if report.verdict == Verdict::Pass { Ending::Well } else { Ending::NotWell })
}

/// Reads where results go, and in which format.
pub fn result_place(text: &str) -> Result<(Location, Table), String> {
    let location = Location::parse(text).map_err(|error| error.to_string())?;
    let format = location.extension().unwrap_or_default().parse::<Table>()?;
    Ok((location, format))
}

fn shard_of_job() -> Result<Shard> {
    let shard =
        Shard::from_environment(|name| std::env::var(name).ok()).map_err(|error| miette!("{error}"))?;
    Ok(shard.unwrap_or(Shard::WHOLE))
}

/// The progress on standard error: a bar on a terminal, and failures as they come anywhere.
struct Bar {
    bar: ProgressBar,
    quiet: bool,
}

impl Bar {
    fn new(console: Console) -> Bar {
        let target = match std::io::stderr().is_terminal() && !console.quiet {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template(
            "{wide_bar} {pos}/{len} seeds, {per_sec}, {msg}, {elapsed} so far, {eta} left",
        );
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("0 failures");
        Bar { bar, quiet: console.quiet }
    }

    fn note(&self, row: &SeedRow, progress: Progress, scenario: &std::path::Path) {
        if self.bar.length() == Some(0) {
            // Seeds that an interrupted sweep has run took this one no time.
            self.bar.set_length(progress.seeds);
            self.bar.set_position(progress.ended - 1);
            self.bar.reset_eta();
        }
        self.bar.inc(1);
        self.bar.set_message(match progress.failed {
            1 => "1 failure".to_owned(),
            failed => format!("{failed} failures"),
        });
        if row.verdict != SeedVerdict::Pass && !self.quiet {
            let text = failure_text(&FailedSeed::of(row, scenario), output::plain());
            // The bar steps aside for the lines; there is nothing to be done about an error stream that is closed.
            self.bar.suspend(|| drop(write!(std::io::stderr(), "{text}")));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
    }
}
