//! `hopwise check`.

use std::path::PathBuf;

use clap::Args;
use hopwise_kube::cluster::Place;
use hopwise_lab::check::{self, CheckError, CheckOptions};
use hopwise_lab::page::check_page;
use hopwise_lab::recording::Topology;
use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::{check_junit, check_text};
use miette::{IntoDiagnostic, Result, miette};

use super::Ending;
use super::input::ClusterArguments;
use super::output::{self, Console};
use super::progress::Progress;

/// Start the cluster that the manifests describe, then try every listener of every broker from every place.
#[derive(Args)]
pub struct CheckArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Where a client stands: external, external=IP, in-cluster, pod/NAMESPACE/NAME or node/NAME; may be given again
    /// (default: in-cluster and external).
    #[arg(long, value_name = "PLACE")]
    from: Vec<Place>,
    /// The seed of the simulation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write a page with the routes as pictures, and findings; it works without a network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the report as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the routes as JUnit XML too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
}

/// Checks.
pub fn check(arguments: CheckArguments, console: Console) -> Result<Ending> {
    let CheckArguments { cluster, from, seed, html, json, junit, pcap } = arguments;
    let inputs = cluster.load()?;
    output::try_out(&[html.as_ref(), json.as_ref(), junit.as_ref()], &[pcap.as_ref()])?;
    let nodes = inputs.cluster.nodes.clone();
    let command = again(&cluster, &from, seed);
    let from = if from.is_empty() { CheckOptions::default().from } else { from };
    let options = CheckOptions { from, seed, captures: pcap };
    let progress = Progress::begin("checking every listener", console);
    let report = check::check(inputs, &options).map_err(tell)?;
    progress.end();
    if let Some(file) = &html {
        let topology =
            Topology::of(&nodes, report.brokers.clone(), report.pods.clone(), report.services.clone());
        output::write_text(&check_page(&report, &topology, &command), file)?;
    }
    if let Some(file) = &json {
        output::write_json(&report, file)?;
    }
    if let Some(file) = &junit {
        output::write_text(&check_junit(&report).into_diagnostic()?, file)?;
    }
    output::print(&report, console, check_text)?;
    Ok(if report.verdict == Verdict::Pass { Ending::Well } else { Ending::NotWell })
}

/// The command line that checks the same again.
fn again(cluster: &ClusterArguments, from: &[Place], seed: u64) -> String {
    let mut command = format!("hopwise check{}", cluster.as_typed());
    for place in from {
        command.push_str(&format!(" --from {place}"));
    }
    command + &format!(" --seed {seed}")
}

/// Why there is no result, in the words of the command line.
pub fn tell(error: CheckError) -> miette::Report {
    match error {
        CheckError::Place(error) => miette!("--from: {error}"),
        CheckError::Simulation(error) => miette!("{error}"),
    }
}
