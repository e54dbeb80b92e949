//! How Services of type LoadBalancer are served.

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
    /// Whether nodes see the client's address as the source.
    pub keeps_source: Sourced<bool>,
    /// What the destination of a packet is when it reaches a node.
    pub delivery: Sourced<Delivery>,
    /// What is published in the Service's status.
    pub ingress: Sourced<Ingress>,
    /// `ipMode` of a published address: whether kube-proxy takes packets to it inside the cluster
    /// (kubernetes.md 3). Without meaning for a host name.
    pub ip_mode: Sourced<IpMode>,
    /// Whether nodes of every zone are targets from every zone.
    pub cross_zone: Sourced<bool>,
    /// Seconds of silence after which a flow is forgotten.
    pub idle_timeout_s: Sourced<u32>,
    /// Whether a forgotten flow is answered with a reset; silence otherwise.
    pub idle_reset: Sourced<bool>,
    /// Seconds from the Service's creation until the instance starts its health checks.
    pub registration_delay_s: Sourced<u32>,
    /// How targets are checked.
    pub health_check: HealthCheck,
}

/// When a target counts as healthy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HealthCheck {
    /// Seconds between two checks of a target.
    pub interval_s: Sourced<u32>,
    /// Consecutive successes until a target is healthy.
    pub healthy_threshold: Sourced<u32>,
    /// Consecutive failures until a target is unhealthy.
    pub unhealthy_threshold: Sourced<u32>,
    /// Which port is asked when `externalTrafficPolicy` is Local.
    pub port_local: Sourced<HealthPort>,
    /// Which port is asked when `externalTrafficPolicy` is Cluster.
    pub port_cluster: Sourced<HealthPort>,
}

/// How a load balancer moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancerKind {
    /// Packets pass through with rewritten addresses.
    Nat,
    /// The connection ends here and another one is opened to the target.
    Proxy,
}

/// What the destination of a packet is when it reaches a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// The node's address and the Service's node port.
    NodePort,
    /// The load balancer's own address and the Service's port.
    VirtualIp,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpMode {
    /// Packets to the address are taken by kube-proxy on the sender's node.
    #[serde(rename = "VIP")]
    Vip,
    /// Packets to the address leave for the load balancer.
    Proxy,
}

/// The port that a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        let origins = [
            ("managed", origin(&self.managed)),
            ("kind", origin(&self.kind)),
            ("keepsSource", origin(&self.keeps_source)),
            ("delivery", origin(&self.delivery)),
            ("ingress", origin(&self.ingress)),
            ("ipMode", origin(&self.ip_mode)),
            ("crossZone", origin(&self.cross_zone)),
            ("idleTimeoutS", origin(&self.idle_timeout_s).or(positive(&self.idle_timeout_s))),
            ("idleReset", origin(&self.idle_reset)),
            ("registrationDelayS", origin(&self.registration_delay_s)),
            ("healthCheck.intervalS", origin(&check.interval_s).or(positive(&check.interval_s))),
            (
                "healthCheck.healthyThreshold",
                origin(&check.healthy_threshold).or(positive(&check.healthy_threshold)),
            ),
            (
                "healthCheck.unhealthyThreshold",
                origin(&check.unhealthy_threshold).or(positive(&check.unhealthy_threshold)),
            ),
            ("healthCheck.portLocal", origin(&check.port_local)),
            ("healthCheck.portCluster", origin(&check.port_cluster)),
        ];
        origins.into_iter().find_map(|(field, fault)| Some((format!("loadBalancer.{field}"), fault?)))
    }
}

fn origin<T>(number: &Sourced<T>) -> Option<String> {
    origin_fault(number.source.as_deref(), number.assumed, number.note.as_deref())
}

fn positive(number: &Sourced<u32>) -> Option<String> {
    (number.value == 0).then(|| "a number of at least 1 is expected, found 0".to_owned())
}
