//! `hopwise probe`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hopwise_kube::cluster::Place;
use hopwise_lab::probe::{self, HostPort, ProbeError, ProbeOptions, Transport};
use hopwise_lab::report::check::Outcome;
use hopwise_lab::report::probe_text;
use miette::{Result, miette};

use super::Ending;
use super::input::ClusterArguments;
use super::output::{self, Console};
use super::progress::Progress;

/// Dial any Service or pod from a place, and tell the way of the packets, who could have been chosen, and why it ends as
/// it does.
#[derive(Args)]
pub struct ProbeArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Where the client stands: external, external=IP, in-cluster, pod/NAMESPACE/NAME or node/NAME.
    #[arg(long, value_name = "PLACE")]
    from: Place,
    /// What it dials; a name is looked up by the place's resolver.
    #[arg(long, value_name = "HOST:PORT")]
    to: HostPort,
    /// The protocol.
    #[arg(long, value_enum, value_name = "PROTOCOL", default_value_t = Proto::Tcp)]
    proto: Proto,
    /// How many connections, one after the other, each from a port of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// The seed of the simulation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
}

/// A protocol that can be asked for.
#[derive(Clone, Copy, ValueEnum)]
enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Probes.
pub fn probe(arguments: ProbeArguments, console: Console) -> Result<Ending> {
    let inputs = arguments.cluster.load()?;
    let transport = match arguments.proto {
        Proto::Tcp => Transport::Tcp,
        Proto::Udp => Transport::Udp,
    };
    output::try_out(&[], &[arguments.pcap.as_ref()])?;
    let progress = Progress::begin("probing", console);
    let options = ProbeOptions {
        from: arguments.from,
        to: arguments.to,
        transport,
        count: arguments.count,
        seed: arguments.seed,
        captures: arguments.pcap,
    };
    let probe = probe::probe(inputs, &options).map_err(|error| match error {
        ProbeError::Place(error) => miette!("--from: {error}"),
        ProbeError::Simulation(error) => miette!("{error}"),
    })?;
    progress.end();
    output::print(&probe, console, probe_text)?;
    Ok(if probe.report.outcome == Outcome::Ok { Ending::Well } else { Ending::NotWell })
}
