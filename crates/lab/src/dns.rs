//! `hopwise dns`: start the cluster the manifests describe, look one name up from one place, and tell why each query
//! was answered as it was.
//!
//! The queries are those that the place's resolver really sends to the cluster's DNS over the fabric; the reasons come
//! from the look-up of the server that answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};
use hopwise_engine::host;
use hopwise_fabric::net::lookup_records;
use hopwise_fabric::net::resolver::{QueryOutcome, QueryTrace, ResolverConfig, ResolverKind};
use hopwise_fabric::{Device, DeviceId};
use hopwise_kube::cluster::{Cluster, NODE_CACHE_ADDRESS, Place, PlaceError};
use hopwise_kube::source::nearest;
use hopwise_kube::store::{Store, pod_state};
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::inputs::Inputs;
use crate::report::dns::{Course, DnsQuery, DnsReport};
use crate::simulate::{self, SimulationError, Start, Started};

/// The record types that can be asked for.
const TYPES: [RecordType; 9] = [
    RecordType::A,
    RecordType::AAAA,
    RecordType::CNAME,
    RecordType::MX,
    RecordType::NS,
    RecordType::PTR,
    RecordType::SOA,
    RecordType::SRV,
    RecordType::TXT,
];

/// How a look-up is made.
#[derive(Clone, Debug)]
pub struct DnsOptions {
    /// Where the client stands.
    pub from: Place,
    /// The name; an address for its reverse name, with the type PTR.
    pub name: String,
    /// The record type; both families of addresses if it is `None`, as programs ask.
    pub record_type: Option<RecordType>,
    /// Whose resolver the client uses.
    pub resolver: ResolverKind,
    /// The seed.
    pub seed: u64,
}

/// Why a look-up has no result.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The simulation gave none.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The place is not there.
    #[error("--from: {error}{hint}")]
    Place {
        /// Why.
        error: PlaceError,
        /// What may have been meant, and what there is.
        hint: String,
    },
    /// The name is none.
    #[error(
        "`{0}` is no DNS name: expected labels of 1 to 63 letters, digits, `-` or `_` between dots, 253 in all"
    )]
    Name(String),
}

/// Reads a record type.
///
/// # Errors
/// In words, with the types there are.
pub fn record_type(text: &str) -> Result<RecordType, String> {
    let found = TYPES.into_iter().find(|kind| kind.to_string().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let known: Vec<String> = TYPES.iter().map(ToString::to_string).collect();
        let near = nearest(text, known.iter().map(String::as_str));
        let meant = near.map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        format!("`{text}` is no record type; {meant}the types are {}", known.join(", "))
    })
}

/// Looks a name up.
///
/// # Errors
/// A name that is none, a place that is not there.
pub fn dns(inputs: Inputs, options: &DnsOptions) -> Result<DnsReport, DnsError> {
    let name = asked_name(&options.name, options.record_type)?;
    let start = Start { seed: options.seed, ..Start::default() };
    let options = options.clone();
    simulate::simulate(inputs, start, move |started| look_up(started, name, options))?
}

/// The name that is asked, which for PTR may be given as an address.
fn asked_name(text: &str, kind: Option<RecordType>) -> Result<String, DnsError> {
    if let (Ok(address), Some(RecordType::PTR)) = (text.parse::<IpAddr>(), kind) {
        return Ok(Name::from(address).to_ascii());
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let sound = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.len() > 253 || !bare.split('.').all(sound) {
        return Err(DnsError::Name(text.to_owned()));
    }
    Ok(text.to_owned())
}

async fn look_up(started: Started, name: String, options: DnsOptions) -> Result<DnsReport, DnsError> {
    let cluster = started.cluster;
    let site = cluster.place(&options.from, "dns client").await;
    let site = site.map_err(|error| DnsError::Place { hint: place_hint(&cluster, &options.from), error })?;
    site.use_resolver(options.resolver);
    let kinds = options.record_type.map_or_else(|| vec![RecordType::A, RecordType::AAAA], |kind| vec![kind]);
    let mut config = hopwise_fabric::with(|fabric| fabric.resolver(site.device));
    Arc::make_mut(&mut config).kind = options.resolver;
    // Asked before the look-up, which may fill caches.
    let reasons = Reasons::of(&cluster, &options.from, &config, &name, &kinds, site.device);
    let began = hopwise_engine::now();
    let (asked, asked_kinds) = (name.clone(), kinds.clone());
    let looked_up = host::spawn_on(site.host, async move { lookup_records(&asked, &asked_kinds).await });
    let (result, trace) = match looked_up.await {
        Ok(looked_up) => looked_up,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let elapsed_ns = (hopwise_engine::now() - began).as_nanos();
    let resolved = result.is_ok();
    let queries = trace.iter().map(|query| query_of(query, &reasons)).collect();
    let advice = advice(&cluster, &config, &name, &trace, resolved);
    let course = Course {
        name,
        from: options.from.to_string(),
        resolver: options.resolver.to_string(),
        search: config.search.clone(),
        ndots: config.ndots,
        elapsed_ns,
        resolved,
        advice,
    };
    Ok(DnsReport { queries, addresses: result.unwrap_or_default(), course })
}

/// Why each question that a look-up can ask is answered as it is.
struct Reasons {
    by_question: BTreeMap<(String, RecordType), String>,
    serving: bool,
}

impl Reasons {
    fn of(
        cluster: &Cluster,
        from: &Place,
        config: &ResolverConfig,
        name: &str,
        kinds: &[RecordType],
        device: DeviceId,
    ) -> Reasons {
        let mut reasons = Reasons { by_question: BTreeMap::new(), serving: true };
        let client = address_of(device);
        // A place outside asks the internet's resolver; so do nodes and pods with the DNS policy Default.
        let servers = &config.nameservers;
        let inside = servers.iter().any(|server| cluster.is_cluster_dns(*server));
        for candidate in config.candidates(name) {
            let Ok(parsed) = Name::from_ascii(&candidate) else { continue };
            for kind in kinds {
                let explained = if inside {
                    cluster.names().explain(client, &parsed, *kind)
                } else {
                    Some(cluster.names().explain_outside(&parsed, *kind))
                };
                let Some(explained) = explained else {
                    reasons.serving = false;
                    continue;
                };
                let mut why = explained.reason.to_string();
                if !inside && cluster_name(cluster, &candidate) {
                    why += ". Names of the cluster exist for its pods only: this place does not ask the cluster's DNS";
                }
                let node = node_of(cluster, from);
                let on_node = node.filter(|_| servers.contains(&NODE_CACHE_ADDRESS.into()));
                if on_node.is_some_and(|node| cluster.names().is_kept_on(&node, &parsed, *kind)) {
                    why += ". The node's cache has kept this answer; the cluster's state may be newer";
                } else if explained.from_cache {
                    why += ". CoreDNS's cache has kept this answer; it may be older than what it stands for";
                }
                reasons.by_question.insert((parsed.to_ascii(), *kind), why);
            }
        }
        reasons
    }

    fn why(&self, query: &QueryTrace) -> String {
        match &query.outcome {
            Some(QueryOutcome::Reply { truncated: true, .. }) => {
                "the reply is too long for a datagram: it is cut, and the query sent again over TCP".to_owned()
            }
            Some(QueryOutcome::Reply { .. }) => {
                let key = (query.name.clone(), query.record_type);
                self.by_question.get(&key).cloned().unwrap_or_default()
            }
            Some(QueryOutcome::Unreachable) => {
                "refused at once (ICMP): the DNS Service has no ready endpoint, so kube-proxy rejects what is sent to it"
                    .to_owned()
            }
            Some(QueryOutcome::TimedOut) | None if !self.serving => {
                "no reply: no CoreDNS pod runs, or nothing leads there".to_owned()
            }
            Some(QueryOutcome::TimedOut) | None => {
                "no reply in time: the query was sent to a server that is gone (a conntrack entry may still lead \
                 there), or it was dropped on the way"
                    .to_owned()
            }
        }
    }
}

fn query_of(query: &QueryTrace, reasons: &Reasons) -> DnsQuery {
    let why = reasons.why(query);
    let silent = |rcode: &str| (rcode.to_owned(), Vec::new(), Vec::new(), Vec::new());
    let (rcode, answers, authority, additional) = match query.outcome.clone() {
        Some(QueryOutcome::Reply { rcode, answers, authority, additional, .. }) => {
            (rcode, answers, authority, additional)
        }
        Some(QueryOutcome::Unreachable) => silent("UNREACHABLE"),
        Some(QueryOutcome::TimedOut) | None => silent("TIMEOUT"),
    };
    let transport = format!("{:?}", query.transport).to_lowercase();
    DnsQuery {
        name: query.name.clone(),
        r#type: query.record_type.to_string(),
        rcode,
        answers,
        authority,
        additional,
        server: format!("{transport}, {}", query.server),
        why,
    }
}

/// What would save queries, or what was probably meant.
fn advice(
    cluster: &Cluster,
    config: &ResolverConfig,
    name: &str,
    trace: &[QueryTrace],
    resolved: bool,
) -> Vec<String> {
    let mut advice = Vec::new();
    let candidates = config.candidates(name);
    let mut rounds: Vec<&str> = trace.iter().map(|query| query.name.as_str()).collect();
    rounds.dedup();
    let Some(last) = rounds.last() else {
        if resolved && name.parse::<IpAddr>().is_err() {
            advice.push("the host file (hostAliases) has the name; no server is asked".to_owned());
        }
        return advice;
    };
    let wasted = rounds.iter().position(|round| round == last).unwrap_or(0);
    let dots = name.matches('.').count();
    if resolved && wasted > 0 && *last == format!("{name}.") {
        advice.push(format!(
            "{wasted} rounds were in vain: the name has {dots} dots, less than ndots {}, so the search list comes \
             first. Write it with its final dot, `{last}`, and it is asked once",
            config.ndots
        ));
    } else if resolved && wasted > 0 {
        advice.push(format!("{wasted} rounds were in vain; `{last}` with its final dot is asked once"));
    }
    // A name that is there, but has no record of the type, is not misspelt.
    let exists = trace.iter().any(is_no_data);
    if !resolved && !exists {
        let mut known = known_names(cluster);
        known.retain(|known| !candidates.iter().any(|candidate| candidate.eq_ignore_ascii_case(known)));
        let near =
            candidates.iter().find_map(|candidate| nearest(candidate, known.iter().map(String::as_str)));
        if let Some(near) = near {
            advice.push(format!("did you mean `{near}`?"));
        }
    }
    advice
}

/// Whether the name of a query exists, without a record of the type.
fn is_no_data(query: &QueryTrace) -> bool {
    match &query.outcome {
        Some(QueryOutcome::Reply { rcode, answers, .. }) => rcode == "NOERROR" && answers.is_empty(),
        _ => false,
    }
}

/// Names of Services, of the pods in headless ones, and names outside.
fn known_names(cluster: &Cluster) -> Vec<String> {
    let domain = cluster.domain();
    let mut names: Vec<String> = cluster.api().read(|store: &Store| {
        let services = store.list::<Service>().map(|service| {
            let meta = &service.metadata;
            format!(
                "{}.{}.svc.{domain}.",
                meta.name.as_deref().unwrap_or(""),
                meta.namespace.as_deref().unwrap_or("")
            )
        });
        let pods = store.list::<Pod>().filter_map(|pod| {
            let spec = pod.spec.as_ref()?;
            let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
            Some(format!(
                "{}.{}.{namespace}.svc.{domain}.",
                spec.hostname.as_ref()?,
                spec.subdomain.as_ref()?
            ))
        });
        services.chain(pods).collect()
    });
    names.extend(cluster.names().names_outside().into_iter().filter(|name| !name.starts_with('*')));
    names
}

fn cluster_name(cluster: &Cluster, name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(&format!(".{}.", cluster.domain()))
}

fn address_of(device: DeviceId) -> IpAddr {
    let address = hopwise_fabric::with(|fabric| match fabric.device_mut(device) {
        Some(Device::Host(stack)) => stack.addresses().first().copied(),
        Some(Device::Node(node)) => node.stack().addresses().first().copied(),
        _ => None,
    });
    address.unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

fn node_of(cluster: &Cluster, from: &Place) -> Option<String> {
    let pod = |namespace: &str, name: &str| {
        cluster.api().read(|store| {
            let pod = store.get::<Pod>(namespace, name)?;
            pod_state::node_name(pod).map(ToOwned::to_owned)
        })
    };
    match from {
        Place::Pod { namespace, name } => pod(namespace, name),
        Place::InCluster => {
            let (namespace, name) = hopwise_kube::cluster::CLIENT_POD;
            pod(namespace, name)
        }
        Place::External(_) | Place::Node(_) => None,
    }
}

/// What may have been meant by a place that is not there.
pub(crate) fn place_hint(cluster: &Cluster, from: &Place) -> String {
    let (wanted, known) = match from {
        Place::Pod { .. } => {
            let pods = cluster.api().read(|store| {
                let pods = store.list::<Pod>().map(|pod| {
                    let meta = &pod.metadata;
                    let namespace = meta.namespace.as_deref().unwrap_or("");
                    format!("pod/{namespace}/{}", meta.name.as_deref().unwrap_or(""))
                });
                pods.filter(|pod| !pod.starts_with("pod/kube-system/")).collect::<Vec<_>>()
            });
            (from.to_string(), pods)
        }
        Place::Node(_) => {
            (from.to_string(), cluster.nodes().keys().map(|node| format!("node/{node}")).collect())
        }
        Place::External(_) | Place::InCluster => return String::new(),
    };
    let near = nearest(&wanted, known.iter().map(String::as_str));
    let meant = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    format!("{meant} Known: {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_types_are_read_in_any_case_and_others_are_told_what_there_is() {
        assert_eq!(record_type("aaaa"), Ok(RecordType::AAAA));
        let error = record_type("SRW").expect_err("no type");
        assert!(error.contains("did you mean SRV?") && error.contains("A, AAAA, CNAME"), "{error}");
    }

    #[test]
    fn names_are_checked_and_addresses_reversed() {
        let asked = |name, kind| asked_name(name, kind).map_err(|error| error.to_string());
        assert_eq!(asked("10.0.0.1", Some(RecordType::PTR)).as_deref(), Ok("1.0.0.10.in-addr.arpa."));
        assert_eq!(asked("_kafka._tcp.rp", None).as_deref(), Ok("_kafka._tcp.rp"));
        for name in ["", "a..b", "a b", &"x".repeat(64)] {
            assert!(asked(name, None).is_err_and(|error| error.contains("is no DNS name")), "{name}");
        }
    }
}
