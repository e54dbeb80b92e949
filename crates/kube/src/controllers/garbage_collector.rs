//! The garbage collector: what goes when its owners have gone, and what is left behind on purpose.
//!
//! An object whose owners are all gone is deleted; of several owners, references to those that are gone are
//! dropped. Deletion is in the background: the owner goes first, its dependents in no order of their own. An owner
//! that is deleted with the finalizer `orphan` leaves its dependents, without their references to it.
//! Left out: deletion in the foreground, owners of kinds that the store does not hold (they count as there).
//! Source: kubernetes.md 1.3 ("Deleting the set"), 1.5 and 9.14; the Kubernetes page "Garbage Collection".

use hopwise_engine::Time;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::store::{Action, Change, Grace, Key, Kind, Store, StoreError};

/// The finalizer of an owner whose dependents stay.
pub const ORPHAN_FINALIZER: &str = "orphan";

/// Something that the collector asks of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Delete an object.
    Delete {
        /// Which.
        key: Key,
        /// Its UID.
        uid: Option<String>,
    },
    /// Drop an object's references to the owners with these UIDs.
    DropOwners {
        /// Which object.
        key: Key,
        /// The owners' UIDs.
        uids: Vec<String>,
    },
    /// The dependents have been let go: the owner may go.
    RemoveOrphanFinalizer {
        /// The owner.
        key: Key,
    },
}

impl Request {
    /// Carries the request out.
    ///
    /// # Errors
    /// If the object has changed or gone in between; another change tells of that.
    pub fn carry_out(&self, store: &mut Store, now: Time) -> Result<(), StoreError> {
        match self {
            Request::Delete { key, uid } => {
                store.delete_key(key, uid.as_deref(), Grace::AsDeclared, now).map(drop)
            }
            Request::DropOwners { key, uids } => store.patch_meta(key, now, |meta| drop_owners(meta, uids)),
            Request::RemoveOrphanFinalizer { key } => store.patch_meta(key, now, remove_orphan_finalizer),
        }
    }
}

/// What follows from a change.
pub fn follow(store: &Store, change: &Change) -> Vec<Request> {
    let meta = change.object.meta();
    match change.action {
        Action::Deleted => {
            let uid = meta.uid.as_deref().unwrap_or("");
            store.dependents_of(uid).filter_map(|key| examine(store, key)).collect()
        }
        Action::Added => examine(store, &change.key).into_iter().collect(),
        Action::Modified => {
            let before = change.previous.as_ref().map(|object| object.meta());
            if is_orphaning(meta) && !before.is_some_and(is_orphaning) {
                return let_go(store, &change.key, meta);
            }
            let owners_before = before.and_then(|meta| meta.owner_references.as_ref());
            let changed = owners_before != meta.owner_references.as_ref();
            changed.then(|| examine(store, &change.key)).flatten().into_iter().collect()
        }
    }
}

/// Everything that is to be done, for a collector that does not know what has changed.
pub fn sweep<'a>(store: &Store, keys: impl IntoIterator<Item = &'a Key>) -> Vec<Request> {
    keys.into_iter().filter_map(|key| examine(store, key)).collect()
}

/// Whether an object has lost its owners.
fn examine(store: &Store, key: &Key) -> Option<Request> {
    let meta = store.get_key(key)?.meta();
    let owners = meta.owner_references.as_deref().filter(|owners| !owners.is_empty())?;
    let gone = owners.iter().filter(|owner| !is_there(store, &key.namespace, owner));
    let uids: Vec<String> = gone.map(|owner| owner.uid.clone()).collect();
    if uids.is_empty() {
        return None;
    }
    if uids.len() == owners.len() {
        let going = meta.deletion_timestamp.is_some();
        return (!going).then(|| Request::Delete { key: key.clone(), uid: meta.uid.clone() });
    }
    Some(Request::DropOwners { key: key.clone(), uids })
}

fn let_go(store: &Store, owner: &Key, meta: &ObjectMeta) -> Vec<Request> {
    let uid = meta.uid.clone().unwrap_or_default();
    let dependents = store.dependents_of(&uid);
    let dropped = dependents.map(|key| Request::DropOwners { key: key.clone(), uids: vec![uid.clone()] });
    dropped.chain([Request::RemoveOrphanFinalizer { key: owner.clone() }]).collect()
}

/// Makes the deletion of an object leave its dependents.
pub fn add_orphan_finalizer(meta: &mut ObjectMeta) {
    let finalizers = meta.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == ORPHAN_FINALIZER) {
        finalizers.push(ORPHAN_FINALIZER.into());
    }
}

fn remove_orphan_finalizer(meta: &mut ObjectMeta) {
    if let Some(finalizers) = meta.finalizers.as_mut() {
        finalizers.retain(|finalizer| finalizer != ORPHAN_FINALIZER);
    }
}

fn drop_owners(meta: &mut ObjectMeta, uids: &[String]) {
    let Some(owners) = meta.owner_references.as_mut() else { return };
    owners.retain(|owner| !uids.contains(&owner.uid));
    if owners.is_empty() {
        meta.owner_references = None;
    }
}

fn is_orphaning(meta: &ObjectMeta) -> bool {
    let orphan = |finalizer: &String| finalizer == ORPHAN_FINALIZER;
    meta.deletion_timestamp.is_some() && meta.finalizers.iter().flatten().any(orphan)
}

/// Whether an owner is there; one of another UID is another object.
fn is_there(store: &Store, namespace: &str, owner: &OwnerReference) -> bool {
    let Some(kind) = kind_of(owner) else { return true };
    let found = store.get_key(&Key::new(kind, namespace, &owner.name));
    found.is_some_and(|object| object.meta().uid.as_ref() == Some(&owner.uid))
}

fn kind_of(owner: &OwnerReference) -> Option<Kind> {
    let kinds = [
        ("v1", "Pod", Kind::Pod),
        ("v1", "Node", Kind::Node),
        ("v1", "Service", Kind::Service),
        ("v1", "PersistentVolumeClaim", Kind::PersistentVolumeClaim),
        ("apps/v1", "StatefulSet", Kind::StatefulSet),
        ("apps/v1", "Deployment", Kind::Deployment),
    ];
    let found = kinds.iter().find(|(version, kind, _)| *version == owner.api_version && *kind == owner.kind);
    found.map(|(_, _, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Object;
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::Pod;

    fn meta(name: &str, owners: &[&ObjectMeta]) -> ObjectMeta {
        let reference = |owner: &&ObjectMeta| OwnerReference {
            api_version: "apps/v1".into(),
            kind: "StatefulSet".into(),
            name: owner.name.clone().unwrap(),
            uid: owner.uid.clone().unwrap(),
            ..OwnerReference::default()
        };
        ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            owner_references: Some(owners.iter().map(reference).collect()),
            ..ObjectMeta::default()
        }
    }

    fn set(store: &mut Store, name: &str) -> ObjectMeta {
        let set = StatefulSet { metadata: meta(name, &[]), ..StatefulSet::default() };
        store.create(set, Time::ZERO).unwrap().metadata.clone()
    }

    fn pod(store: &mut Store, name: &str, owners: &[&ObjectMeta]) {
        store.create(Pod { metadata: meta(name, owners), ..Pod::default() }, Time::ZERO).unwrap();
    }

    /// Follows all changes until nothing more follows.
    fn collect(store: &mut Store) -> Vec<Request> {
        let (mut cursor, mut all) = (crate::store::Cursor::default(), Vec::new());
        loop {
            let changes: Vec<Change> = store.changes_since(cursor).unwrap().cloned().collect();
            cursor = store.cursor();
            if changes.is_empty() {
                return all;
            }
            for change in changes {
                for request in follow(store, &change) {
                    request.carry_out(store, Time::ZERO).unwrap();
                    all.push(request);
                }
            }
        }
    }

    #[test]
    fn dependents_follow_their_last_owner() {
        let mut store = Store::default();
        let (one, two) = (set(&mut store, "one"), set(&mut store, "two"));
        pod(&mut store, "both", &[&one, &two]);
        pod(&mut store, "only", &[&one]);
        assert!(collect(&mut store).is_empty());
        store.delete::<StatefulSet>("ns", "one", None, Grace::AsDeclared, Time::ZERO).unwrap();
        collect(&mut store);
        assert!(store.get::<Pod>("ns", "only").is_none());
        let left = store.get::<Pod>("ns", "both").unwrap().metadata.owner_references.clone().unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].name, "two");
    }

    #[test]
    fn an_owner_of_the_same_name_is_another_owner() {
        let mut store = Store::default();
        let before = set(&mut store, "one");
        store.delete::<StatefulSet>("ns", "one", None, Grace::AsDeclared, Time::ZERO).unwrap();
        set(&mut store, "one");
        pod(&mut store, "late", &[&before]);
        assert!(matches!(collect(&mut store)[..], [Request::Delete { .. }]));
    }

    #[test]
    fn orphans_stay_without_their_owner() {
        let mut store = Store::default();
        let one = set(&mut store, "one");
        pod(&mut store, "a", &[&one]);
        let key = Key::new(Kind::StatefulSet, "ns", "one");
        store.patch_meta(&key, Time::ZERO, add_orphan_finalizer).unwrap();
        store.delete::<StatefulSet>("ns", "one", None, Grace::AsDeclared, Time::ZERO).unwrap();
        collect(&mut store);
        assert!(store.get_key(&key).is_none());
        let owners = &store.get::<Pod>("ns", "a").unwrap().metadata.owner_references;
        assert_eq!(owners, &None);
    }

    #[test]
    fn owners_of_other_kinds_are_taken_to_be_there() {
        let mut store = Store::default();
        let mut owned = meta("a", &[]);
        owned.owner_references = Some(vec![OwnerReference { kind: "Redpanda".into(), ..Default::default() }]);
        store.create(Pod { metadata: owned, ..Pod::default() }, Time::ZERO).unwrap();
        assert!(collect(&mut store).is_empty());
        assert!(matches!(store.get_key(&Key::new(Kind::Pod, "ns", "a")), Some(Object::Pod(_))));
    }
}
