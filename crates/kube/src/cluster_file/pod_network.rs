//! The pod network of a cluster file (`podNetwork`): how the CNI plugin attaches pods and what it does to their
//! addresses.
//!
//! The choices, and what follows from each, are those measured in linux.md 2 and 7.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::validate::Validator;
use crate::source::FieldPath;

/// The networks of RFC 1918.
const PRIVATE: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];

/// The pod network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodNetwork {
    /// How pods are attached to their node.
    #[serde(default)]
    pub links: PodLinks,
    /// Whether a packet may leave the bridge by the port it came in by, so that a pod reaches itself through a
    /// Service. `None`: yes.
    pub hairpin: Option<bool>,
    /// Whether packets that stay on the bridge pass kube-proxy's rules (sysctl `bridge-nf-call-iptables`).
    /// `None`: yes.
    pub bridge_netfilter: Option<bool>,
    /// When pods' packets leave with their node's address.
    #[serde(default)]
    pub masquerade: PodMasquerade,
}

/// How pods are attached to their node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PodLinks {
    /// All pods of a node are ports of one bridge, which has an address (flannel, kubenet).
    #[default]
    Bridge,
    /// Each pod has a routed link of its own (Calico, AWS VPC CNI).
    PointToPoint,
}

/// When pods' packets leave with their node's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PodMasquerade {
    /// Towards every address outside of the pod network (flannel).
    #[default]
    NonPod,
    /// Towards every address outside of the pod network and of 10/8, 172.16/12 and 192.168/16 (ip-masq-agent).
    Rfc1918,
    /// Never: the network routes pods' addresses everywhere.
    None,
}

impl PodNetwork {
    /// The fabric's links of a node whose bridge would be that of `default`.
    pub fn pod_links(&self, default: hopwise_fabric::PodLinks) -> hopwise_fabric::PodLinks {
        use hopwise_fabric::PodLinks as Links;
        match (self.links, default) {
            (PodLinks::PointToPoint, _) | (_, Links::PointToPoint) => Links::PointToPoint,
            (PodLinks::Bridge, Links::Bridge { addresses, .. }) => Links::Bridge {
                addresses,
                netfilter: self.bridge_netfilter.unwrap_or(true),
                hairpin: self.hairpin.unwrap_or(true),
            },
        }
    }

    /// Whether pods' packets that leave the pod network leave with their node's address.
    pub fn masquerades(&self) -> bool {
        self.masquerade != PodMasquerade::None
    }

    /// Networks outside of the pod network towards which pods keep their addresses all the same.
    pub fn unmasqueraded_networks(&self) -> Vec<IpNet> {
        match self.masquerade {
            PodMasquerade::Rfc1918 => PRIVATE.iter().filter_map(|network| network.parse().ok()).collect(),
            PodMasquerade::NonPod | PodMasquerade::None => Vec::new(),
        }
    }

    /// Reports what does not fit together.
    pub(super) fn validate(&self, validator: &mut Validator<'_>) {
        if self.links == PodLinks::Bridge {
            return;
        }
        for (name, value) in [("hairpin", self.hairpin), ("bridgeNetfilter", self.bridge_netfilter)] {
            if value.is_some() {
                let what = format!("{name} is a setting of a bridge, and links: pointToPoint has none");
                let field = FieldPath::from("podNetwork").key(name);
                validator.error(&field, what, format!("remove {name}, or use links: bridge"));
            }
        }
    }
}
