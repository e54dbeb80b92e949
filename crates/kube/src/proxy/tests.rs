//! kube-proxy over Services of our own; the tables of Kubernetes' own cases are in `tests/proxy_cases.rs`.

use hopwise_fabric::nat::rules::{Choice, Destination, SourceMatch, Verdict};
use serde_json::json;

use super::*;

fn node() -> NodeFacts {
    NodeFacts {
        pod_networks: vec!["10.244.1.0/24".parse().unwrap()],
        cluster_pod_networks: vec!["10.244.0.0/16".parse().unwrap()],
        ..NodeFacts::new("node-1", vec!["192.168.0.11".parse().unwrap()])
    }
}

fn service(name: &str, spec: serde_json::Value) -> ProxyInput {
    let service = json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec });
    ProxyInput::Service(Arc::new(serde_json::from_value(service).unwrap()))
}

fn slice(service: &str, endpoints: &[(&str, &str)]) -> ProxyInput {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(address, node)| json!({ "addresses": [address], "nodeName": node, "conditions": { "ready": true } }))
        .collect();
    let slice = json!({
        "addressType": "IPv4",
        "metadata": { "name": format!("{service}-1"), "namespace": "ns", "labels": { "kubernetes.io/service-name": service } },
        "ports": [{ "name": "kafka", "port": 9094, "protocol": "TCP" }],
        "endpoints": endpoints
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(slice).unwrap()))
}

fn node_port(name: &str, policy: &str, port: u16) -> ProxyInput {
    let ports = json!([{ "name": "kafka", "port": 9094, "nodePort": port, "protocol": "TCP" }]);
    let spec = json!({
        "type": "NodePort", "clusterIP": format!("10.96.0.{}", port % 200 + 1), "externalTrafficPolicy": policy, "ports": ports
    });
    service(name, spec)
}

fn name(name: &str) -> ServiceName {
    ServiceName { namespace: "ns".into(), name: name.into() }
}

#[test]
fn the_local_policy_without_a_local_endpoint_says_why_it_drops() {
    let mut proxy = Proxy::new(node());
    let change =
        proxy.apply([node_port("broker", "Local", 31092), slice("broker", &[("10.244.2.5", "node-2")])]);
    assert_eq!(change.put.len(), 2);
    let rule = change.put.iter().find(|rule| rule.port == 31092).unwrap();
    assert_eq!(&*rule.label, "Service ns/broker port kafka");
    let sources: Vec<_> = rule.branches.iter().map(|branch| &branch.source).collect();
    assert!(matches!(sources[..], [SourceMatch::In(_), SourceMatch::ThisDevice, SourceMatch::Any]));
    let Verdict::Drop { reason } = &rule.branches[2].verdict else { panic!("{rule:?}") };
    assert_eq!(&**reason, "externalTrafficPolicy Local and no endpoint of Service ns/broker on node-1");
}

#[test]
fn a_service_without_endpoints_rejects_with_a_reason() {
    let mut proxy = Proxy::new(node());
    let change = proxy.apply([node_port("broker", "Cluster", 31092)]);
    for rule in &change.put {
        let Verdict::Reject { reason } = &rule.branches[0].verdict else { panic!("{rule:?}") };
        assert_eq!(&**reason, "Service ns/broker has no endpoint that is ready");
    }
}

#[test]
fn a_change_touches_the_rules_of_its_service_only() {
    let mut proxy = Proxy::new(node());
    for number in 0..50 {
        let name = format!("s{number}");
        proxy.apply([node_port(&name, "Cluster", 31000 + number), slice(&name, &[("10.244.2.5", "node-2")])]);
    }
    let all = proxy.rule_set();
    assert_eq!(all.destinations.len(), 100);
    let change = proxy.apply([slice("s7", &[("10.244.1.9", "node-1")])]);
    assert!(change.removed.is_empty());
    assert!(
        change.put.len() == 2 && change.put.iter().all(|rule| &*rule.label == "Service ns/s7 port kafka")
    );
    assert_eq!(proxy.apply([slice("s7", &[("10.244.1.9", "node-1")])]), RuleChange::default());
    let change = proxy.apply([ProxyInput::ServiceGone(name("s7"))]);
    assert_eq!((change.removed.len(), change.put.len()), (2, 0));
    assert_eq!(proxy.rule_set().destinations.len(), 98);
}

#[test]
fn applying_changes_one_by_one_gives_the_same_rules_as_all_at_once() {
    let inputs = [
        slice("b", &[("10.244.1.9", "node-1")]),
        node_port("b", "Local", 31001),
        node_port("a", "Cluster", 31000),
        slice("a", &[("10.244.2.5", "node-2")]),
        node_port("b", "Cluster", 31002),
    ];
    let (mut one_by_one, mut at_once) = (Proxy::new(node()), Proxy::new(node()));
    let mut rules: BTreeMap<RuleKey, DestinationRule> = BTreeMap::new();
    for input in inputs.clone() {
        let change = one_by_one.apply([input]);
        for key in &change.removed {
            assert!(rules.remove(key).is_some());
        }
        rules.extend(change.put.into_iter().map(|rule| (RuleKey::of(&rule), rule)));
    }
    at_once.apply(inputs);
    assert_eq!(one_by_one.rule_set(), at_once.rule_set());
    assert_eq!(rules.into_values().collect::<Vec<_>>(), at_once.rule_set().destinations);
}

#[test]
fn two_services_with_one_external_address_do_not_clash() {
    let shared = |name: &str, cluster_ip: &str| {
        let ports = json!([{ "name": "kafka", "port": 9094, "protocol": "TCP" }]);
        service(name, json!({ "clusterIP": cluster_ip, "externalIPs": ["203.0.113.9"], "ports": ports }))
    };
    let mut proxy = Proxy::new(node());
    proxy.apply([shared("b", "10.96.0.2")]);
    let change = proxy.apply([shared("a", "10.96.0.1")]);
    let address = Destination::Address("203.0.113.9".parse().unwrap());
    let shared_rule = |rules: &[DestinationRule]| {
        rules
            .iter()
            .filter(|rule| rule.destination == address)
            .map(|rule| rule.label.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(shared_rule(&change.put), ["Service ns/a port kafka"]);
    assert_eq!(shared_rule(&proxy.rule_set().destinations), ["Service ns/a port kafka"]);
    let change = proxy.apply([ProxyInput::ServiceGone(name("a"))]);
    assert_eq!(shared_rule(&change.put), ["Service ns/b port kafka"]);
}

#[test]
fn headless_and_external_name_services_have_no_rules() {
    let mut proxy = Proxy::new(node());
    let ports = json!([{ "name": "kafka", "port": 9094 }]);
    let change = proxy.apply([
        service("headless", json!({ "clusterIP": "None", "ports": ports })),
        service("elsewhere", json!({ "type": "ExternalName", "externalName": "example.com" })),
        slice("headless", &[("10.244.1.9", "node-1")]),
    ]);
    assert_eq!(change, RuleChange::default());
}

#[test]
fn affinity_lasts_as_long_as_the_service_says() {
    let mut proxy = Proxy::new(node());
    let change = proxy.apply([
        service(
            "sticky",
            json!({
                "clusterIP": "10.96.0.1", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 60 } },
                "ports": [{ "name": "kafka", "port": 9094 }]
            }),
        ),
        slice("sticky", &[("10.244.1.9", "node-1")]),
    ]);
    let Verdict::Translate(translation) = &change.put[0].branches[0].verdict else { panic!("{change:?}") };
    assert_eq!(translation.choice, Choice::SourceAffinity(hopwise_engine::Span::from_secs(60)));
}

#[test]
fn the_health_check_port_counts_ready_local_endpoints() {
    let mut proxy = Proxy::new(node());
    proxy.apply([
        service(
            "lb",
            json!({
                "type": "LoadBalancer", "clusterIP": "10.96.0.1", "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 32000, "ports": [{ "name": "kafka", "port": 9094 }]
            }),
        ),
        slice("lb", &[("10.244.1.9", "node-1"), ("10.244.2.9", "node-2")]),
    ]);
    let checks: Vec<_> = proxy.health_checks().cloned().collect();
    assert_eq!(checks, [HealthCheck { port: 32000, service: name("lb"), local_endpoints: 1 }]);
    proxy.apply([slice("lb", &[("10.244.2.9", "node-2")])]);
    assert_eq!(proxy.health_checks().next().unwrap().local_endpoints, 0);
}

#[test]
fn the_cni_masquerades_what_leaves_the_pod_network() {
    let rules = source_rules(&node());
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].source.to_string(), "10.244.1.0/24");
    assert!(rules[0].except_destinations.contains(&"10.244.0.0/16".parse().unwrap()));
    assert_eq!(source_rules(&NodeFacts { masquerade_pods: false, ..node() }), []);
}

#[test]
fn a_node_of_two_families_gets_a_node_port_rule_per_address() {
    let facts = NodeFacts {
        addresses: ["192.168.0.11", "fd00::11"].map(|ip| ip.parse().unwrap()).to_vec(),
        ..node()
    };
    let mut proxy = Proxy::new(facts);
    let change = proxy.apply([node_port("broker", "Cluster", 31092)]);
    let destinations: Vec<_> =
        change.put.iter().filter(|rule| rule.port == 31092).map(|rule| rule.destination).collect();
    let expected = ["127.0.0.1", "192.168.0.11"].map(|ip| Destination::Address(ip.parse().unwrap()));
    assert_eq!(destinations, expected);
}
