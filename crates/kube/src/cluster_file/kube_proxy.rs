//! kube-proxy's configuration, as far as it shapes the way of packets.
//!
//! Source: kubernetes.md 6.2 (detect-local), 6.4 (node port addresses), 6.6 (INVALID packets); the names are those of
//! KubeProxyConfiguration.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::Error as _;

/// How kube-proxy is configured beside its mode.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KubeProxy {
    /// How pods are told from other sources (`--detect-local-mode`). Default: ClusterCIDR.
    pub detect_local_mode: DetectLocalMode,
    /// Whether all traffic to cluster IPs is masqueraded (`--masquerade-all`). Default: false.
    pub masquerade_all: bool,
    /// On which of its addresses a node accepts node ports (`--nodeport-addresses`). Default: that of the mode.
    pub node_port_addresses: Option<NodePortAddresses>,
    /// Whether node ports are reachable on 127.0.0.1 in iptables mode (`--iptables-localhost-nodeports`). Default: true.
    pub localhost_node_ports: bool,
    /// Whether packets that fit no connection pass (`--conntrack-tcp-be-liberal`). Default: false.
    pub tcp_be_liberal: bool,
}

impl Default for KubeProxy {
    fn default() -> Self {
        KubeProxy {
            detect_local_mode: DetectLocalMode::default(),
            masquerade_all: false,
            node_port_addresses: None,
            localhost_node_ports: true,
            tcp_be_liberal: false,
        }
    }
}

/// How kube-proxy tells pods from other sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum DetectLocalMode {
    /// Any address of the cluster's pod networks is a pod's.
    #[default]
    ClusterCIDR,
    /// Only an address of the node's own pod networks is a pod's.
    NodeCIDR,
    /// What comes in by the pods' bridge is a pod's: the node's own pods.
    BridgeInterface,
    /// What comes in by an interface of that name is a pod's: the node's own pods.
    InterfaceNamePrefix,
}

/// On which addresses a node accepts node ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// The primary address of each family.
    Primary,
    /// Those inside these networks.
    In(Vec<IpNet>),
}

impl<'de> Deserialize<'de> for NodePortAddresses {
    /// A list: of networks, or with the one entry `primary`.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<String>::deserialize(deserializer)?;
        if entries == ["primary"] {
            return Ok(NodePortAddresses::Primary);
        }
        let network = |text: &String| {
            text.parse::<IpNet>().map_err(|_| {
                let got =
                    if text == "primary" { "primary beside others".to_owned() } else { format!("{text:?}") };
                D::Error::custom(format!(
                    "expected networks such as 192.168.0.0/24, or [primary] alone, got {got}"
                ))
            })
        };
        entries.iter().map(network).collect::<Result<_, _>>().map(NodePortAddresses::In)
    }
}
