//! Pod affinity and anti-affinity, required and preferred, in both directions.
//!
//! Source: kubernetes.md 2 (anti-affinity is symmetric; terminating pods count), the Kubernetes page
//! "Assigning Pods to Nodes".

use k8s_openapi::api::core::v1::{Affinity, Pod, PodAffinityTerm, WeightedPodAffinityTerm};

use super::Reason;
use super::audience::Audience;
use super::state::{ClusterState, Domains};
use crate::store::Store;

/// Some domains of one division of the nodes.
struct Chosen {
    domains: Domains,
    /// Whether each domain is one of them, by its number.
    chosen: Vec<bool>,
}

impl Chosen {
    /// The domains of the nodes that have any.
    fn with(domains: Domains, counts: &[u32]) -> Chosen {
        let size = domains.iter().flatten().max().map_or(0, |most| most + 1);
        let mut chosen = vec![false; size];
        for (domain, count) in domains.iter().zip(counts) {
            if let Some(domain) = domain.filter(|_| *count > 0) {
                chosen[domain] = true;
            }
        }
        Chosen { domains, chosen }
    }

    fn contains(&self, node: usize) -> bool {
        self.domains[node].is_some_and(|domain| self.chosen[domain])
    }

    fn is_empty(&self) -> bool {
        !self.chosen.contains(&true)
    }
}

/// The required terms of a pod, and of the pods that are there, worked out into domains.
pub(super) struct Required {
    /// Per affinity term, where the pods are that all the terms are about.
    wanted: Vec<Chosen>,
    /// The first pods of a group that wants to be together may go anywhere.
    may_start: bool,
    /// Where the pod's own anti-affinity forbids it to go.
    avoided: Vec<Chosen>,
    /// Where other pods' anti-affinity keeps it away.
    repelled: Vec<Chosen>,
}

impl Required {
    pub(super) fn of(pod: &Pod, state: &mut ClusterState, store: &Store) -> Self {
        let affinity = required_affinity(pod);
        let mut wanted = Vec::new();
        let mut starts_group = true;
        if !affinity.is_empty() {
            let audiences: Vec<Audience> = affinity.iter().map(|term| Audience::of_term(term, pod)).collect();
            starts_group = audiences.iter().all(|audience| audience.contains(pod, store));
            let counts = state.tally(audiences, store).all.clone();
            let chosen = |term: &PodAffinityTerm| Chosen::with(state.domains(&term.topology_key), &counts);
            wanted = affinity.iter().map(chosen).collect();
        }
        let mut avoided = Vec::new();
        for term in required_anti_affinity(pod) {
            let counts = state.tally(vec![Audience::of_term(term, pod)], store).all.clone();
            avoided.push(Chosen::with(state.domains(&term.topology_key), &counts));
        }
        let held: Vec<(String, Vec<u32>)> = state
            .wishes
            .about(pod, store)
            .filter(|wish| wish.weight.is_none())
            .map(|wish| (wish.topology_key.clone(), wish.holders.clone()))
            .collect();
        let repelled = held.iter().map(|(key, holders)| Chosen::with(state.domains(key), holders)).collect();
        let may_start = starts_group && wanted.iter().all(Chosen::is_empty);
        Required { wanted, may_start, avoided, repelled }
    }

    pub(super) fn check(&self, node: usize) -> Result<(), Reason> {
        for wanted in &self.wanted {
            if wanted.domains[node].is_none() || !(wanted.contains(node) || self.may_start) {
                return Err(Reason::PodAffinity);
            }
        }
        if self.avoided.iter().any(|domains| domains.contains(node)) {
            return Err(Reason::PodAntiAffinity);
        }
        if self.repelled.iter().any(|domains| domains.contains(node)) {
            return Err(Reason::ExistingPodsAntiAffinity);
        }
        Ok(())
    }
}

/// How much the preferred terms, of this pod and of the pods that are there, speak for each node.
pub(super) fn preferences(pod: &Pod, state: &mut ClusterState, store: &Store, nodes: &[usize]) -> Vec<i64> {
    let mut weighted: Vec<(String, i64, Vec<u32>)> = Vec::new();
    for (sign, terms) in [(1, preferred_affinity(pod)), (-1, preferred_anti_affinity(pod))] {
        for WeightedPodAffinityTerm { pod_affinity_term: term, weight } in terms {
            let counts = state.tally(vec![Audience::of_term(term, pod)], store).all.clone();
            weighted.push((term.topology_key.clone(), sign * i64::from(*weight), counts));
        }
    }
    let held = state
        .wishes
        .about(pod, store)
        .filter_map(|wish| Some((wish.topology_key.clone(), wish.weight?, wish.holders.clone())));
    weighted.extend(held);
    let mut sums = vec![0; nodes.len()];
    for (key, weight, counts) in weighted {
        let domains = state.domains(&key);
        let totals = totals(&domains, &counts);
        for (sum, node) in sums.iter_mut().zip(nodes) {
            *sum += weight * domains[*node].map_or(0, |domain| totals[domain]);
        }
    }
    sums
}

/// The sum of the counts in each domain, by its number.
pub(super) fn totals(domains: &Domains, counts: &[u32]) -> Vec<i64> {
    let size = domains.iter().flatten().max().map_or(0, |most| most + 1);
    let mut totals = vec![0; size];
    for (domain, count) in domains.iter().zip(counts) {
        if let Some(domain) = domain {
            totals[*domain] += i64::from(*count);
        }
    }
    totals
}

/// The terms by which a pod speaks about pods that come later: required anti-affinity (no weight), and preferences with
/// their weights, negative for anti-affinity.
pub(super) fn wishes_of(pod: &Pod) -> Vec<(&PodAffinityTerm, Option<i64>)> {
    let never = required_anti_affinity(pod).iter().map(|term| (term, None));
    let weighted = |sign: i64| move |it: &'_ WeightedPodAffinityTerm| sign * i64::from(it.weight);
    let (near, far) = (weighted(1), weighted(-1));
    let near = preferred_affinity(pod).iter().map(|it| (&it.pod_affinity_term, Some(near(it))));
    let far = preferred_anti_affinity(pod).iter().map(|it| (&it.pod_affinity_term, Some(far(it))));
    never.chain(near).chain(far).collect()
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
