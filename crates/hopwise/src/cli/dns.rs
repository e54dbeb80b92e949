//! `hopwise dns`.

use clap::Args;
use hopwise_fabric::net::resolver::ResolverKind;
use hopwise_kube::cluster::Place;
use hopwise_lab::dns::{self, DnsOptions};
use hopwise_lab::report::dns_text;
use miette::{Result, miette};

use super::Ending;
use super::input::ClusterArguments;
use super::output::{self, Console};

/// Look a name up from a place, and tell why it has the records it has, or none.
#[derive(Args)]
pub struct DnsArguments {
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Where the client stands: external, external=IP, in-cluster, pod/NAMESPACE/NAME or node/NAME.
    #[arg(long, value_name = "PLACE")]
    from: Place,
    /// Whose resolver the client uses: glibc, musl, go or jvm.
    #[arg(long, value_name = "KIND", default_value_t)]
    resolver: ResolverKind,
    /// The seed of the simulation.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The name, completed by the place's search list unless it ends in a dot; an address for the type PTR.
    #[arg(value_name = "NAME")]
    name: String,
    /// The record type (default: A and AAAA, as programs ask).
    #[arg(value_name = "TYPE")]
    record_type: Option<String>,
}

/// Looks a name up.
pub fn dns(arguments: DnsArguments, console: Console) -> Result<Ending> {
    let record_type = arguments.record_type.as_deref().map(dns::record_type).transpose();
    let record_type = record_type.map_err(|error| miette!("TYPE: {error}"))?;
    let options = DnsOptions {
        from: arguments.from,
        name: arguments.name,
        record_type,
        resolver: arguments.resolver,
        seed: arguments.seed,
    };
    let report = dns::dns(arguments.cluster.load()?, &options).map_err(|error| miette!("{error}"))?;
    output::print(&report, console, dns_text)?;
    Ok(if report.course.resolved { Ending::Well } else { Ending::NotWell })
}
