//! How Services of type LoadBalancer are served.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sourced::{Sourced, origin_fault};

/// A load balancer's behaviour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadBalancer {
    /// Whether the cloud's controller makes an instance for each Service. If not, the Service stays pending until
    /// the cluster file declares one.
    pub managed: Sourced<bool>,
    /// How it moves packets.
    pub kind: Sourced<LoadBalancerKind>,
    /// Whether targets see the client's address as the source.
    pub keeps_source: Sourced<bool>,
    /// What the destination of a packet is when it leaves for its target.
    pub delivery: Sourced<Delivery>,
    /// Whether answers find their way back through the balancer by themselves, whoever the client is: a cloud's
    /// network does that, a router only for what it forwards (linux.md 7, environments `fabric` and `base`).
    pub network_returns: Sourced<bool>,
    /// What is published in the Service's status.
    pub ingress: Sourced<Ingress>,
    /// `ipMode` of a published address: whether kube-proxy takes packets to it inside the cluster
    /// (kubernetes.md 3). Without meaning for a host name.
    pub ip_mode: Sourced<IpMode>,
    /// Whether there is a balancer with an address of its own in each zone.
    pub address_per_zone: Sourced<bool>,
    /// Whether targets of every zone receive connections from the balancer of every zone.
    pub cross_zone: Sourced<bool>,
    /// Seconds of silence after which a flow is forgotten.
    pub idle_timeout_s: Sourced<u32>,
    /// Whether a forgotten flow is answered with a reset; silence otherwise.
    pub idle_reset: Sourced<bool>,
    /// Whether a forgotten flow is placed anew, by its hash, when it speaks again: with the same targets it does not
    /// notice. Goes before `idle_reset`.
    pub idle_places: Sourced<bool>,
    /// Seconds from a target's registration until the instance starts to check it.
    pub registration_delay_s: Sourced<u32>,
    /// Seconds for which the flows to a target that leaves go on untouched; new ones go elsewhere at once.
    pub deregistration_delay_s: Sourced<u32>,
    /// Whether the flows to a target are cut off when that time is over.
    pub terminates_deregistered: Sourced<bool>,
    /// Whether the flows to a target are cut off when it becomes unhealthy.
    pub terminates_unhealthy: Sourced<bool>,
    /// Whether all targets receive connections when none is healthy.
    pub fails_open: Sourced<bool>,
    /// Whether a cordoned node leaves the pool.
    pub excludes_cordoned: Sourced<bool>,
    /// How targets are checked.
    pub health_check: HealthCheck,
}

/// When a target counts as healthy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheck {
    /// Seconds between two checks of a target.
    pub interval_s: Sourced<u32>,
    /// Seconds after which a check without an answer has failed.
    pub timeout_s: Sourced<u32>,
    /// Consecutive successes until a target is healthy.
    pub healthy_threshold: Sourced<u32>,
    /// Consecutive failures until a target is unhealthy.
    pub unhealthy_threshold: Sourced<u32>,
    /// Which port is asked when `externalTrafficPolicy` is Local.
    pub port_local: Sourced<HealthPort>,
    /// Which port is asked when `externalTrafficPolicy` is Cluster.
    pub port_cluster: Sourced<HealthPort>,
    /// Other figures when `externalTrafficPolicy` is Local.
    #[serde(default)]
    pub local: LocalCheck,
}

/// Figures of checks that differ when `externalTrafficPolicy` is Local; those that are absent are the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LocalCheck {
    /// Seconds between two checks of a target.
    #[serde(default)]
    pub interval_s: Option<Sourced<u32>>,
    /// Seconds after which a check without an answer has failed.
    #[serde(default)]
    pub timeout_s: Option<Sourced<u32>>,
    /// Consecutive successes until a target is healthy.
    #[serde(default)]
    pub healthy_threshold: Option<Sourced<u32>>,
    /// Consecutive failures until a target is unhealthy.
    #[serde(default)]
    pub unhealthy_threshold: Option<Sourced<u32>>,
}

/// How a load balancer moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancerKind {
    /// Packets pass through with rewritten addresses.
    Nat,
    /// The connection ends here and another one is opened to the target.
    Proxy,
    /// Packets are delivered to a node as they are; the answer goes straight to the client.
    Dsr,
}

/// What the destination of a packet is when it leaves for its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// The node's address and the Service's node port.
    NodePort,
    /// The load balancer's own address and the Service's port.
    VirtualIp,
    /// A pod's address and port, past the rules of any node.
    Pod,
}

/// What is published in `status.loadBalancer.ingress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ingress {
    /// An address.
    Ip,
    /// A host name; kube-proxy has no rule for it.
    Hostname,
}

/// `status.loadBalancer.ingress[].ipMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IpMode {
    /// Packets to the address are taken by kube-proxy on the sender's node.
    #[serde(rename = "VIP")]
    Vip,
    /// Packets to the address leave for the load balancer.
    Proxy,
}

/// The port that a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthPort {
    /// The Service's `healthCheckNodePort`, over HTTP.
    HealthCheckNodePort,
    /// kube-proxy's own `:10256/healthz`.
    KubeProxy,
    /// The port that receives the traffic, by a TCP connection.
    Traffic,
}

impl LoadBalancer {
    /// The first number that cannot be used: its path, and why.
    pub(super) fn fault(&self) -> Option<(String, String)> {
        let check = &self.health_check;
        let mut faults = vec![
            ("managed", origin(&self.managed)),
            ("kind", origin(&self.kind)),
            ("keepsSource", origin(&self.keeps_source)),
            ("delivery", origin(&self.delivery)),
            ("networkReturns", origin(&self.network_returns)),
            ("ingress", origin(&self.ingress)),
            ("ipMode", origin(&self.ip_mode)),
            ("addressPerZone", origin(&self.address_per_zone)),
            ("crossZone", origin(&self.cross_zone)),
            ("idleTimeoutS", positive(&self.idle_timeout_s)),
            ("idleReset", origin(&self.idle_reset)),
            ("idlePlaces", origin(&self.idle_places)),
            ("registrationDelayS", origin(&self.registration_delay_s)),
            ("deregistrationDelayS", origin(&self.deregistration_delay_s)),
            ("terminatesDeregistered", origin(&self.terminates_deregistered)),
            ("terminatesUnhealthy", origin(&self.terminates_unhealthy)),
            ("failsOpen", origin(&self.fails_open)),
            ("excludesCordoned", origin(&self.excludes_cordoned)),
            ("healthCheck.intervalS", positive(&check.interval_s)),
            ("healthCheck.timeoutS", positive(&check.timeout_s)),
            ("healthCheck.healthyThreshold", positive(&check.healthy_threshold)),
            ("healthCheck.unhealthyThreshold", positive(&check.unhealthy_threshold)),
            ("healthCheck.portLocal", origin(&check.port_local)),
            ("healthCheck.portCluster", origin(&check.port_cluster)),
        ];
        let local = &check.local;
        faults.extend([
            ("healthCheck.local.intervalS", local.interval_s.as_ref().and_then(positive)),
            ("healthCheck.local.timeoutS", local.timeout_s.as_ref().and_then(positive)),
            ("healthCheck.local.healthyThreshold", local.healthy_threshold.as_ref().and_then(positive)),
            ("healthCheck.local.unhealthyThreshold", local.unhealthy_threshold.as_ref().and_then(positive)),
        ]);
        faults.into_iter().find_map(|(field, fault)| Some((format!("loadBalancer.{field}"), fault?)))
    }

    /// Why the kind cannot deliver as asked.
    pub(super) fn delivery_fault(&self) -> Option<&'static str> {
        delivery_fault(self.kind.value, self.delivery.value)
    }
}

/// Why a load balancer of this kind cannot deliver that way.
pub fn delivery_fault(kind: LoadBalancerKind, delivery: Delivery) -> Option<&'static str> {
    match (kind, delivery) {
        (LoadBalancerKind::Dsr, Delivery::NodePort | Delivery::Pod) => {
            Some("`virtual-ip` is expected: kind dsr leaves the destination as it is")
        }
        (LoadBalancerKind::Nat | LoadBalancerKind::Proxy, Delivery::VirtualIp) => {
            Some("`node-port` or `pod` is expected: only kind dsr leaves the destination as it is")
        }
        _ => None,
    }
}

fn origin<T>(number: &Sourced<T>) -> Option<String> {
    origin_fault(number.source.as_deref(), number.assumed, number.note.as_deref())
}

/// The origin of a number that has to be above zero, and the number.
fn positive(number: &Sourced<u32>) -> Option<String> {
    let zero = (number.value == 0).then(|| "a number of at least 1 is expected, found 0".to_owned());
    origin(number).or(zero)
}
