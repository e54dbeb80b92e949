//! Cordoned nodes, taints and tolerations.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use super::Reason;

/// The taint that a cordoned node has; a pod may tolerate it.
pub const UNSCHEDULABLE_TAINT: &str = "node.kubernetes.io/unschedulable";

pub(super) fn check(pod: &Pod, node: &Node) -> Result<(), Reason> {
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        let cordon =
            Taint { key: UNSCHEDULABLE_TAINT.into(), effect: "NoSchedule".into(), ..Default::default() };
        if !tolerates(pod, &cordon) {
            return Err(Reason::NodeUnschedulable);
        }
    }
    match untolerated(pod, node) {
        Some(taint) => Err(Reason::UntoleratedTaint {
            key: taint.key.clone(),
            value: taint.value.clone().unwrap_or_default(),
        }),
        None => Ok(()),
    }
}

/// The first taint that keeps the pod away.
pub(super) fn untolerated<'a>(pod: &Pod, node: &'a Node) -> Option<&'a Taint> {
    let taints = node.spec.as_ref()?.taints.iter().flatten();
    // The cordon's own taint follows the field, which tells it better.
    let mut hard = taints.filter(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && taint.key != UNSCHEDULABLE_TAINT
    });
    hard.find(|taint| !tolerates(pod, taint))
}

/// How many taints would rather keep the pod away (PreferNoSchedule).
pub(super) fn unwelcome(pod: &Pod, node: &Node) -> usize {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "PreferNoSchedule" && !tolerates(pod, taint)).count()
}

/// Whether the pod tolerates the taint, for however long.
pub fn tolerates(pod: &Pod, taint: &Taint) -> bool {
    tolerations_of(pod, taint).next().is_some()
}

/// The pod's tolerations that cover the taint.
pub fn tolerations_of<'a>(pod: &'a Pod, taint: &'a Taint) -> impl Iterator<Item = &'a Toleration> {
    let covers = move |toleration: &&Toleration| {
        let key = toleration.key.as_deref().unwrap_or("");
        let effect = toleration.effect.as_deref().unwrap_or("");
        let same_value = || toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("");
        let operator = toleration.operator.as_deref().unwrap_or("Equal");
        (effect.is_empty() || effect == taint.effect)
            && match operator {
                "Exists" => key.is_empty() || key == taint.key,
                _ => key == taint.key && same_value(),
            }
    };
    pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).filter(covers)
}
