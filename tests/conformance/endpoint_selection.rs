//! Cases of `endpoint_selection.json`: which endpoints a node uses, from the slices of a Service.
//!
//! The two sets are what kube-proxy selects; that nothing else is reachable is read from the rules that it compiles.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_fabric::nat::rules::Verdict;
use hopwise_kube::proxy::{Candidate, NodeFacts, Proxy, ProxyInput, UsedBy, select};
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::case::{self, Difference, equal};
use crate::upstream::Origin;

const FILE: &str = "endpoint_selection";
const PORT: u16 = 80;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the file have to be known, too")]
struct File {
    format: String,
    about: String,
    sources: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the case have to be known, too")]
struct Case {
    id: String,
    title: String,
    node: NodeCase,
    service: ServiceCase,
    prefer_same_node_gate: bool,
    endpoints: Vec<EndpointCase>,
    expect: Expect,
    origin: Origin,
    notes: Option<String>,
    derived: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeCase {
    name: String,
    zone: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCase {
    internal_policy_local: bool,
    external_policy_local: bool,
    has_external_address: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointCase {
    ip: IpAddr,
    ready: bool,
    serving: bool,
    terminating: bool,
    local: bool,
    #[serde(default)]
    zone_hints: Vec<String>,
    #[serde(default)]
    node_hints: Vec<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    cluster: Option<BTreeSet<IpAddr>>,
    local: Option<BTreeSet<IpAddr>>,
    reachable: BTreeSet<IpAddr>,
    has_any: bool,
}

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("endpoint_selection.json");
    let trials = file.cases.into_iter().map(|case| {
        let (id, origin) = (case.id.clone(), case.origin.clone());
        case::trial(FILE, &id, origin, move || run(&case))
    });
    trials.collect()
}

fn run(case: &Case) -> Result<(), Difference> {
    let selection = select(
        &case.endpoints.iter().map(candidate).collect::<Vec<_>>(),
        UsedBy {
            internal_local: case.service.internal_policy_local,
            external_local: case.service.external_policy_local,
            external: case.service.has_external_address,
        },
        case.prefer_same_node_gate.then_some(case.node.name.as_str()),
        case.node.zone.as_deref(),
    );
    let addresses = |set: Option<Vec<SocketAddr>>| {
        set.map(|set| set.iter().map(SocketAddr::ip).collect::<BTreeSet<IpAddr>>())
    };
    let found = Expect {
        cluster: addresses(selection.cluster),
        local: addresses(selection.local),
        reachable: reachable(case),
        has_any: selection.has_any,
    };
    equal(&case.expect, &found)
}

fn candidate(case: &EndpointCase) -> Candidate {
    Candidate {
        address: SocketAddr::new(case.ip, PORT),
        ready: case.ready,
        serving: case.serving,
        terminating: case.terminating,
        local: case.local,
        zone_hints: case.zone_hints.clone(),
        node_hints: case.node_hints.clone(),
    }
}

/// All endpoints that some rule of the node leads to.
fn reachable(case: &Case) -> BTreeSet<IpAddr> {
    let mut facts = NodeFacts::new(case.node.name.as_str(), vec!["192.168.0.2".parse().expect("an address")]);
    facts.cluster_pod_networks = vec!["10.0.0.0/8".parse().expect("a network")];
    facts.zone = case.node.zone.clone();
    facts.prefer_same_node = case.prefer_same_node_gate;
    let mut proxy = Proxy::new(facts);
    proxy.apply([service(case.service), slice(case)]);
    let rules = proxy.rule_set().destinations;
    let verdicts = rules.iter().flat_map(|rule| &rule.branches).map(|branch| &branch.verdict);
    let targets = verdicts.flat_map(|verdict| match verdict {
        Verdict::Translate(translation) => translation.targets.to_vec(),
        Verdict::Accept | Verdict::Drop { .. } | Verdict::Reject { .. } => Vec::new(),
    });
    targets.map(|target| target.ip()).collect()
}

fn service(case: ServiceCase) -> ProxyInput {
    let policy = |local| if local { "Local" } else { "Cluster" };
    let node_port = case.has_external_address.then_some(30_080);
    let object = json!({
        "metadata": { "name": "service", "namespace": "ns" },
        "spec": {
            "type": if case.has_external_address { "NodePort" } else { "ClusterIP" }, "clusterIP": "172.30.0.1",
            "internalTrafficPolicy": policy(case.internal_policy_local),
            "externalTrafficPolicy": policy(case.external_policy_local),
            "ports": [{ "port": PORT, "protocol": "TCP", "nodePort": node_port }],
        }
    });
    ProxyInput::Service(Arc::new(serde_json::from_value(object).expect("a Service")))
}

fn slice(case: &Case) -> ProxyInput {
    let named = |names: &[String]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<Value>>();
    let endpoints = case.endpoints.iter().map(|endpoint| {
        json!({
            "addresses": [endpoint.ip],
            "nodeName": if endpoint.local { &case.node.name } else { "elsewhere" },
            "conditions": {
                "ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating
            },
            "hints": { "forZones": named(&endpoint.zone_hints), "forNodes": named(&endpoint.node_hints) },
        })
    });
    let object = json!({
        "addressType": "IPv4",
        "metadata": {
            "name": "service-1", "namespace": "ns", "labels": { "kubernetes.io/service-name": "service" }
        },
        "ports": [{ "port": PORT, "protocol": "TCP" }], "endpoints": endpoints.collect::<Vec<_>>()
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(object).expect("an EndpointSlice")))
}
