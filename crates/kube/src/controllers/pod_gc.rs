//! The pod garbage collector: removes pods that no kubelet will ever finish.
//!
//! Every 20 s it deletes by force: pods of nodes that do not exist, once the node has been missing for 40 s; terminating
//! pods of nodes that are not ready and tainted out of service; terminating pods that were never bound.
//! Left out: the limit of terminated pods (12,500 by default, which no cluster here reaches), and the phase Failed that
//! the real one writes in the instant before the object goes.
//! Source: kubernetes.md 1.6 b and d, 8.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Node, Pod};

use super::node_lifecycle::{OUT_OF_SERVICE_TAINT, is_ready};
use crate::store::pod_state::{is_terminating, node_name};
use crate::store::{Action, Change, Key, Object, Store};

/// How often the collector looks (kubernetes.md 8).
pub const PERIOD: Span = Span::from_secs(20);
/// How long a node has to be missing (kubernetes.md 8).
pub const QUARANTINE: Span = Span::from_secs(40);

/// The collector's memory.
#[derive(Debug, Default)]
pub struct PodGc {
    /// Pods that may have to be collected: terminating ones, and those whose node was missing when they were last seen.
    suspects: BTreeSet<Key>,
    /// Since when a missing node has been known to be missing.
    missing: BTreeMap<String, Time>,
}

impl PodGc {
    /// Takes up a change of a pod or a node that `store` has seen.
    pub fn observe(&mut self, change: &Change, store: &Store) {
        match &change.object {
            Object::Pod(pod) => {
                let is_missing = node_name(pod).is_some_and(|node| store.get::<Node>("", node).is_none());
                if change.action != Action::Deleted && (is_terminating(pod) || is_missing) {
                    self.suspects.insert(change.key.clone());
                } else {
                    self.suspects.remove(&change.key);
                }
            }
            Object::Node(_) if change.action == Action::Deleted => {
                self.suspects.extend(store.pods_on(&change.key.name).map(|pod| Key::of(pod.as_ref())));
            }
            _ => {}
        }
    }

    /// Whether a look is worth while.
    pub fn is_needed(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// One look: the pods to delete by force.
    pub fn sweep(&mut self, store: &Store, now: Time) -> Vec<Key> {
        let mut collected = Vec::new();
        let mut missing = BTreeMap::new();
        let mut cleared = BTreeSet::new();
        for key in &self.suspects {
            let Some(pod) = store.get::<Pod>(&key.namespace, &key.name) else {
                cleared.insert(key.clone());
                continue;
            };
            match node_name(pod) {
                None if is_terminating(pod) => collected.push(key.clone()),
                None => {
                    cleared.insert(key.clone());
                }
                Some(name) => match store.get::<Node>("", name) {
                    Some(node) if is_terminating(pod) => {
                        if is_out_of_service(node) {
                            collected.push(key.clone());
                        }
                    }
                    Some(_) => {
                        cleared.insert(key.clone());
                    }
                    None => {
                        let since = self.missing.get(name).copied().unwrap_or(now);
                        missing.insert(name.to_owned(), since);
                        if now >= since + QUARANTINE {
                            collected.push(key.clone());
                        }
                    }
                },
            }
        }
        self.suspects.retain(|key| !cleared.contains(key));
        self.missing = missing;
        collected
    }
}

/// Whether somebody vouches that the machine is off: the node is not ready and has the taint (kubernetes.md 1.6 d).
pub fn is_out_of_service(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !is_ready(node) && taints.any(|taint| taint.key == OUT_OF_SERVICE_TAINT)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::store::{Cursor, Grace};

    struct World {
        store: Store,
        gc: PodGc,
        cursor: Cursor,
    }

    impl World {
        fn new() -> World {
            let mut world =
                World { store: Store::default(), gc: PodGc::default(), cursor: Cursor::default() };
            world.node("n", json!({}));
            world
        }

        fn node(&mut self, name: &str, status: Value) {
            let node = json!({ "metadata": { "name": name }, "status": status });
            self.store.create(serde_json::from_value::<Node>(node).unwrap(), Time::ZERO).unwrap();
        }

        fn pod(&mut self, name: &str, node: Option<&str>) {
            let spec = json!({ "containers": [], "nodeName": node });
            let metadata =
                json!({ "name": name, "namespace": "ns", "finalizers": node.is_none().then_some(["x"]) });
            let pod = json!({ "metadata": metadata, "spec": spec });
            self.store.create(serde_json::from_value::<Pod>(pod).unwrap(), Time::ZERO).unwrap();
        }

        fn delete(&mut self, name: &str) {
            self.store.delete::<Pod>("ns", name, None, Grace::AsDeclared, Time::ZERO).unwrap();
        }

        /// The pods collected at an instant.
        fn sweep(&mut self, seconds: u64) -> Vec<String> {
            let store = &self.store;
            for change in store.changes_since(self.cursor).unwrap() {
                self.gc.observe(change, store);
            }
            self.cursor = store.cursor();
            let keys = self.gc.sweep(store, Time::ZERO + Span::from_secs(seconds));
            keys.into_iter().map(|key| key.name).collect()
        }
    }

    #[test]
    fn pods_of_a_missing_node_go_after_its_quarantine() {
        let mut world = World::new();
        world.pod("a", Some("n"));
        assert!(world.sweep(0).is_empty());
        assert!(!world.gc.is_needed());
        world.store.remove::<Node>("", "n", None, Time::ZERO).unwrap();
        assert!(world.sweep(20).is_empty());
        assert!(world.sweep(40).is_empty());
        assert_eq!(world.sweep(60), ["a"]);
    }

    #[test]
    fn a_node_that_comes_back_keeps_its_pods() {
        let mut world = World::new();
        world.pod("a", Some("n"));
        world.sweep(0);
        world.store.remove::<Node>("", "n", None, Time::ZERO).unwrap();
        world.sweep(20);
        world.node("n", json!({}));
        assert!(world.sweep(60).is_empty());
        assert!(!world.gc.is_needed());
        world.store.remove::<Node>("", "n", None, Time::ZERO).unwrap();
        assert!(world.sweep(80).is_empty());
        assert!(world.sweep(100).is_empty());
    }

    #[test]
    fn the_out_of_service_taint_ends_terminating_pods_of_a_node_that_is_not_ready() {
        let mut world = World::new();
        let unknown = json!({ "conditions": [{ "type": "Ready", "status": "Unknown" }] });
        world.node("lost", unknown);
        world.pod("marked", Some("lost"));
        world.pod("kept", Some("lost"));
        world.pod("elsewhere", Some("n"));
        world.delete("marked");
        world.delete("elsewhere");
        assert!(world.sweep(0).is_empty());
        for node in ["lost", "n"] {
            let taint = json!([{ "key": OUT_OF_SERVICE_TAINT, "effect": "NoExecute" }]);
            let change = |node: &mut Node| {
                node.spec.get_or_insert_default().taints = Some(serde_json::from_value(taint).unwrap());
            };
            world.store.patch::<Node>("", node, Time::ZERO, change).unwrap();
        }
        assert_eq!(world.sweep(20), ["marked"]);
    }

    #[test]
    fn a_terminating_pod_that_was_never_bound_goes() {
        let mut world = World::new();
        world.pod("a", None);
        world.delete("a");
        assert_eq!(world.sweep(0), ["a"]);
    }
}
