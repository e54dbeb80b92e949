//! Which nodes and pods are targets of a load balancer.
//!
//! Source: kubernetes.md 6.5; the service controller of cloud-provider with StableLoadBalancerNodeSet (KEP-3458: a node
//! that is not ready stays, its health check says the rest). That a cordoned node stays is kubernetes pull 90823 (1.19);
//! a profile can have it the older way.
//! Left out: that the real controller learns of the autoscaler's taint only with its next look for another reason.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_fabric::nat::rules::Protocol;
use k8s_openapi::api::core::v1::{Node, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::election;
use super::setup::{Kind, Settings};
use crate::profile::Delivery;

/// A port that a load balancer listens on.
pub type Listener = (u16, Protocol);

const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const TO_BE_DELETED_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// A node as load balancers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNode {
    /// Where it stands.
    pub zone: String,
    /// Its address.
    pub address: IpAddr,
    /// Whether neither a label nor the autoscaler keeps it out.
    pub is_eligible: bool,
    /// Whether it is cordoned.
    pub is_cordoned: bool,
}

/// A target of a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The zone that it is in.
    pub zone: String,
    /// Its address.
    pub address: IpAddr,
    /// Its port for each port of the load balancer.
    pub ports: BTreeMap<Listener, u16>,
}

impl PoolNode {
    /// `node` at `address` in `zone`.
    pub fn of(node: &Node, zone: &str, address: IpAddr) -> PoolNode {
        let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let is_tainted = taints.map(|taint| taint.key.as_str()).any(|key| key == TO_BE_DELETED_TAINT);
        let is_excluded =
            node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDE_LABEL));
        let is_deleted = node.metadata.deletion_timestamp.is_some();
        PoolNode {
            zone: zone.to_owned(),
            address,
            is_eligible: !is_tainted && !is_excluded && !is_deleted,
            is_cordoned: node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false),
        }
    }

    /// Whether it is in the pool.
    pub fn is_in(&self, excludes_cordoned: bool) -> bool {
        self.is_eligible && !(excludes_cordoned && self.is_cordoned)
    }
}

/// The ports that a Service's load balancer listens on; other protocols are left out.
pub fn listeners(service: &Service) -> BTreeMap<Listener, ServicePort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    ports.filter_map(|port| Some((listener(port)?, port.clone()))).collect()
}

fn listener(port: &ServicePort) -> Option<Listener> {
    let protocol = match port.protocol.as_deref() {
        None | Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some(_) => return None,
    };
    Some((u16::try_from(port.port).ok()?, protocol))
}

/// The targets of a Service's load balancer, by name: nodes by theirs, pods by their addresses. `is_local`: its external
/// traffic policy is Local.
pub fn members(
    settings: &Settings,
    listeners: &BTreeMap<Listener, ServicePort>,
    nodes: &BTreeMap<String, PoolNode>,
    slices: &[Arc<EndpointSlice>],
    is_local: bool,
) -> BTreeMap<String, Member> {
    let port_of = |listener: &Listener, port: &ServicePort| match settings.delivery {
        Delivery::VirtualIp => Some(listener.0),
        Delivery::NodePort | Delivery::Pod => port.node_port.and_then(|port| u16::try_from(port).ok()),
    };
    if settings.delivery == Delivery::Pod {
        return pods(listeners, nodes, slices);
    }
    let ports: BTreeMap<Listener, u16> =
        listeners.iter().filter_map(|(listener, port)| Some((*listener, port_of(listener, port)?))).collect();
    let included = nodes.iter().filter(|(_, node)| node.is_in(settings.excludes_cordoned));
    let included: Vec<(&String, &PoolNode)> = match settings.kind {
        // The nodes themselves announce the address to the router.
        Kind::Bgp => {
            let with_endpoints = nodes_with_endpoints(slices);
            let names = included.map(|(name, _)| name.as_str());
            let announcing = election::candidates(names, &with_endpoints, is_local);
            nodes.iter().filter(|(name, _)| announcing.contains(&name.as_str())).collect()
        }
        _ => included.collect(),
    };
    included
        .into_iter()
        .map(|(name, node)| {
            let member = Member { zone: node.zone.clone(), address: node.address, ports: ports.clone() };
            (name.clone(), member)
        })
        .collect()
}

/// The ready pods of a Service. A pod stays a target when its node leaves the pool.
fn pods(
    listeners: &BTreeMap<Listener, ServicePort>,
    nodes: &BTreeMap<String, PoolNode>,
    slices: &[Arc<EndpointSlice>],
) -> BTreeMap<String, Member> {
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for slice in slices {
        let ports = slice.ports.iter().flatten();
        let ports: BTreeMap<Listener, u16> = ports
            .filter_map(|port| {
                let of = listeners.iter().find(|((_, protocol), listener)| {
                    let is_udp = port.protocol.as_deref() == Some("UDP");
                    listener.name.as_deref().unwrap_or("") == port.name.as_deref().unwrap_or("")
                        && (*protocol == Protocol::Udp) == is_udp
                });
                Some((*of?.0, u16::try_from(port.port?).ok()?))
            })
            .collect();
        for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
            let Some(address) = endpoint.addresses.first().and_then(|text| text.parse::<IpAddr>().ok())
            else {
                continue;
            };
            let zone =
                endpoint.node_name.as_ref().and_then(|node| nodes.get(node)).map(|node| node.zone.clone());
            let zone = zone.or_else(|| endpoint.zone.clone()).unwrap_or_default();
            let member = members.entry(address.to_string()).or_insert(Member {
                zone,
                address,
                ports: BTreeMap::new(),
            });
            member.ports.extend(&ports);
        }
    }
    members
}

/// The nodes that have an endpoint which serves, terminating ones included.
pub fn nodes_with_endpoints(slices: &[Arc<EndpointSlice>]) -> std::collections::BTreeSet<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints
        .filter(|endpoint| is_serving(endpoint))
        .filter_map(|endpoint| endpoint.node_name.clone())
        .collect()
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_serving(endpoint: &Endpoint) -> bool {
    let conditions = endpoint.conditions.as_ref();
    conditions.and_then(|conditions| conditions.serving).unwrap_or_else(|| is_ready(endpoint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::profile::Profile;

    fn node(fields: serde_json::Value) -> PoolNode {
        let node: Node = serde_json::from_value(fields).expect("a Node");
        PoolNode::of(&node, "a", [10, 0, 0, 1].into())
    }

    #[test]
    fn labels_the_autoscaler_and_deletion_keep_a_node_out_and_a_cordon_by_choice() {
        assert!(node(json!({})).is_in(true));
        let label = json!({"metadata": {"labels": {EXCLUDE_LABEL: ""}}});
        let taint = json!({"spec": {"taints": [{"key": TO_BE_DELETED_TAINT, "effect": "NoSchedule"}]}});
        let deleted = json!({"metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z"}});
        for out in [label, taint, deleted] {
            assert!(!node(out.clone()).is_in(false), "{out}");
        }
        let not_ready = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
        assert!(node(not_ready).is_in(true));
        let cordoned = node(json!({"spec": {"unschedulable": true}}));
        assert!(cordoned.is_in(false) && !cordoned.is_in(true));
    }

    #[test]
    fn targets_are_nodes_at_node_ports_or_at_the_address_itself_or_ready_pods() {
        let service: Service = serde_json::from_value(json!({"spec": {"ports": [
            {"name": "kafka", "port": 9094, "nodePort": 30094}, {"name": "odd", "port": 1, "protocol": "SCTP"},
        ]}}))
        .expect("a Service");
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "ports": [{"name": "kafka", "port": 9094, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.1.0.2"], "nodeName": "n1", "conditions": {"ready": true}},
                {"addresses": ["10.1.0.3"], "nodeName": "n1", "conditions": {"ready": false, "serving": true}},
            ],
        }))
        .expect("a slice");
        let (listeners, slices) = (listeners(&service), [Arc::new(slice)]);
        let nodes = BTreeMap::from([("n1".to_owned(), node(json!({})))]);
        let balancer = Profile::named("aws").expect("embedded").load_balancer;
        let mut settings = Settings::of_profile(&balancer, &service);
        let mut found = |delivery| {
            settings.delivery = delivery;
            let members = members(&settings, &listeners, &nodes, &slices, false);
            let shown = members
                .into_iter()
                .map(|(name, member)| (name, member.zone, member.ports.into_values().collect()));
            shown.collect::<Vec<(String, String, Vec<u16>)>>()
        };
        assert_eq!(found(Delivery::NodePort), [("n1".into(), "a".into(), vec![30_094])]);
        assert_eq!(found(Delivery::VirtualIp), [("n1".into(), "a".into(), vec![9_094])]);
        assert_eq!(found(Delivery::Pod), [("10.1.0.2".into(), "a".into(), vec![9_094])]);
        assert_eq!(nodes_with_endpoints(&slices).into_iter().collect::<Vec<_>>(), ["n1"]);
    }
}
