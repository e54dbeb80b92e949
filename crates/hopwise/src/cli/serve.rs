//! `hopwise serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use hopwise_broker::BootstrapUser;
use hopwise_lab::inputs::Inputs;
use hopwise_lab::report::serve_text;
use hopwise_lab::run::load_scenario;
use hopwise_lab::serve::addresses::Ports;
use hopwise_lab::serve::planned::{self, PlainCluster, PlannedBroker};
use hopwise_lab::serve::timeline::{self, Step};
use hopwise_lab::serve::{ServeOptions, Served};
use hopwise_security::sasl::Mechanism;
use miette::{IntoDiagnostic, Result, WrapErr, miette};
use tokio::signal::unix::{SignalKind, signal};

use super::Ending;
use super::input::SurroundingsArguments;
use super::output::{self, Console};

/// Serve brokers in real time on loopback sockets: those that manifests would start, or a plain cluster.
///
/// Every listener of every broker has an address and a port of its own, which is also what clients are told. They are
/// printed once all brokers are ready. SIGINT and SIGTERM stop the brokers; a second one ends the process at once.
#[derive(Args)]
pub struct ServeArguments {
    /// A manifest file, a directory (its *.yaml and *.yml), or `-` for standard input; may be given again.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    surroundings: SurroundingsArguments,
    /// Without manifests: how many brokers of a plain cluster, with Kafka listeners `internal` and `external`
    /// (default: 3).
    #[arg(long, value_name = "N", conflicts_with = "files", value_parser = clap::value_parser!(u16).range(1..=100))]
    brokers: Option<u16>,
    /// Without manifests: a cluster property of the first start, such as auto_create_topics_enabled=true; may be given
    /// again.
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "files", value_parser = property)]
    properties: Vec<(String, String)>,
    /// Without manifests: Kafka listeners ask for SASL, and this user, NAME:PASSWORD[:MECHANISM], has all rights. The
    /// mechanism is SCRAM-SHA-256 (default) or SCRAM-SHA-512; either may also log in by PLAIN. May be given again.
    #[arg(long, value_name = "USER", conflicts_with = "files", value_parser = user)]
    sasl: Vec<BootstrapUser>,
    /// Without manifests: all listeners but RPC speak TLS. The authority's certificate is in the file that is printed.
    #[arg(long, conflicts_with = "files")]
    tls: bool,
    /// Keep the brokers' data in this directory, with the ports that they get, and go on with what is there (default:
    /// in memory).
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address of all listeners.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    host: IpAddr,
    /// The first port; the others follow in the order of brokers and listeners (default: any free ports).
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    port_base: Option<u16>,
    /// Play this scenario's faults on the brokers, from when all are ready; without -f and --brokers, serve its cluster.
    #[arg(long, value_name = "SCENARIO")]
    fault: Option<PathBuf>,
}

/// Serves until a signal comes.
pub fn serve(arguments: ServeArguments, console: Console) -> Result<Ending> {
    let (brokers, steps) = plan(&arguments)?;
    let options = ServeOptions {
        host: arguments.host,
        ports: arguments.port_base.map_or(Ports::Free, Ports::From),
        data: arguments.data.clone(),
        relays: timeline::needs_relays(&steps),
        lose_power: timeline::loses_power(&steps),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .into_diagnostic()
        .wrap_err("starting the runtime")?;
    runtime.block_on(async {
        let mut stop = Signals::new()?;
        let mut served = tokio::select! {
            served = Served::start(&brokers, &options) => served.map_err(|error| miette!("{error}"))?,
            () = stop.next() => return Ok(Ending::Well),
        };
        output::print(&served.report(), console, serve_text)?;
        tokio::select! {
            () = served.run(&steps, |line| eprintln!("{line}")) => {}
            () = stop.next() => {}
        }
        tokio::select! {
            () = served.stop() => {}
            () = stop.next() => {}
        }
        Ok(Ending::Well)
    })
}

/// The brokers, and what is done to them.
fn plan(arguments: &ServeArguments) -> Result<(Vec<PlannedBroker>, Vec<Step>)> {
    let scenario = arguments.fault.as_deref().map(load_scenario).transpose()?;
    let of_scenario = scenario.as_ref().filter(|_| arguments.brokers.is_none());
    let brokers = if !arguments.files.is_empty() {
        from_manifests(arguments.surroundings.load(&arguments.files)?)?
    } else if let Some(scenario) = of_scenario {
        from_manifests(scenario.inputs.clone())?
    } else {
        let cluster = PlainCluster {
            brokers: arguments.brokers.unwrap_or(3),
            properties: arguments.properties.clone(),
            users: arguments.sasl.clone(),
            tls: arguments.tls,
        };
        planned::plain(&cluster).map_err(|error| miette!("{error}"))?
    };
    let Some(scenario) = scenario else { return Ok((brokers, Vec::new())) };
    match timeline::steps(&scenario.scenario, &brokers) {
        Ok(steps) => Ok((brokers, steps)),
        Err(problems) => {
            scenario.check(&problems)?;
            Ok((brokers, Vec::new()))
        }
    }
}

fn from_manifests(inputs: Inputs) -> Result<Vec<PlannedBroker>> {
    for rejection in &inputs.rejections {
        eprintln!("{}: {}: {}: {}", rejection.location, rejection.object, rejection.field, rejection.what);
    }
    planned::from_manifests(inputs, 0).map_err(|error| miette!("{error}"))
}

/// `KEY=VALUE`.
fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value))
            if !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') =>
        {
            Ok((key.to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE, such as auto_create_topics_enabled=true".to_owned()),
    }
}

/// `NAME:PASSWORD[:MECHANISM]`.
fn user(text: &str) -> Result<BootstrapUser, String> {
    BootstrapUser::parse(text, Mechanism::ScramSha256)
        .ok_or_else(|| "expected NAME:PASSWORD or NAME:PASSWORD:SCRAM-SHA-512".to_owned())
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).into_diagnostic().wrap_err("listening for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
