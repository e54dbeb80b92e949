//! The cluster file (`--cluster FILE`): what manifests do not hold.
//!
//! Manifests say what runs in a cluster; this file says what it runs on and what is around it: nodes with
//! their zones and addresses, the networks, the profile, the names that clients outside can resolve, and the
//! load balancers that someone set up on bare metal. It is a public format: `docs/cluster-file.md` describes
//! it, and unknown fields are errors.
//!
//! The networks are of the nodes' address families: one, or two with the first as the primary one.

mod kube_proxy;
mod load_balancers;
mod names;
mod network;
mod pod_network;
mod schema;
mod validate;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use hopwise_engine::Span;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::controllers::node_lifecycle::GRACE_PERIOD_DEFAULT;
use crate::source::{self, Document, FieldPath, LoadErrors, Location, Source, SourceError};
use crate::volumes::Disk;

pub use kube_proxy::{DetectLocalMode, KubeProxy, NodePortAddresses};
pub use load_balancers::{IdleEnd, LoadBalancer, LoadBalancerCheck, LoadBalancerKind, SourceAddress};
pub use names::{NamePattern, OutsideTarget, ServiceRef, Targets};
use schema::{OneOrMany, Quantity};

pub use pod_network::{PodLinks, PodMasquerade, PodNetwork};

/// A description of the machines and networks around the manifests.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterFile {
    /// The nodes, in the order in which addresses and pods are given out where nothing else decides. Empty:
    /// the caller chooses how many (see [`ClusterFile::with_nodes`]).
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The profile: latencies, load balancers and prices of an environment, such as `bare-metal` or `aws`.
    /// `None`: the caller chooses.
    pub profile: Option<String>,
    /// Numbers of the profile to replace, by their path in the profile.
    #[serde(default)]
    pub overrides: Map<String, Value>,
    /// How kube-proxy programs the nodes. Default: iptables.
    #[serde(default)]
    pub proxy_mode: ProxyMode,
    /// What kind of disk the default StorageClass makes. `None`: the profile's.
    pub default_disk: Option<Disk>,
    /// How long a kubelet may be silent before its node counts as lost, in seconds. Default: 50, as Kubernetes from
    /// 1.32; older versions have 40.
    #[serde(default)]
    pub node_monitor_grace_period_s: Option<u32>,
    /// How kube-proxy is configured beside its mode.
    #[serde(default)]
    pub kube_proxy: KubeProxy,
    /// The networks of cluster IPs, one per family. Default: 10.96.0.0/12, as kubeadm's, and fd00:10:96::/112, for the
    /// families of the nodes.
    #[serde(rename = "serviceCIDR", default, deserialize_with = "network::list")]
    #[schemars(with = "Option<OneOrMany>")]
    pub service_cidr: Vec<IpNet>,
    /// The networks of the pods of all nodes, one per family. Default: 10.244.0.0/16 and fd00:10:244::/56, for the
    /// families of the nodes.
    #[serde(rename = "podCIDR", default, deserialize_with = "network::list")]
    #[schemars(with = "Option<OneOrMany>")]
    pub pod_cidr: Vec<IpNet>,
    /// How pods are attached and what happens to their addresses. Default: a bridge, as flannel has it.
    #[serde(default)]
    pub pod_network: PodNetwork,
    /// The DNS domain of the cluster. Default: `cluster.local`.
    #[serde(default = "cluster_local")]
    pub cluster_domain: String,
    /// Whether each node runs NodeLocal DNSCache, which pods then ask instead of CoreDNS. Default: no, as kubeadm.
    #[serde(rename = "nodeLocalDNS", default)]
    pub node_local_dns: bool,
    /// Names that clients outside of the cluster can resolve. `*.example.com` stands for every name below
    /// `example.com` that has no entry of its own.
    #[serde(default)]
    pub external_names: BTreeMap<NamePattern, Targets>,
    /// Load balancers that exist without a cloud: instances set up for Services of the type LoadBalancer.
    #[serde(default)]
    pub load_balancers: Vec<LoadBalancer>,
    #[serde(skip)]
    document: Option<Document>,
}

/// A machine of the cluster.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// The name, a DNS name.
    pub name: String,
    /// The zone (`topology.kubernetes.io/zone`). `None`: the node has no such label.
    pub zone: Option<String>,
    /// The region (`topology.kubernetes.io/region`).
    pub region: Option<String>,
    /// The addresses on the network of the nodes (InternalIP), one per family, the primary one first; never empty.
    #[serde(rename = "address", deserialize_with = "network::addresses")]
    #[schemars(with = "OneOrMany")]
    pub addresses: Vec<IpAddr>,
    /// The networks of the node's pods, inside the cluster's, at most one per family. A family without one: the next
    /// free one.
    #[serde(rename = "podCIDR", default, deserialize_with = "network::list")]
    #[schemars(with = "Option<OneOrMany>")]
    pub pod_cidr: Vec<IpNet>,
    /// Labels beside those that every node has.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints, which keep pods away that do not tolerate them.
    #[serde(default)]
    pub taints: Vec<Taint>,
    /// What pods can request. `None`: more than they ask for.
    pub allocatable: Option<Allocatable>,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Taint {
    /// The key.
    pub key: String,
    /// The value; empty if there is none.
    #[serde(default)]
    pub value: String,
    /// What happens to pods that do not tolerate it.
    pub effect: TaintEffect,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No pod is scheduled here.
    NoSchedule,
    /// Pods are scheduled here only if nothing else fits.
    PreferNoSchedule,
    /// No pod is scheduled here, and running ones are evicted.
    NoExecute,
}

/// Resources of a node, as Kubernetes quantities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allocatable {
    /// Processors: `8`, `7500m`. `None`: unlimited.
    #[serde(default, deserialize_with = "network::optional_quantity")]
    #[schemars(with = "Option<Quantity>")]
    pub cpu: Option<String>,
    /// Memory: `32Gi`. `None`: unlimited.
    #[serde(default, deserialize_with = "network::optional_quantity")]
    #[schemars(with = "Option<Quantity>")]
    pub memory: Option<String>,
}

/// How kube-proxy programs the nodes (kubernetes.md 6.7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyMode {
    /// iptables chains.
    #[default]
    Iptables,
    /// nftables verdict maps.
    Nftables,
    /// IPVS virtual servers.
    Ipvs,
}

impl ClusterFile {
    /// Reads and checks a cluster file.
    ///
    /// # Errors
    ///
    /// Text that is not YAML, unknown or missing fields, values of the wrong type; nodes of one name or
    /// address, networks that overlap, addresses inside networks that are not theirs, names that refer to no
    /// node.
    pub fn load(source: &Source) -> Result<ClusterFile, LoadErrors> {
        ClusterFile::from_document(source::read_one(source)?)
    }

    /// Reads and checks a cluster that is part of another file.
    ///
    /// # Errors
    ///
    /// As [`ClusterFile::load`].
    pub fn from_document(document: source::Document) -> Result<ClusterFile, LoadErrors> {
        let mut cluster: ClusterFile = document.parse()?;
        LoadErrors::check(validate::validate(&cluster, &document))?;
        cluster.document = Some(document);
        Ok(cluster)
    }

    /// The cluster of no file: `count` nodes `node-0`, `node-1`... (at most 65,000) with the addresses 10.0.0.10,
    /// 10.0.0.11..., in the zones zone-a, zone-b and zone-c in turn.
    pub fn with_nodes(count: u16) -> ClusterFile {
        let mut cluster = ClusterFile::default();
        cluster.add_nodes(count);
        cluster
    }

    /// Adds `count` such nodes to a cluster that has none; one that has some is left as it is.
    pub fn add_nodes(&mut self, count: u16) {
        if self.nodes.is_empty() {
            self.nodes = (0..count.min(DEFAULT_NODES_MAX)).map(default_node).collect();
        }
    }

    /// The networks of cluster IPs, the primary one first; never empty.
    pub fn service_networks(&self) -> Vec<IpNet> {
        self.networks(&self.service_cidr, network::default_service_network)
    }

    /// The networks of all pods, the primary one first; never empty.
    pub fn pod_networks(&self) -> Vec<IpNet> {
        self.networks(&self.pod_cidr, network::default_pod_network)
    }

    fn networks(&self, given: &[IpNet], default: fn(bool) -> IpNet) -> Vec<IpNet> {
        if !given.is_empty() {
            return given.to_vec();
        }
        match self.nodes.first() {
            Some(node) => node.addresses.iter().map(|address| default(address.is_ipv6())).collect(),
            None => vec![default(false)],
        }
    }

    /// How long a kubelet may be silent before its node counts as lost.
    pub fn node_monitor_grace_period(&self) -> Span {
        let seconds = self.node_monitor_grace_period_s.map(|seconds| Span::from_secs(u64::from(seconds)));
        seconds.unwrap_or(GRACE_PERIOD_DEFAULT)
    }

    /// What `name` resolves to outside of the cluster, if the file says so: the entry of that name, or else
    /// the longest wildcard that covers it. Case and a final dot do not matter.
    pub fn resolve_outside(&self, name: &str) -> Option<&[OutsideTarget]> {
        names::resolve(&self.external_names, name)
    }

    /// Where a field is written; `None` if the cluster comes from no file.
    pub fn locate(&self, field: impl Into<FieldPath>) -> Option<Location> {
        self.document.as_ref().map(|document| document.locate(field))
    }

    /// An error at a field, for checks that only a later stage can make (the profile's name, overrides);
    /// `None` if the cluster comes from no file.
    pub fn error(&self, field: impl Into<FieldPath>, what: &str, help: &str) -> Option<SourceError> {
        self.document.as_ref().map(|document| document.error(field, what, help))
    }
}

impl Node {
    /// The primary address.
    ///
    /// # Panics
    /// If the node has none, which no file can bring about.
    pub fn address(&self) -> IpAddr {
        *self.addresses.first().expect("a node has an address")
    }
}

impl Default for ClusterFile {
    /// A cluster without nodes.
    fn default() -> ClusterFile {
        ClusterFile {
            nodes: Vec::new(),
            profile: None,
            overrides: Map::new(),
            proxy_mode: ProxyMode::default(),
            default_disk: None,
            node_monitor_grace_period_s: None,
            kube_proxy: KubeProxy::default(),
            service_cidr: Vec::new(),
            pod_cidr: Vec::new(),
            pod_network: PodNetwork::default(),
            cluster_domain: cluster_local(),
            node_local_dns: false,
            external_names: BTreeMap::new(),
            load_balancers: Vec::new(),
            document: None,
        }
    }
}

/// So many addresses follow 10.0.0.10 before the network 10.1.0.0.
const DEFAULT_NODES_MAX: u16 = 65_000;

fn default_node(index: u16) -> Node {
    const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];
    let address = u32::from(Ipv4Addr::new(10, 0, 0, 10)) + u32::from(index);
    Node {
        name: format!("node-{index}"),
        zone: Some(ZONES[usize::from(index) % ZONES.len()].to_owned()),
        region: None,
        addresses: vec![IpAddr::V4(Ipv4Addr::from(address))],
        pod_cidr: Vec::new(),
        labels: BTreeMap::new(),
        taints: Vec::new(),
        allocatable: None,
    }
}

fn cluster_local() -> String {
    "cluster.local".to_owned()
}

#[cfg(test)]
mod tests;
