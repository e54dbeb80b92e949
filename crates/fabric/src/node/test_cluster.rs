//! The cluster of linux.md, made of nodes alone: client, router, three nodes, pods that only note what arrives.
//!
//! ```text
//! cl 203.0.113.10 --- rt --- switch --- n1 (pods pa, pb)   192.168.10.11  10.244.1.0/24
//!                               +------ n2 (pods pc, pd)   192.168.10.12  10.244.2.0/24
//!                               +------ n3 (pod pe)        192.168.10.13  10.244.3.0/24
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::random::stream_of;
use hopwise_engine::{Span, Time};

use crate::device::{Context, Outputs, PortIndex};
use crate::icmp;
use crate::nat::rules::{
    Branch, Choice, Destination, DestinationRule, Protocol, SourceMatch, SourceRule, Translation, Verdict,
};
use crate::node::{LinuxNode, NodeConfig, PodLinks};
use crate::packet::Packet;
use crate::packet_builder::{SYN, SYN_ACK, ip, tcp, traced};
use crate::routing::NextHop;

pub(super) const CLIENT: &str = "203.0.113.10";
pub(super) const CLUSTER_IP: &str = "10.96.0.10:80";
pub(super) const NODE_PORT: u16 = 30_080;
pub(super) const POD_PORT: u16 = 8_080;
const UPLINK: PortIndex = PortIndex(0);
/// Name, address, node, port of the node.
const PODS: [(&str, &str, usize, u32); 5] = [
    ("pa", "10.244.1.2", 0, 1),
    ("pb", "10.244.1.3", 0, 2),
    ("pc", "10.244.2.2", 1, 1),
    ("pd", "10.244.2.3", 1, 2),
    ("pe", "10.244.3.2", 2, 1),
];

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Pod(&'static str),
    /// A process of this node.
    Node(usize),
}

/// Where a packet came out.
pub(super) enum Arrival {
    Pod(&'static str, Packet),
    Client(Packet),
    /// Nowhere (yet).
    Nowhere,
}

/// One Service as kube-proxy sees it.
#[derive(Clone, Copy)]
pub(super) struct Service<'a> {
    pub(super) endpoints: &'a [&'static str],
    pub(super) local: bool,
}

pub(super) struct Cluster {
    pub(super) nodes: Vec<LinuxNode>,
    names: Vec<Arc<str>>,
    pub(super) now: Time,
    pub(super) timers: Vec<(Time, usize, u64)>,
    last_packet_id: u64,
    last_port: u16,
    own_pods_only: bool,
}

/// The network of all pods.
const ALL_PODS: &str = "10.244.0.0/16";

pub(super) fn node_ip(node: usize) -> IpAddr {
    IpAddr::from([192, 168, 10, 11 + node as u8])
}

pub(super) fn pod_ip(name: &str) -> IpAddr {
    ip(PODS.iter().find(|pod| pod.0 == name).expect("a pod of the cluster").1)
}

fn pod_node(name: &str) -> (usize, PortIndex) {
    let pod = PODS.iter().find(|pod| pod.0 == name).expect("a pod of the cluster");
    (pod.2, PortIndex(pod.3))
}

impl Cluster {
    /// The environment "base" of linux.md 7, changed by `change`.
    pub(super) fn new(change: impl Fn(&mut NodeConfig)) -> Self {
        let nodes = (0..3).map(|index| {
            let pods = format!("10.244.{}.0/24", index + 1).parse().expect("a network");
            let mut config = NodeConfig::new(vec![node_ip(index)], vec![pods]);
            config.limit_icmp = false;
            change(&mut config);
            let mut node = LinuxNode::new(config, stream_of(5, &format!("nat/n{}", index + 1)));
            let mut route = |network: &str, via: Option<IpAddr>| {
                let next = NextHop { port: UPLINK, via };
                node.routes_mut().insert(network.parse().expect("a network"), next);
            };
            route("0.0.0.0/0", Some(ip("192.168.10.1")));
            route("192.168.10.0/24", None);
            for other in (0..3).filter(|other| *other != index) {
                route(&format!("10.244.{}.0/24", other + 1), Some(node_ip(other)));
            }
            for (_, address, _, port) in PODS.iter().filter(|pod| pod.2 == index) {
                node.add_pod(&[ip(address)], PortIndex(*port));
            }
            node.set_source_rules(vec![SourceRule {
                source: ALL_PODS.parse().expect("a network"),
                except_destinations: vec![ALL_PODS.parse().expect("a network")],
                label: "CNI".into(),
            }]);
            node
        });
        Cluster {
            nodes: nodes.collect(),
            names: ["n1", "n2", "n3"].map(Arc::from).to_vec(),
            now: Time::ZERO + Span::from_secs(1),
            timers: Vec::new(),
            last_packet_id: 0,
            last_port: 40_000,
            own_pods_only: false,
        }
    }

    pub(super) fn base() -> Self {
        Cluster::new(|_| {})
    }

    pub(super) fn point_to_point() -> Self {
        Cluster::new(|config| config.pod_links = PodLinks::PointToPoint)
    }

    /// As base, but pods keep their addresses towards nodes; `own_pods_only`: kube-proxy takes only a node's own
    /// pods for pods (environments "masq-rfc1918" and "masq-rfc1918-nodecidr").
    pub(super) fn masquerade_outside_rfc1918(own_pods_only: bool, drop_invalid: bool) -> Self {
        let mut cluster =
            Cluster { own_pods_only, ..Cluster::new(|config| config.drop_invalid = drop_invalid) };
        for node in &mut cluster.nodes {
            let inside = ["10.0.0.0/8", "192.168.0.0/16"];
            node.set_source_rules(vec![SourceRule {
                source: ALL_PODS.parse().expect("a network"),
                except_destinations: inside.map(|network| network.parse().expect("a network")).to_vec(),
                label: "CNI".into(),
            }]);
        }
        cluster
    }

    /// Gives all nodes the rules of `service` (kubernetes.md 6.2).
    pub(super) fn serve(&mut self, service: Service<'_>) {
        for index in 0..3 {
            for rule in rules(index, service, self.own_pods_only) {
                self.nodes[index].set_rule(rule);
            }
        }
    }

    /// A port that no connection has used yet.
    pub(super) fn fresh_port(&mut self) -> u16 {
        self.last_port += 1;
        self.last_port
    }

    /// Sends `packet` and follows it to where it comes out.
    pub(super) fn send(&mut self, sender: Sender, mut packet: Packet) -> Arrival {
        match sender {
            Sender::Client => {
                packet.set_time_to_live(packet.time_to_live() - 1);
                self.on_the_wire(packet)
            }
            Sender::Pod(name) => {
                let (node, port) = pod_node(name);
                self.at_node(node, |node, cx| node.receive(port, packet, cx))
            }
            Sender::Node(node) => self.at_node(node, |node, cx| {
                node.own.push_back(packet);
                node.pass_own(cx);
            }),
        }
    }

    /// Tells a node that what it sent is too big for the link.
    pub(super) fn too_big(&mut self, node: usize, packet: &Packet, mtu: u16) -> Arrival {
        self.at_node(node, |node, cx| node.too_big(packet, mtu, cx))
    }

    /// Lets time pass and timers act; what comes out last is returned.
    pub(super) fn wait(&mut self, span: Span) -> Arrival {
        let until = self.now + span;
        let mut last = Arrival::Nowhere;
        loop {
            self.timers.sort();
            let Some((at, node, token)) = self.timers.first().copied().filter(|timer| timer.0 <= until)
            else {
                self.now = until;
                return last;
            };
            self.timers.remove(0);
            self.now = at;
            let arrival = self.at_node(node, |node, cx| node.timer(token, cx));
            if !matches!(arrival, Arrival::Nowhere) {
                last = arrival;
            }
        }
    }

    /// Connects, and tells what linux.md's tables tell.
    pub(super) fn connect(&mut self, sender: Sender, to: SocketAddr) -> String {
        let from = SocketAddr::new(self.address_of(sender), self.fresh_port());
        let mut syn = tcp(from, to, SYN);
        let report = traced(&mut syn);
        match self.send(sender, syn) {
            Arrival::Nowhere => {
                let route = report.route();
                match route.forward.last() {
                    Some(hop) => format!("{} by {}", hop.action.as_str(), hop.device),
                    None => "waits".into(),
                }
            }
            Arrival::Client(answer) => describe_error(&answer, to),
            Arrival::Pod(pod, answer) if sender == Sender::Pod(pod) && answer.ports() == (0, 0) => {
                describe_error(&answer, to)
            }
            Arrival::Pod(pod, syn) => self.answer(sender, from, to, pod, &syn),
        }
    }

    /// The pod answers; checks that the answer reaches the sender as from the address it connected to.
    fn answer(
        &mut self,
        sender: Sender,
        from: SocketAddr,
        to: SocketAddr,
        pod: &'static str,
        syn: &Packet,
    ) -> String {
        let hops = 64 - syn.time_to_live();
        let seen = self.describe(syn.source_ip());
        if matches!(sender, Sender::Node(_)) {
            return format!("{pod} from {seen} {hops}");
        }
        let back = tcp(syn.destination(), syn.source(), SYN_ACK);
        let mut arrived = match self.send(Sender::Pod(pod), back) {
            Arrival::Client(packet) => packet,
            Arrival::Pod(name, packet) if Sender::Pod(name) == sender => packet,
            _ => return "answer lost".into(),
        };
        if (arrived.source(), arrived.destination()) != (to, from) {
            return format!("answer from {} to {}", arrived.source(), arrived.destination());
        }
        if sender == Sender::Client {
            arrived.set_time_to_live(arrived.time_to_live() - 1);
        }
        format!("{pod} from {seen} {hops}/{}", 64 - arrived.time_to_live())
    }

    fn address_of(&self, sender: Sender) -> IpAddr {
        match sender {
            Sender::Client => ip(CLIENT),
            Sender::Pod(name) => pod_ip(name),
            Sender::Node(node) => node_ip(node),
        }
    }

    fn describe(&self, address: IpAddr) -> String {
        if address == ip(CLIENT) {
            return "client".into();
        }
        if let Some(pod) = PODS.iter().find(|pod| ip(pod.1) == address) {
            return format!("pod:{}", pod.0);
        }
        for index in 0..3 {
            let name = &self.names[index];
            if address == node_ip(index) {
                return format!("node:{name}");
            }
            if self.nodes[index].config.bridge_addresses().contains(&address) {
                return format!("bridge:{name}");
            }
        }
        address.to_string()
    }

    fn at_node(&mut self, index: usize, act: impl FnOnce(&mut LinuxNode, &mut Context<'_>)) -> Arrival {
        let mut outputs = Outputs::default();
        let mut cx = Context {
            now: self.now,
            name: &self.names[index],
            outputs: &mut outputs,
            next_packet_id: &mut self.last_packet_id,
        };
        act(&mut self.nodes[index], &mut cx);
        self.timers.extend(outputs.timers.into_iter().map(|(at, token)| (at, index, token)));
        let mut last = Arrival::Nowhere;
        for (port, packet) in outputs.packets {
            last = if port == UPLINK {
                self.on_the_wire(packet)
            } else {
                let pod = PODS.iter().find(|pod| (pod.2, PortIndex(pod.3)) == (index, port));
                Arrival::Pod(pod.expect("a pod's port").0, packet)
            };
        }
        last
    }

    /// The switch and the router.
    fn on_the_wire(&mut self, mut packet: Packet) -> Arrival {
        let destination = packet.destination_ip();
        let next = packet.next_hop.take().unwrap_or(destination);
        let pods = PODS.iter().find(|pod| ip(pod.1) == next);
        if let Some(node) = (0..3).find(|node| node_ip(*node) == next).or(pods.map(|pod| pod.2)) {
            return self.at_node(node, |node, cx| node.receive(UPLINK, packet, cx));
        }
        if destination == ip(CLIENT) {
            return Arrival::Client(packet);
        }
        if destination == ip("10.96.0.10") {
            return self.at_node(2, |node, cx| node.receive(UPLINK, packet, cx));
        }
        Arrival::Nowhere
    }
}

/// What an ICMP error says, if it is about the connection to `to`.
fn describe_error(answer: &Packet, to: SocketAddr) -> String {
    let Some(error) = icmp::parse(answer) else { return "not an ICMP error".into() };
    let about = Packet::new(error.about, 0);
    if about.destination() == to {
        format!("{:?} from {}", error.why, answer.source_ip())
    } else {
        format!("{:?} about {}", error.why, about.destination())
    }
}

/// The rules that kube-proxy makes of `service` on a node (kubernetes.md 6.2), by hand.
fn rules(node: usize, service: Service<'_>, own_pods_only: bool) -> Vec<DestinationRule> {
    let own_pods = format!("10.244.{}.0/24", node + 1);
    let pods = if own_pods_only { &own_pods } else { ALL_PODS };
    let all: Vec<SocketAddr> =
        service.endpoints.iter().map(|pod| SocketAddr::new(pod_ip(pod), POD_PORT)).collect();
    let here =
        service.endpoints.iter().filter(|pod| PODS.iter().any(|known| known.0 == **pod && known.2 == node));
    let here: Vec<SocketAddr> = here.map(|pod| SocketAddr::new(pod_ip(pod), POD_PORT)).collect();
    let verdict = |targets: &[SocketAddr], masquerade| {
        if all.is_empty() {
            Verdict::Reject { reason: "no endpoints".into() }
        } else if targets.is_empty() {
            Verdict::Drop { reason: "no local endpoint".into() }
        } else {
            Verdict::Translate(Translation { targets: targets.into(), masquerade, choice: Choice::Random })
        }
    };
    let from_pods = || SourceMatch::In(vec![pods.parse().expect("a network")]);
    let cluster_ip = vec![
        Branch { source: from_pods(), verdict: verdict(&all, false) },
        Branch { source: SourceMatch::Any, verdict: verdict(&all, true) },
    ];
    let node_port = if service.local {
        vec![
            Branch { source: from_pods(), verdict: verdict(&all, false) },
            Branch { source: SourceMatch::ThisDevice, verdict: verdict(&all, true) },
            Branch { source: SourceMatch::Any, verdict: verdict(&here, false) },
        ]
    } else {
        vec![Branch { source: SourceMatch::Any, verdict: verdict(&all, true) }]
    };
    let cluster_address: SocketAddr = CLUSTER_IP.parse().expect("an address");
    let rule = |destination, port, branches| DestinationRule {
        destination,
        protocol: Protocol::Tcp,
        port,
        branches,
        label: "Service test".into(),
    };
    vec![
        rule(Destination::Address(cluster_address.ip()), cluster_address.port(), cluster_ip),
        rule(Destination::AnyLocal { loopback: false }, NODE_PORT, node_port),
    ]
}
