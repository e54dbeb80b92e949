//! Pod affinity and anti-affinity, required and preferred, in both directions.
//!
//! Source: kubernetes.md 2 (anti-affinity is symmetric; terminating pods count), the Kubernetes page
//! "Assigning Pods to Nodes".

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, WeightedPodAffinityTerm};

use super::{ClusterState, NodeState, Reason};
use crate::store::matches_selector;

/// A topology domain: a label's key and value.
type Domain<'a> = (&'a str, &'a str);

/// The required terms of a pod, and of the pods that are there, worked out into domains.
pub(super) struct Required<'a> {
    affinity: &'a [PodAffinityTerm],
    /// Per affinity term, where a matching pod is.
    wanted: Vec<BTreeSet<Domain<'a>>>,
    /// The first pods of a group that wants to be together may go anywhere.
    starts_group: bool,
    /// Where the pod's own anti-affinity forbids it to go.
    avoided: BTreeSet<Domain<'a>>,
    /// Where other pods' anti-affinity keeps it away.
    repelled: BTreeSet<Domain<'a>>,
}

impl<'a> Required<'a> {
    pub(super) fn of(pod: &'a Pod, state: &'a ClusterState<'a>) -> Self {
        let (affinity, anti) = (required_affinity(pod), required_anti_affinity(pod));
        let mut required = Required {
            affinity,
            wanted: affinity.iter().map(|_| BTreeSet::new()).collect(),
            starts_group: affinity.iter().all(|term| matches(term, pod, pod, state)),
            avoided: BTreeSet::new(),
            repelled: BTreeSet::new(),
        };
        for node in &state.nodes {
            for other in &node.pods {
                for (term, domains) in affinity.iter().zip(&mut required.wanted) {
                    if matches(term, pod, other, state) {
                        domains.extend(domain(node, &term.topology_key));
                    }
                }
                for term in anti.iter().filter(|term| matches(term, pod, other, state)) {
                    required.avoided.extend(domain(node, &term.topology_key));
                }
                for term in required_anti_affinity(other) {
                    if matches(term, other, pod, state) {
                        required.repelled.extend(domain(node, &term.topology_key));
                    }
                }
            }
        }
        required
    }

    pub(super) fn check(&self, node: &NodeState<'_>) -> Result<(), Reason> {
        let none_yet = self.wanted.iter().all(BTreeSet::is_empty);
        for (term, domains) in self.affinity.iter().zip(&self.wanted) {
            let Some(value) = node.label(&term.topology_key) else { return Err(Reason::PodAffinity) };
            let together = domains.contains(&(term.topology_key.as_str(), value));
            let may_start = none_yet && self.starts_group;
            if !together && !may_start {
                return Err(Reason::PodAffinity);
            }
        }
        let is_in = |domains: &BTreeSet<Domain<'_>>| {
            domains.iter().any(|(key, value)| node.label(key) == Some(value))
        };
        if is_in(&self.avoided) {
            return Err(Reason::PodAntiAffinity);
        }
        if is_in(&self.repelled) {
            return Err(Reason::ExistingPodsAntiAffinity);
        }
        Ok(())
    }
}

/// How much the preferred terms, of this pod and of the pods that are there, speak for each node.
pub(super) fn preferences(pod: &Pod, state: &ClusterState<'_>, nodes: &[&NodeState<'_>]) -> Vec<i64> {
    let mut weighted: std::collections::BTreeMap<Domain<'_>, i64> = std::collections::BTreeMap::new();
    for node in &state.nodes {
        for other in &node.pods {
            for (owner, target) in [(pod, *other), (*other, pod)] {
                for (sign, terms) in [(1, preferred_affinity(owner)), (-1, preferred_anti_affinity(owner))] {
                    for weighted_term in terms {
                        let term = &weighted_term.pod_affinity_term;
                        if matches(term, owner, target, state)
                            && let Some(domain) = domain(node, &term.topology_key)
                        {
                            *weighted.entry(domain).or_default() += sign * i64::from(weighted_term.weight);
                        }
                    }
                }
            }
        }
    }
    let sum = |node: &&NodeState<'_>| {
        let here = weighted.iter().filter(|((key, value), _)| node.label(key) == Some(value));
        here.map(|(_, weight)| weight).sum()
    };
    nodes.iter().map(sum).collect()
}

/// Whether `target` is a pod that a term of `owner` is about.
fn matches(term: &PodAffinityTerm, owner: &Pod, target: &Pod, state: &ClusterState<'_>) -> bool {
    let namespace = target.metadata.namespace.as_deref().unwrap_or("default");
    let own = owner.metadata.namespace.as_deref().unwrap_or("default");
    let listed = term.namespaces.as_deref().unwrap_or(&[]);
    let selected = term
        .namespace_selector
        .as_ref()
        .is_some_and(|selector| matches_selector(selector, state.namespace_labels(namespace)));
    let in_namespace = if listed.is_empty() && term.namespace_selector.is_none() {
        namespace == own
    } else {
        selected || listed.iter().any(|listed| listed == namespace)
    };
    let label =
        |pod: &Pod, key: &String| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).cloned();
    let agree = |key: &String| label(owner, key).is_none() || label(owner, key) == label(target, key);
    let differ = |key: &String| label(owner, key).is_none() || label(owner, key) != label(target, key);
    in_namespace
        && term
            .label_selector
            .as_ref()
            .is_some_and(|selector| matches_selector(selector, target.metadata.labels.as_ref()))
        && term.match_label_keys.iter().flatten().all(agree)
        && term.mismatch_label_keys.iter().flatten().all(differ)
}

fn domain<'a>(node: &'a NodeState<'_>, key: &'a str) -> Option<Domain<'a>> {
    Some((key, node.label(key)?))
}

fn affinity_of(pod: &Pod) -> Option<&Affinity> {
    pod.spec.as_ref()?.affinity.as_ref()
}

fn required_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = affinity_of(pod).and_then(|affinity| affinity.pod_affinity.as_ref());
    affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or(&[])
}

fn required_anti_affinity(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = affinity_of(pod).and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or(&[])
}

fn preferred_affinity(pod: &Pod) -> &[WeightedPodAffinityTerm] {
    let affinity = affinity_of(pod).and_then(|affinity| affinity.pod_affinity.as_ref());
    affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref()).unwrap_or(&[])
}

fn preferred_anti_affinity(pod: &Pod) -> &[WeightedPodAffinityTerm] {
    let affinity = affinity_of(pod).and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref()).unwrap_or(&[])
}
