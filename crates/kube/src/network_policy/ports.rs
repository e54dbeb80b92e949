//! The ports of a rule. A named port is one of the pod that the flow goes to, so it may have another number for each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use hopwise_fabric::nat::rules::Protocol;
use hopwise_fabric::{Allowance, Peers};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{World, addresses, has_network, peers};

type PortRange = (Protocol, RangeInclusive<u16>);

/// A rule for flows towards the selected pods.
pub struct Ingress<'a> {
    /// Who may send.
    pub peers: Vec<Peers>,
    /// To which ports; empty means all.
    pub ports: &'a [NetworkPolicyPort],
}

impl Ingress<'_> {
    /// What the rule allows towards one pod.
    pub fn towards(&self, pod: &Pod) -> Vec<Allowance> {
        let ports: Vec<PortRange> = self.ports.iter().filter_map(|port| range(port, Some(pod))).collect();
        // Ports that the pod does not have allow nothing, whereas no ports at all allow everything.
        if ports.is_empty() && !self.ports.is_empty() {
            return Vec::new();
        }
        self.peers.iter().map(|peers| Allowance { peers: peers.clone(), ports: ports.clone() }).collect()
    }
}

/// What a rule for flows from the selected pods allows.
pub fn egress(
    to: Option<&[NetworkPolicyPeer]>,
    ports: &[NetworkPolicyPort],
    namespace: &str,
    world: &World,
) -> Vec<Allowance> {
    let numbers: Vec<PortRange> = ports.iter().filter_map(|port| range(port, None)).collect();
    let mut allowances = Vec::new();
    if ports.is_empty() || !numbers.is_empty() {
        let of_numbers = peers::of(to, namespace, world).into_iter();
        allowances.extend(of_numbers.map(|peers| Allowance { peers, ports: numbers.clone() }));
    }
    for port in ports.iter().filter(|port| matches!(port.port, Some(IntOrString::String(_)))) {
        allowances.extend(named(to, port, namespace, world));
    }
    allowances
}

/// A named port, by the number that it has: the pods of each number are peers of their own.
fn named(
    to: Option<&[NetworkPolicyPeer]>,
    port: &NetworkPolicyPort,
    namespace: &str,
    world: &World,
) -> Vec<Allowance> {
    let anywhere = to.unwrap_or_default().is_empty();
    let pods: Vec<&Arc<Pod>> = match to {
        Some(to) if !anywhere => to.iter().flat_map(|peer| peers::selected(peer, namespace, world)).collect(),
        _ => world.pods.iter().filter(|pod| has_network(pod)).collect(),
    };
    let mut by_number: BTreeMap<u16, (PortRange, BTreeSet<IpAddr>)> = BTreeMap::new();
    for pod in pods {
        if let Some(range) = range(port, Some(pod)) {
            let entry = by_number.entry(*range.1.start()).or_insert_with(|| (range, BTreeSet::new()));
            entry.1.extend(addresses(pod));
        }
    }
    let allowance = |(range, pods)| Allowance { peers: Peers::Addresses(Arc::new(pods)), ports: vec![range] };
    by_number.into_values().map(allowance).collect()
}

/// The numbers of a port; `None` for a named one without a pod, or that the pod does not have.
fn range(port: &NetworkPolicyPort, pod: Option<&Pod>) -> Option<PortRange> {
    let name = port.protocol.as_deref().unwrap_or("TCP");
    let protocol = match name {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let number = |number: i32| u16::try_from(number).ok();
    let numbers = match &port.port {
        None => 0..=u16::MAX,
        Some(IntOrString::Int(first)) => number(*first)?..=number(port.end_port.unwrap_or(*first))?,
        Some(IntOrString::String(port)) => {
            let number = number(container_port(pod?, port, name)?)?;
            number..=number
        }
    };
    Some((protocol, numbers))
}

fn container_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let containers = pod.spec.as_ref()?.containers.iter();
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    let found = ports.find(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    found.map(|port| port.container_port)
}
