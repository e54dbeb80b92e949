//! Which flows stay after a sync: the flows enter a real node's connection tracking as packets, then kube-proxy's
//! change is carried out on that node.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::Simulation;
use hopwise_fabric::nat::rules::{
    Branch, Choice, Destination, DestinationRule, Protocol, SourceMatch, Translation, Verdict,
};
use hopwise_kube::proxy::{Mode, NodeFacts, Proxy, ProxyInput};
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::{Value, json};

use super::FILE;
use crate::case::{self, Difference, equal};
use crate::node::{Bench, Fate, Sender, first_packet};
use crate::upstream::Origin;

/// The node's address, which node ports are reached at.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
/// Whoever sends.
const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    service: ServiceCase,
    cases: Vec<Case>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceCase {
    cluster_ip: IpAddr,
    external_ips: Vec<IpAddr>,
    lb_ingress: Vec<IpAddr>,
    ports: Vec<PortCase>,
    endpoints: EndpointsCase,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortCase {
    name: String,
    port: u16,
    protocol: String,
    node_port: Option<u16>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "endpoints that are gone have to be known, too")]
struct EndpointsCase {
    serving: Vec<IpAddr>,
    not_serving: Vec<IpAddr>,
    deleted: Vec<IpAddr>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    entry: Entry,
    expect: String,
    origin: Origin,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what the destination is follows from the address")]
struct Entry {
    proto: String,
    orig_dst: Option<IpAddr>,
    orig_dst_kind: String,
    orig_dport: u16,
    reply_src: IpAddr,
}

pub fn trials(cases: Cases) -> Vec<Trial> {
    let Cases { service, cases } = cases;
    let trials = cases.into_iter().map(|case| {
        let (service, id, origin) = (service.clone(), case.id.clone(), case.origin.clone());
        case::trial(FILE, &id, origin, move || {
            let simulation = Simulation::new(1);
            simulation.run((), move || async move { run(&service, &case) }).expect("it comes to an end")
        })
    });
    trials.collect()
}

fn run(service: &ServiceCase, case: &Case) -> Result<(), Difference> {
    let mut bench = Bench::new(vec![NODE.into()], 1);
    enter(&mut bench, &case.entry)?;
    let mut proxy = Proxy::new(NodeFacts::new("node", vec![NODE.into()]));
    let change = proxy.apply([service_input(service), slice_input(service)]);
    change.carry_out(&mut bench.node, Mode::Iptables);
    let found = match bench.node.conntrack().len() {
        0 => "deleted".to_owned(),
        1 => "kept".to_owned(),
        flows => format!("{flows} flows"),
    };
    equal(&case.expect, &found)
}

/// Lets the entry's first packet pass, translated as the entry says.
fn enter(bench: &mut Bench, entry: &Entry) -> Result<(), Difference> {
    let protocol = protocol(&entry.proto);
    let destination = SocketAddr::new(entry.orig_dst.unwrap_or(NODE.into()), entry.orig_dport);
    let target = SocketAddr::new(entry.reply_src, entry.orig_dport);
    if target != destination {
        let translation =
            Translation { targets: Arc::from([target]), masquerade: false, choice: Choice::Random };
        bench.node.set_rule(DestinationRule {
            destination: Destination::Address(destination.ip()),
            protocol,
            port: destination.port(),
            branches: vec![Branch { source: SourceMatch::Any, verdict: Verdict::Translate(translation) }],
            label: "the rules of before".into(),
        });
    }
    let source = SocketAddr::new(CLIENT.into(), 40_000);
    let fate = bench.send(Sender::Outside, first_packet(source, destination, protocol));
    equal(&Fate::Left(source, target), &fate)?;
    equal(&1, &bench.node.conntrack().len())
}

fn service_input(case: &ServiceCase) -> ProxyInput {
    let ports = case.ports.iter().map(|port| {
        json!({ "name": port.name, "port": port.port, "protocol": port.protocol, "nodePort": port.node_port })
    });
    let ingress: Vec<Value> = case.lb_ingress.iter().map(|ip| json!({ "ip": ip })).collect();
    let object = json!({
        "metadata": { "name": "service", "namespace": "ns" },
        "spec": {
            "type": "LoadBalancer", "clusterIP": case.cluster_ip, "externalIPs": case.external_ips,
            "ports": ports.collect::<Vec<_>>()
        },
        "status": { "loadBalancer": { "ingress": ingress } }
    });
    ProxyInput::Service(Arc::new(serde_json::from_value(object).expect("a Service")))
}

fn slice_input(case: &ServiceCase) -> ProxyInput {
    let ports = case
        .ports
        .iter()
        .map(|port| json!({ "name": port.name, "port": port.port, "protocol": port.protocol }));
    let of = |addresses: &[IpAddr], serving: bool| {
        let endpoint = |ip: &IpAddr| json!({ "addresses": [ip], "conditions": { "ready": serving, "serving": serving, "terminating": false } });
        addresses.iter().map(endpoint).collect::<Vec<Value>>()
    };
    let endpoints = [of(&case.endpoints.serving, true), of(&case.endpoints.not_serving, false)].concat();
    let object = json!({
        "addressType": "IPv4",
        "metadata": {
            "name": "service-1", "namespace": "ns", "labels": { "kubernetes.io/service-name": "service" }
        },
        "ports": ports.collect::<Vec<_>>(),
        "endpoints": endpoints
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
