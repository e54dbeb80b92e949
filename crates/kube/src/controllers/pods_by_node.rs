//! The pods of each node, kept up to date change by change.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::pod_state::node_name;
use crate::store::{Action, Change, Key, Object};

/// The pods of each node.
#[derive(Debug, Default)]
pub struct PodsByNode {
    by_node: BTreeMap<String, BTreeSet<Key>>,
    nodes: BTreeMap<Key, String>,
}

impl PodsByNode {
    /// Takes up a change; changes of other kinds than pods are ignored.
    pub fn observe(&mut self, change: &Change) {
        let Object::Pod(pod) = &change.object else { return };
        let node = node_name(pod).filter(|_| change.action != Action::Deleted);
        if self.nodes.get(&change.key).map(String::as_str) == node {
            return;
        }
        if let Some(before) = self.nodes.remove(&change.key)
            && let Some(pods) = self.by_node.get_mut(&before)
        {
            pods.remove(&change.key);
            if pods.is_empty() {
                self.by_node.remove(&before);
            }
        }
        if let Some(node) = node {
            self.nodes.insert(change.key.clone(), node.to_owned());
            self.by_node.entry(node.to_owned()).or_default().insert(change.key.clone());
        }
    }

    /// The pods that are bound to a node.
    pub fn on(&self, node: &str) -> impl Iterator<Item = &Key> {
        self.by_node.get(node).into_iter().flatten()
    }
}
