//! The NoSchedule taints that follow from a node's conditions and from its cordon.
//!
//! Source: the Kubernetes page "Taints and Tolerations" (taint nodes by condition).

use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};

use super::Request;
use crate::controllers::pod_admission::{NOT_READY_TAINT, UNREACHABLE_TAINT};
use crate::scheduler::UNSCHEDULABLE_TAINT;

/// The effect of a taint that keeps new pods away.
pub const NO_SCHEDULE: &str = "NoSchedule";
/// The effect of a taint that evicts.
pub const NO_EXECUTE: &str = "NoExecute";
/// The taint by which someone vouches that a machine is off (kubernetes.md 1.6 d).
pub const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";

/// Condition, its status, and the taint that follows.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY_TAINT),
    ("Ready", "Unknown", UNREACHABLE_TAINT),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// What is to change so that the node's NoSchedule taints follow `conditions`, which are newer than the node's own where
/// both have one.
pub(super) fn reconcile(node: &Node, conditions: &[NodeCondition]) -> Option<Request> {
    let own = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    let status = |type_: &str| {
        let mut all = conditions.iter().chain(own);
        all.find(|condition| condition.type_ == type_).map(|condition| condition.status.as_str())
    };
    let spec = node.spec.as_ref();
    let is_cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    let by_condition = BY_CONDITION.iter().map(|(type_, value, key)| (*key, status(type_) == Some(*value)));
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    for (key, wanted) in by_condition.chain([(UNSCHEDULABLE_TAINT, is_cordoned)]) {
        match (wanted, super::has_taint(node, key, NO_SCHEDULE)) {
            (true, false) => {
                add.push(Taint { key: key.into(), effect: NO_SCHEDULE.into(), ..Taint::default() });
            }
            (false, true) => remove.push((key.to_owned(), NO_SCHEDULE.to_owned())),
            _ => {}
        }
    }
    let name = node.metadata.name.clone().unwrap_or_default();
    (!add.is_empty() || !remove.is_empty()).then_some(Request::Taint { node: name, add, remove })
}
