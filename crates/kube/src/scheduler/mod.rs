//! The scheduler: on which node a pod runs.
//!
//! Filters decide where the pod may run, scores where it runs best; equal scores go to the first node in node
//! order (numbers in names count as numbers), so the pods of a set with anti-affinity land on node 0, 1, 2 in
//! turn. When no node is left, the reasons are counted per node in the scheduler's own words. Left out:
//! preemption, priorities, extended resources' claims, image locality, balanced allocation, and other
//! scheduler profiles.
//! Source: kubernetes.md 2, the Kubernetes pages on scheduling, affinity, taints and topology spread.

mod audience;
mod fit;
mod node_selector;
mod pod_affinity;
mod quantity;
mod queue;
mod reason;
mod score;
mod spread;
mod state;
mod taints;
mod tally;
#[cfg(test)]
mod tests;
mod volume_fit;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;

use crate::store::Store;
use state::NodeState;

pub use node_selector::{matches_node_selector, matches_node_selector_term};
pub use quantity::{parse_milli, parse_whole};
pub use queue::{BACK_OFF, BACK_OFF_MAX, FORCED_RETRY, Queue};
pub use reason::Reason;
pub use state::{Cause, ClusterState, News, needs_node};
pub use taints::{UNSCHEDULABLE_TAINT, tolerates, tolerations_of};

/// The label with a node's name.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// Where a pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It runs on this node.
    Bound(String),
    /// It fits nowhere now.
    Unschedulable {
        /// The whole reason in one line, as in the pod's PodScheduled condition.
        message: String,
        /// Why, and on how many nodes.
        reasons: Vec<(Reason, usize)>,
    },
}

impl Placement {
    /// What may help a pod that fits nowhere.
    pub fn helped_by(&self) -> BTreeSet<Cause> {
        match self {
            Placement::Bound(_) => BTreeSet::new(),
            // Without any node, a node.
            Placement::Unschedulable { reasons, .. } if reasons.is_empty() => [Cause::NodeChanged].into(),
            Placement::Unschedulable { reasons, .. } => {
                reasons.iter().flat_map(|(reason, _)| reason.helped_by()).copied().collect()
            }
        }
    }
}

/// Decides where `pod` goes. Nothing is changed but what `state` remembers for the next pod: the caller binds the pod
/// (and its claims). `store` is the one that `state` is about.
pub fn schedule(pod: &Pod, state: &mut ClusterState, store: &Store) -> Placement {
    let filters = Filters::of(pod, state, store);
    let mut feasible = Vec::new();
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
    for (index, node) in state.nodes.iter().enumerate() {
        match filters.check(index, node) {
            Ok(()) => feasible.push(index),
            Err(found) => found.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
    }
    let scores = score::of(&filters.pod, state, store, &feasible);
    // The first of the best.
    let best = feasible
        .iter()
        .zip(scores)
        .enumerate()
        .max_by_key(|(index, (_, score))| (*score, std::cmp::Reverse(*index)));
    match best {
        Some((_, (node, _))) => Placement::Bound(state.nodes[*node].name().to_owned()),
        None => unschedulable(state.nodes.len(), reasons.into_iter().collect()),
    }
}

/// A pod with what is worked out once for all nodes.
struct Candidate<'a> {
    pod: &'a Pod,
    requests: fit::Amounts,
    ports: Vec<fit::HostPort>,
}

/// The filters of one pod, with what they need worked out once for all nodes.
struct Filters<'a> {
    pod: Candidate<'a>,
    volumes: volume_fit::Required<'a>,
    affinity: pod_affinity::Required,
    spread: spread::Required,
}

impl<'a> Filters<'a> {
    fn of(pod: &'a Pod, state: &mut ClusterState, store: &'a Store) -> Self {
        Filters {
            pod: Candidate { pod, requests: fit::requests(pod), ports: fit::host_ports(pod) },
            volumes: volume_fit::Required::of(pod, state, store),
            affinity: pod_affinity::Required::of(pod, state, store),
            spread: spread::Required::of(pod, state, store),
        }
    }

    /// The first filter that refuses says why, in the order of the real scheduler.
    fn check(&self, index: usize, node: &NodeState) -> Result<(), Vec<Reason>> {
        let one = |reason: Reason| vec![reason];
        taints::check(self.pod.pod, &node.node).map_err(one)?;
        node_selector::check(self.pod.pod, node).map_err(one)?;
        fit::check_host_ports(&self.pod, node).map_err(one)?;
        fit::check_resources(&self.pod, node)?;
        self.volumes.check(node).map_err(one)?;
        self.spread.check(index).map_err(one)?;
        self.affinity.check(index).map_err(one)
    }
}

fn unschedulable(nodes: usize, reasons: Vec<(Reason, usize)>) -> Placement {
    let counted = |(reason, count): &(Reason, usize)| match reason.is_about_the_pod() {
        true => reason.to_string(),
        false => format!("{count} {reason}"),
    };
    let mut texts: Vec<String> = reasons.iter().map(counted).collect();
    texts.sort_unstable();
    let message = match texts.is_empty() {
        true => format!("0/{nodes} nodes are available"),
        false => format!("0/{nodes} nodes are available: {}", texts.join(", ")),
    };
    Placement::Unschedulable { message, reasons }
}

/// A sort key in which numbers inside names count as numbers: `node-2` before `node-10`.
pub(crate) fn natural_key(name: &str) -> Vec<(bool, u128, String)> {
    let mut parts: Vec<(bool, u128, String)> = Vec::new();
    for letter in name.chars() {
        let digit = letter.is_ascii_digit();
        match parts.last_mut() {
            Some((is_number, _, text)) if *is_number == digit => text.push(letter),
            _ => parts.push((digit, 0, letter.to_string())),
        }
    }
    for (is_number, number, text) in &mut parts {
        if *is_number {
            *number = text.parse().unwrap_or(u128::MAX);
        }
    }
    parts
}
