//! Load balancers that someone set up, as the cluster file declares them.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::names::ServiceRef;
use crate::profile::{self, Delivery, HealthPort, IpMode};

/// A load balancer that exists without a cloud. What it does not say is as the profile has it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    /// The Service that it stands before, as `NAMESPACE/NAME`. One instance per Service.
    pub service: ServiceRef,
    /// The address that clients connect to; it becomes the Service's ingress address.
    pub address: IpAddr,
    /// What it does to connections. Default: nat.
    #[serde(default)]
    pub kind: LoadBalancerKind,
    /// The source address that targets see. Default: rewritten by `proxy`, kept by all others.
    pub source: Option<SourceAddress>,
    /// What the destination of a packet is when it leaves for its target. Default: `node-port` with `nat` and `proxy`;
    /// the others know `virtual-ip` only.
    pub delivery: Option<Delivery>,
    /// Whether kube-proxy takes packets to the address inside the cluster.
    pub ip_mode: Option<IpMode>,
    /// Seconds of silence after which a flow is forgotten.
    pub idle_timeout_s: Option<u32>,
    /// What becomes of a forgotten flow that speaks again.
    pub idle_end: Option<IdleEnd>,
    /// Seconds for which the flows to a target that leaves go on untouched.
    pub deregistration_delay_s: Option<u32>,
    /// Whether flows to a target are cut off: when that time is over, and when the target becomes unhealthy.
    pub terminates_flows: Option<bool>,
    /// How targets are checked.
    #[serde(default)]
    pub health_check: LoadBalancerCheck,
}

/// What a load balancer does to connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LoadBalancerKind {
    /// Rewrites the destination of each packet.
    #[default]
    Nat,
    /// Ends the connection and opens one of its own to a target.
    Proxy,
    /// Delivers packets to a node as they are; answers go straight to the client.
    Dsr,
    /// No instance: one elected node has the address, and another one takes over when it is lost (MetalLB, layer 2).
    L2,
    /// No instance: the router spreads packets over the nodes by their five-tuple (MetalLB, BGP).
    Bgp,
}

/// What a load balancer does to the source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SourceAddress {
    /// Targets see the client's address.
    Kept,
    /// Targets see the load balancer's address.
    Rewritten,
}

/// What becomes of a forgotten flow that speaks again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdleEnd {
    /// Its packets are dropped.
    Drop,
    /// Its packets are answered with a reset.
    Reset,
    /// It is placed anew, by its hash.
    Place,
}

/// How a declared load balancer checks its targets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancerCheck {
    /// Which port is asked.
    pub port: Option<HealthPort>,
    /// Seconds between two checks of a target.
    pub interval_s: Option<u32>,
    /// Seconds after which a check without an answer has failed.
    pub timeout_s: Option<u32>,
    /// Consecutive successes until a target is healthy.
    pub healthy_threshold: Option<u32>,
    /// Consecutive failures until a target is unhealthy.
    pub unhealthy_threshold: Option<u32>,
}

impl LoadBalancer {
    /// The source address that targets see, with the default of the kind.
    pub fn source_address(&self) -> SourceAddress {
        self.source.unwrap_or(match self.kind {
            LoadBalancerKind::Proxy => SourceAddress::Rewritten,
            _ => SourceAddress::Kept,
        })
    }

    /// What is wrong with fields that do not fit together: the field, why, and what to do.
    pub(super) fn faults(&self) -> Vec<(&'static str, String, &'static str)> {
        let mut faults = Vec::new();
        let mut fault = |field, what: &str, help| faults.push((field, what.to_owned(), help));
        let leaves_destination =
            matches!(self.kind, LoadBalancerKind::Dsr | LoadBalancerKind::L2 | LoadBalancerKind::Bgp);
        if self.kind == LoadBalancerKind::Proxy && self.source == Some(SourceAddress::Kept) {
            let what = "a proxy opens connections of its own, so that nodes see its address";
            fault("source", what, "use kind: nat, or source: rewritten");
        }
        if leaves_destination && self.source == Some(SourceAddress::Rewritten) {
            fault("source", "this kind leaves packets as they are", "use kind: nat, or source: kept");
        }
        let kind = match self.kind {
            LoadBalancerKind::Nat => profile::LoadBalancerKind::Nat,
            LoadBalancerKind::Proxy => profile::LoadBalancerKind::Proxy,
            _ => profile::LoadBalancerKind::Dsr,
        };
        if self.delivery.is_some_and(|delivery| profile::delivery_fault(kind, delivery).is_some()) {
            let what = "nat and proxy deliver to a node-port or a pod, the other kinds to the virtual-ip";
            fault("delivery", what, "leave it out, or use another kind");
        }
        if leaves_destination && self.ip_mode == Some(IpMode::Proxy) {
            let what = "packets reach a node with the address as their destination, and with ipMode Proxy no node has a rule \
                        for it";
            fault("ipMode", what, "use VIP");
        }
        faults
    }

    /// The fields that have to be above zero and are not.
    pub(super) fn zeros(&self) -> Vec<&'static str> {
        let check = &self.health_check;
        let figures = [
            ("idleTimeoutS", self.idle_timeout_s),
            ("healthCheck.intervalS", check.interval_s),
            ("healthCheck.timeoutS", check.timeout_s),
            ("healthCheck.healthyThreshold", check.healthy_threshold),
            ("healthCheck.unhealthyThreshold", check.unhealthy_threshold),
        ];
        figures.into_iter().filter(|(_, figure)| *figure == Some(0)).map(|(field, _)| field).collect()
    }
}
