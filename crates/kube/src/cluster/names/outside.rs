//! The names that the internet's DNS has: those of the cluster file, host names of load balancers, and external-dns's.
//!
//! external-dns looks at the cluster once a minute, so its names lag behind by up to that; the others are there when
//! their object is. Source: external-dns, docs/sources/service.md and docs/annotations. It is taken to run if a Service
//! bears its hostname annotation. Left out: its other sources (Ingress, Gateway), Services of the type ClusterIP (which
//! it publishes only when told to), and the provider's own propagation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Node, Pod, Service};

use super::super::api::Api;
use super::super::watches::Changes;
use super::super::{cloud, timing};
use super::Names;
use crate::cluster_file::{ClusterFile, OutsideTarget};
use crate::controllers::service_defaults::service_type;
use crate::dns::{SharedUpstream, UpstreamName, go_duration_s};
use crate::proxy::ServiceName;
use crate::store::{Kind, Object, Store, matches_labels, pod_state};

const KINDS: &[Kind] = &[Kind::Service, Kind::Pod, Kind::Node];

/// Time to live of a load balancer's host name, in seconds (AWS, "Elastic Load Balancing": 60 s).
const BALANCER_TTL_S: u32 = 60;

const HOSTNAME: &str = "external-dns.alpha.kubernetes.io/hostname";
const TARGET: &str = "external-dns.alpha.kubernetes.io/target";
const TTL: &str = "external-dns.alpha.kubernetes.io/ttl";
const ENDPOINTS_TYPE: &str = "external-dns.alpha.kubernetes.io/endpoints-type";

/// Keeps the names outside up to date, until the end.
pub(super) async fn follow(api: Api, cluster: Rc<ClusterFile>, names: Rc<Names>) {
    let mut watch = api.watch(KINDS);
    let mut published = Published::new(names.upstream.clone());
    let mut annotated: BTreeSet<ServiceName> = BTreeSet::new();
    let mut due = hopwise_engine::now();
    let mut waiting = false;
    loop {
        let changes = if waiting {
            let left = Duration::from(due - hopwise_engine::now());
            tokio::time::timeout(left, watch.next(timing::DNS_LAG)).await.ok()
        } else {
            Some(watch.next(timing::DNS_LAG).await)
        };
        names.internet_trouble.thawed().await;
        let now = hopwise_engine::now();
        if let Some(changes) = changes {
            let (services, others) = changed(&api, changes);
            for name in &services {
                api.read(|store| follow_service(store, name, &mut published, &mut annotated));
            }
            if !services.is_empty() || published.is_empty() {
                api.read(|store| published.set("file", of_file(&cluster, store)));
            }
            waiting |=
                !annotated.is_empty() && (others || services.iter().any(|name| annotated.contains(name)));
            names.unpublished.replace(waiting);
        }
        if waiting && now >= due {
            for name in &annotated {
                api.read(|store| published.set(&format!("external-dns {name}"), of_annotated(store, name)));
            }
            (waiting, due) = (false, next_look(now));
            names.unpublished.replace(false);
        }
    }
}

/// The next whole interval after `now`.
fn next_look(now: Time) -> Time {
    let interval = Span::from(timing::EXTERNAL_DNS_INTERVAL).as_nanos();
    Time::ZERO + Span::from_nanos((now.as_nanos() / interval + 1) * interval)
}

/// The Services that have changed, and whether a pod or node has.
fn changed(api: &Api, changes: Changes) -> (BTreeSet<ServiceName>, bool) {
    match changes {
        Changes::All => {
            (api.read(|store| store.list::<Service>().map(|it| ServiceName::of(it)).collect()), true)
        }
        Changes::Some(changes) => {
            let others = changes.iter().any(|change| change.key.kind != Kind::Service);
            let services = changes.iter().filter_map(|change| match &change.object {
                Object::Service(service) => Some(ServiceName::of(service.as_ref())),
                _ => None,
            });
            (services.collect(), others)
        }
    }
}

fn follow_service(
    store: &Store,
    name: &ServiceName,
    published: &mut Published,
    annotated: &mut BTreeSet<ServiceName>,
) {
    let service = store.get::<Service>(&name.namespace, &name.name);
    let balancers = service.map(|service| cloud::published_names(service)).unwrap_or_default();
    let entries = balancers.into_iter().map(|(host, addresses)| {
        (host, UpstreamName { addresses, ttl_s: BALANCER_TTL_S, ..UpstreamName::default() })
    });
    published.set(&format!("balancer {name}"), entries.collect());
    if service.is_some_and(|service| annotation(service, HOSTNAME).is_some()) {
        annotated.insert(name.clone());
    } else if annotated.remove(name) {
        published.set(&format!("external-dns {name}"), Vec::new());
    }
}

/// Records by who publishes them; several may publish one name, whose records are then all of theirs.
struct Published {
    upstream: SharedUpstream,
    /// By name, then by publisher.
    entries: BTreeMap<String, BTreeMap<String, UpstreamName>>,
    by_publisher: BTreeMap<String, BTreeSet<String>>,
}

impl Published {
    fn new(upstream: SharedUpstream) -> Published {
        Published { upstream, entries: BTreeMap::new(), by_publisher: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        self.by_publisher.is_empty()
    }

    /// Replaces all names of a publisher.
    fn set(&mut self, publisher: &str, names: Vec<(String, UpstreamName)>) {
        let mut now: BTreeMap<String, UpstreamName> = BTreeMap::new();
        for (name, entry) in names {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            now.entry(name).and_modify(|known| merge(known, &entry)).or_insert(entry);
        }
        let names = now.keys().cloned().collect();
        let before = self.by_publisher.insert(publisher.to_owned(), names).unwrap_or_default();
        for name in before.iter().filter(|name| !now.contains_key(*name)) {
            if let Some(of_name) = self.entries.get_mut(name) {
                of_name.remove(publisher);
            }
            self.publish(name);
        }
        for (name, entry) in now {
            let of_name = self.entries.entry(name.clone()).or_default();
            if of_name.insert(publisher.to_owned(), entry.clone()).as_ref() != Some(&entry) {
                self.publish(&name);
            }
        }
    }

    fn publish(&mut self, name: &str) {
        let entries = self.entries.get(name).filter(|entries| !entries.is_empty());
        let merged = entries.and_then(|entries| {
            let mut entries = entries.values();
            let mut first = entries.next()?.clone();
            entries.for_each(|entry| merge(&mut first, entry));
            Some(first)
        });
        match merged {
            Some(merged) => self.upstream.borrow_mut().put(name, merged),
            None => {
                self.entries.remove(name);
                self.upstream.borrow_mut().remove(name);
            }
        }
    }
}

fn merge(known: &mut UpstreamName, other: &UpstreamName) {
    for address in &other.addresses {
        if !known.addresses.contains(address) {
            known.addresses.push(*address);
        }
    }
    known.ttl_s = known.ttl_s.min(other.ttl_s);
    known.alias = known.alias.take().or_else(|| other.alias.clone()).filter(|_| known.addresses.is_empty());
}

/// The names of the cluster file.
fn of_file(cluster: &ClusterFile, store: &Store) -> Vec<(String, UpstreamName)> {
    let names = cluster.external_names.iter().map(|(pattern, targets)| {
        let addresses =
            targets.0.iter().flat_map(|target| outside_addresses(target, cluster, store)).collect();
        (pattern.to_string(), UpstreamName { addresses, ..UpstreamName::default() })
    });
    names.collect()
}

fn outside_addresses(target: &OutsideTarget, cluster: &ClusterFile, store: &Store) -> Vec<IpAddr> {
    match target {
        OutsideTarget::Address(address) => vec![*address],
        OutsideTarget::Node(name) => {
            let named = cluster.nodes.iter().filter(|node| node.name == *name);
            named.flat_map(|node| node.addresses.iter().copied()).collect()
        }
        OutsideTarget::Service(service) => {
            let service = store.get::<Service>(&service.namespace, &service.name);
            service.map(|service| cloud::addresses_of(service)).unwrap_or_default()
        }
    }
}

/// What external-dns publishes for a Service that bears its annotation.
fn of_annotated(store: &Store, name: &ServiceName) -> Vec<(String, UpstreamName)> {
    let Some(service) = store.get::<Service>(&name.namespace, &name.name) else { return Vec::new() };
    let spec = service.spec.clone().unwrap_or_default();
    let hosts = annotation(service, HOSTNAME).unwrap_or_default();
    let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty());
    let ttl_s = annotation(service, TTL).and_then(ttl_of);
    let fresh =
        || UpstreamName { ttl_s: ttl_s.unwrap_or(UpstreamName::default().ttl_s), ..UpstreamName::default() };
    let mut names = Vec::new();
    for host in hosts {
        let own = |targets: &[String]| (host.to_owned(), with_targets(fresh(), targets));
        match (service_type(service), annotation(service, TARGET)) {
            (_, Some(targets)) => names.push(own(&listed(targets))),
            ("ExternalName", None) => names.push(own(&[spec.external_name.clone().unwrap_or_default()])),
            ("LoadBalancer", None) => names.push(own(&ingress_of(service))),
            ("NodePort", None) => names.push(own(&nodes_of(store, service))),
            _ if spec.cluster_ip.as_deref() == Some("None") => {
                for (pod, targets) in pods_of(store, service) {
                    let hostname = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
                    let own_name = hostname.map(|hostname| format!("{hostname}.{host}"));
                    for name in own_name.into_iter().chain([host.to_owned()]) {
                        names.push((name, with_targets(fresh(), &targets)));
                    }
                }
            }
            _ => {}
        }
    }
    names.retain(|(_, entry)| !entry.addresses.is_empty() || entry.alias.is_some());
    names
}

/// The pods behind a headless Service that have records, with their targets: ready ones, or all if it publishes those
/// that are not.
fn pods_of(store: &Store, service: &Service) -> Vec<(std::sync::Arc<Pod>, Vec<String>)> {
    let spec = service.spec.clone().unwrap_or_default();
    let Some(selector) = spec.selector.filter(|selector| !selector.is_empty()) else { return Vec::new() };
    let all = spec.publish_not_ready_addresses.unwrap_or(false);
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let pods = store.list_in::<Pod>(&namespace).filter(|pod| {
        matches_labels(&selector, pod.metadata.labels.as_ref()) && (all || pod_state::is_ready(pod))
    });
    let targets_of = |pod: &Pod| {
        let annotations = pod.metadata.annotations.as_ref();
        if let Some(targets) = annotations.and_then(|all| all.get(TARGET)) {
            return listed(targets);
        }
        let status = pod.status.as_ref();
        match annotation(service, ENDPOINTS_TYPE) {
            Some("HostIP" | "NodeExternalIP") => status.and_then(|status| status.host_ip.clone()),
            _ => status.and_then(|status| status.pod_ip.clone()),
        }
        .into_iter()
        .collect()
    };
    pods.map(|pod| (pod.clone(), targets_of(pod))).collect()
}

/// The nodes' addresses; with `externalTrafficPolicy: Local` those of nodes with a ready pod.
fn nodes_of(store: &Store, service: &Service) -> Vec<String> {
    let local =
        service.spec.as_ref().and_then(|spec| spec.external_traffic_policy.as_deref()) == Some("Local");
    let with_pods: BTreeSet<String> = pods_of(store, service)
        .iter()
        .filter_map(|(pod, _)| pod_state::node_name(pod).map(ToOwned::to_owned))
        .collect();
    let nodes = store
        .list::<Node>()
        .filter(|node| !local || node.metadata.name.as_ref().is_some_and(|name| with_pods.contains(name)));
    let address = |node: &Node| {
        let addresses = node.status.as_ref()?.addresses.as_ref()?;
        let of = |kind: &str| addresses.iter().find(|it| it.type_ == kind).map(|it| it.address.clone());
        of("ExternalIP").or_else(|| of("InternalIP"))
    };
    nodes.filter_map(|node| address(node)).collect()
}

fn ingress_of(service: &Service) -> Vec<String> {
    let ingress =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    ingress.filter_map(|entry| entry.ip.clone().or_else(|| entry.hostname.clone())).collect()
}

fn with_targets(mut entry: UpstreamName, targets: &[String]) -> UpstreamName {
    for target in targets {
        match target.parse() {
            Ok(address) => entry.addresses.push(address),
            Err(_) => entry.alias = Some(target.clone()),
        }
    }
    entry.alias = entry.alias.filter(|_| entry.addresses.is_empty());
    entry
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(|target| target.trim().to_owned()).filter(|target| !target.is_empty()).collect()
}

/// Seconds, or a duration in Go's notation.
fn ttl_of(text: &str) -> Option<u32> {
    text.parse().ok().or_else(|| go_duration_s(text)).filter(|ttl_s| *ttl_s > 0)
}

fn annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(last: u8, ttl_s: u32) -> UpstreamName {
        UpstreamName { addresses: vec![[192, 0, 2, last].into()], ttl_s, ..UpstreamName::default() }
    }

    #[test]
    fn names_of_several_publishers_are_merged_and_taken_back() {
        let upstream = SharedUpstream::default();
        let mut published = Published::new(upstream.clone());
        published.set("a", vec![("Kafka.example.com.".to_owned(), entry(1, 300))]);
        published.set("b", vec![("kafka.example.com".to_owned(), entry(2, 60))]);
        let get = || upstream.borrow().get("kafka.example.com").map(|it| (it.addresses.len(), it.ttl_s));
        assert_eq!(get(), Some((2, 60)));
        published.set("b", Vec::new());
        assert_eq!(get(), Some((1, 300)));
        published.set("a", Vec::new());
        assert_eq!(get(), None);
    }

    #[test]
    fn times_to_live_are_seconds_or_durations() {
        assert_eq!(["60", "1m30s", "0", "soon"].map(ttl_of), [Some(60), Some(90), None, None]);
    }
}
