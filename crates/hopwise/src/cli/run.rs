//! `hopwise run`.

use std::path::PathBuf;

use clap::Args;
use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run_text;
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario, save_scenario};
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::Ending;
use super::output::{self, Format};

/// Run a scenario: its cluster, its clients, their workload and the faults; print latency, routing and cost.
#[derive(Args)]
pub struct RunArguments {
    /// The scenario file.
    scenario: PathBuf,
    /// Another seed than the scenario's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the report as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// Write the scenario as an ordinary scenario file too, with its seed and with drawn faults as faults at their times.
    #[arg(long, value_name = "FILE")]
    drawn: Option<PathBuf>,
}

/// Runs.
pub fn run(arguments: RunArguments, format: Format) -> Result<Ending> {
    let scenario = load_scenario(&arguments.scenario)?;
    if let Some(path) = &arguments.drawn {
        let seed = arguments.seed.unwrap_or(scenario.scenario.seed);
        let drawn = scenario.scenario.drawn(&scenario.inputs, seed);
        save_scenario(&drawn, &arguments.scenario, path)
            .into_diagnostic()
            .wrap_err_with(|| format!("writing {}", path.display()))?;
    }
    let options = RunOptions { seed: arguments.seed, captures: arguments.pcap };
    let report = run_scenario(scenario, options).map_err(|error| miette!("{error}"))?;
    if let Some(path) = &arguments.json {
        output::write_json(&report, path)?;
    }
    output::print(&report, format, run_text)?;
    Ok(if report.verdict == Verdict::Pass { Ending::Well } else { Ending::NotWell })
}
