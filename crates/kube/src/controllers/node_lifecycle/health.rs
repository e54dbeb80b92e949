//! What the monitor knows of one node.

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::{MONITOR_PERIOD, STARTUP_GRACE_PERIOD, multiple_from};
use crate::store::{time_of, timestamp};

/// The conditions that a kubelet posts.
const KUBELET_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What the monitor knows of one node.
#[derive(Debug)]
pub(super) struct Health {
    /// When the monitor last noticed a sign of life.
    pub(super) heard_at: Time,
    /// The last renewal of the lease that it noticed.
    renewed: Option<Time>,
    /// Whether the kubelet has ever reported.
    has_reported: bool,
    /// The condition Ready.
    pub(super) status: &'static str,
}

impl Health {
    /// A node that the monitor sees for the first time.
    pub(super) fn new(node: &Node, now: Time) -> Health {
        let created = node.metadata.creation_timestamp.as_ref().map_or(now, time_of);
        // One that has reported before gets its whole grace period, whoever watched it until now.
        let heard_at = if ready_condition(node).is_some() { now } else { created };
        Health { heard_at, renewed: None, has_reported: false, status: "True" }
    }

    /// Takes up the node's lease and conditions.
    pub(super) fn observe(&mut self, node: &Node, renewed: Option<Time>, now: Time) {
        if renewed > self.renewed {
            self.renewed = renewed;
            self.has_reported = true;
            // It would have been noticed at the first tick after it.
            let noticed = renewed.map_or(now, |at| multiple_from(at, MONITOR_PERIOD));
            self.heard_at = noticed.min(now).max(self.heard_at);
        }
        self.has_reported |= ready_condition(node).is_some();
        self.status = ready_status(node);
    }

    /// When the node's kubelet has been silent for too long; none if that has been said.
    pub(super) fn due(&self, grace_period: Span) -> Option<Time> {
        (self.status != "Unknown").then(|| self.heard_at + self.allowed(grace_period))
    }

    /// The conditions of a node whose kubelet has been silent for too long; none if they are right as they are.
    pub(super) fn judge(&mut self, node: &Node, grace_period: Span, now: Time) -> Option<Vec<NodeCondition>> {
        if self.due(grace_period).is_none_or(|due| now < due) {
            return None;
        }
        let posted = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
        let unknown = |type_: &&str| {
            let before = posted.iter().find(|condition| condition.type_ == **type_);
            let (reason, message) = match before {
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
            };
            NodeCondition {
                type_: (*type_).to_owned(),
                status: "Unknown".into(),
                reason: Some(reason.into()),
                message: Some(message.into()),
                last_heartbeat_time: before.and_then(|condition| condition.last_heartbeat_time.clone()),
                last_transition_time: Some(timestamp(now)),
            }
        };
        let is_posted =
            |type_: &&&str| **type_ == "Ready" || posted.iter().any(|condition| condition.type_ == **type_);
        self.status = "Unknown";
        Some(KUBELET_CONDITIONS.iter().filter(is_posted).map(unknown).collect())
    }

    fn allowed(&self, grace_period: Span) -> Span {
        if self.has_reported { grace_period } else { STARTUP_GRACE_PERIOD }
    }
}

fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == "Ready")
}

/// The status of the node's condition Ready: `True`, `False` or `Unknown`. A node that has no such condition yet counts
/// as ready: its kubelet is starting.
pub fn ready_status(node: &Node) -> &'static str {
    match ready_condition(node).map(|condition| condition.status.as_str()) {
        None | Some("True") => "True",
        Some("False") => "False",
        Some(_) => "Unknown",
    }
}

/// Whether the node is ready.
pub fn is_ready(node: &Node) -> bool {
    ready_status(node) == "True"
}
