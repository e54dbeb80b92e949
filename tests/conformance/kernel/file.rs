//! The format of `kernel.json`: what a Linux kernel did, and in which surroundings.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The format that this program reads.
pub const FORMAT: &str = "k8s-kernel/1";

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub format: String,
    pub about: String,
    #[serde(rename = "fields")]
    pub _fields: BTreeMap<String, String>,
    #[serde(rename = "load_balancer_kinds")]
    pub _load_balancer_kinds: BTreeMap<BalancerKind, String>,
    pub topology: Topology,
    pub environments: BTreeMap<String, Environment>,
    pub services: BTreeMap<String, Service>,
    pub cases: Vec<Case>,
}

/// Who is where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Addresses of the clients outside: `cl`, `cl2`...
    pub client: Vec<IpAddr>,
    pub router: Router,
    pub lb: IpAddr,
    pub nodes: BTreeMap<String, IpAddr>,
    pub pods: BTreeMap<String, Pod>,
    pub pod_bridges: BTreeMap<String, IpAddr>,
    #[serde(deserialize_with = "network")]
    pub pod_network: IpNet,
    #[serde(rename = "service_network")]
    pub _service_network: String,
    pub listening_pods: Vec<String>,
}

/// The router's addresses.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    pub external: IpAddr,
    pub underlay: IpAddr,
    pub lb_net: IpAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    pub node: String,
    pub ip: IpAddr,
}

/// The settings of the nodes, the CNI plugin and kube-proxy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    pub pod_link: PodLink,
    pub br_nf: u8,
    pub hairpin: u8,
    pub masq: Masquerade,
    pub detect: Detect,
    pub replyto: u8,
    pub description: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PodLink {
    Bridge,
    Ptp,
}

/// What pods send where leaves with their node's address.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Masquerade {
    /// To anything outside of the pod network.
    NonPod,
    /// To anything outside of the private networks.
    Rfc1918,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
pub enum Detect {
    ClusterCIDR,
    NodeCIDR,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<IpAddr>,
    pub port: u16,
    pub node_port: Option<u16>,
    pub external_traffic_policy: Policy,
    pub internal_traffic_policy: Policy,
    pub affinity_seconds: Option<u32>,
    pub endpoints: Vec<Endpoint>,
    #[serde(rename = "lb_kind")]
    pub lb_kind: Option<BalancerKind>,
    /// Names of nodes, or of pods in target mode `ip`.
    #[serde(rename = "lb_targets")]
    pub lb_targets: Option<Vec<String>>,
    #[serde(rename = "lb_target_mode")]
    pub lb_target_mode: Option<TargetMode>,
    pub vips: Vec<Vip>,
    pub note: String,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Policy {
    Cluster,
    Local,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    pub pod: String,
    pub ip: IpAddr,
    pub port: u16,
    pub node: String,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum BalancerKind {
    A,
    B,
    C,
    D,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TargetMode {
    NodePort,
    Ip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vip {
    pub ip: IpAddr,
    #[serde(rename = "ipMode")]
    pub ip_mode: IpMode,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum IpMode {
    #[serde(rename = "VIP")]
    Vip,
    Proxy,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    pub env: String,
    pub service: String,
    pub access: Access,
    pub ip_mode: Option<IpMode>,
    #[serde(rename = "addressed")]
    pub _addressed: String,
    pub dst: SocketAddr,
    pub source: String,
    pub tries: usize,
    pub expect: Expect,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
pub enum Access {
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
    #[serde(rename = "VIP")]
    Vip,
    #[serde(rename = "PodIP")]
    PodIp,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub outcomes: Vec<Outcome>,
    pub connected_paths: Vec<Path>,
    pub answered_by: Vec<String>,
}

/// How a connection attempt ended.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Connected,
    Refused,
    Timeout,
    Unreachable,
    AcceptedThenReset,
    AcceptedThenClosed,
    AcceptedThenSilent,
}

/// The way of a connection that reached a pod.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(deny_unknown_fields)]
pub struct Path {
    pub pod: String,
    pub source_seen: String,
    pub forward_hops: u8,
    pub reply_hops: u8,
}

fn network<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl Service {
    /// The endpoint that drops what it is sent, if the note says that there is one.
    pub fn drops(&self) -> bool {
        self.note.contains("drops the packets")
    }

    /// The node by which the router has a route for the cluster IP, if the note names one.
    pub fn routed_via(&self) -> Option<&str> {
        let (before, after) = self.note.split_once(" via ")?;
        before.contains("route for this cluster IP").then_some(after.trim())
    }
}
