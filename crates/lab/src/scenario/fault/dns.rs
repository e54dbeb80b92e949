//! Faults of name servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::Duration;

/// Some name servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DnsServers {
    /// The CoreDNS pods.
    Cluster,
    /// The caches on the nodes (NodeLocal DNSCache).
    NodeCaches,
    /// The internet's resolver, which nodes and clients outside ask.
    Internet,
}

/// Name servers that are slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SlowDns {
    /// Which.
    pub servers: DnsServers,
    /// How much longer each answer takes.
    pub by: Duration,
}

impl DnsServers {
    /// As the cluster calls them.
    pub fn of_cluster(self) -> hopwise_kube::cluster::DnsServers {
        match self {
            DnsServers::Cluster => hopwise_kube::cluster::DnsServers::Cluster,
            DnsServers::NodeCaches => hopwise_kube::cluster::DnsServers::NodeCaches,
            DnsServers::Internet => hopwise_kube::cluster::DnsServers::Internet,
        }
    }
}
