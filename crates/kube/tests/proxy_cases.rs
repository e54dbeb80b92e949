//! kube-proxy's rules against the tables of Kubernetes' own tests: the verdict on single packets, and the
//! choice of endpoints.
//!
//! The tables are not part of this repository: the environment variable `HOPWISE_CASES` names their
//! directory; without it the tests say so and check nothing. Packets are judged from the rules' data alone:
//! the rule of the destination, then the first branch whose source matches.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use hopwise_fabric::nat::rules::{Destination, DestinationRule, Protocol, RuleSet, SourceMatch, Verdict};
use hopwise_kube::proxy::{
    Candidate, LocalDetector, Mode, NodeFacts, NodePortAddresses, Proxy, ProxyInput, UsedBy, select,
};
use serde_json::{Value, json};

/// What the fabric's rules cannot say: SCTP, and nftables' answer for every unused port of a cluster IP.
const NOT_MODELLED: [&str; 2] = ["cip-07", "cip-10"];

/// The table in `file`; none, with a line on the terminal, if the directory is not named.
fn table(file: &str) -> Option<Value> {
    let Some(directory) = std::env::var_os("HOPWISE_CASES") else {
        eprintln!("skipped: set HOPWISE_CASES to the directory of {file}");
        return None;
    };
    let path = PathBuf::from(directory).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_str(&text).unwrap())
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
}

fn node_facts(evaluated_on: &Value, overrides: &Value, mode: Mode) -> NodeFacts {
    let addresses = strings(&evaluated_on["node_ips"]).iter().map(|ip| ip.parse().unwrap()).collect();
    let network = |key: &str| evaluated_on[key].as_str().unwrap().parse().unwrap();
    let mut facts = NodeFacts::new(evaluated_on["node"].as_str().unwrap(), addresses);
    facts.mode = mode;
    facts.cluster_pod_networks = vec![network("pod_cidr_v4"), network("pod_cidr_v6")];
    facts.masquerade_all = overrides["masquerade_all"].as_bool().unwrap_or(false);
    facts.localhost_node_ports = overrides["localhost_node_ports"].as_bool().unwrap_or(true);
    if overrides["local_detector"] == json!(false) {
        facts.local_detector = LocalDetector::None;
    }
    facts.node_port_addresses = match &overrides["node_port_addresses"] {
        Value::Null => NodePortAddresses::ModeDefault,
        Value::String(_) => NodePortAddresses::Primary,
        networks => {
            NodePortAddresses::In(strings(networks).iter().map(|network| network.parse().unwrap()).collect())
        }
    };
    facts
}

fn service(case: &Value) -> ProxyInput {
    let ports: Vec<Value> = case["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| {
            json!({
                "name": port["name"], "port": port["port"], "protocol": port["protocol"],
                "nodePort": port["node_port"], "targetPort": port["target_port"]
            })
        })
        .collect();
    let ingress: Vec<Value> = case["lb_ingress"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|ingress| json!({ "ip": ingress["ip"], "ipMode": ingress["ip_mode"] }))
        .collect();
    let mut spec = json!({
        "type": case["type"], "clusterIP": case["cluster_ip"], "ports": ports,
        "externalTrafficPolicy": case["external_traffic_policy"],
        "internalTrafficPolicy": case["internal_traffic_policy"],
        "externalIPs": case["external_ips"],
        "loadBalancerSourceRanges": case["load_balancer_source_ranges"],
        "healthCheckNodePort": case["health_check_node_port"],
    });
    if let Some(affinity) = case["session_affinity"].as_object() {
        spec["sessionAffinity"] = affinity["type"].clone();
    }
    let object = json!({
        "metadata": { "name": case["name"], "namespace": case["namespace"] },
        "spec": spec, "status": { "loadBalancer": { "ingress": ingress } }
    });
    ProxyInput::Service(Arc::new(serde_json::from_value(object).unwrap()))
}

fn slice(index: usize, case: &Value) -> ProxyInput {
    let (namespace, name) = case["service"].as_str().unwrap().split_once('/').unwrap();
    let endpoints = case["endpoints"].as_array().unwrap();
    let ipv6 = endpoints.iter().any(|endpoint| endpoint["ip"].as_str().unwrap().contains(':'));
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "addresses": [endpoint["ip"]], "nodeName": endpoint["node"],
                "conditions": {
                    "ready": endpoint["ready"], "serving": endpoint["serving"], "terminating": endpoint["terminating"]
                }
            })
        })
        .collect();
    let object = json!({
        "addressType": if ipv6 { "IPv6" } else { "IPv4" },
        "metadata": {
            "name": format!("{name}-{index}"), "namespace": namespace,
            "labels": { "kubernetes.io/service-name": name }
        },
        "ports": case["ports"], "endpoints": endpoints
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(object).unwrap()))
}

/// Judges a packet from the rules alone, in the words of the table.
fn judge(rules: &RuleSet, node: &NodeFacts, packet: &Value) -> Value {
    let address = |key: &str| packet[key].as_str().unwrap().parse::<IpAddr>().unwrap();
    let (source, destination) = (address("src"), address("dst"));
    let port = u16::try_from(packet["dport"].as_u64().unwrap()).unwrap();
    let protocol = if packet["proto"] == "udp" { Protocol::Udp } else { Protocol::Tcp };
    let is_own = |address: IpAddr| node.addresses.contains(&address);
    let matches = |rule: &&DestinationRule| {
        rule.protocol == protocol
            && rule.port == port
            && match rule.destination {
                Destination::Address(address) => address == destination,
                Destination::AnyLocal { loopback } => {
                    is_own(destination) || (loopback && destination.is_ipv4() && destination.is_loopback())
                }
            }
    };
    let found: Vec<_> = rules.destinations.iter().filter(matches).collect();
    assert!(found.len() <= 1, "{found:?}");
    let Some(rule) = found.first() else { return json!({ "action": "not_service_traffic" }) };
    let branch = rule.branches.iter().find(|branch| match &branch.source {
        SourceMatch::Any => true,
        SourceMatch::In(networks) => networks.iter().any(|network| network.contains(&source)),
        SourceMatch::NotIn(networks) => !networks.iter().any(|network| network.contains(&source)),
        SourceMatch::ThisDevice => is_own(source) || source.is_loopback(),
    });
    match branch.map(|branch| &branch.verdict) {
        None => json!({ "action": "not_service_traffic" }),
        Some(Verdict::Accept) => json!({ "action": "accept" }),
        Some(Verdict::Reject { .. }) => json!({ "action": "reject" }),
        Some(Verdict::Drop { .. }) => json!({ "action": "drop" }),
        Some(Verdict::Translate(translation)) => {
            let mut targets: Vec<String> = translation.targets.iter().map(SocketAddr::to_string).collect();
            targets.sort_unstable();
            // A flow back to its own source is masqueraded in any case.
            let hairpin = translation.targets.iter().all(|target| target.ip() == source);
            json!({ "action": "dnat", "targets": targets, "masquerade": translation.masquerade || hairpin })
        }
    }
}

#[test]
fn packets_meet_the_verdict_of_kubernetes_own_tables() {
    let Some(table) = table("packet_flow.json") else { return };
    let (mut judged, mut failed, mut not_modelled) = (0, Vec::new(), Vec::new());
    for case in table["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        if NOT_MODELLED.contains(&id) {
            not_modelled.push(id);
            continue;
        }
        for mode in strings(&case["modes"]) {
            let mode = if mode == "nftables" { Mode::Nftables } else { Mode::Iptables };
            let node = node_facts(&table["evaluated_on"], &case["proxy"], mode);
            let fixture = case["fixture"].as_str().map(|name| &table["fixtures"][name]);
            let items = |key: &str| fixture.and_then(|fixture| fixture[key].as_array()).into_iter().flatten();
            let services = items("services").map(service);
            let slices = items("slices").enumerate().map(|(index, case)| slice(index, case));
            let mut proxy = Proxy::new(node.clone());
            proxy.apply(services.chain(slices));
            let found = judge(&proxy.rule_set(), &node, &case["packet"]);
            let mut expected = case["expect"].clone();
            if let Some(targets) = expected.get_mut("targets").and_then(Value::as_array_mut) {
                targets.sort_by_key(|target| target.as_str().map(str::to_owned));
            }
            judged += 1;
            if !["action", "targets", "masquerade"].iter().all(|key| found.get(key) == expected.get(key)) {
                failed.push(format!(
                    "{id} ({mode:?}) {}\n  expected {expected}\n  found    {found}",
                    case["title"]
                ));
            }
        }
    }
    eprintln!("{judged} verdicts judged; not modelled: {not_modelled:?}");
    assert!(failed.is_empty(), "{} of {judged} fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn endpoints_are_chosen_as_in_kubernetes_own_tables() {
    let Some(table) = table("endpoint_selection.json") else { return };
    let mut failed = Vec::new();
    for case in table["cases"].as_array().unwrap() {
        let flag = |value: &Value| value.as_bool().unwrap_or(false);
        let candidates: Vec<Candidate> = case["endpoints"]
            .as_array()
            .unwrap()
            .iter()
            .map(|endpoint| Candidate {
                address: SocketAddr::new(endpoint["ip"].as_str().unwrap().parse().unwrap(), 80),
                ready: flag(&endpoint["ready"]),
                serving: flag(&endpoint["serving"]),
                terminating: flag(&endpoint["terminating"]),
                local: flag(&endpoint["local"]),
                zone_hints: strings(&endpoint["zone_hints"]),
                node_hints: strings(&endpoint["node_hints"]),
            })
            .collect();
        let service = &case["service"];
        let used_by = UsedBy {
            internal_local: flag(&service["internal_policy_local"]),
            external_local: flag(&service["external_policy_local"]),
            external: flag(&service["has_external_address"]),
        };
        let node = case["node"]["name"].as_str().filter(|_| flag(&case["prefer_same_node_gate"]));
        let selection = select(&candidates, used_by, node, case["node"]["zone"].as_str());
        let addresses = |set: &Option<Vec<SocketAddr>>| {
            set.as_ref().map(|set| {
                let mut addresses: Vec<String> = set.iter().map(|address| address.ip().to_string()).collect();
                addresses.sort_unstable();
                addresses
            })
        };
        let found = json!({
            "cluster": addresses(&selection.cluster), "local": addresses(&selection.local), "has_any": selection.has_any
        });
        for key in ["cluster", "local", "has_any"] {
            if found[key] != case["expect"][key] {
                failed.push(format!("{} {}: {key} is {}", case["id"], case["title"], found[key]));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
