//! Node selectors: nodeSelector, required and preferred node affinity, and the node affinity of volumes.

use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod,
};

use super::Reason;
use super::state::NodeState;
/// Whether a node matches a selector: one of its terms is enough; no term matches nothing.
pub fn matches_node_selector(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| matches_node_selector_term(term, node))
}

/// Whether a node matches every requirement of a term. A term without requirements matches nothing.
pub fn matches_node_selector_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let name = node.metadata.name.as_deref();
    let label = |key: &str| {
        let labelled = labels.and_then(|labels| labels.get(key)).map(String::as_str);
        labelled.or_else(|| name.filter(|_| key == super::HOSTNAME_LABEL))
    };
    let expressions = term.match_expressions.as_deref().unwrap_or(&[]);
    let fields = term.match_fields.as_deref().unwrap_or(&[]);
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|requirement| meets(requirement, label(&requirement.key)))
        && fields.iter().all(|field| field.key == "metadata.name" && meets(field, name))
}

/// Whether the node is one the pod asks for.
pub(super) fn check(pod: &Pod, node: &NodeState) -> Result<(), Reason> {
    if is_eligible(pod, node) { Ok(()) } else { Err(Reason::NodeAffinity) }
}

/// Whether nodeSelector and required node affinity match.
pub(super) fn is_eligible(pod: &Pod, node: &NodeState) -> bool {
    let Some(spec) = pod.spec.as_ref() else { return true };
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| node.label(key) == Some(value)));
    let required = node_affinity(pod)
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| matches_node_selector(selector, &node.node))
}

/// The sum of the weights of the preferred node affinities that match.
pub(super) fn preference(pod: &Pod, node: &NodeState) -> i64 {
    let preferred = node_affinity(pod)
        .and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let matching = preferred.into_iter().flatten().filter(|term| {
        let empty = term.preference.match_expressions.is_none() && term.preference.match_fields.is_none();
        empty || matches_node_selector_term(&term.preference, &node.node)
    });
    matching.map(|term| i64::from(term.weight)).sum()
}

fn node_affinity(pod: &Pod) -> Option<&NodeAffinity> {
    pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or(&[]);
    let listed = |value: &str| values.iter().any(|listed| listed == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = |wanted: std::cmp::Ordering| {
        let limit = values.first().and_then(|text| number(text));
        value.and_then(number).zip(limit).is_some_and(|(value, limit)| value.cmp(&limit) == wanted)
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(std::cmp::Ordering::Greater),
        "Lt" => compared(std::cmp::Ordering::Less),
        _ => false,
    }
}
