//! Cases of `packet_flow.json`: a packet passes a real node whose rules kube-proxy has compiled, and what comes out
//! (or does not) is compared.
//!
//! Which targets are possible is seen from many tries, each on a node of its own: a node that knows a client may
//! stick to its first choice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::Simulation;
use hopwise_fabric::nat::rules::Protocol;
use hopwise_kube::proxy::{LocalDetector, Mode, NodeFacts, NodePortAddresses, Proxy, ProxyInput};
use ipnet::IpNet;
use libtest_mimic::Trial;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::case::{self, Difference, equal};
use crate::node::{Bench, Fate, Sender, first_packet};
use crate::upstream::Origin;

const FILE: &str = "packet_flow";
/// Tries per target: one of n targets stays unseen with a probability of about n * e^-30.
const TRIES_PER_TARGET: usize = 30;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the file have to be known, too")]
struct File {
    format: String,
    evaluated_on: EvaluatedOn,
    sources: Vec<String>,
    fixtures: BTreeMap<String, Fixture>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the file have to be known, too")]
struct EvaluatedOn {
    node: String,
    node_ips: Vec<IpAddr>,
    pod_cidr_v4: Network,
    pod_cidr_v6: Network,
    service_cidr_v4: Network,
    local_detector: String,
    masquerade_all: bool,
    localhost_node_ports: bool,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the fixture have to be known, too")]
struct Fixture {
    about: Option<String>,
    #[serde(default)]
    services: Vec<ServiceCase>,
    #[serde(default)]
    slices: Vec<SliceCase>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCase {
    namespace: String,
    name: String,
    #[serde(rename = "type")]
    type_: String,
    cluster_ip: String,
    ports: Vec<PortCase>,
    external_traffic_policy: Option<String>,
    internal_traffic_policy: Option<String>,
    #[serde(default)]
    external_ips: Vec<String>,
    #[serde(default)]
    lb_ingress: Vec<IngressCase>,
    #[serde(default)]
    load_balancer_source_ranges: Vec<String>,
    health_check_node_port: Option<u16>,
    session_affinity: Option<AffinityCase>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(serialize = "camelCase"))]
struct PortCase {
    name: String,
    port: u16,
    protocol: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_port: Option<u16>,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all(serialize = "camelCase"))]
struct IngressCase {
    ip: String,
    ip_mode: Option<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct AffinityCase {
    #[serde(rename = "type")]
    type_: String,
    timeout_s: Option<u32>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SliceCase {
    service: String,
    ports: Vec<PortCase>,
    endpoints: Vec<EndpointCase>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndpointCase {
    ip: IpAddr,
    node: Option<String>,
    ready: bool,
    serving: bool,
    terminating: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "fields that describe the case have to be known, too")]
struct Case {
    id: String,
    title: String,
    modes: Vec<ModeCase>,
    fixture: Option<String>,
    #[serde(default)]
    proxy: Overrides,
    packet: PacketCase,
    expect: Expect,
    origin: Vec<Origin>,
    notes: Option<String>,
    derived: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeCase {
    Iptables,
    Nftables,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    masquerade_all: Option<bool>,
    local_detector: Option<bool>,
    localhost_node_ports: Option<bool>,
    node_port_addresses: Option<NodePortsOn>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum NodePortsOn {
    Word(String),
    Networks(Vec<Network>),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Network(IpNet);

impl TryFrom<String> for Network {
    type Error = ipnet::AddrParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Network)
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what the destination is follows from the address")]
struct PacketCase {
    src: IpAddr,
    src_kind: SourceKind,
    dst: IpAddr,
    dst_kind: String,
    dport: u16,
    proto: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SourceKind {
    External,
    Pod,
    Node,
    NodeLoopback,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    action: String,
    targets: Option<BTreeSet<SocketAddr>>,
    masquerade: Option<bool>,
}

/// The cases.
pub fn trials() -> Vec<Trial> {
    let file: File = case::read("packet_flow.json");
    let evaluated_on = Arc::new(file.evaluated_on);
    let trials = file.cases.into_iter().map(|case| {
        let fixture = match &case.fixture {
            None => Fixture::default(),
            Some(name) => {
                file.fixtures.get(name).unwrap_or_else(|| panic!("{FILE}: no fixture {name}")).clone()
            }
        };
        let evaluated_on = evaluated_on.clone();
        let (id, origin) = (case.id.clone(), Origin::join(&case.origin));
        case::trial(FILE, &id, origin, move || {
            // What nodes drop goes into the log of the simulation that runs.
            let simulation = Simulation::new(1);
            simulation
                .run((), move || async move { run(&evaluated_on, &fixture, &case) })
                .expect("it comes to an end")
        })
    });
    trials.collect()
}

fn run(on: &EvaluatedOn, fixture: &Fixture, case: &Case) -> Result<(), Difference> {
    if case.modes.is_empty() {
        return Err(Difference::new("at least one mode", "none"));
    }
    for mode in &case.modes {
        let mut proxy = Proxy::new(facts(on, &case.proxy, *mode));
        let services = fixture.services.iter().map(service);
        proxy.apply(services.chain(fixture.slices.iter().enumerate().map(|(index, it)| slice(index, it))));
        let found =
            observe(&proxy, case).map_err(|got| Difference::new(format!("{:?}", case.expect), got))?;
        equal(&(*mode as u8, &case.expect), &(*mode as u8, &found))?;
    }
    Ok(())
}

/// What a node with these rules does to the case's packet, in the words of the file.
fn observe(proxy: &Proxy, case: &Case) -> Result<Expect, String> {
    let tries = TRIES_PER_TARGET * case.expect.targets.as_ref().map_or(1, |targets| targets.len() + 1);
    let mut fates = Vec::new();
    for attempt in 0..tries {
        let mut bench = Bench::new(proxy.node().addresses.clone(), attempt as u64);
        proxy.install(&mut bench.node);
        let source = SocketAddr::new(case.packet.src, 40_000 + attempt as u16);
        let destination = SocketAddr::new(case.packet.dst, case.packet.dport);
        let sender = match case.packet.src_kind {
            SourceKind::External => Sender::Outside,
            SourceKind::Pod => Sender::Pod,
            SourceKind::Node | SourceKind::NodeLoopback => Sender::Node,
        };
        fates.push((
            source,
            bench.send(sender, first_packet(source, destination, protocol(&case.packet.proto))),
        ));
    }
    summary(proxy, case, &fates)
}

fn summary(proxy: &Proxy, case: &Case, fates: &[(SocketAddr, Fate)]) -> Result<Expect, String> {
    let destination = SocketAddr::new(case.packet.dst, case.packet.dport);
    let plain = |action: &str| Expect { action: action.to_owned(), targets: None, masquerade: None };
    let all = |test: &dyn Fn(&Fate) -> bool| fates.iter().all(|(_, fate)| test(fate));
    if all(&|fate| matches!(fate, Fate::Rejected(_))) {
        return Ok(plain("reject"));
    }
    if all(&|fate| matches!(fate, Fate::Dropped(_))) {
        return Ok(plain("drop"));
    }
    if all(&|fate| *fate == Fate::Local(destination)) {
        // kube-proxy's own port is open for health checks; any other packet to the node is not its business.
        let is_own = proxy.health_checks().any(|check| check.port == destination.port());
        return Ok(plain(if is_own { "accept" } else { "not_service_traffic" }));
    }
    if fates.iter().all(|(source, fate)| *fate == Fate::Left(*source, destination)) {
        return Ok(plain("not_service_traffic"));
    }
    translation(fates)
}

/// The targets, and whether sources are rewritten; a flow that is sent back to its source always is.
fn translation(fates: &[(SocketAddr, Fate)]) -> Result<Expect, String> {
    let (mut targets, mut rewritten, mut hairpins_rewritten) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (source, fate) in fates {
        let Fate::Left(from, to) = fate else { return Err(format!("{fates:?}")) };
        targets.insert(*to);
        let is_hairpin = to.ip() == source.ip();
        if is_hairpin { &mut hairpins_rewritten } else { &mut rewritten }.insert(from != source);
    }
    if hairpins_rewritten.contains(&false) {
        return Err("a flow back to its own source keeps that source".to_owned());
    }
    // A node's own packet may keep its address and even draw its old port now and then.
    let masquerade = if rewritten.is_empty() { hairpins_rewritten } else { rewritten }.contains(&true);
    Ok(Expect { action: "dnat".to_owned(), targets: Some(targets), masquerade: Some(masquerade) })
}

fn facts(on: &EvaluatedOn, overrides: &Overrides, mode: ModeCase) -> NodeFacts {
    let mut facts = NodeFacts::new(on.node.as_str(), on.node_ips.clone());
    facts.mode = match mode {
        ModeCase::Iptables => Mode::Iptables,
        ModeCase::Nftables => Mode::Nftables,
    };
    facts.cluster_pod_networks = vec![on.pod_cidr_v4.0, on.pod_cidr_v6.0];
    facts.service_networks = vec![on.service_cidr_v4.0];
    facts.masquerade_all = overrides.masquerade_all.unwrap_or(on.masquerade_all);
    facts.localhost_node_ports = overrides.localhost_node_ports.unwrap_or(on.localhost_node_ports);
    // What the network plugin rewrites is not kube-proxy's doing.
    facts.masquerade_pods = false;
    if overrides.local_detector == Some(false) {
        facts.local_detector = LocalDetector::None;
    }
    facts.node_port_addresses = match &overrides.node_port_addresses {
        None => NodePortAddresses::ModeDefault,
        Some(NodePortsOn::Word(word)) if word == "primary" => NodePortAddresses::Primary,
        Some(NodePortsOn::Word(word)) => panic!("{FILE}: node_port_addresses {word}"),
        Some(NodePortsOn::Networks(networks)) => {
            NodePortAddresses::In(networks.iter().map(|it| it.0).collect())
        }
    };
    facts
}

fn service(case: &ServiceCase) -> ProxyInput {
    let affinity = case.session_affinity.as_ref();
    let timeout = affinity.and_then(|affinity| affinity.timeout_s);
    let object = json!({
        "metadata": { "name": case.name, "namespace": case.namespace },
        "spec": {
            "type": case.type_, "clusterIP": case.cluster_ip, "ports": case.ports,
            "externalTrafficPolicy": case.external_traffic_policy,
            "internalTrafficPolicy": case.internal_traffic_policy,
            "externalIPs": case.external_ips,
            "loadBalancerSourceRanges": case.load_balancer_source_ranges,
            "healthCheckNodePort": case.health_check_node_port,
            "sessionAffinity": affinity.map_or("None", |affinity| &affinity.type_),
            "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": timeout } },
        },
        "status": { "loadBalancer": { "ingress": case.lb_ingress } }
    });
    ProxyInput::Service(Arc::new(serde_json::from_value(object).expect("a Service")))
}

fn slice(index: usize, case: &SliceCase) -> ProxyInput {
    let (namespace, name) = case.service.split_once('/').expect("a Service as NAMESPACE/NAME");
    let endpoints = case.endpoints.iter().map(|endpoint| {
        json!({
            "addresses": [endpoint.ip], "nodeName": endpoint.node,
            "conditions": {
                "ready": endpoint.ready, "serving": endpoint.serving, "terminating": endpoint.terminating
            }
        })
    });
    let object = json!({
        "addressType": if case.endpoints.iter().any(|endpoint| endpoint.ip.is_ipv6()) { "IPv6" } else { "IPv4" },
        "metadata": {
            "name": format!("{name}-{index}"), "namespace": namespace,
            "labels": { "kubernetes.io/service-name": name }
        },
        "ports": case.ports, "endpoints": endpoints.collect::<Vec<_>>()
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(object).expect("an EndpointSlice")))
}

fn protocol(name: &str) -> Protocol {
    match name {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => panic!("{FILE}: protocol {other}"),
    }
}
