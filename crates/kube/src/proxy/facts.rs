//! What kube-proxy knows of its node and of its own configuration.

use std::net::IpAddr;

use ipnet::IpNet;

/// A node as its kube-proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The node's zone (label `topology.kubernetes.io/zone`).
    pub zone: Option<String>,
    /// All addresses of the node except loopback; of each family the first is the primary one.
    pub addresses: Vec<IpAddr>,
    /// The pod networks of this node.
    pub pod_networks: Vec<IpNet>,
    /// The pod networks of the whole cluster.
    pub cluster_pod_networks: Vec<IpNet>,
    /// The networks of cluster IPs.
    pub service_networks: Vec<IpNet>,
    /// How rules are written.
    pub mode: Mode,
    /// How pods of the cluster are told from other sources.
    pub local_detector: LocalDetector,
    /// `--masquerade-all`: traffic to cluster IPs is always masqueraded.
    pub masquerade_all: bool,
    /// On which of its addresses the node accepts node ports.
    pub node_port_addresses: NodePortAddresses,
    /// `--iptables-localhost-nodeports`: whether node ports are reachable on 127.0.0.1 (iptables mode, IPv4).
    pub localhost_node_ports: bool,
    /// `--conntrack-tcp-be-liberal`: packets that fit no connection are not dropped (iptables mode).
    pub tcp_be_liberal: bool,
    /// Whether the CNI masquerades what pods send out of the pod network.
    pub masquerade_pods: bool,
    /// Networks outside of the pod network to which pods keep their addresses all the same (ip-masq-agent's
    /// `nonMasqueradeCIDRs`; linux.md 7, `masq-rfc1918`).
    pub unmasqueraded_networks: Vec<IpNet>,
    /// Whether endpoints hinted for this very node are preferred (feature PreferSameTrafficDistribution).
    pub prefer_same_node: bool,
}

impl NodeFacts {
    /// A node with kube-proxy's defaults in iptables mode.
    pub fn new(name: impl Into<String>, addresses: Vec<IpAddr>) -> Self {
        NodeFacts {
            name: name.into(),
            zone: None,
            addresses,
            pod_networks: Vec::new(),
            cluster_pod_networks: Vec::new(),
            service_networks: Vec::new(),
            mode: Mode::Iptables,
            local_detector: LocalDetector::ClusterNetworks,
            masquerade_all: false,
            node_port_addresses: NodePortAddresses::ModeDefault,
            localhost_node_ports: true,
            tcp_be_liberal: false,
            masquerade_pods: true,
            unmasqueraded_networks: Vec::new(),
            prefer_same_node: true,
        }
    }

    /// The networks whose addresses count as pods of the cluster; none without a detector.
    pub(super) fn detected_networks(&self, ipv4: bool) -> Vec<IpNet> {
        let networks = match self.local_detector {
            LocalDetector::None => &[][..],
            LocalDetector::ClusterNetworks => &self.cluster_pod_networks,
            LocalDetector::NodeNetworks => &self.pod_networks,
        };
        networks.iter().filter(|network| network.addr().is_ipv4() == ipv4).copied().collect()
    }
}

/// How kube-proxy writes its rules (kubernetes.md 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// iptables.
    Iptables,
    /// nftables: unused ports of a cluster IP are refused, unallocated service addresses dropped.
    Nftables,
    /// IPVS: service addresses are the node's own, targets take turns, policies refuse where the others drop.
    Ipvs,
}

/// How kube-proxy tells pods from other sources (`--detect-local-mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalDetector {
    /// Not at all.
    None,
    /// Any address of the cluster's pod networks (`ClusterCIDR`).
    ClusterNetworks,
    /// Only the pods of this node (`NodeCIDR`, and what interface based modes come to).
    NodeNetworks,
}

/// On which of its addresses a node accepts node ports (`--nodeport-addresses`; kubernetes.md 6.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// iptables and IPVS: all local addresses. nftables: the primary address of each family.
    ModeDefault,
    /// The primary address of each family.
    Primary,
    /// The addresses inside these networks.
    In(Vec<IpNet>),
}
