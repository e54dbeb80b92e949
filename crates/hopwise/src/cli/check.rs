//! `hopwise check`.

use std::path::PathBuf;

use clap::Args;
use hopwise_kube::cluster::Place;
use hopwise_lab::check::{self, CheckError, CheckOptions};
use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::check_text;
use miette::{Result, miette};

use super::Ending;
use super::input::ClusterArguments;
use super::output::{self, Format};

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
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
}

/// Checks.
pub fn check(arguments: CheckArguments, format: Format) -> Result<Ending> {
    let inputs = arguments.cluster.load()?;
    let from = if arguments.from.is_empty() { CheckOptions::default().from } else { arguments.from };
    let options = CheckOptions { from, seed: arguments.seed, captures: arguments.pcap };
    let report = check::check(inputs, &options).map_err(|error| match error {
        CheckError::Place(error) => miette!("--from: {error}"),
        CheckError::Simulation(error) => miette!("{error}"),
    })?;
    output::print(&report, format, check_text)?;
    Ok(if report.verdict == Verdict::Pass { Ending::Well } else { Ending::NotWell })
}
