//! `hopwise exec`.

use std::path::PathBuf;

use clap::Args;
use hopwise_kube::cluster::Place;
use hopwise_lab::exec::{ExecOptions, PodProgram, SecretFiles, exec as run};
use hopwise_lab::run::load_scenario;
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use super::Ending;
use super::input::ClusterArguments;

/// Run an unmodified program inside the simulated network, in real time (Linux).
///
/// The program meets the names, Services, node ports, load balancers, latencies and faults that a client at PLACE has; the
/// machine's own network is out of its reach. No root is needed where the kernel lets users make namespaces. The exit
/// status is the program's, 128 and a signal's number if one ended it, 127 if there is no such program.
#[derive(Args)]
pub struct ExecArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Where the program stands: external, external=IP, in-cluster, pod/NAMESPACE/NAME or node/NAME. If given again, the
    /// program runs at all of these places at once, and the status is that of the first.
    #[arg(long, value_name = "PLACE", required = true)]
    from: Vec<Place>,
    /// Let this pod run COMMAND, a real program, instead of what its image holds; may be given again. Its first container
    /// runs it, in a shell.
    #[arg(long, value_name = "pod/NAMESPACE/NAME=COMMAND")]
    run: Vec<PodProgram>,
    /// Let the program find the keys of this Secret of the manifests (also one that cert-manager issues) as files in
    /// DIRECTORY, such as redpanda/root=/mnt; may be given again. The directory must be there; nothing is written into it:
    /// only the program sees the files, in place of what the directory holds.
    #[arg(long, value_name = "NAMESPACE/NAME=DIRECTORY")]
    secret: Vec<SecretFiles>,
    /// Play this scenario's faults from the moment at which the program starts.
    #[arg(long, value_name = "SCENARIO")]
    fault: Option<PathBuf>,
    /// The seed of the simulation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Write a capture of each device into this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// The program and its arguments, after `--`.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the program.
pub fn exec(arguments: ExecArguments) -> Result<Ending> {
    let inputs = arguments.cluster.load()?;
    let faults = arguments.fault.as_deref().map(load_scenario).transpose()?;
    let executable =
        std::env::current_exe().into_diagnostic().wrap_err("finding hopwise's own executable")?;
    let options = ExecOptions {
        places: arguments.from,
        command: arguments.command,
        run: arguments.run,
        secrets: arguments.secret,
        executable,
        seed: arguments.seed,
        captures: arguments.pcap,
        faults,
    };
    run(inputs, options).map(Ending::Status).map_err(|error| miette!("{error}"))
}
