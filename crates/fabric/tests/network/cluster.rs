//! A client, a router, and two nodes with pods behind Services: the cluster of linux.md 4.
//!
//! ```text
//! cl 203.0.113.10 --- router --- switch --- n1 192.168.10.11 (pods q1, r1)
//!                                   +------ n3 192.168.10.13 (pod pe)
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use hopwise_engine::{HostId, host};
use hopwise_fabric::nat::Flow;
use hopwise_fabric::nat::rules::{
    Branch, Choice, Destination, DestinationRule, Protocol, SourceMatch, Translation, Verdict,
};
use hopwise_fabric::{
    Connection, Device, DeviceId, Fabric, LinkId, LinuxNode, NodeConfig, Router, Stack, Switch, with,
};

use super::{ip, link};

/// The Service's cluster IP.
pub const CLUSTER_IP: &str = "10.96.0.10:80";
/// Its node port on n1 with the policy Cluster, and on n3.
pub const NODE_PORT: [&str; 2] = ["192.168.10.11:30080", "192.168.10.13:30080"];
/// Its node port on n1 with the policy Local.
pub const NODE_PORT_LOCAL: &str = "192.168.10.11:30081";
/// An address of n1's pod network that no pod has.
pub const ABSENT_POD: &str = "10.244.1.99";

const NODES: [(&str, &str, &str); 2] =
    [("n1", "192.168.10.11", "10.244.1.0/24"), ("n3", "192.168.10.13", "10.244.3.0/24")];
const PODS: [(&str, &str, &str); 3] =
    [("q1", "10.244.1.10", "n1"), ("r1", "10.244.1.11", "n1"), ("pe", "10.244.3.10", "n3")];
const POD_PORT: u16 = 8080;
const ALL_PODS: &str = "10.244.0.0/16";

/// The cluster's hosts and links, by name.
pub struct Cluster {
    pub hosts: BTreeMap<&'static str, HostId>,
    devices: BTreeMap<&'static str, DeviceId>,
    links: BTreeMap<&'static str, LinkId>,
}

/// Builds and installs the cluster; `change` changes what its nodes are made of.
pub fn cluster(change: impl Fn(&mut NodeConfig)) -> Cluster {
    let mut fabric = Fabric::new();
    let (mut devices, mut links) = (BTreeMap::new(), BTreeMap::new());
    let router = fabric.add("router", Device::Router(Router::new(vec![ip("192.168.10.1")])));
    let switch = fabric.add("switch", Device::Switch(Switch::new()));
    let underlay = fabric.connect(switch, router, link(1_000));
    learn(&mut fabric, switch, |switch| switch.set_uplink(underlay.first));
    let client = fabric.add("cl", Device::Host(Stack::new(vec![ip("203.0.113.10")])));
    let outside = fabric.connect(client, router, link(1_000));
    fabric.route(router, ip("203.0.113.10").into(), outside.second, None);
    devices.insert("cl", client);
    links.insert("cl", outside.link);
    for (name, address, pods) in NODES {
        let mut config = NodeConfig::new(vec![ip(address)], vec![pods.parse().expect("a network")]);
        change(&mut config);
        let node = LinuxNode::new(config, hopwise_engine::stream(&format!("node/{name}")));
        let device = fabric.add(name, Device::Node(Box::new(node)));
        let uplink = fabric.connect(device, switch, link(1_000));
        learn(&mut fabric, switch, |switch| switch.learn(ip(address), uplink.second));
        fabric.route(router, ip(address).into(), underlay.second, None);
        fabric.route(router, pods.parse().expect("a network"), underlay.second, Some(ip(address)));
        fabric.route(device, "0.0.0.0/0".parse().expect("a network"), uplink.first, Some(ip("192.168.10.1")));
        for (_, other, pods) in NODES.iter().filter(|node| node.0 != name) {
            fabric.route(device, ip(other).into(), uplink.first, None);
            fabric.route(device, pods.parse().expect("a network"), uplink.first, Some(ip(other)));
        }
        devices.insert(name, device);
        links.insert(name, uplink.link);
    }
    for (name, address, node) in PODS {
        let device = fabric.add(name, Device::Host(Stack::new(vec![ip(address)])));
        let Connection { link, second, .. } = fabric.connect(device, devices[node], link(1_000));
        if let Some(Device::Node(node)) = fabric.device_mut(devices[node]) {
            node.add_pod(&[ip(address)], second);
        }
        devices.insert(name, device);
        links.insert(name, link);
    }
    let hosts: BTreeMap<_, _> = devices.keys().map(|name| (*name, host::create(name))).collect();
    for (name, host) in &hosts {
        fabric.attach(*host, devices[name]);
    }
    hopwise_fabric::install(fabric);
    Cluster { hosts, devices, links }
}

fn learn(fabric: &mut Fabric, switch: DeviceId, how: impl FnOnce(&mut Switch)) {
    if let Some(Device::Switch(switch)) = fabric.device_mut(switch) {
        how(switch);
    }
}

/// The address of a pod's server.
pub fn pod_address(name: &str) -> SocketAddr {
    let pod = PODS.iter().find(|pod| pod.0 == name);
    SocketAddr::new(pod.map_or_else(|| ip(name), |pod| ip(pod.1)), POD_PORT)
}

impl Cluster {
    /// Uses a node.
    pub fn node<R>(&self, name: &str, use_it: impl FnOnce(&mut LinuxNode) -> R) -> R {
        with(|fabric| match fabric.device_mut(self.devices[name]) {
            Some(Device::Node(node)) => use_it(node),
            _ => panic!("{name} is no node"),
        })
    }

    /// Gives the Service these endpoints, pods or addresses, on every node (kubernetes.md 6.2); none: it rejects.
    pub fn serve(&self, endpoints: &[&str], choice: Choice) {
        let targets: Vec<SocketAddr> = endpoints.iter().map(|name| pod_address(name)).collect();
        let verdict = |masquerade| {
            if targets.is_empty() {
                return Verdict::Reject { reason: "no endpoints".into() };
            }
            Verdict::Translate(Translation { targets: targets.clone().into(), masquerade, choice })
        };
        let any = |masquerade| vec![Branch { source: SourceMatch::Any, verdict: verdict(masquerade) }];
        let pods = SourceMatch::In(vec![ALL_PODS.parse().expect("a network")]);
        let mut from_pods = vec![Branch { source: pods, verdict: verdict(false) }];
        from_pods.extend(any(true));
        let cluster: SocketAddr = CLUSTER_IP.parse().expect("an address");
        let local = Destination::AnyLocal { loopback: true };
        let rules = [
            (Destination::Address(cluster.ip()), cluster.port(), from_pods),
            (local, 30_080, any(true)),
            (local, 30_081, any(false)),
        ];
        for (node, _, _) in NODES {
            for (destination, port, branches) in rules.clone() {
                let (protocol, label) = (Protocol::Tcp, "Service test".into());
                let rule = DestinationRule { destination, protocol, port, branches, label };
                self.node(node, |node| node.set_rule(rule));
            }
        }
    }

    /// Deletes the conntrack entries of a node that `doomed` picks.
    pub fn delete_flows(&self, node: &str, doomed: impl FnMut(&Flow) -> bool) -> usize {
        self.node(node, |node| node.conntrack_mut().delete_where(doomed))
    }

    /// Deletes a pod's link at once, as `ip link del` does.
    pub fn delete_link(&self, pod: &str) {
        let (_, address, node) = PODS.iter().find(|known| known.0 == pod).copied().expect("a pod");
        with(|fabric| fabric.remove(self.devices[pod]));
        let address: IpAddr = ip(address);
        self.node(node, |node| {
            let port = node.pod_port(address).expect("the pod is there");
            node.remove_pod(port, hopwise_engine::now());
        });
    }

    /// Cuts a link in one direction, or mends it: `towards` the named host, or from it.
    pub fn cut(&self, name: &str, towards: bool, cut: bool) {
        with(|fabric| fabric.change_link(self.links[name], towards, |link| link.cut = cut));
    }
}
