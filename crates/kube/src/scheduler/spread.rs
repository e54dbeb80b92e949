//! Topology spread constraints.
//!
//! Source: kubernetes.md 2 (skew, eligible domains, node taints policy; terminating pods do not count), the
//! Kubernetes page "Pod Topology Spread Constraints". A pod without constraints is spread over hosts and
//! zones among the pods of its controller as a matter of preference, which stands for the cluster's default
//! constraints.

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};

use super::audience::Audience;
use super::pod_affinity::totals;
use super::state::{ClusterState, Domains, NodeState, controller_uid};
use super::{HOSTNAME_LABEL, Reason, node_selector, taints};
use crate::controllers::endpoint_slices::ZONE_LABEL;
use crate::store::Store;

/// The constraints that must hold, with the pods counted.
pub(super) struct Required {
    constraints: Vec<Counted>,
}

/// One constraint with the number of matching pods per domain.
struct Counted {
    domains: Domains,
    /// Per domain; none if no node of it is eligible.
    pods: Vec<Option<i64>>,
    /// The least number in any domain.
    least: i64,
    /// 1 if the pod itself counts.
    own: i64,
    max_skew: i64,
}

impl Required {
    pub(super) fn of(pod: &Pod, state: &mut ClusterState, store: &Store) -> Self {
        let hard: Vec<_> =
            constraints(pod).filter(|constraint| constraint.when_unsatisfiable != "ScheduleAnyway").collect();
        let divisions: Vec<Domains> =
            hard.iter().map(|constraint| state.domains(&constraint.topology_key)).collect();
        let count = |constraint: &&TopologySpreadConstraint| {
            let audience = Audience::of_constraint(constraint, pod);
            let own = i64::from(audience.contains(pod, store));
            let domains = state.domains(&constraint.topology_key);
            let counts = state.tally(vec![audience], store).staying.clone();
            let size = domains.iter().flatten().max().map_or(0, |most| most + 1);
            let mut pods = vec![None; size];
            for (index, node) in state.nodes.iter().enumerate() {
                // Nodes without all the keys are not eligible.
                let Some(domain) = domains[index] else { continue };
                if divisions.iter().all(|division| division[index].is_some())
                    && is_eligible(constraint, pod, node)
                {
                    *pods[domain].get_or_insert(0) += i64::from(counts[index]);
                }
            }
            let least_domains = usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1);
            let too_few = pods.iter().flatten().count() < least_domains;
            let least = if too_few { 0 } else { pods.iter().flatten().copied().min().unwrap_or(0) };
            Counted { domains, pods, least, own, max_skew: i64::from(constraint.max_skew) }
        };
        Required { constraints: hard.iter().map(count).collect() }
    }

    pub(super) fn check(&self, node: usize) -> Result<(), Reason> {
        for counted in &self.constraints {
            let Some(domain) = counted.domains[node] else {
                return Err(Reason::TopologySpreadLabelMissing);
            };
            let here = counted.pods[domain].unwrap_or(0);
            if here + counted.own - counted.least > counted.max_skew {
                return Err(Reason::TopologySpread);
            }
        }
        Ok(())
    }
}

/// How many pods each node would have to share its domains with: fewer is better.
pub(super) fn crowding(pod: &Pod, state: &mut ClusterState, store: &Store, nodes: &[usize]) -> Vec<i64> {
    let mut divisions: Vec<(Domains, Vec<u32>)> = Vec::new();
    if constraints(pod).next().is_none() {
        // The pods of the same controller, per host and per zone.
        let siblings = controller_uid(pod).and_then(|uid| state.siblings.get(uid)).cloned();
        if let Some(siblings) = siblings {
            divisions.push((state.domains(HOSTNAME_LABEL), siblings.clone()));
            divisions.push((state.domains(ZONE_LABEL), siblings));
        }
    }
    for constraint in constraints(pod).filter(|it| it.when_unsatisfiable == "ScheduleAnyway") {
        let audience = Audience::of_constraint(constraint, pod);
        let counts = state.tally(vec![audience], store).staying.clone();
        divisions.push((state.domains(&constraint.topology_key), counts));
    }
    let mut sums = vec![0; nodes.len()];
    for (domains, counts) in divisions {
        let totals = totals(&domains, &counts);
        // A node without the label counts as crowded as the fullest.
        let fullest = totals.iter().copied().max().unwrap_or(0);
        for (sum, node) in sums.iter_mut().zip(nodes) {
            *sum += domains[*node].map_or(fullest, |domain| totals[domain]);
        }
    }
    sums
}

fn constraints(pod: &Pod) -> impl Iterator<Item = &TopologySpreadConstraint> {
    pod.spec.iter().flat_map(|spec| spec.topology_spread_constraints.iter().flatten())
}

fn is_eligible(constraint: &TopologySpreadConstraint, pod: &Pod, node: &NodeState) -> bool {
    let by_affinity = constraint.node_affinity_policy.as_deref().unwrap_or("Honor") == "Ignore"
        || node_selector::is_eligible(pod, node);
    let by_taints = constraint.node_taints_policy.as_deref().unwrap_or("Ignore") == "Ignore"
        || taints::untolerated(pod, &node.node).is_none();
    by_affinity && by_taints
}
