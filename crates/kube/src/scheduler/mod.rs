//! The scheduler: on which node a pod runs.
//!
//! Filters decide where the pod may run, scores where it runs best; equal scores go to the first node in node
//! order (numbers in names count as numbers), so the pods of a set with anti-affinity land on node 0, 1, 2 in
//! turn. When no node is left, the reasons are counted per node in the scheduler's own words. Left out:
//! preemption, priorities, extended resources' claims, image locality, balanced allocation, and other
//! scheduler profiles.
//! Source: kubernetes.md 2, the Kubernetes pages on scheduling, affinity, taints and topology spread.

mod fit;
mod node_selector;
mod pod_affinity;
mod quantity;
mod reason;
mod score;
mod spread;
mod taints;
#[cfg(test)]
mod tests;
mod volume_fit;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};

use crate::store::pod_state::{is_finished, node_name};
use crate::store::{Labels, Store};

pub use node_selector::{matches_node_selector, matches_node_selector_term};
pub use quantity::{parse_milli, parse_whole};
pub use reason::Reason;

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

/// What the scheduler knows of the cluster.
#[derive(Clone, Debug)]
pub struct ClusterState<'a> {
    store: &'a Store,
    /// The nodes in the order that breaks ties.
    nodes: Vec<NodeState<'a>>,
}

/// A node with the pods that occupy it.
#[derive(Clone, Debug)]
struct NodeState<'a> {
    node: &'a Node,
    /// Pods bound to it that have not ended, terminating ones included (kubernetes.md 2).
    pods: Vec<&'a Pod>,
}

impl NodeState<'_> {
    fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or("")
    }

    /// The value of a label; every node has its name as hostname even if nobody has labelled it.
    fn label(&self, key: &str) -> Option<&str> {
        let labelled =
            self.node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        labelled.or_else(|| (key == HOSTNAME_LABEL).then(|| self.name()))
    }
}

impl<'a> ClusterState<'a> {
    /// The state that the store holds.
    pub fn of(store: &'a Store) -> Self {
        let mut nodes: Vec<NodeState<'a>> = store
            .list::<Node>()
            .map(|node| NodeState { node: Arc::as_ref(node), pods: Vec::new() })
            .collect();
        nodes.sort_by_key(|node| natural_key(node.name()));
        let by_name: std::collections::BTreeMap<String, usize> =
            nodes.iter().enumerate().map(|(index, node)| (node.name().to_owned(), index)).collect();
        for pod in store.list::<Pod>().filter(|pod| !is_finished(pod)) {
            if let Some(index) = node_name(pod).and_then(|name| by_name.get(name)) {
                nodes[*index].pods.push(Arc::as_ref(pod));
            }
        }
        ClusterState { store, nodes }
    }

    fn namespace_labels(&self, name: &str) -> Option<&Labels> {
        self.store.get::<Namespace>("", name).and_then(|namespace| namespace.metadata.labels.as_ref())
    }
}

/// Decides where `pod` goes. Nothing is changed: the caller binds the pod (and its claims).
pub fn schedule(pod: &Pod, state: &ClusterState<'_>) -> Placement {
    let filters = Filters::of(pod, state);
    let mut feasible = Vec::new();
    let mut reasons: std::collections::BTreeMap<Reason, usize> = std::collections::BTreeMap::new();
    for node in &state.nodes {
        match filters.check(node) {
            Ok(()) => feasible.push(node),
            Err(found) => found.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1),
        }
    }
    if feasible.is_empty() {
        return unschedulable(state.nodes.len(), reasons.into_iter().collect());
    }
    let scores = score::of(pod, state, &feasible);
    // The first of the best.
    let best = feasible
        .iter()
        .zip(scores)
        .enumerate()
        .max_by_key(|(index, (_, score))| (*score, std::cmp::Reverse(*index)));
    match best {
        Some((_, (node, _))) => Placement::Bound(node.name().to_owned()),
        None => unschedulable(state.nodes.len(), Vec::new()),
    }
}

/// The filters of one pod, with what they need worked out once for all nodes.
struct Filters<'a> {
    pod: &'a Pod,
    state: &'a ClusterState<'a>,
    affinity: pod_affinity::Required<'a>,
    spread: spread::Required<'a>,
}

impl<'a> Filters<'a> {
    fn of(pod: &'a Pod, state: &'a ClusterState<'a>) -> Self {
        Filters {
            pod,
            state,
            affinity: pod_affinity::Required::of(pod, state),
            spread: spread::Required::of(pod, state),
        }
    }

    /// The first filter that refuses says why, in the order of the real scheduler.
    fn check(&self, node: &NodeState<'_>) -> Result<(), Vec<Reason>> {
        let one = |reason: Reason| vec![reason];
        taints::check(self.pod, node.node).map_err(one)?;
        node_selector::check(self.pod, node).map_err(one)?;
        fit::check_host_ports(self.pod, node).map_err(one)?;
        fit::check_resources(self.pod, node)?;
        volume_fit::check(self.pod, self.state.store, node.node).map_err(one)?;
        self.spread.check(node).map_err(one)?;
        self.affinity.check(node).map_err(one)
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
