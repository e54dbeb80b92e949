//! The rules that kube-proxy makes of the file's Services on each node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_fabric::nat::rules::RuleSet;
use hopwise_kube::cluster_file::{PodMasquerade, PodNetwork};
use hopwise_kube::proxy::{LocalDetector, NodeFacts, Proxy, ProxyInput};
use ipnet::IpNet;
use serde_json::json;

use super::file::{Detect, Environment, File, Masquerade, PodLink, Policy, Service};

/// Prefix length of a node's pod network (Kubernetes' default `--node-cidr-mask-size`).
const NODE_PREFIX: u8 = 24;

/// The pod network of a node: the one that its bridge's address is in.
pub fn pod_network(file: &File, node: &str) -> IpNet {
    let bridge = file.topology.pod_bridges[node];
    IpNet::new(bridge, NODE_PREFIX).expect("a prefix length").trunc()
}

/// The rules of every node in `environment`.
pub fn rules(file: &File, environment: &Environment) -> BTreeMap<String, RuleSet> {
    let inputs: Vec<ProxyInput> =
        file.services.iter().flat_map(|(name, service)| inputs(name, service)).collect();
    let of_node = |(node, address): (&String, &IpAddr)| {
        let mut proxy = Proxy::new(facts(file, environment, node, *address));
        proxy.apply(inputs.iter().cloned());
        (node.clone(), proxy.rule_set())
    };
    file.topology.nodes.iter().map(of_node).collect()
}

fn facts(file: &File, environment: &Environment, node: &str, address: IpAddr) -> NodeFacts {
    let bridge = (environment.pod_link == PodLink::Bridge).then(|| file.topology.pod_bridges[node]);
    let addresses = [address].into_iter().chain(bridge).collect();
    let masquerade = match environment.masq {
        Masquerade::NonPod => PodMasquerade::NonPod,
        Masquerade::Rfc1918 => PodMasquerade::Rfc1918,
    };
    let pod_network_settings = PodNetwork { masquerade, ..PodNetwork::default() };
    NodeFacts {
        pod_networks: vec![pod_network(file, node)],
        cluster_pod_networks: vec![file.topology.pod_network],
        local_detector: match environment.detect {
            Detect::ClusterCIDR => LocalDetector::ClusterNetworks,
            Detect::NodeCIDR => LocalDetector::NodeNetworks,
        },
        unmasqueraded_networks: pod_network_settings.unmasqueraded_networks(),
        ..NodeFacts::new(node, addresses)
    }
}

fn inputs(name: &str, service: &Service) -> Vec<ProxyInput> {
    let kind = match (service.vips.is_empty(), service.node_port) {
        (false, _) => "LoadBalancer",
        (true, Some(_)) => "NodePort",
        (true, None) => "ClusterIP",
    };
    let policy = |policy: Policy| format!("{policy:?}");
    let mut spec = json!({
        "type": kind,
        "clusterIP": service.cluster_ip.map_or("None".to_owned(), |address| address.to_string()),
        "ports": [{ "port": service.port, "nodePort": service.node_port }],
        "internalTrafficPolicy": policy(service.internal_traffic_policy),
    });
    if kind != "ClusterIP" {
        spec["externalTrafficPolicy"] = policy(service.external_traffic_policy).into();
    }
    if let Some(seconds) = service.affinity_seconds {
        spec["sessionAffinity"] = "ClientIP".into();
        spec["sessionAffinityConfig"] = json!({ "clientIP": { "timeoutSeconds": seconds } });
    }
    let ingress: Vec<_> = service
        .vips
        .iter()
        .map(|vip| json!({ "ip": vip.ip, "ipMode": super::topology::ip_mode_text(vip.ip_mode) }))
        .collect();
    let object = json!({
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec, "status": { "loadBalancer": { "ingress": ingress } }
    });
    let service_object = serde_json::from_value(object).expect("a Service");
    let mut inputs = vec![ProxyInput::Service(Arc::new(service_object))];
    let ports: BTreeSet<u16> = service.endpoints.iter().map(|endpoint| endpoint.port).collect();
    inputs.extend(ports.into_iter().map(|port| slice(name, service, port)));
    inputs
}

/// The slice of the endpoints that listen on `port`.
fn slice(name: &str, service: &Service, port: u16) -> ProxyInput {
    let endpoints: Vec<_> = service
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.port == port)
        .map(|endpoint| {
            json!({
                "addresses": [endpoint.ip], "nodeName": endpoint.node,
                "conditions": { "ready": true, "serving": true, "terminating": false }
            })
        })
        .collect();
    let object = json!({
        "addressType": "IPv4",
        "metadata": {
            "name": format!("{name}-{port}"), "namespace": "default",
            "labels": { "kubernetes.io/service-name": name }
        },
        "ports": [{ "name": "", "protocol": "TCP", "port": port }],
        "endpoints": endpoints
    });
    ProxyInput::Slice(Arc::new(serde_json::from_value(object).expect("an EndpointSlice")))
}
