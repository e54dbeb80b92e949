//! Watches what the cluster's name servers would answer for headless Services, for the check of DNS; see `checks::dns`.
//!
//! The servers are looked at, not asked: nothing is sent, and their caches stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::{Span, Time};
use hopwise_kube::cluster::{Cluster, timing};
use hopwise_kube::proxy::ServiceName;
use hopwise_kube::store::{Kind, Store};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::time::sleep_until;

use super::checks::Seen;
use super::checks::dns::{Given, Names};
use super::times::instant_of;

const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice];
/// Stands for any client: the answers about Services are the same for all.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// The turns of the servers' own tasks at the moment at which their lag is over.
const TURN: Span = Span::from_millis(1);

/// Compares the servers with the endpoints until it is `over`.
pub(super) async fn watch(cluster: &Cluster, over: impl Future<Output = ()>) -> Seen {
    let mut over = pin!(over);
    let mut names = Names::new(Span::from(timing::DNS_LAG) + TURN);
    let mut learning: BTreeMap<String, Time> = BTreeMap::new();
    let mut watch = cluster.api().watch(KINDS);
    let mut known: BTreeSet<String> = BTreeSet::new();
    loop {
        let now = hopwise_engine::now();
        let wanted = cluster.api().read(|store| wanted(store, cluster.domain()));
        let gone = known.iter().filter(|name| !wanted.contains_key(*name));
        let gone: BTreeMap<_, _> = gone.map(|name| (name.clone(), BTreeSet::new())).collect();
        known.extend(wanted.keys().cloned());
        names.wanted(now, wanted);
        names.wanted(now, gone);
        loop {
            let due = names.next().map(instant_of);
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut over => return names.end(),
                _ = watch.next(Duration::ZERO) => break,
                () = due => look(cluster, &mut names, &mut learning),
            }
        }
    }
}

/// Compares every name that is due.
fn look(cluster: &Cluster, names: &mut Names, learning: &mut BTreeMap<String, Time>) {
    let now = hopwise_engine::now();
    while let Some(text) = names.take_due(now) {
        let Ok(name) = Name::from_ascii(&text) else { continue };
        let answers = cluster.names().addresses_inside(CLIENT, &name, RecordType::A);
        let given = answers.into_iter().map(|answer| {
            let learns_since = match answer.learns {
                true => Some(*learning.entry(answer.server.clone()).or_insert(now)),
                false => {
                    learning.remove(&answer.server);
                    None
                }
            };
            let addresses = answer.addresses.into_iter().collect();
            Given { server: answer.server, addresses, learns_since, cached: answer.cached }
        });
        let given: Vec<Given> = given.collect();
        names.given(now, &text, &given);
    }
}

/// The IPv4 addresses that each name of a headless Service has to give.
fn wanted(store: &Store, domain: &str) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let headless = |service: &Service| {
        service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
    };
    let services = store.list::<Service>().filter(|service| headless(service));
    let mut wanted: BTreeMap<String, BTreeSet<IpAddr>> =
        services.map(|service| (name_of(&ServiceName::of(service), domain), BTreeSet::new())).collect();
    for slice in store.list::<EndpointSlice>() {
        let Some(service) = ServiceName::of_slice(slice) else { continue };
        let name = name_of(&service, domain);
        if !wanted.contains_key(&name) {
            continue;
        }
        for endpoint in slice.endpoints.iter().flatten() {
            let is_ready = endpoint.conditions.as_ref().and_then(|it| it.ready).unwrap_or(true);
            let addresses: Vec<IpAddr> =
                endpoint.addresses.first().into_iter().filter_map(|ip| ip.parse().ok()).collect();
            let addresses = addresses.into_iter().filter(|ip: &IpAddr| is_ready && ip.is_ipv4());
            let addresses: Vec<IpAddr> = addresses.collect();
            if let Some(host) = &endpoint.hostname {
                wanted.entry(format!("{host}.{name}")).or_default().extend(&addresses);
            }
            wanted.entry(name.clone()).or_default().extend(&addresses);
        }
    }
    wanted
}

fn name_of(service: &ServiceName, domain: &str) -> String {
    format!("{}.{}.svc.{domain}.", service.name, service.namespace)
}
