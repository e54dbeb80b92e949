//! The store's second orders: by node, by owner, by label, by claim.
//!
//! A controller that is told of one change finds what the change is about here, without a look at every object.
//! Only pods, EndpointSlices and ControllerRevisions are ordered by label: they are what selectors select.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Key, Kind, Labels, Object, Resource, Store, matches_labels, matches_selector, pod_state};

/// Where objects are found by something else than their name.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// By where to look and what for, the names found.
    places: BTreeMap<Place, BTreeSet<Key>>,
}

/// Something that an object can be found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The node that a pod is bound to.
    Node(String),
    /// The UID of an owner.
    Owner(String),
    /// A claim that a pod uses: its namespace and name.
    Claim(String, String),
    /// A label: kind and namespace of the objects, key and value.
    Label(Kind, String, String, String),
}

impl Index {
    /// Takes in that an object has changed, come (`before` is none) or gone (`after` is none).
    pub(super) fn follow(&mut self, key: &Key, before: Option<&Object>, after: Option<&Object>) {
        if let (Some(before), Some(after)) = (before, after)
            && is_found_alike(before, after)
        {
            return;
        }
        let old = before.map(|object| places(key, object)).unwrap_or_default();
        let new = after.map(|object| places(key, object)).unwrap_or_default();
        for place in old.difference(&new) {
            if let Some(keys) = self.places.get_mut(place) {
                keys.remove(key);
                if keys.is_empty() {
                    self.places.remove(place);
                }
            }
        }
        for place in new.difference(&old) {
            self.places.entry(place.clone()).or_default().insert(key.clone());
        }
    }

    fn at<'a>(&'a self, place: &Place) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.places.get(place).into_iter().flatten()
    }

    fn count(&self, place: &Place) -> usize {
        self.places.get(place).map_or(0, BTreeSet::len)
    }
}

impl Store {
    /// The pods bound to a node, by namespace and name.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        self.found::<Pod>(&Place::Node(node.to_owned()))
    }

    /// The pods that use a claim, by name; those that have ended too.
    pub fn pods_with_claim<'a>(
        &'a self,
        namespace: &str,
        claim: &str,
    ) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        self.found::<Pod>(&Place::Claim(namespace.to_owned(), claim.to_owned()))
    }

    /// The keys of the objects that the object with that UID owns.
    pub fn dependents_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.index.at(&Place::Owner(uid.to_owned()))
    }

    /// The objects of a kind that the object with that UID owns.
    pub fn owned_by<'a, T: Resource>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        self.found::<T>(&Place::Owner(uid.to_owned()))
    }

    /// The objects of a kind in a namespace that have all of `labels`, by name. No label matches all.
    pub fn labelled<'a, T: Resource>(&'a self, namespace: &'a str, labels: &Labels) -> Vec<&'a Arc<T>> {
        let has_all = |object: &&Arc<T>| matches_labels(labels, object.meta().labels.as_ref());
        match self.rarest::<T>(namespace, labels) {
            Some(place) => self.found::<T>(&place).filter(has_all).collect(),
            None => self.list_in::<T>(namespace).filter(has_all).collect(),
        }
    }

    /// The objects of a kind in a namespace that a selector selects, by name.
    pub fn selected<'a, T: Resource>(
        &'a self,
        namespace: &'a str,
        selector: &LabelSelector,
    ) -> Vec<&'a Arc<T>> {
        let none = Labels::new();
        let labelled = self.labelled::<T>(namespace, selector.match_labels.as_ref().unwrap_or(&none));
        let selected = labelled.into_iter();
        selected.filter(|object| matches_selector(selector, object.meta().labels.as_ref())).collect()
    }

    /// The label that the fewest objects have.
    fn rarest<T: Resource>(&self, namespace: &str, labels: &Labels) -> Option<Place> {
        if !is_by_label(T::KIND) {
            return None;
        }
        let places = labels
            .iter()
            .map(|(key, value)| Place::Label(T::KIND, namespace.to_owned(), key.clone(), value.clone()));
        places.min_by_key(|place| self.index.count(place))
    }

    fn found<'a, T: Resource>(&'a self, place: &Place) -> impl Iterator<Item = &'a Arc<T>> + use<'a, T> {
        let keys = self.index.at(place).filter(|key| key.kind == T::KIND);
        keys.filter_map(|key| self.objects.get(key).and_then(T::unwrap))
    }
}

fn is_by_label(kind: Kind) -> bool {
    matches!(kind, Kind::Pod | Kind::EndpointSlice | Kind::ControllerRevision)
}

/// Whether nothing has changed that the object is found by. (A pod's volumes never change.)
fn is_found_alike(before: &Object, after: &Object) -> bool {
    let node = |object: &Object| match object {
        Object::Pod(pod) => pod_state::node_name(pod).map(ToOwned::to_owned),
        _ => None,
    };
    let (old, new) = (before.meta(), after.meta());
    old.labels == new.labels
        && old.owner_references == new.owner_references
        && node(before) == node(after)
        && claims(before) == claims(after)
}

fn claims(object: &Object) -> Vec<String> {
    match object {
        Object::Pod(pod) => pod_state::claim_names(pod),
        _ => Vec::new(),
    }
}

fn places(key: &Key, object: &Object) -> BTreeSet<Place> {
    let meta = object.meta();
    let mut places = BTreeSet::new();
    if let Object::Pod(pod) = object {
        places.extend(pod_state::node_name(pod).map(|node| Place::Node(node.to_owned())));
    }
    places.extend(claims(object).into_iter().map(|claim| Place::Claim(key.namespace.clone(), claim)));
    places.extend(meta.owner_references.iter().flatten().map(|owner| Place::Owner(owner.uid.clone())));
    if is_by_label(key.kind) {
        places.extend(
            meta.labels.iter().flatten().map(|(name, value)| {
                Place::Label(key.kind, key.namespace.clone(), name.clone(), value.clone())
            }),
        );
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Grace, Store};
    use hopwise_engine::Time;
    use serde_json::json;

    fn pod(name: &str, labels: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": name, "namespace": "ns", "labels": labels,
                "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u" }] },
            "spec": { "containers": [], "nodeName": "node-0",
                "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": format!("data-{name}") } }] }
        }))
        .unwrap()
    }

    fn names<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> Vec<&'a str> {
        pods.into_iter().map(|pod| pod.metadata.name.as_deref().unwrap()).collect()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn objects_are_found_by_what_they_have_now() {
        let mut store = Store::default();
        for (name, zone) in [("db-0", "a"), ("db-1", "b")] {
            store.create(pod(name, json!({ "app": "db", "zone": zone })), Time::ZERO).unwrap();
        }
        assert_eq!(names(store.pods_on("node-0")), ["db-0", "db-1"]);
        assert_eq!(names(store.owned_by::<Pod>("u")), ["db-0", "db-1"]);
        assert_eq!(names(store.pods_with_claim("ns", "data-db-1")), ["db-1"]);
        assert_eq!(names(store.labelled::<Pod>("ns", &labels(&[("app", "db"), ("zone", "b")]))), ["db-1"]);
        assert_eq!(names(store.labelled::<Pod>("ns", &Labels::new())), ["db-0", "db-1"]);
        assert!(store.labelled::<Pod>("other", &labels(&[("app", "db")])).is_empty());

        let patch = |pod: &mut Pod| {
            pod.metadata.labels = Some(labels(&[("app", "web")]));
            pod.metadata.owner_references = None;
            pod.spec.as_mut().unwrap().node_name = Some("node-1".into());
        };
        store.patch::<Pod>("ns", "db-0", Time::ZERO, patch).unwrap();
        assert_eq!(names(store.pods_on("node-0")), ["db-1"]);
        assert_eq!(names(store.pods_on("node-1")), ["db-0"]);
        assert_eq!(names(store.owned_by::<Pod>("u")), ["db-1"]);
        assert_eq!(names(store.labelled::<Pod>("ns", &labels(&[("app", "web")]))), ["db-0"]);

        store.delete::<Pod>("ns", "db-1", None, Grace::Forced, Time::ZERO).unwrap();
        assert_eq!(store.pods_on("node-0").count(), 0);
        assert_eq!(store.pods_with_claim("ns", "data-db-1").count(), 0);
    }

    #[test]
    fn expressions_narrow_what_labels_find() {
        let mut store = Store::default();
        for (name, zone) in [("a", "x"), ("b", "y")] {
            store.create(pod(name, json!({ "app": "db", "zone": zone })), Time::ZERO).unwrap();
        }
        let selector = serde_json::from_value(json!({
            "matchLabels": { "app": "db" },
            "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["x"] }]
        }));
        assert_eq!(names(store.selected::<Pod>("ns", &selector.unwrap())), ["b"]);
    }
}
