//! PodDisruptionBudgets: how many pods may be evicted, and evictions.
//!
//! The disruption controller writes each budget's status from the pods it selects; the eviction API ([`evict`]) takes
//! from the status what it allows. Left out: custom controllers with a scale of their own (only the replicas of
//! StatefulSets and Deployments are known).
//! Source: the Kubernetes page "Specifying a Disruption Budget for your Application" (rounding, unhealthy pods), KEP-3017
//! (unhealthyPodEvictionPolicy), kubernetes.md 1.6 (drain).

mod eviction;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use eviction::{EvictionError, disrupted, evict};

use super::controller_of;
use crate::store::pod_state::{is_finished, is_ready, is_terminating};
use crate::store::{matches_selector, time_of, timestamp};

/// How long an evicted pod counts as gone before it has to be (the Kubernetes API, `status.disruptedPods`).
pub const DELETION_EXPECTED_WITHIN: Span = Span::from_secs(120);

/// What a budget's status follows from.
pub struct View<'a> {
    /// The budget.
    pub budget: &'a PodDisruptionBudget,
    /// The pods of its namespace.
    pub pods: &'a [Arc<Pod>],
    /// The replicas that the controller of that kind and name asks for.
    pub replicas: &'a dyn Fn(&str, &str) -> Option<i32>,
    /// The instant.
    pub now: Time,
}

/// The status that a budget should have, and when to look again at the latest.
pub fn reconcile(view: &View<'_>) -> (PodDisruptionBudgetStatus, Option<Time>) {
    let before = view.budget.status.clone().unwrap_or_default();
    let pods: Vec<&Pod> = view.pods.iter().map(Arc::as_ref).filter(|pod| covers(view.budget, pod)).collect();
    let mut look_again = None;
    let mut disrupted_pods = BTreeMap::new();
    for (name, since) in before.disrupted_pods.iter().flatten() {
        let until = time_of(since) + DELETION_EXPECTED_WITHIN;
        let stays = |pod: &&&Pod| pod.metadata.name.as_ref() == Some(name) && !is_terminating(pod);
        if pods.iter().any(|pod| stays(&pod)) && view.now < until {
            disrupted_pods.insert(name.clone(), since.clone());
            look_again = Some(look_again.map_or(until, |known: Time| known.min(until)));
        }
    }
    let is_healthy = |pod: &&&Pod| {
        let name = pod.metadata.name.as_deref().unwrap_or("");
        is_ready(pod) && !is_terminating(pod) && !disrupted_pods.contains_key(name)
    };
    let current = i32::try_from(pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let (expected, desired) = wanted(view, &pods);
    let allowed = if expected <= 0 { 0 } else { (current - desired).max(0) };
    let status = PodDisruptionBudgetStatus {
        conditions: Some(vec![condition(view, &before, allowed)]),
        current_healthy: Some(current),
        desired_healthy: Some(desired),
        disrupted_pods: (!disrupted_pods.is_empty()).then_some(disrupted_pods),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        observed_generation: view.budget.metadata.generation,
    };
    (status, look_again)
}

/// Whether the pod is one that the budget is about. The empty selector selects every pod, none selects none.
pub fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    budget.metadata.namespace == pod.metadata.namespace
        && !is_finished(pod)
        && selector.is_some_and(|selector| matches_selector(selector, pod.metadata.labels.as_ref()))
}

/// How many pods there should be, and how many of them healthy.
fn wanted(view: &View<'_>, pods: &[&Pod]) -> (i32, i32) {
    let Some(spec) = view.budget.spec.as_ref() else { return (0, 0) };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = declared(view, pods);
            (expected, (expected - scaled(most, expected)).max(0))
        }
        (None, Some(IntOrString::Int(least))) => {
            (i32::try_from(pods.len()).unwrap_or(i32::MAX), (*least).max(0))
        }
        (None, Some(percent)) => {
            let expected = declared(view, pods);
            (expected, scaled(percent, expected))
        }
        // The API server's default.
        (None, None) => (i32::try_from(pods.len()).unwrap_or(i32::MAX), 1),
    }
}

/// The replicas that the pods' controllers ask for. Pods without a controller do not count.
fn declared(view: &View<'_>, pods: &[&Pod]) -> i32 {
    let controllers: BTreeSet<(&str, &str)> = pods
        .iter()
        .filter_map(|pod| controller_of(&pod.metadata))
        .map(|owner| (owner.kind.as_str(), owner.name.as_str()))
        .collect();
    controllers
        .into_iter()
        .filter_map(|(kind, name)| (view.replicas)(kind, name))
        .fold(0, i32::saturating_add)
}

/// A number, or a share of `total` rounded up.
fn scaled(value: &IntOrString, total: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let share = (i64::from(total) * percent.max(0) + 99) / 100;
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

fn condition(view: &View<'_>, before: &PodDisruptionBudgetStatus, allowed: i32) -> Condition {
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let known = before.conditions.iter().flatten().find(|it| it.type_ == "DisruptionAllowed");
    let since = known.filter(|it| it.status == status).map(|it| it.last_transition_time.clone());
    Condition {
        type_: "DisruptionAllowed".into(),
        status: status.into(),
        reason: reason.into(),
        message: String::new(),
        observed_generation: view.budget.metadata.generation,
        last_transition_time: since.unwrap_or_else(|| timestamp(view.now)),
    }
}
