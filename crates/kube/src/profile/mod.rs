//! Profiles: what a cluster's surroundings are like on bare metal and on three clouds.
//!
//! A profile holds latencies, the behaviour of load balancers and prices as data: the files in
//! `crates/kube/profiles`, one per profile, are embedded at compile time. Every number names its source or says that
//! it is assumed. A cluster file can replace any of them by its dotted path.
//!
//! Left out: regions, discounts, price tiers beyond the first, and anything that is not on the path of a client.

mod balancer;
mod overrides;
mod price;
mod sourced;
mod storage;

use serde::{Deserialize, Serialize};

pub use balancer::{
    Delivery, HealthCheck, HealthPort, Ingress, IpMode, LoadBalancer, LoadBalancerKind, LocalCheck,
    delivery_fault,
};
pub use overrides::OverrideError;
pub use price::{CapacityUnit, HOURS_PER_MONTH, LoadBalancerPrices, Prices, RulePrices};
pub use sourced::{Delay, Distribution, Sourced, Unit};
pub use storage::Storage;

/// The names that [`Profile::named`] knows, in the order they are shown.
pub const NAMES: [&str; 4] = ["bare-metal", "aws", "gcp", "azure"];

/// What a cluster's surroundings are like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Profile {
    /// The name that `--profile` takes.
    pub name: String,
    /// One sentence for people.
    pub about: String,
    /// How long links take.
    pub latency: Latency,
    /// How Services of type LoadBalancer are served.
    pub load_balancer: LoadBalancer,
    /// What the disks are like.
    pub storage: Storage,
    /// What things cost.
    pub prices: Prices,
}

/// Delays of links, one way each. A packet from a pod to a pod on another node of its zone crosses `pod_to_node`
/// and `node_to_zone` twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Latency {
    /// A pod's veth pair.
    pub pod_to_node: Delay,
    /// A node's link to the switch of its zone.
    pub node_to_zone: Delay,
    /// From the switch of one zone to the switch of another.
    pub zone_to_zone: Delay,
    /// From the edge (the internet router) to the switch of a zone.
    pub edge_to_zone: Delay,
    /// From a client on the internet to the edge.
    pub client_to_edge: Delay,
    /// What a load balancer adds to each packet that it handles.
    pub load_balancer_added: Delay,
}

/// Why there is no profile.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProfileError {
    /// No profile has this name.
    #[error("there is no profile `{name}`; the profiles are {}", NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The text is not a profile.
    #[error("the profile does not parse: {message}")]
    Syntax {
        /// What the parser says, with line and column.
        message: String,
    },
    /// A number cannot be used.
    #[error("{path}: {fault}")]
    Value {
        /// The dotted path of the number.
        path: String,
        /// What is expected, and what was found.
        fault: String,
    },
}

impl Profile {
    /// The profile called `name`.
    ///
    /// # Errors
    /// [`ProfileError::Unknown`] lists the names there are.
    pub fn named(name: &str) -> Result<Profile, ProfileError> {
        let text = match name {
            "bare-metal" => include_str!("../../profiles/bare-metal.yaml"),
            "aws" => include_str!("../../profiles/aws.yaml"),
            "gcp" => include_str!("../../profiles/gcp.yaml"),
            "azure" => include_str!("../../profiles/azure.yaml"),
            _ => return Err(ProfileError::Unknown { name: name.to_owned() }),
        };
        Profile::parse(text)
    }

    /// A profile from the text of a profile file.
    ///
    /// # Errors
    /// Text that is not YAML, unknown or missing fields, numbers without an origin or out of range.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        let profile: Profile = serde_saphyr::from_str(text)
            .map_err(|error| ProfileError::Syntax { message: error.to_string() })?;
        profile.validate()?;
        let path = "loadBalancer.delivery".to_owned();
        match profile.load_balancer.delivery_fault() {
            Some(fault) => Err(ProfileError::Value { path, fault: fault.to_owned() }),
            None => Ok(profile),
        }
    }

    /// Checks ranges, and that every number has an origin.
    pub(crate) fn validate(&self) -> Result<(), ProfileError> {
        let value = |(path, fault): (String, String)| ProfileError::Value { path, fault };
        for (field, delay) in self.latency.all() {
            if let Some(fault) = delay.fault() {
                return Err(value((format!("latency.{field}"), fault)));
            }
        }
        self.load_balancer.fault().map_or(Ok(()), |fault| Err(value(fault)))?;
        self.storage.fault().map_or(Ok(()), |fault| Err(value(fault)))?;
        self.prices.fault().map_or(Ok(()), |fault| Err(value(fault)))
    }
}

impl Latency {
    /// Every delay with the name of its field, for reports.
    pub fn all(&self) -> [(&'static str, &Delay); 6] {
        [
            ("podToNode", &self.pod_to_node),
            ("nodeToZone", &self.node_to_zone),
            ("zoneToZone", &self.zone_to_zone),
            ("edgeToZone", &self.edge_to_zone),
            ("clientToEdge", &self.client_to_edge),
            ("loadBalancerAdded", &self.load_balancer_added),
        ]
    }
}

#[cfg(test)]
mod tests;
