//! What a pod's fields say about its state.
//!
//! Source: kubernetes.md 1.2 (healthy, available) and 1.8.

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::time_of;

/// The phase; `Pending` when the status says nothing.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether the pod has ended by itself: phase Failed or Succeeded.
pub fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

/// The node the pod is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty())
}

/// The names of the claims that the pod uses, those of its generic ephemeral volumes included.
pub fn claim_names(pod: &Pod) -> Vec<String> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or("");
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| {
            let named = volume.persistent_volume_claim.as_ref().map(|source| source.claim_name.clone());
            named.or_else(|| volume.ephemeral.as_ref().map(|_| format!("{pod_name}-{}", volume.name)))
        })
        .collect()
}

/// Whether the pod was asked to go.
pub fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The condition of that type.
pub fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition Ready is True.
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Phase Running and condition Ready.
pub fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

/// Running, Ready and not asked to go.
pub fn is_healthy(pod: &Pod) -> bool {
    is_running_and_ready(pod) && !is_terminating(pod)
}

/// Running and Ready for at least `min_ready` without a break.
pub fn is_available(pod: &Pod, min_ready: Span, now: Time) -> bool {
    if !is_running_and_ready(pod) {
        return false;
    }
    if min_ready == Span::ZERO {
        return true;
    }
    let since = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    since.is_some_and(|since| time_of(since) + min_ready <= now)
}

/// When the pod will have been Ready for `min_ready`, if it is Running and Ready and stays so.
pub fn available_at(pod: &Pod, min_ready: Span) -> Option<Time> {
    let since = condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    since.filter(|_| is_running_and_ready(pod)).map(|since| time_of(since) + min_ready)
}

/// The pod's addresses, the first one first.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = pod.status.as_ref() else { return Vec::new() };
    let mut all: Vec<&str> = status.pod_ips.iter().flatten().map(|address| address.ip.as_str()).collect();
    if let Some(first) = status.pod_ip.as_deref()
        && !all.contains(&first)
    {
        all.insert(0, first);
    }
    all.retain(|address| !address.is_empty());
    all
}
