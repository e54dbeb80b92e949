//! Which pods an affinity term or a spread constraint is about.
//!
//! Source: the Kubernetes pages "Assigning Pods to Nodes" (namespaces, matchLabelKeys, mismatchLabelKeys) and "Pod
//! Topology Spread Constraints".

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Pod, PodAffinityTerm, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use rustc_hash::FxHashMap;

use crate::store::{Labels, Store, matches_selector};

/// The pods of some namespaces that a selector selects.
#[derive(Clone, Debug)]
pub(super) struct Audience {
    namespaces: BTreeSet<String>,
    namespace_selector: Option<LabelSelector>,
    /// None selects nothing.
    selector: Option<LabelSelector>,
}

impl Audience {
    /// Whom an affinity term of `owner` is about.
    pub(super) fn of_term(term: &PodAffinityTerm, owner: &Pod) -> Audience {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace_of(owner).to_owned());
        }
        let mut selector = term.label_selector.clone();
        if let Some(selector) = &mut selector {
            narrow(selector, term.match_label_keys.as_deref(), "In", owner);
            narrow(selector, term.mismatch_label_keys.as_deref(), "NotIn", owner);
        }
        Audience { namespaces, namespace_selector: term.namespace_selector.clone(), selector }
    }

    /// Whom a spread constraint of `owner` counts.
    pub(super) fn of_constraint(constraint: &TopologySpreadConstraint, owner: &Pod) -> Audience {
        let mut selector = constraint.label_selector.clone();
        if let Some(selector) = &mut selector {
            narrow(selector, constraint.match_label_keys.as_deref(), "In", owner);
        }
        let namespaces = [namespace_of(owner).to_owned()].into();
        Audience { namespaces, namespace_selector: None, selector }
    }

    /// Whether the pod is one of them.
    pub(super) fn contains(&self, pod: &Pod, store: &Store) -> bool {
        let Some(selector) = &self.selector else { return false };
        let namespace = namespace_of(pod);
        let in_namespace = self.namespaces.contains(namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                let found = store.get::<Namespace>("", namespace);
                matches_selector(selector, found.and_then(|it| it.metadata.labels.as_ref()))
            });
        in_namespace && matches_selector(selector, pod.metadata.labels.as_ref())
    }

    /// A text that is the same for the same audience.
    pub(super) fn key(&self) -> String {
        let parts = (&self.namespaces, &self.namespace_selector, &self.selector);
        serde_json::to_string(&parts).unwrap_or_default()
    }

    /// A label that each of them has, if the selector asks for one.
    fn pair(&self) -> Option<(&str, &str)> {
        let pairs = self.selector.as_ref()?.match_labels.as_ref()?;
        pairs.iter().next().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Adds the owner's own values of `keys` to a selector; keys the owner has no label for are ignored.
fn narrow(selector: &mut LabelSelector, keys: Option<&[String]>, operator: &str, owner: &Pod) {
    for key in keys.unwrap_or(&[]) {
        if let Some(value) = owner.metadata.labels.as_ref().and_then(|labels| labels.get(key)) {
            selector.match_expressions.get_or_insert_default().push(LabelSelectorRequirement {
                key: key.clone(),
                operator: operator.into(),
                values: Some(vec![value.clone()]),
            });
        }
    }
}

fn namespace_of(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or("default")
}

/// Finds the audiences that a pod may belong to by its labels, without asking each of them.
#[derive(Debug, Default)]
pub(super) struct AudienceIndex {
    by_label: FxHashMap<String, FxHashMap<String, Vec<usize>>>,
    rest: Vec<usize>,
}

impl AudienceIndex {
    /// Adds the audience with number `id`.
    pub(super) fn insert(&mut self, audiences: &[Audience], id: usize) {
        match audiences.iter().find_map(Audience::pair) {
            Some((key, value)) => {
                let values = self.by_label.entry(key.to_owned()).or_default();
                values.entry(value.to_owned()).or_default().push(id);
            }
            None => self.rest.push(id),
        }
    }

    /// The audiences that a pod with these labels may belong to.
    pub(super) fn candidates(&self, labels: Option<&Labels>) -> Vec<usize> {
        let mut found = self.rest.clone();
        for (key, value) in labels.into_iter().flatten() {
            if let Some(ids) = self.by_label.get(key).and_then(|values| values.get(value)) {
                found.extend(ids);
            }
        }
        found
    }
}
