//! Whether requests and host ports fit into what is left of a node.
//!
//! Requests alone count, limits do not (kubernetes.md 2). A resource that the node does not declare is
//! unlimited, so that nodes without declared sizes take everything.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{NodeState, Reason, parse_milli};

/// Amounts of resources in thousandths.
pub(super) type Amounts = BTreeMap<String, i128>;

pub(super) fn check_resources(pod: &Pod, node: &NodeState<'_>) -> Result<(), Vec<Reason>> {
    let allocatable = allocatable(node);
    let mut reasons = Vec::new();
    if let Some(most) = allocatable.get("pods")
        && (node.pods.len() as i128 + 1) * 1_000 > *most
    {
        reasons.push(Reason::TooManyPods);
    }
    let used = used(node);
    for (resource, request) in requests(pod) {
        let Some(all) = allocatable.get(&resource) else { continue };
        let left = all - used.get(&resource).unwrap_or(&0);
        if request > 0 && request > left {
            reasons.push(Reason::Insufficient { resource });
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

pub(super) fn check_host_ports(pod: &Pod, node: &NodeState<'_>) -> Result<(), Reason> {
    let wanted = host_ports(pod);
    let taken = |other: &&Pod| !host_ports(other).is_disjoint(&wanted);
    if !wanted.is_empty() && node.pods.iter().any(taken) { Err(Reason::HostPort) } else { Ok(()) }
}

/// What the node has for pods.
pub(super) fn allocatable(node: &NodeState<'_>) -> Amounts {
    let status = node.node.status.as_ref();
    amounts(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

/// What the node's pods request.
pub(super) fn used(node: &NodeState<'_>) -> Amounts {
    let mut all = Amounts::new();
    for pod in &node.pods {
        add(&mut all, &requests(pod));
    }
    all
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

fn add(to: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = to.entry(name.clone()).or_default();
        *sum = sum.saturating_add(*amount);
    }
}

fn raise(to: &mut Amounts, least: &Amounts) {
    for (name, amount) in least {
        let most = to.entry(name.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

fn host_ports(pod: &Pod) -> BTreeSet<(String, i32)> {
    let Some(spec) = pod.spec.as_ref() else { return BTreeSet::new() };
    let on_host = spec.host_network == Some(true);
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number =
                port.host_port.or(on_host.then_some(port.container_port)).filter(|port| *port != 0)?;
            Some((port.protocol.clone().unwrap_or_else(|| "TCP".into()), number))
        })
        .collect()
}
