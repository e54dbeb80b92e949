//! Topology spread constraints.
//!
//! Source: kubernetes.md 2 (skew, eligible domains, node taints policy; terminating pods do not count), the
//! Kubernetes page "Pod Topology Spread Constraints". A pod without constraints is spread over hosts and
//! zones among the pods of its controller as a matter of preference, which stands for the cluster's default
//! constraints.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};

use super::{ClusterState, HOSTNAME_LABEL, NodeState, Reason, node_selector, taints};
use crate::controllers::endpoint_slices::ZONE_LABEL;
use crate::store::matches_selector;
use crate::store::pod_state::is_terminating;

/// The constraints that must hold, with the pods counted.
pub(super) struct Required<'a> {
    constraints: Vec<Counted<'a>>,
}

/// One constraint with the number of matching pods per domain.
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    domains: BTreeMap<&'a str, i64>,
    /// 1 if the pod itself counts.
    own: i64,
}

impl<'a> Required<'a> {
    pub(super) fn of(pod: &'a Pod, state: &'a ClusterState<'a>) -> Self {
        let hard: Vec<_> =
            constraints(pod).filter(|constraint| constraint.when_unsatisfiable != "ScheduleAnyway").collect();
        let keys: Vec<&str> = hard.iter().map(|constraint| constraint.topology_key.as_str()).collect();
        let count = |constraint: &&'a TopologySpreadConstraint| {
            let mut domains = BTreeMap::new();
            // Nodes without all the keys are not eligible.
            for node in state.nodes.iter().filter(|node| keys.iter().all(|key| node.label(key).is_some())) {
                if is_eligible(constraint, pod, node)
                    && let Some(value) = node.label(&constraint.topology_key)
                {
                    *domains.entry(value).or_default() += matching(constraint, pod, node);
                }
            }
            Counted { constraint, domains, own: i64::from(counts(constraint, pod, pod)) }
        };
        Required { constraints: hard.iter().map(count).collect() }
    }

    pub(super) fn check(&self, node: &NodeState<'_>) -> Result<(), Reason> {
        for counted in &self.constraints {
            let Some(value) = node.label(&counted.constraint.topology_key) else {
                return Err(Reason::TopologySpreadLabelMissing);
            };
            let least_domains = usize::try_from(counted.constraint.min_domains.unwrap_or(1)).unwrap_or(1);
            let too_few = counted.domains.len() < least_domains;
            let least = if too_few { 0 } else { counted.domains.values().copied().min().unwrap_or(0) };
            let here = counted.domains.get(value).copied().unwrap_or(0);
            if here + counted.own - least > i64::from(counted.constraint.max_skew) {
                return Err(Reason::TopologySpread);
            }
        }
        Ok(())
    }
}

/// How many pods each node would have to share its domains with: fewer is better.
pub(super) fn crowding(pod: &Pod, state: &ClusterState<'_>, nodes: &[&NodeState<'_>]) -> Vec<i64> {
    if constraints(pod).next().is_none() {
        return crowding_by_controller(pod, state, nodes);
    }
    let soft: Vec<_> =
        constraints(pod).filter(|constraint| constraint.when_unsatisfiable == "ScheduleAnyway").collect();
    crowding_by(
        state,
        nodes,
        soft.iter().map(|c| c.topology_key.as_str()).zip(soft.iter()),
        |constraint, node| matching(constraint, pod, node),
    )
}

/// Without constraints: the pods of the same controller, per zone and per host.
fn crowding_by_controller(pod: &Pod, state: &ClusterState<'_>, nodes: &[&NodeState<'_>]) -> Vec<i64> {
    let controller = |pod: &Pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
    };
    let Some(own) = controller(pod) else { return vec![0; nodes.len()] };
    let keys = [HOSTNAME_LABEL, ZONE_LABEL].map(|key| (key, ()));
    crowding_by(state, nodes, keys, |(), node| {
        let siblings = node
            .pods
            .iter()
            .filter(|other| !is_terminating(other) && controller(other).as_ref() == Some(&own));
        i64::try_from(siblings.count()).unwrap_or(i64::MAX)
    })
}

/// Sums, over several ways to divide the nodes into domains, what `count` finds in each node's domain. A node
/// without the label counts as crowded as the fullest.
fn crowding_by<'a, C>(
    state: &ClusterState<'_>,
    nodes: &[&NodeState<'_>],
    divisions: impl IntoIterator<Item = (&'a str, C)>,
    count: impl Fn(&C, &NodeState<'_>) -> i64,
) -> Vec<i64> {
    let mut sums = vec![0; nodes.len()];
    for (key, division) in divisions {
        let mut domains: BTreeMap<&str, i64> = BTreeMap::new();
        for node in &state.nodes {
            if let Some(value) = node.label(key) {
                *domains.entry(value).or_default() += count(&division, node);
            }
        }
        let fullest = domains.values().copied().max().unwrap_or(0);
        for (sum, node) in sums.iter_mut().zip(nodes) {
            *sum += node.label(key).and_then(|value| domains.get(value).copied()).unwrap_or(fullest);
        }
    }
    sums
}

fn constraints(pod: &Pod) -> impl Iterator<Item = &TopologySpreadConstraint> {
    pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten())
}

fn is_eligible(constraint: &TopologySpreadConstraint, pod: &Pod, node: &NodeState<'_>) -> bool {
    let by_affinity = constraint.node_affinity_policy.as_deref().unwrap_or("Honor") == "Ignore"
        || node_selector::is_eligible(pod, node);
    let by_taints = constraint.node_taints_policy.as_deref().unwrap_or("Ignore") == "Ignore"
        || taints::untolerated(pod, node.node).is_none();
    by_affinity && by_taints
}

/// How many pods of the node count for the constraint; terminating ones do not.
fn matching(constraint: &TopologySpreadConstraint, pod: &Pod, node: &NodeState<'_>) -> i64 {
    let counted = node.pods.iter().filter(|other| !is_terminating(other) && counts(constraint, pod, other));
    i64::try_from(counted.count()).unwrap_or(i64::MAX)
}

fn counts(constraint: &TopologySpreadConstraint, pod: &Pod, other: &Pod) -> bool {
    let label =
        |pod: &Pod, key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let agree = |key: &String| label(pod, key).is_none() || label(pod, key) == label(other, key);
    let selector = constraint.label_selector.as_ref();
    pod.metadata.namespace == other.metadata.namespace
        && selector.is_some_and(|selector| matches_selector(selector, other.metadata.labels.as_ref()))
        && constraint.match_label_keys.iter().flatten().all(agree)
}
