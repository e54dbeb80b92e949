//! A sound cluster for tests: three brokers on three nodes, a headless Service, a NodePort Service.

use super::super::facts::*;
use super::super::{Code, Finding};
use super::lint;
use crate::report::check::Api;

fn position(line: u32) -> Option<Position> {
    Some(Position { file: "redpanda.yaml".into(), line })
}

pub fn sound() -> Cluster {
    let pods: Vec<String> = (0..3).map(|ordinal| format!("redpanda/redpanda-{ordinal}")).collect();
    Cluster {
        profile: "bare-metal".into(),
        domain: "cluster.local".into(),
        node_ports: (30000, 32767),
        nodes: (0..3)
            .map(|index| Node { name: format!("node-{index}"), addresses: vec![format!("10.0.0.1{index}")] })
            .collect(),
        services: vec![
            Service {
                name: "redpanda".into(),
                position: position(40),
                headless: true,
                publishes_not_ready: true,
                ports: vec![port("kafka", 9093, 9093, None)],
                ..service(&pods)
            },
            Service {
                name: "redpanda-external".into(),
                position: position(60),
                kind: ServiceKind::NodePort,
                local_policy: true,
                ports: vec![port("kafka-default", 9094, 9094, Some(31092))],
                ..service(&pods)
            },
        ],
        stateful_sets: vec![StatefulSet {
            namespace: "redpanda".into(),
            name: "redpanda".into(),
            position: position(90),
            replicas: 3,
            service_name: "redpanda".into(),
            anti_affinity: AntiAffinity::Required,
            pre_stop: true,
            pre_stop_s: None,
            grace_period_s: 90,
            configurator: Some(Configurator { position: position(70), ..Configurator::default() }),
        }],
        brokers: (0..3).map(broker).collect(),
        ..Cluster::default()
    }
}

fn service(pods: &[String]) -> Service {
    Service {
        namespace: "redpanda".into(),
        selector: "app=redpanda".into(),
        selected: pods.to_vec(),
        endpoints: pods.to_vec(),
        ..Service::default()
    }
}

pub fn port(name: &str, port: u16, target_port: u16, node_port: Option<u16>) -> ServicePort {
    ServicePort { name: name.into(), port, target_port, node_port, position: position(64) }
}

fn broker(id: i32) -> Broker {
    let host = format!("redpanda-{id}.redpanda.redpanda.svc.cluster.local.");
    Broker {
        id,
        namespace: "redpanda".into(),
        pod: format!("redpanda-{id}"),
        running: true,
        node: Some(format!("node-{id}")),
        position: position(12),
        listeners: vec![
            listener("internal", 9093, &host, 9093),
            listener("default", 9094, &format!("10.0.0.1{id}"), 31092),
        ],
        advertised_names: vec![(Api::Kafka, vec!["internal".into(), "default".into()])],
        seed_hosts: (0..3)
            .map(|seed| format!("redpanda-{seed}.redpanda.redpanda.svc.cluster.local."))
            .collect(),
        ..Broker::default()
    }
}

fn listener(name: &str, port: u16, host: &str, advertised: u16) -> Listener {
    let advertised = Some(Advertised { host: host.into(), port: advertised });
    Listener { api: Api::Kafka, name: name.into(), port, advertised, tls: None, authentication: false }
}

/// Replaces what the external listener of each broker advertises.
pub fn advertise(cluster: &mut Cluster, address: impl Fn(&Broker, usize) -> (String, u16)) {
    for index in 0..cluster.brokers.len() {
        let (host, port) = address(&cluster.brokers[index], index);
        cluster.brokers[index].listeners[1].advertised = Some(Advertised { host, port });
    }
}

pub fn codes(cluster: &Cluster) -> Vec<Code> {
    lint(cluster).into_iter().map(|finding| finding.code).collect()
}

/// The one finding of a cluster, which must have that code.
pub fn only(cluster: &Cluster, code: Code) -> Finding {
    let mut findings = lint(cluster);
    assert_eq!(findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), [code]);
    findings.remove(0)
}
