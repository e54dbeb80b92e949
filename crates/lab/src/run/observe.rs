//! Looks from places while the faults are played.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hopwise_client::HostPort;
use hopwise_engine::host;
use hopwise_fabric::net;
use hopwise_fabric::net::resolver::{QueryOutcome, QueryTrace};
use hopwise_kube::cluster::{ClientSite, Cluster};
use hopwise_kube::store::pod_state;
use k8s_openapi::api::core::v1::Pod;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::clients::failed;
use super::times::{Times, instant_of, missing};
use crate::place::Place;
use crate::probe;
use crate::report::run::Check;
use crate::scenario::{Address, Look, Observation, Scenario, Window};

/// From one look for the event that a time counts from to the next.
const EVENT_POLL: Duration = Duration::from_millis(100);
/// The longest look: a look-up whose servers are all silent, then three addresses that are, and some more. A client whose
/// pod or node has vanished waits for ever.
const LONGEST_LOOK: Duration = Duration::from_secs(120);

/// Puts the clients of all looks at their places before the timeline begins, so that a client pod that is added for them
/// has started by then. A place that is not there yet is looked for again when it is needed.
pub(super) async fn place_all(cluster: &Cluster, scenario: &Scenario) {
    for (index, observation) in scenario.observations.iter().enumerate() {
        let _ = cluster.place(&observation.from, &client_of(index)).await;
    }
}

fn client_of(index: usize) -> String {
    format!("observation-{index}")
}

/// A connection that did not end as it has to.
#[derive(Clone, Debug)]
pub(super) struct FailedLook {
    /// Where the client stood.
    pub from: Place,
    /// What it dialled.
    pub to: HostPort,
    /// What came of it.
    pub seen: probe::Connection,
}

/// Takes every look of the scenario and compares what was seen; looks that wait for an event give up at `end`.
pub(super) async fn all(
    cluster: &Cluster,
    scenario: &Scenario,
    times: &Times<'_>,
    end: Instant,
) -> Vec<(Check, Option<Box<FailedLook>>)> {
    let looks = scenario
        .observations
        .iter()
        .enumerate()
        .map(|(index, observation)| observe(cluster, observation, times, end, client_of(index)));
    join_all(looks).await
}

async fn observe(
    cluster: &Cluster,
    observation: &Observation,
    times: &Times<'_>,
    end: Instant,
    name: String,
) -> (Check, Option<Box<FailedLook>>) {
    let title = observation.title();
    let start = loop {
        match times.start_of(&observation.when) {
            Some(start) => break start,
            None if Instant::now() >= end => return (missing(&title, &observation.when), None),
            None => sleep(EVENT_POLL).await,
        }
    };
    let (from, to) = observation.when.window.bounds(start, start);
    let first_look = match observation.when.window {
        // What must not come too early is looked for from the beginning.
        Window::Within(_) => start,
        _ => from,
    };
    let mut due = first_look;
    loop {
        sleep_until(instant_of(due)).await;
        let at = hopwise_engine::now();
        // A place is looked for anew each time: its pod may be another one by now.
        let seen = match cluster.place(&observation.from, &name).await {
            Ok(site) => timeout(LONGEST_LOOK, look(cluster, site, observation)).await.unwrap_or_else(|_| {
                Err(("the client heard nothing at all: its pod or node is gone".to_owned(), None))
            }),
            Err(error) => Err((error.to_string(), None)),
        };
        let tell = observation.when.tell(at, start);
        let (last, failure) = match (observation.when.window, seen) {
            (Window::Within(_), Ok(seen)) => {
                let detail = format!("it came {tell}: {seen}");
                return (Check { name: title, ok: at >= from, detail }, None);
            }
            (Window::Within(_), Err((seen, failure))) => (format!("{tell}: {seen}"), failure),
            (_, Err((seen, failure))) => return (failed(&title, &format!("{tell}: {seen}")), failure),
            (_, Ok(seen)) => (seen, None),
        };
        // A look that takes longer delays the next one.
        due = (due + observation.every.span()).max(hopwise_engine::now());
        if due > to {
            let ok = !matches!(observation.when.window, Window::Within(_));
            let detail = if ok { last } else { format!("it did not come; the last look was {last}") };
            return (Check { name: title, ok, detail }, failure);
        }
    }
}

/// What is seen now; an error if it is not what is expected, with the connection if one failed.
async fn look(
    cluster: &Cluster,
    site: ClientSite,
    observation: &Observation,
) -> Result<String, (String, Option<Box<FailedLook>>)> {
    match &observation.look {
        Look::Connect { to, transport, outcome, served_by, source } => {
            let seen = probe::connect(cluster, site, to, *transport).await;
            let own = seen.route.forward.first().map(|hop| hop.source.ip());
            let told = describe(&seen);
            let source_fits = source.as_ref().is_none_or(|wanted| {
                let wanted = addresses_of(cluster, wanted, own);
                seen.source_seen.is_some_and(|source| wanted.contains(&source))
            });
            let fits = outcome.is_none_or(|wanted| wanted == seen.outcome)
                && served_by
                    .as_ref()
                    .is_none_or(|pods| seen.served_by.as_ref().is_some_and(|pod| pods.contains(pod)))
                && source_fits;
            if fits {
                return Ok(told);
            }
            let failed = FailedLook { from: observation.from.clone(), to: to.clone(), seen };
            Err((told, Some(Box::new(failed))))
        }
        Look::Resolve { name, rcode, addresses } => {
            let host = name.clone();
            let asked = host::spawn_on(site.host, async move { net::lookup_explained(&host).await });
            let Ok((found, queries)) = asked.await else {
                return Err(("the client was stopped".to_owned(), None));
            };
            let code = last_code(&queries);
            let mut found: Vec<IpAddr> = found.unwrap_or_default();
            found.sort_unstable();
            let wanted = addresses.as_ref().map(|wanted| {
                let mut all: Vec<IpAddr> =
                    wanted.iter().flat_map(|address| addresses_of(cluster, address, None)).collect();
                all.sort_unstable();
                all
            });
            let shown = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let told = format!("{code} [{shown}]");
            let fits = rcode.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(&code))
                && wanted.is_none_or(|wanted| wanted == found);
            if fits { Ok(told) } else { Err((told, None)) }
        }
    }
}

fn describe(seen: &probe::Connection) -> String {
    let mut told = seen.outcome.as_str().to_owned();
    if let Some(pod) = &seen.served_by {
        told.push_str(&format!(", served by {pod}"));
    }
    if let Some(source) = seen.source_seen {
        told.push_str(&format!(", seen as {source}"));
    }
    if !seen.explanation.is_empty() {
        told.push_str(&format!(" ({})", seen.explanation));
    }
    told
}

/// The addresses that an expectation's words stand for now.
fn addresses_of(cluster: &Cluster, address: &Address, own: Option<IpAddr>) -> Vec<IpAddr> {
    match address {
        Address::Ip(ip) => vec![*ip],
        Address::Client => own.into_iter().collect(),
        Address::Of(Place::Node(node)) => {
            cluster.nodes().get(node).map(|(_, address)| *address).into_iter().collect()
        }
        Address::Of(Place::Pod { namespace, name }) => cluster.api().read(|store| {
            let pod = store.get::<Pod>(namespace, name);
            let addresses = pod.map(|pod| pod_state::addresses(pod)).unwrap_or_default();
            addresses.into_iter().filter_map(|address| address.parse().ok()).collect()
        }),
        Address::Of(Place::External(_) | Place::InCluster) => Vec::new(),
    }
}

/// What the last query came to: a reply's response code, or `TIMEOUT`, or `REFUSED` where the server's port was closed.
fn last_code(queries: &[QueryTrace]) -> String {
    match queries.last().and_then(|query| query.outcome.as_ref()) {
        Some(QueryOutcome::Reply { rcode, .. }) => rcode.clone(),
        Some(QueryOutcome::TimedOut) => "TIMEOUT".to_owned(),
        Some(QueryOutcome::Unreachable) => "REFUSED".to_owned(),
        None => "NONE".to_owned(),
    }
}
