//! The cluster's wires: clients, the edge router, a switch per zone, nodes and pods.
//!
//! ```text
//! client --- edge --- zone switch --- node --- pod
//!             |            |
//!       load balancer   other zones' switches (full mesh)
//! ```
//!
//! The edge is the router between the cluster's network and the internet. Switches do not count down the time to
//! live, so a packet from a client to a pod is forwarded twice: by the edge and by the node, as in the
//! measurements of linux.md.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use hopwise_engine::Span;
use hopwise_fabric::{
    Connection, Device, DeviceId, Fabric, LinkConfig, LinkId, LinuxNode, NodeConfig, PortIndex, Router,
    Stack, Switch,
};
use ipnet::IpNet;

use crate::cluster_file::PodNetwork;
use crate::profile::{Delay, Distribution, Latency};

/// Address of the edge router (shared address space, RFC 6598, so that it collides with no cluster).
const EDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);

/// Address of the machine from which announcing nodes are watched (shared address space, as the edge's).
const SPEAKERS_ADDRESS: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 2);

/// Where a node stands.
#[derive(Clone, Debug)]
pub struct NodeSite {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The networks of its pods.
    pub pod_networks: Vec<IpNet>,
    /// How pods are attached to it.
    pub pod_network: PodNetwork,
}

/// The devices of a cluster and how they are joined.
pub struct Topology {
    latency: Latency,
    edge: DeviceId,
    zones: BTreeMap<String, Zone>,
    nodes: BTreeMap<String, NodeDevice>,
    balancers: BTreeMap<DeviceId, Attached>,
    speakers: Option<DeviceId>,
}

/// Where a load balancer is joined to the network.
#[derive(Default)]
struct Attached {
    addresses: Vec<IpAddr>,
    edge_port: Option<PortIndex>,
    /// Switches, and the ports that it has there.
    switch_ports: Vec<(DeviceId, PortIndex)>,
}

/// How a load balancer is a part of a cloud's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Whether it has no way to the internet.
    pub is_internal: bool,
    /// Whether the network returns the answers to what it sent through it, whoever they are for.
    pub is_returned_to: bool,
}

struct Zone {
    switch: DeviceId,
    edge_port: PortIndex,
}

struct NodeDevice {
    device: DeviceId,
    uplink: LinkId,
    site: NodeSite,
    pods_made: u32,
}

/// A pod's place on the network.
#[derive(Clone, Debug)]
pub struct PodSite {
    /// Its device.
    pub device: DeviceId,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    node: String,
    /// Its port on its node; `None` if it has the node's own network (`hostNetwork`).
    port: Option<PortIndex>,
}

impl Topology {
    /// Builds the devices of a cluster without pods.
    pub fn build(fabric: &mut Fabric, sites: Vec<NodeSite>, latency: Latency) -> Topology {
        let edge = fabric.add("edge", Device::Router(Router::new(vec![EDGE_ADDRESS.into()])));
        let mut topology = Topology {
            latency,
            edge,
            zones: BTreeMap::new(),
            nodes: BTreeMap::new(),
            balancers: BTreeMap::new(),
            speakers: None,
        };
        for site in &sites {
            topology.add_zone(fabric, &site.zone);
        }
        topology.join_zones(fabric, &sites);
        for site in sites {
            topology.add_node(fabric, site);
        }
        topology
    }

    /// Lets packets to these networks vanish at the edge: addresses that exist in the nodes' rules only (linux.md 3,
    /// K03: a cluster IP times out where no rule translates it).
    pub fn drop_silently(&self, fabric: &mut Fabric, networks: &[IpNet]) {
        if let Some(Device::Router(edge)) = fabric.device_mut(self.edge) {
            for network in networks {
                let reason = format!(
                    "no device has an address of the service network {network}, only rules of nodes do"
                );
                edge.drop_silently(*network, reason);
            }
        }
    }

    /// The device of a node.
    pub fn node(&self, name: &str) -> Option<DeviceId> {
        self.nodes.get(name).map(|node| node.device)
    }

    /// The link by which a node reaches everything else.
    pub fn uplink(&self, name: &str) -> Option<LinkId> {
        self.nodes.get(name).map(|node| node.uplink)
    }

    /// The addresses of a node; none if there is no such node.
    pub fn node_addresses(&self, name: &str) -> Vec<IpAddr> {
        self.nodes.get(name).map(|node| node.site.addresses.clone()).unwrap_or_default()
    }

    /// Puts a pod on a node. Each pod gets addresses that no pod of the node had before, until they run out.
    ///
    /// # Errors
    /// If the pod network is full.
    pub fn add_pod(
        &mut self,
        fabric: &mut Fabric,
        node: &str,
        name: &str,
    ) -> Result<PodSite, PodNetworkFull> {
        let link = link(&self.latency.pod_to_node);
        let node_device = self.nodes.get_mut(node).ok_or_else(|| PodNetworkFull { node: node.into() })?;
        let number = node_device.pods_made + 1;
        // The first host address of a pod network is the bridge's.
        let address_in = |network: &IpNet| nth_host(network, u128::from(number) + 1);
        let addresses: Option<Vec<IpAddr>> = node_device.site.pod_networks.iter().map(address_in).collect();
        let addresses = addresses.ok_or_else(|| PodNetworkFull { node: node.into() })?;
        node_device.pods_made = number;
        let device = fabric.add(name, Device::Host(Stack::new(addresses.clone())));
        let Connection { second: port, .. } = fabric.connect(device, node_device.device, link);
        linux_node(fabric, node_device.device).add_pod(&addresses, port);
        Ok(PodSite { device, addresses, node: node.into(), port: Some(port) })
    }

    /// The place of a pod that shares its node's network (`hostNetwork`): its processes are processes of the node;
    /// `None` if there is no such node.
    pub fn host_pod(&self, node: &str) -> Option<PodSite> {
        let NodeDevice { device, site, .. } = self.nodes.get(node)?;
        Some(PodSite { device: *device, addresses: site.addresses.clone(), node: node.into(), port: None })
    }

    /// Takes a pod off the network: its sockets vanish without a word. Of a pod with its node's network nothing is left
    /// when its processes are gone.
    pub fn remove_pod(&mut self, fabric: &mut Fabric, pod: &PodSite) {
        let Some(port) = pod.port else { return };
        fabric.remove(pod.device);
        if let Some(node) = self.nodes.get(&pod.node) {
            linux_node(fabric, node.device).remove_pod(port, hopwise_engine::now());
        }
    }

    /// Puts a client on the internet.
    pub fn add_client(&mut self, fabric: &mut Fabric, name: &str, address: IpAddr) -> DeviceId {
        let device = fabric.add(name, Device::Host(Stack::new(vec![address])));
        let connection = fabric.connect(device, self.edge, link(&self.latency.client_to_edge));
        fabric.route(self.edge, address.into(), connection.second, None);
        device
    }

    /// Joins a load balancer to the edge and routes its addresses there. What enters the edge from it is answered
    /// through it, so that it can keep the addresses of clients that the edge forwards.
    pub fn add_load_balancer(&mut self, fabric: &mut Fabric, device: DeviceId, addresses: &[IpAddr]) {
        // A packet crosses the link twice, on its way in and on its way out.
        let connection = fabric.connect(device, self.edge, half_link(&self.latency.load_balancer_added));
        for address in addresses {
            fabric.route(self.edge, (*address).into(), connection.second, None);
        }
        route_everything(fabric, device, connection.first);
        if let Some(Device::Router(edge)) = fabric.device_mut(self.edge) {
            edge.set_symmetric(connection.second, None);
        }
        let attached = Attached {
            addresses: addresses.to_vec(),
            edge_port: Some(connection.second),
            switch_ports: Vec::new(),
        };
        self.balancers.insert(device, attached);
    }

    /// Joins a load balancer to the switch of every zone, as a part of the nodes' network, and to the edge.
    pub fn add_member_load_balancer(
        &mut self,
        fabric: &mut Fabric,
        device: DeviceId,
        addresses: &[IpAddr],
        membership: Membership,
    ) {
        let mut attached = Attached { addresses: addresses.to_vec(), ..Attached::default() };
        if !membership.is_internal {
            let connection = fabric.connect(device, self.edge, link(&self.latency.load_balancer_added));
            for address in addresses {
                fabric.route(self.edge, (*address).into(), connection.second, None);
            }
            route_everything(fabric, device, connection.first);
            attached.edge_port = Some(connection.second);
        }
        for (name, zone) in &self.zones {
            let connection = fabric.connect(device, zone.switch, link(&self.latency.edge_to_zone));
            if membership.is_internal && attached.switch_ports.is_empty() {
                route_everything(fabric, device, connection.first);
            }
            for node in self.nodes.values().filter(|node| node.site.zone == *name) {
                for address in &node.site.addresses {
                    fabric.route(device, (*address).into(), connection.first, None);
                }
                for network in &node.site.pod_networks {
                    let via = gateway(&node.site.addresses, network);
                    fabric.route(device, *network, connection.first, via);
                }
            }
            let switch = switch_of(fabric, zone.switch);
            addresses.iter().for_each(|address| switch.learn(*address, connection.second));
            if membership.is_returned_to {
                switch.set_symmetric(connection.second);
            }
            attached.switch_ports.push((zone.switch, connection.second));
        }
        self.balancers.insert(device, attached);
    }

    /// Takes a load balancer off the network, with its addresses.
    pub fn remove_load_balancer(&mut self, fabric: &mut Fabric, device: DeviceId) {
        fabric.remove(device);
        let Some(attached) = self.balancers.remove(&device) else { return };
        if let (Some(port), Some(Device::Router(edge))) = (attached.edge_port, fabric.device_mut(self.edge)) {
            attached.addresses.iter().for_each(|address| edge.routes_mut().remove((*address).into()));
            edge.forget_port(port);
        }
        for (switch, port) in attached.switch_ports {
            let switch = switch_of(fabric, switch);
            attached.addresses.iter().for_each(|address| switch.forget(*address));
            switch.forget_port(port);
        }
    }

    /// Lets `node` answer for `address` on the nodes' network (ARP); with `None` nobody does any more. Left out: the
    /// seconds for which a router asks in vain before it calls such an address unreachable.
    pub fn announce(&mut self, fabric: &mut Fabric, address: IpAddr, node: Option<&str>) {
        let node = node.and_then(|name| self.nodes.get(name));
        let Some(NodeDevice { site, .. }) = node else {
            self.zones.values().for_each(|zone| switch_of(fabric, zone.switch).forget(address));
            if let Some(routes) = fabric.device_mut(self.edge).and_then(Device::routes_mut) {
                routes.remove(address.into());
            }
            return;
        };
        for zone in self.zones.values() {
            let switch = switch_of(fabric, zone.switch);
            // The way to the address is the way to the node that has it.
            let port = site.addresses.iter().find_map(|own| switch.port_of(*own));
            port.into_iter().for_each(|port| switch.learn(address, port));
        }
        fabric.route(self.edge, address.into(), self.zones[&site.zone].edge_port, None);
    }

    /// A machine on the nodes' network from which nodes that announce addresses are watched.
    pub fn speakers(&mut self, fabric: &mut Fabric) -> DeviceId {
        if let Some(device) = self.speakers {
            return device;
        }
        let address = IpAddr::from(SPEAKERS_ADDRESS);
        let device = fabric.add("speakers", Device::Host(Stack::new(vec![address])));
        let connection = fabric.connect(device, self.edge, link(&self.latency.edge_to_zone));
        fabric.route(self.edge, address.into(), connection.second, None);
        self.speakers = Some(device);
        device
    }

    /// The nodes, in order of their names.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeSite> {
        self.nodes.values().map(|node| &node.site)
    }

    /// The zones, in order.
    pub fn zones(&self) -> impl Iterator<Item = &str> {
        self.zones.keys().map(String::as_str)
    }

    /// Where a node stands.
    pub fn site(&self, node: &str) -> Option<&NodeSite> {
        self.nodes.get(node).map(|node| &node.site)
    }

    fn add_zone(&mut self, fabric: &mut Fabric, name: &str) {
        if self.zones.contains_key(name) {
            return;
        }
        let switch = fabric.add(format!("switch {name}"), Device::Switch(Switch::new()));
        let connection = fabric.connect(switch, self.edge, link(&self.latency.edge_to_zone));
        switch_of(fabric, switch).set_uplink(connection.first);
        self.zones.insert(name.into(), Zone { switch, edge_port: connection.second });
    }

    /// Joins every pair of zones; a zone's switch learns the addresses of the nodes in the others.
    fn join_zones(&self, fabric: &mut Fabric, sites: &[NodeSite]) {
        let zones: Vec<(&String, &Zone)> = self.zones.iter().collect();
        for (index, (first_name, first)) in zones.iter().enumerate() {
            for (second_name, second) in &zones[index + 1..] {
                let connection =
                    fabric.connect(first.switch, second.switch, link(&self.latency.zone_to_zone));
                for site in sites {
                    for address in &site.addresses {
                        if site.zone == **second_name {
                            switch_of(fabric, first.switch).learn(*address, connection.first);
                        } else if site.zone == **first_name {
                            switch_of(fabric, second.switch).learn(*address, connection.second);
                        }
                    }
                }
            }
        }
    }

    fn add_node(&mut self, fabric: &mut Fabric, site: NodeSite) {
        let zone = &self.zones[&site.zone];
        let mut config = NodeConfig::new(site.addresses.clone(), site.pod_networks.clone());
        config.pod_links = site.pod_network.pod_links(config.pod_links);
        let random = hopwise_engine::stream(&format!("node/{}", site.name));
        let device = fabric.add(site.name.as_str(), Device::Node(Box::new(LinuxNode::new(config, random))));
        let connection = fabric.connect(device, zone.switch, link(&self.latency.node_to_zone));
        for address in &site.addresses {
            switch_of(fabric, zone.switch).learn(*address, connection.second);
            fabric.route(self.edge, (*address).into(), zone.edge_port, None);
        }
        route_everything(fabric, device, connection.first);
        for network in &site.pod_networks {
            let via = gateway(&site.addresses, network);
            fabric.route(self.edge, *network, zone.edge_port, via);
            for other in self.nodes.values() {
                fabric.route(other.device, *network, PortIndex(0), via);
            }
        }
        for other in self.nodes.values() {
            for network in &other.site.pod_networks {
                fabric.route(device, *network, connection.first, gateway(&other.site.addresses, network));
            }
        }
        self.nodes
            .insert(site.name.clone(), NodeDevice { device, uplink: connection.link, site, pods_made: 0 });
    }
}

/// No address is left for a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pod network of node {node} is full")]
pub struct PodNetworkFull {
    /// The node.
    pub node: String,
}

/// The link that a delay of the profile describes.
pub fn link(delay: &Delay) -> LinkConfig {
    link_of(delay.mean(), delay.spread(), delay.distribution)
}

fn route_everything(fabric: &mut Fabric, device: DeviceId, port: PortIndex) {
    for everything in ["0.0.0.0/0", "::/0"] {
        fabric.route(device, everything.parse().expect("a network"), port, None);
    }
}

fn half_link(delay: &Delay) -> LinkConfig {
    let half = |span: Span| Span::from_nanos(span.as_nanos() / 2);
    link_of(half(delay.mean()), half(delay.spread()), delay.distribution)
}

fn link_of(mean: Span, spread: Span, distribution: Distribution) -> LinkConfig {
    let delay = match distribution {
        Distribution::Constant => hopwise_fabric::Delay::Constant(mean),
        Distribution::Uniform => {
            let min = Span::from_nanos(mean.as_nanos().saturating_sub(spread.as_nanos()));
            hopwise_fabric::Delay::Uniform { min, max: mean + spread }
        }
        Distribution::Normal => hopwise_fabric::Delay::Normal { mean, deviation: spread, min: Span::ZERO },
    };
    LinkConfig { delay, ..LinkConfig::default() }
}

fn gateway(addresses: &[IpAddr], network: &IpNet) -> Option<IpAddr> {
    addresses.iter().copied().find(|address| address.is_ipv4() == network.addr().is_ipv4())
}

fn nth_host(network: &IpNet, number: u128) -> Option<IpAddr> {
    let address = match network.network() {
        IpAddr::V4(base) => IpAddr::V4(base.to_bits().checked_add(u32::try_from(number).ok()?)?.into()),
        IpAddr::V6(base) => IpAddr::V6(base.to_bits().checked_add(number)?.into()),
    };
    (network.contains(&address) && address != network.broadcast()).then_some(address)
}

fn switch_of(fabric: &mut Fabric, switch: DeviceId) -> &mut Switch {
    match fabric.device_mut(switch) {
        Some(Device::Switch(switch)) => switch,
        _ => panic!("zones are joined by switches"),
    }
}

/// The Linux node behind a node's device.
pub fn linux_node(fabric: &mut Fabric, node: DeviceId) -> &mut LinuxNode {
    match fabric.device_mut(node) {
        Some(Device::Node(node)) => node,
        _ => panic!("a node's device is a Linux node"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_get_addresses_after_the_bridge_until_the_network_is_full() {
        let network: IpNet = "10.244.0.0/29".parse().expect("a network");
        let nth = |number| nth_host(&network, number).map(|address| address.to_string());
        assert_eq!(nth(2).as_deref(), Some("10.244.0.2"));
        assert_eq!(nth(6).as_deref(), Some("10.244.0.6"));
        assert_eq!(nth(7), None);
        assert_eq!(nth(8), None);
    }
}
