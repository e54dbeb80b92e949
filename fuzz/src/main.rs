//! `hopwise-fuzz [--seconds N] [--seed N] [TARGET...]`: attacks listeners, one after another, and prints a line for
//! each. Exit status 1 if something did not hold.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use hopwise_fuzz::cluster::Cluster;
use hopwise_fuzz::memory;
use hopwise_fuzz::run::{Target, attack, count_panics};

/// Sends damaged requests to the listeners of running brokers.
#[derive(Parser)]
struct Arguments {
    /// How long each listener is attacked, seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where the damage is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The listeners; all of them if none is named.
    #[arg(value_enum)]
    targets: Vec<Target>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    count_panics();
    let mut cluster = match Cluster::start(0).await {
        Ok(cluster) => cluster,
        Err(failure) => {
            eprintln!("the brokers do not start: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let targets = if arguments.targets.is_empty() { Target::ALL.to_vec() } else { arguments.targets };
    for target in targets {
        match attack(&mut cluster, target, arguments.seed, Duration::from_secs(arguments.seconds)).await {
            Ok(report) => println!(
                "{:<10} {:>5} requests damaged to {:>7} inputs, {:>6} answered; {:>5} acknowledged records kept; \
                 {:>4} MiB more memory",
                format!("{:?}", report.target).to_lowercase(),
                report.corpus,
                report.inputs,
                report.answered,
                report.acknowledged,
                report.growth_bytes >> 20,
            ),
            Err(found) => {
                eprintln!("{target:?} with seed {}: {found}", arguments.seed);
                return ExitCode::FAILURE;
            }
        }
    }
    println!("peak memory {} MiB", memory::peak_bytes().unwrap_or(0) >> 20);
    ExitCode::SUCCESS
}
