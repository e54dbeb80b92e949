//! How well a pod would do on each of the nodes it fits on.
//!
//! Each score is brought to 0..=100 over the feasible nodes and weighted as in the real scheduler (taints 3,
//! affinities and spread 2, free resources 1).

use super::state::{ClusterState, NodeState};
use super::{Candidate, node_selector, pod_affinity, spread, taints};
use crate::store::Store;

/// The scores of the feasible nodes, in their order.
pub(super) fn of(
    candidate: &Candidate<'_>,
    state: &mut ClusterState,
    store: &Store,
    nodes: &[usize],
) -> Vec<i64> {
    let pod = candidate.pod;
    let crowding = spread::crowding(pod, state, store, nodes).into_iter().map(|pods| -pods).collect();
    let preferences = pod_affinity::preferences(pod, state, store, nodes);
    let each = |score: &dyn Fn(&NodeState) -> i64| -> Vec<i64> {
        nodes.iter().map(|node| score(&state.nodes[*node])).collect()
    };
    let unwelcome = each(&|node| -i64::try_from(taints::unwelcome(pod, &node.node)).unwrap_or(i64::MAX));
    let weighted = [
        (3, scaled(unwelcome)),
        (2, scaled(each(&|node| node_selector::preference(pod, node)))),
        (2, scaled(preferences)),
        (2, scaled(crowding)),
        (1, each(&|node| free(candidate, node))),
    ];
    (0..nodes.len())
        .map(|index| weighted.iter().map(|(weight, scores)| weight * scores[index]).sum())
        .collect()
}

/// From 0 for the worst to 100 for the best; 100 for all when they are equal.
fn scaled(scores: Vec<i64>) -> Vec<i64> {
    let (least, most) =
        (scores.iter().min().copied().unwrap_or(0), scores.iter().max().copied().unwrap_or(0));
    if least == most {
        return vec![100; scores.len()];
    }
    scores.iter().map(|score| (score - least) * 100 / (most - least)).collect()
}

/// The share of CPU and memory that would be left, in percent (LeastAllocated); 0 where the node does not say
/// what it has.
fn free(candidate: &Candidate<'_>, node: &NodeState) -> i64 {
    let share = |resource: &str| {
        let all = node.allocatable.get(resource).copied().filter(|all| *all > 0)?;
        let own = *candidate.requests.get(resource).unwrap_or(&0);
        let taken = node.used.get(resource).unwrap_or(&0).saturating_add(own);
        i64::try_from((all - taken).max(0) * 100 / all).ok()
    };
    let shares: Vec<i64> = ["cpu", "memory"].into_iter().filter_map(share).collect();
    if shares.is_empty() { 0 } else { shares.iter().sum::<i64>() / shares.len() as i64 }
}
