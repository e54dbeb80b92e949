//! Whether requests and host ports fit into what is left of a node.
//!
//! Requests alone count, limits do not (kubernetes.md 2). A resource that the node does not declare is
//! unlimited, so that nodes without declared sizes take everything.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::state::NodeState;
use super::{Candidate, Reason, parse_milli};

/// Amounts of resources in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

/// A port of the node that a pod takes: protocol, port and address (0.0.0.0 means all).
pub(super) type HostPort = (String, i32, String);

pub(super) fn check_resources(candidate: &Candidate<'_>, node: &NodeState) -> Result<(), Vec<Reason>> {
    let mut reasons = Vec::new();
    if let Some(most) = node.allocatable.get("pods")
        && (i128::from(node.pods) + 1) * 1_000 > *most
    {
        reasons.push(Reason::TooManyPods);
    }
    for (resource, request) in &candidate.requests {
        let Some(all) = node.allocatable.get(resource) else { continue };
        let left = all - node.used.get(resource).unwrap_or(&0);
        if *request > 0 && *request > left {
            reasons.push(Reason::Insufficient { resource: resource.clone() });
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

pub(super) fn check_host_ports(candidate: &Candidate<'_>, node: &NodeState) -> Result<(), Reason> {
    let any = |address: &str| matches!(address, "" | "0.0.0.0" | "::");
    let clash = |(protocol, port, address): &HostPort, other: &HostPort| {
        (protocol, port) == (&other.0, &other.1) && (any(address) || any(&other.2) || *address == other.2)
    };
    let taken = candidate.ports.iter().any(|port| node.ports.iter().any(|other| clash(port, other)));
    if taken { Err(Reason::HostPort) } else { Ok(()) }
}

/// What the node has for pods.
pub(super) fn allocatable(node: &Node) -> Amounts {
    let status = node.status.as_ref();
    amounts(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

/// What a pod requests: its containers together with its sidecars, or its largest init container if that is
/// more.
pub(super) fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = pod.spec.as_ref() else { return Amounts::new() };
    let mut running = Amounts::new();
    for container in &spec.containers {
        add(&mut running, &container_requests(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = container_requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, &own);
            raise(&mut starting, &sidecars);
        } else {
            let mut now = sidecars.clone();
            add(&mut now, &own);
            raise(&mut starting, &now);
        }
    }
    add(&mut running, &sidecars);
    raise(&mut running, &starting);
    add(&mut running, &amounts(spec.overhead.as_ref()));
    running
}

/// A container's requests; where it has only a limit, that.
fn container_requests(container: &Container) -> Amounts {
    let Some(resources) = container.resources.as_ref() else { return Amounts::new() };
    let mut all = amounts(resources.limits.as_ref());
    all.extend(amounts(resources.requests.as_ref()));
    all
}

fn amounts(quantities: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    let read = |(name, quantity): (&String, &Quantity)| Some((name.clone(), parse_milli(&quantity.0)?));
    quantities.into_iter().flatten().filter_map(read).collect()
}

pub(super) fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

pub(super) fn subtract(from: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let sum = from.entry(name.clone()).or_default();
        *sum = sum.saturating_sub(*amount);
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let most = to.entry(name.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

/// The ports of the node that a pod takes.
pub(super) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = pod.spec.as_ref() else { return Vec::new() };
    let on_host = spec.host_network == Some(true);
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let mut taken: Vec<HostPort> = ports
        .filter_map(|port| {
            let number =
                port.host_port.or(on_host.then_some(port.container_port)).filter(|port| *port != 0)?;
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            Some((protocol, number, port.host_ip.clone().unwrap_or_default()))
        })
        .collect();
    taken.sort_unstable();
    taken.dedup();
    taken
}
