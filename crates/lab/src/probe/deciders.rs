//! Who decided about a connection, and between whom: the compiled rules of the devices on its way, asked about the
//! packet as it came to them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_fabric::nat::rules::{Branch, Protocol, Verdict};
use hopwise_fabric::{Action, Device, DeviceId, Fabric, Hop};
use hopwise_kube::cluster::Cluster;
use hopwise_kube::store::{Store, pod_state};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::Connection;

/// What a device's rules say about a connection.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The device.
    pub device: Arc<str>,
    /// Whether it is a load balancer and not a node.
    pub by_load_balancer: bool,
    /// The source as the packet came in.
    pub source: SocketAddr,
    /// The destination as the packet came in.
    pub destination: SocketAddr,
    /// What the rule is for, e.g. `Service redpanda/redpanda port kafka`.
    pub label: Arc<str>,
    /// The line of the rule that is for this source.
    pub branch: Branch,
}

impl Decision {
    /// Where the connection may go; empty if it goes nowhere from here.
    pub fn targets(&self) -> &[SocketAddr] {
        match &self.branch.verdict {
            Verdict::Translate(translation) => &translation.targets,
            _ => &[],
        }
    }

    /// `namespace` and `name` of the Service that the rule is for.
    pub fn service(&self) -> Option<(&str, &str)> {
        self.label.strip_prefix("Service ")?.split(' ').next()?.split_once('/')
    }
}

/// What the rules on a packet's way say about it, in the order of the way.
pub fn decisions(way: &[Hop], protocol: Protocol) -> Vec<Decision> {
    let legs = way.windows(2).filter(|pair| pair[0].action != Action::Proxied);
    // A packet comes in as the device before has sent it.
    let arrivals = legs.map(|pair| (pair[1].device.clone(), pair[0].source, pair[0].destination));
    hopwise_fabric::with(|fabric| {
        let names = fabric.device_names();
        let device = |name: &Arc<str>| names.iter().rev().find(|(_, known)| known == name).map(|(id, _)| *id);
        let asked = arrivals.filter_map(|(name, source, destination)| {
            ask(fabric, device(&name)?, name, source, destination, protocol)
        });
        asked.collect()
    })
}

/// What one device's rules say about a packet that comes to it.
fn ask(
    fabric: &mut Fabric,
    device: DeviceId,
    name: Arc<str>,
    source: SocketAddr,
    destination: SocketAddr,
    protocol: Protocol,
) -> Option<Decision> {
    let (by_load_balancer, ruling) = match fabric.device_mut(device)? {
        Device::Node(node) => (false, node.ask(source.ip(), destination, protocol)?),
        Device::LoadBalancer(balancer) => (true, balancer.ask(source.ip(), destination, protocol)?),
        _ => return None,
    };
    let (label, branch) = (ruling.rule.label.clone(), ruling.branch.clone());
    Some(Decision { device: name, by_load_balancer, source, destination, label, branch })
}

/// The pods that could have got the connection.
pub(super) fn candidates(
    cluster: &Cluster,
    connection: &Connection,
    decisions: &[Decision],
    protocol: Protocol,
) -> BTreeSet<String> {
    let way = &connection.route.forward;
    let mut ends: BTreeSet<SocketAddr> = BTreeSet::new();
    for decision in decisions {
        for target in decision.targets() {
            match decision.by_load_balancer {
                false => ends.extend([*target]),
                true => ends.extend(behind(cluster, source_behind(way, decision), *target, protocol)),
            }
        }
    }
    // No rule chose: the address that was dialled is the pod's own, or nobody's.
    if decisions.iter().all(|decision| decision.targets().is_empty())
        && !decisions
            .iter()
            .any(|decision| matches!(decision.branch.verdict, Verdict::Drop { .. } | Verdict::Reject { .. }))
    {
        ends.extend(way.last().map(|hop| hop.destination));
    }
    cluster.api().read(|store| ends.iter().filter_map(|end| pod_at(store, *end)).collect())
}

/// The source that a load balancer's packet carries to whichever target.
fn source_behind(way: &[Hop], decision: &Decision) -> SocketAddr {
    let hop = way.iter().rfind(|hop| hop.device == decision.device);
    hop.map_or(decision.source, |hop| hop.source)
}

/// Where a load balancer's target would send the connection: the rule of the node that has the address, or the address
/// itself.
fn behind(cluster: &Cluster, source: SocketAddr, target: SocketAddr, protocol: Protocol) -> Vec<SocketAddr> {
    let node = cluster.nodes().into_iter().find(|(_, (_, address))| *address == target.ip());
    let Some((name, _)) = node else { return vec![target] };
    let name: Arc<str> = name.into();
    let decision = hopwise_fabric::with(|fabric| {
        let names = fabric.device_names();
        let device = names.iter().rev().find(|(_, known)| *known == name).map(|(id, _)| *id)?;
        ask(fabric, device, name.clone(), source, target, protocol)
    });
    decision.map(|decision| decision.targets().to_vec()).unwrap_or_default()
}

/// Whether the device is a load balancer.
pub(super) fn is_load_balancer(name: &Arc<str>) -> bool {
    hopwise_fabric::with(|fabric| {
        let names = fabric.device_names();
        let device = names.iter().rev().find(|(_, known)| known == name).map(|(id, _)| *id);
        device.is_some_and(|device| matches!(fabric.device_mut(device), Some(Device::LoadBalancer(_))))
    })
}

/// `namespace/name` of the pod behind an address. Pods of a node's own network share its addresses; the port tells
/// them apart.
pub(super) fn pod_at(store: &Store, end: SocketAddr) -> Option<String> {
    let has = |pod: &Pod, address: IpAddr| {
        pod_state::addresses(pod).iter().any(|own| own.parse::<IpAddr>() == Ok(address))
    };
    let mut at: Vec<&Pod> = store
        .list::<Pod>()
        .map(AsRef::as_ref)
        .filter(|pod| !pod_state::is_finished(pod) && has(pod, end.ip()))
        .collect();
    if at.len() > 1 {
        at.retain(|pod| declares(pod, end.port()));
    }
    at.first().map(|pod| name_of(pod))
}

/// The server on a device: its pod, or on a node's own network the pod that declares the port, or else the node.
pub(super) fn server(cluster: &Cluster, device: &Arc<str>, end: SocketAddr) -> String {
    cluster.api().read(|store| {
        let is_node = store.get::<Node>("", device).is_some();
        let pod = is_node.then(|| pod_at(store, end)).flatten();
        pod.unwrap_or_else(|| device.to_string())
    })
}

fn declares(pod: &Pod, port: u16) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.any(|declared| declared.container_port == i32::from(port))
}

fn name_of(pod: &Pod) -> String {
    let [namespace, name] =
        [&pod.metadata.namespace, &pod.metadata.name].map(|part| part.as_deref().unwrap_or(""));
    format!("{namespace}/{name}")
}
