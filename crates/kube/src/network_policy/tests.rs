//! Policies over a few pods: who is isolated, and what gets through. Packets are judged by the node's own filter in
//! the tests of whole clusters.

use hopwise_fabric::Peers;
use hopwise_fabric::nat::rules::Protocol;
use serde_json::{Value, json};

use super::*;

fn pod(namespace: &str, name: &str, address: &str, app: &str, port: u16) -> Arc<Pod> {
    let pod = json!({
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": app } },
        "spec": {
            "nodeName": "node-1",
            "containers": [{ "name": "c", "ports": [{ "name": "kafka", "containerPort": port }] }]
        },
        "status": { "phase": "Running", "podIP": address }
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn policy(name: &str, spec: Value) -> Arc<NetworkPolicy> {
    let policy = json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec });
    Arc::new(serde_json::from_value(policy).unwrap())
}

fn isolation(policies: &[Arc<NetworkPolicy>], address: &str) -> Isolation {
    let namespaces = ["ns", "other"].map(|name| {
        let labels = Labels::from([("kubernetes.io/metadata.name".to_owned(), name.to_owned())]);
        (name.to_owned(), labels)
    });
    let world = World {
        policies: policies.to_vec(),
        pods: vec![
            pod("ns", "broker", "10.0.0.1", "broker", 9093),
            pod("ns", "client", "10.0.0.2", "client", 9094),
            pod("other", "client", "10.0.0.3", "client", 9094),
            pod("other", "second", "10.0.0.4", "broker", 9095),
        ],
        namespaces: namespaces.into(),
    };
    world
        .compile()
        .remove("node-1")
        .and_then(|mut of_node| of_node.remove(&address.parse().unwrap()))
        .unwrap_or_default()
}

/// A protocol with a range of its ports.
type Ports = (Protocol, std::ops::RangeInclusive<u16>);

fn peers(allowances: Option<Allowances>) -> Vec<(String, Vec<Ports>)> {
    let text = |peers: &Peers| match peers {
        Peers::Any => "any".to_owned(),
        Peers::Addresses(addresses) => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" "),
        Peers::Network { network, except } => format!("{network} except {except:?}"),
    };
    let allowed = allowances.expect("isolated").allowed;
    allowed.iter().map(|allowance| (text(&allowance.peers), allowance.ports.clone())).collect()
}

#[test]
fn a_pod_is_isolated_once_a_policy_selects_it_and_only_in_that_direction() {
    let deny = policy("deny", json!({ "podSelector": { "matchLabels": { "app": "broker" } } }));
    let found = isolation(std::slice::from_ref(&deny), "10.0.0.1");
    let inward = found.inward.expect("isolated");
    assert_eq!((inward.allowed.len(), found.outward), (0, None));
    assert_eq!(
        &*inward.reason,
        "NetworkPolicy ns/deny isolates pod ns/broker for ingress, and does not allow this source and port"
    );
    assert_eq!(isolation(std::slice::from_ref(&deny), "10.0.0.2"), Isolation::default());
    assert_eq!(
        isolation(&[deny], "10.0.0.4"),
        Isolation::default(),
        "policies select in their own namespace"
    );
    let both = policy("both", json!({ "podSelector": {}, "policyTypes": ["Egress"] }));
    let found = isolation(&[both], "10.0.0.2");
    assert!(found.inward.is_none() && found.outward.is_some());
    let implied = policy("implied", json!({ "podSelector": {}, "egress": [{}] }));
    let found = isolation(&[implied], "10.0.0.2");
    assert_eq!(peers(found.outward), [("any".to_owned(), vec![])]);
    assert_eq!(found.inward.expect("a policy without types is about ingress").allowed, []);
}

#[test]
fn peers_are_pods_of_the_own_namespace_or_of_selected_ones() {
    let from = |from: Value| {
        let policy = policy("p", json!({ "podSelector": {}, "ingress": [{ "from": from }] }));
        peers(isolation(&[policy], "10.0.0.1").inward).into_iter().map(|(peers, _)| peers).collect::<Vec<_>>()
    };
    let clients = json!({ "matchLabels": { "app": "client" } });
    let other = json!({ "matchLabels": { "kubernetes.io/metadata.name": "other" } });
    assert_eq!(from(json!([{ "podSelector": clients }])), ["10.0.0.2"]);
    assert_eq!(from(json!([{ "podSelector": clients, "namespaceSelector": {} }])), ["10.0.0.2 10.0.0.3"]);
    assert_eq!(from(json!([{ "namespaceSelector": other }])), ["10.0.0.3 10.0.0.4"]);
    assert_eq!(from(json!([{ "podSelector": clients }, { "namespaceSelector": other }])).len(), 2);
    assert_eq!(
        from(json!([{ "ipBlock": { "cidr": "203.0.113.0/24", "except": ["203.0.113.128/25"] } }])),
        ["203.0.113.0/24 except [203.0.113.128/25]"]
    );
}

#[test]
fn ports_have_ranges_and_names_that_each_pod_resolves() {
    let ports = json!([{ "port": 9000, "endPort": 9099 }, { "port": "kafka" }, { "protocol": "UDP" }]);
    let ingress = policy("in", json!({ "podSelector": {}, "ingress": [{ "ports": ports }] }));
    let tcp = |range| (Protocol::Tcp, range);
    let expected = vec![tcp(9000..=9099), tcp(9093..=9093), (Protocol::Udp, 0..=65535)];
    assert_eq!(peers(isolation(&[ingress], "10.0.0.1").inward), [("any".to_owned(), expected)]);
    let unknown =
        policy("none", json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": "http" }] }] }));
    assert_eq!(peers(isolation(&[unknown], "10.0.0.1").inward), []);
    let to = json!([{ "podSelector": { "matchLabels": { "app": "broker" } }, "namespaceSelector": {} }]);
    let egress = policy(
        "out",
        json!({ "podSelector": {}, "policyTypes": ["Egress"], "egress": [{ "to": to, "ports": [{ "port": "kafka" }] }] }),
    );
    let expected = [("10.0.0.1", 9093), ("10.0.0.4", 9095)];
    let expected = expected.map(|(pod, port)| (pod.to_owned(), vec![tcp(port..=port)]));
    assert_eq!(peers(isolation(&[egress], "10.0.0.2").outward), expected);
}

#[test]
fn several_policies_add_up_and_are_named() {
    let allow = |name: &str, port: u16| {
        policy(name, json!({ "podSelector": {}, "ingress": [{ "ports": [{ "port": port }] }] }))
    };
    let inward = isolation(&[allow("a", 80), allow("b", 81)], "10.0.0.1").inward.expect("isolated");
    assert_eq!(inward.allowed.len(), 2);
    assert!(
        inward.reason.starts_with("NetworkPolicies ns/a, ns/b isolate pod ns/broker"),
        "{}",
        inward.reason
    );
}
