//! What kube-proxy says of its own health and of the Services that balancers ask about.
//!
//! `/healthz` on port 10256 tells balancers of Services with the policy Cluster whether to send to this node;
//! `/livez` whether kube-proxy works at all. A Service of type LoadBalancer with the policy Local has a port of its
//! own, on which any path tells whether the node has ready endpoints of it. Source: kubernetes.md 6.5.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::{HealthCheck, ServiceName};

/// kube-proxy counts as healthy while no change has waited for longer than this: twice the sync period of 30 s
/// (kubernetes.md 6.5 and 8).
pub const WAIT_MAX: Span = Span::from_secs(60);
/// The taint that the cluster autoscaler puts on a node that it is about to remove.
pub const TO_BE_DELETED_TAINT: &str = "ToBeDeletedByClusterAutoscaler";

/// What the health endpoints of one node answer from.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: BTreeMap<ServiceName, Check>,
    /// Since when a change has waited to be carried out.
    waits_since: Option<Time>,
    /// Whether the Node object is there for long.
    leaves: bool,
}

#[derive(Clone, Copy, Debug)]
struct Check {
    port: u16,
    local_endpoints: usize,
}

/// An answer to a health check.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
    /// The header `X-Load-Balancing-Endpoint-Weight`, for a Service.
    pub weight: Option<usize>,
}

impl Health {
    /// Opens and closes ports: those of `ports` are the ones there are. A port that is new or has another number
    /// counts no endpoints yet.
    pub fn sync_services(&mut self, ports: &BTreeMap<ServiceName, u16>) {
        self.checks.retain(|service, check| ports.get(service) == Some(&check.port));
        for (service, port) in ports {
            self.checks.entry(service.clone()).or_insert(Check { port: *port, local_endpoints: 0 });
        }
    }

    /// Sets how many ready endpoints of each Service are on the node; Services without a port do not matter, those
    /// that are not named have none.
    pub fn sync_endpoints(&mut self, counts: &BTreeMap<ServiceName, usize>) {
        for (service, check) in &mut self.checks {
            check.local_endpoints = counts.get(service).copied().unwrap_or(0);
        }
    }

    /// Follows kube-proxy's health checks.
    pub fn follow<'a>(&mut self, checks: impl Iterator<Item = &'a HealthCheck>) {
        let checks: Vec<&HealthCheck> = checks.collect();
        self.sync_services(&checks.iter().map(|check| (check.service.clone(), check.port)).collect());
        self.sync_endpoints(
            &checks.iter().map(|check| (check.service.clone(), check.local_endpoints)).collect(),
        );
    }

    /// A change waits to be carried out.
    pub fn queued(&mut self, now: Time) {
        self.waits_since.get_or_insert(now);
    }

    /// All changes are carried out.
    pub fn synced(&mut self) {
        self.waits_since = None;
    }

    /// The Node object is as `node` says; `None`: it is gone.
    pub fn set_node(&mut self, node: Option<&Node>) {
        self.leaves = node.is_none_or(|node| {
            let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
            let mut keys = taints.map(|taint| taint.key.as_str());
            node.metadata.deletion_timestamp.is_some() || keys.any(|key| key == TO_BE_DELETED_TAINT)
        });
    }

    /// Whether rules are being programmed.
    pub fn is_healthy(&self, now: Time) -> bool {
        self.waits_since.is_none_or(|since| now.since(since) <= WAIT_MAX)
    }

    /// The ports of Services, each once.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.checks.values().map(|check| check.port).collect()
    }

    /// The Service that a port is for; of several the first by name.
    pub fn service_at(&self, port: u16) -> Option<&ServiceName> {
        self.checks.iter().find(|(_, check)| check.port == port).map(|(service, _)| service)
    }

    /// The answer of a Service's port, whatever the path. The Node object does not matter here.
    pub fn of_service(&self, service: &ServiceName, now: Time) -> Option<Answer> {
        let count = self.checks.get(service)?.local_endpoints;
        let healthy = self.is_healthy(now);
        let body = json!({
            "service": { "namespace": service.namespace, "name": service.name },
            "localEndpoints": count,
            "serviceProxyHealthy": healthy,
        });
        Some(Answer { status: status(healthy && count > 0), body, weight: Some(count) })
    }

    /// The answer of port 10256 to a path.
    pub fn of_proxy(&self, path: &str, now: Time) -> Answer {
        let healthy = self.is_healthy(now);
        let (good, body) = match path {
            "/healthz" => (healthy && !self.leaves, json!({ "nodeEligible": !self.leaves })),
            "/livez" => (healthy, json!({})),
            _ => return Answer { status: 404, body: json!({}), weight: None },
        };
        Answer { status: status(good), body, weight: None }
    }
}

fn status(good: bool) -> u16 {
    if good { 200 } else { 503 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_may_wait_for_twice_the_sync_period() {
        let mut health = Health::default();
        let start = Time::ZERO + Span::from_secs(5);
        health.queued(start);
        health.queued(start + Span::from_secs(50));
        assert!(health.is_healthy(start + WAIT_MAX));
        let late = start + WAIT_MAX + Span::from_secs(1);
        assert_eq!(health.of_proxy("/healthz", late).status, 503);
        assert_eq!(health.of_proxy("/livez", late).status, 503);
        health.synced();
        assert_eq!(health.of_proxy("/healthz", late).status, 200);
    }

    #[test]
    fn a_node_that_leaves_is_alive_but_gets_no_more_traffic() {
        let mut health = Health::default();
        health.set_node(None);
        assert_eq!(health.of_proxy("/healthz", Time::ZERO).status, 503);
        assert_eq!(health.of_proxy("/livez", Time::ZERO).status, 200);
        assert_eq!(health.of_proxy("/metrics", Time::ZERO).status, 404);
    }
}
