//! `hopwise probe`: what happens to a connection to any Service or pod, whatever runs there.
//!
//! The cluster starts, a client really dials from its place, and what is told follows from the path of its packets:
//! each device's hop, and the compiled rules of the nodes that decided (see `deciders`). Nothing is worked out a second
//! time beside them.

mod connection;
mod deciders;
mod explain;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

pub use hopwise_client::HostPort;
use hopwise_fabric::Action;
use hopwise_fabric::nat::rules::Protocol;
use hopwise_kube::cluster::{ClientSite, Cluster, Place, PlaceError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use connection::{Connection, connect};
pub use deciders::{Decision, decisions};

use crate::check::{brokers, facts};
use crate::inputs::Inputs;
use crate::report::check::{Hop, Outcome};
use crate::report::probe::{Probe, ProbeReport};
use crate::simulate::{self, SimulationError, Start, Started};

/// How a probe is made.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Where the client stands.
    pub from: Place,
    /// What it dials.
    pub to: HostPort,
    /// By which protocol.
    pub transport: Transport,
    /// How many connections, one after the other.
    pub count: u32,
    /// The seed.
    pub seed: u64,
    /// Where a capture of each device is written.
    pub captures: Option<PathBuf>,
}

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP: one datagram, and the one that comes back.
    Udp,
}

/// Why a probe has no result.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The simulation gave none.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The place is not there.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl Transport {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        }
    }

    /// The protocol as rules name it.
    pub fn protocol(self) -> Protocol {
        match self {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        }
    }
}

/// Probes a cluster.
///
/// # Errors
/// A place that is not there, a capture that cannot be written.
pub fn probe(inputs: Inputs, options: &ProbeOptions) -> Result<Probe, ProbeError> {
    let start = Start { seed: options.seed, captures: options.captures.clone(), ..Start::default() };
    let (kept, options) = (inputs.clone(), options.clone());
    simulate::simulate(inputs, start, move |started| examine(kept, started, options))?
}

async fn examine(inputs: Inputs, started: Started, options: ProbeOptions) -> Result<Probe, ProbeError> {
    let Started { cluster, brokers: running, .. } = started;
    let site = cluster.place(&options.from, "probe").await?;
    if let Some(directory) = &options.captures {
        simulate::capture_all(directory)?;
    }
    let mut tries = Vec::new();
    for _ in 0..options.count {
        tries.push(attempt(&cluster, site, &options).await);
    }
    let candidates = candidates(&cluster, site, &options, &tries).await;
    let known = brokers::known(&inputs.manifests, &cluster, &running);
    let facts = facts::of(&inputs, &cluster, &known);
    let shown = shown(&tries);
    let findings = explain::findings(&explain::Case {
        cluster: &cluster,
        facts: &facts,
        options: &options,
        tried: shown,
        candidates: &candidates,
    });
    Ok(Probe {
        report: summarise(&tries, shown, candidates),
        from: options.from,
        to: options.to.to_string(),
        transport: options.transport,
        addresses: shown.connection.addresses.iter().map(ToString::to_string).collect(),
        outcomes: count(tries.iter().map(|tried| tried.connection.outcome.as_str())),
        said: shown.connection.explanation.clone(),
        findings,
    })
}

/// One connection, and what the rules on its way said about it.
pub(crate) struct Tried {
    pub connection: Connection,
    pub decisions: Vec<Decision>,
}

async fn attempt(cluster: &Cluster, site: ClientSite, options: &ProbeOptions) -> Tried {
    let connection = connect(cluster, site, &options.to, options.transport).await;
    // The rules are asked while they are those that decided.
    let decisions = decisions(&connection.route.forward, options.transport.protocol());
    Tried { connection, decisions }
}

/// Everybody who could have been chosen: by the rules on the ways that were taken, and, where the name has further
/// addresses, on the ways to those.
async fn candidates(
    cluster: &Cluster,
    site: ClientSite,
    options: &ProbeOptions,
    tries: &[Tried],
) -> BTreeSet<String> {
    let protocol = options.transport.protocol();
    let mut found: BTreeSet<String> = BTreeSet::new();
    let mut dialled = BTreeSet::new();
    for tried in tries {
        dialled.extend(tried.connection.dialled);
        found.extend(deciders::candidates(cluster, &tried.connection, &tried.decisions, protocol));
    }
    let known: BTreeSet<_> = tries.iter().flat_map(|tried| &tried.connection.addresses).copied().collect();
    for address in known.into_iter().filter(|address| !dialled.contains(address)) {
        let to = HostPort::new(address.to_string(), options.to.port);
        let connection = connect(cluster, site, &to, options.transport).await;
        let decisions = decisions(&connection.route.forward, protocol);
        found.extend(deciders::candidates(cluster, &connection, &decisions, protocol));
    }
    found
}

/// The try that a report shows: the first that did not end well, or else the first.
fn shown(tries: &[Tried]) -> &Tried {
    let failed = tries.iter().find(|tried| tried.connection.outcome != Outcome::Ok);
    failed.or(tries.first()).expect("at least one try is made")
}

fn summarise(tries: &[Tried], shown: &Tried, candidates: BTreeSet<String>) -> ProbeReport {
    let Connection { outcome, route, source_seen, connect, .. } = &shown.connection;
    let own = route.forward.first().map(|hop| hop.source.ip());
    let end = route.forward.last().filter(|hop| hop.action == Action::Delivered);
    ProbeReport {
        outcome: *outcome,
        candidates: candidates.into_iter().collect(),
        served_by: count(tries.iter().filter_map(|tried| tried.connection.served_by.as_deref())),
        source_seen: source_seen.map(|address| address.to_string()),
        masqueraded: source_seen.is_some() && *source_seen != own,
        hops: route.forward.iter().map(Hop::from).collect(),
        ttl_seen: end.map(|hop| hop.time_to_live),
        connect_ns: connect.map(hopwise_engine::Span::as_nanos),
    }
}

fn count<'a>(words: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in words {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}
