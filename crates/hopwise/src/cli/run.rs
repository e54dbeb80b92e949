//! `hopwise run`.

use std::path::PathBuf;

use clap::Args;
use hopwise_lab::page::run_page;
use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::{run_junit, run_text};
use hopwise_lab::run::{RunOptions, load_scenario, run_recorded, save_scenario};
use hopwise_lab::trace::write_trace;
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::Ending;
use super::output::{self, Console};
use super::progress::Progress;

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
    /// Write a page with the routes as pictures, latencies, the timeline, findings and costs; it works without a network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the run as trace events for Perfetto (ui.perfetto.dev): hosts, requests, their hops, faults.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Write the checks as JUnit XML too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// Write the scenario as an ordinary scenario file too, with its seed and with drawn faults as faults at their times.
    #[arg(long, value_name = "FILE")]
    drawn: Option<PathBuf>,
}

/// Runs.
pub fn run(arguments: RunArguments, console: Console) -> Result<Ending> {
    let RunArguments { scenario: path, seed, json, html, trace, junit, pcap, drawn } = arguments;
    let scenario = load_scenario(&path)?;
    output::try_out(
        &[json.as_ref(), html.as_ref(), trace.as_ref(), junit.as_ref(), drawn.as_ref()],
        &[pcap.as_ref()],
    )?;
    if let Some(file) = &drawn {
        let seed = seed.unwrap_or(scenario.scenario.seed);
        let drawn = scenario.scenario.drawn(&scenario.inputs, seed);
        save_scenario(&drawn, &path, file)
            .into_diagnostic()
            .wrap_err_with(|| format!("writing {}", file.display()))?;
    }
    let options = RunOptions { seed, captures: pcap };
    let progress = Progress::begin(&format!("running {}", path.display()), console);
    let (report, recording) = run_recorded(scenario, options).map_err(|error| miette!("{error}"))?;
    progress.end();
    if let Some(file) = &json {
        output::write_json(&report, file)?;
    }
    if let Some(file) = &html {
        output::write_text(&run_page(&report, &recording, &path.display().to_string()), file)?;
    }
    if let Some(file) = &trace {
        output::write_with(file, |out| write_trace(out, &report, &recording))?;
    }
    if let Some(file) = &junit {
        let xml = run_junit(&report, &path.display().to_string()).into_diagnostic()?;
        output::write_text(&xml, file)?;
    }
    output::print(&report, console, run_text)?;
    Ok(if report.verdict == Verdict::Pass { Ending::Well } else { Ending::NotWell })
}
