//! What a node is made of.

use std::net::IpAddr;

use hopwise_engine::Span;
use ipnet::IpNet;

use crate::nat::ConntrackConfig;

/// How pods are attached to their node (linux.md 7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodLinks {
    /// All pods are ports of one bridge (flannel, kubenet: `cbr0`).
    Bridge {
        /// The bridge's own addresses, the pods' gateway.
        addresses: Vec<IpAddr>,
        /// Whether switched packets pass netfilter too (sysctl `bridge-nf-call-iptables`; kubeadm insists
        /// on it).
        netfilter: bool,
        /// Whether a packet may leave by the port that it came in by.
        hairpin: bool,
    },
    /// Each pod has a routed link of its own (Calico, AWS VPC CNI); the node's end has no address.
    PointToPoint,
}

/// What a node is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The node's addresses; the first of a family is its main one.
    pub addresses: Vec<IpAddr>,
    /// The networks of its own pods. A packet to an address there that no pod has goes nowhere else.
    pub pod_networks: Vec<IpNet>,
    /// How its pods are attached.
    pub pod_links: PodLinks,
    /// Connection tracking.
    pub conntrack: ConntrackConfig,
    /// Whether masquerade draws a source port (iptables' `--random-fully`, kube-proxy's choice) or keeps the
    /// old one where it can.
    pub masquerade_random_port: bool,
    /// Whether packets that fit no flow are dropped instead of forwarded as they are (kube-proxy's iptables
    /// mode without `--conntrack-tcp-be-liberal`; kubernetes.md 6.6).
    pub drop_invalid: bool,
    /// Whether ICMP errors are limited to one per second and destination, after six.
    pub limit_icmp: bool,
    /// Whether the answers of flows that came in through a router go back to that router, whatever the routing table
    /// says. So a cloud's network treats its load balancers' flows (linux.md 7, environment `fabric`).
    pub answers_return_to_router: bool,
    /// How long packets to a pod that was removed still vanish, because its entry in the neighbour table looks
    /// sound; after that its address is asked for in vain. linux.md 4 (2c) saw nothing for 56 s.
    pub removed_pod_silence: Span,
}

impl NodeConfig {
    /// A node with these addresses and the usual choices: a bridge with hairpin, whose own address is the first
    /// host address of each pod network.
    pub fn new(addresses: Vec<IpAddr>, pod_networks: Vec<IpNet>) -> Self {
        let gateways = pod_networks.iter().filter_map(first_host).collect();
        NodeConfig {
            addresses,
            pod_networks,
            pod_links: PodLinks::Bridge { addresses: gateways, netfilter: true, hairpin: true },
            conntrack: ConntrackConfig::default(),
            masquerade_random_port: true,
            drop_invalid: true,
            limit_icmp: true,
            answers_return_to_router: false,
            removed_pod_silence: Span::from_secs(60),
        }
    }

    pub(crate) fn bridge_addresses(&self) -> &[IpAddr] {
        match &self.pod_links {
            PodLinks::Bridge { addresses, .. } => addresses,
            PodLinks::PointToPoint => &[],
        }
    }
}

fn first_host(network: &IpNet) -> Option<IpAddr> {
    match network {
        IpNet::V4(network) => network.hosts().next().map(IpAddr::V4),
        // An IPv6 network begins with the subnet-router anycast address (RFC 4291 section 2.6.1).
        IpNet::V6(network) => network.hosts().nth(1).map(IpAddr::V6),
    }
}
