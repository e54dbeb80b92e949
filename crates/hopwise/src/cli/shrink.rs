//! `hopwise shrink`.

use std::path::{Path, PathBuf};

use clap::Args;
use hopwise_lab::report::Paper;
use hopwise_lab::run::{load_scenario, save_scenario};
use hopwise_lab::shrink::{self, Shrunk, failure};
use miette::{Result, miette};
use serde::Serialize;

use super::Ending;
use super::output::{self, Console};

/// The smallest scenario that still fails for the same reason: fewer faults, clients, partitions, requests, less time.
#[derive(Args)]
pub struct ShrinkArguments {
    /// The scenario file, which fails.
    scenario: PathBuf,
    /// The seed with which it fails (default: the scenario's own).
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the small scenario goes (default: beside the scenario, with the seed in its name).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many runs may be made.
    #[arg(long, value_name = "N", default_value_t = 500)]
    runs: u32,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    scenario: String,
    seed: u64,
    /// The check that fails.
    reason: String,
    /// Where the small scenario is.
    file: PathBuf,
    /// Faults of the small scenario and of the whole one.
    faults: [usize; 2],
    /// Clients of the small scenario and of the whole one.
    clients: [usize; 2],
    runs: u32,
    /// Whether nothing was left to try.
    complete: bool,
}

/// Shrinks.
pub fn shrink(arguments: ShrinkArguments, console: Console) -> Result<Ending> {
    let path = &arguments.scenario;
    let loaded = load_scenario(path)?;
    let seed = arguments.seed.unwrap_or(loaded.scenario.seed);
    let whole = loaded.scenario.drawn(&loaded.inputs, seed);
    let Some(reason) = failure(&loaded, &whole).map_err(|error| miette!("{error}"))? else {
        return Err(miette!(
            help = "give the seed of a run that fails; `hopwise sweep` finds some",
            "{} passes with seed {seed}: there is nothing to shrink",
            path.display()
        ));
    };
    let mut done = 0;
    let Shrunk { scenario, runs, complete } =
        shrink::shrink(&whole, &loaded.inputs, arguments.runs, |smaller| {
            done += 1;
            if !console.quiet {
                eprintln!("run {done}: {} faults, {} clients", smaller.faults.len(), smaller.clients.len());
            }
            // A scenario whose simulation cannot end fails for another reason.
            failure(&loaded, smaller).ok().flatten().is_some_and(|other| reason.is_in(&other))
        });
    let file = arguments.out.unwrap_or_else(|| beside(path, seed));
    save_scenario(&scenario, path, &file).map_err(|error| miette!("{}: {error}", file.display()))?;
    let report = Report {
        scenario: scenario.name.clone(),
        seed,
        reason: reason.first().to_owned(),
        file,
        faults: [scenario.faults.len(), whole.faults.len()],
        clients: [scenario.clients.len(), whole.clients.len()],
        runs,
        complete,
    };
    output::print(&report, console, text)?;
    Ok(Ending::Well)
}

/// `DIRECTORY/NAME.seed-7.yaml` for `DIRECTORY/NAME.yaml`.
fn beside(scenario: &Path, seed: u64) -> PathBuf {
    let name = scenario.file_stem().unwrap_or_default().to_string_lossy();
    scenario.with_file_name(format!("{name}.seed-{seed}.yaml"))
}

fn text(report: &Report, _: Paper) -> String {
    let Report { scenario, seed, reason, file, faults, clients, runs, complete } = report;
    let more = if *complete { "" } else { "; more runs may make it smaller still (--runs)" };
    format!(
        "{scenario} with seed {seed} fails: {reason}\n\
         {} of {} faults and {} of {} clients are enough, after {runs} runs{more}.\n\
         replay: hopwise run {}\n",
        faults[0],
        faults[1],
        clients[0],
        clients[1],
        file.display()
    )
}
