//! The API store: the objects of the cluster, in memory, with versions and an ordered log of changes.
//!
//! It behaves as the Kubernetes API does for the controllers of this crate: optimistic locking by resource
//! version, UIDs that change when an object is created anew, graceful deletion of pods (the object stays
//! until the kubelet confirms), finalizers, and watches (a cursor into the change log). It is a plain data
//! structure: the instant is an argument, nothing runs by itself. Left out: admission, server-side apply
//! and versions of a kind; garbage collection by owner reference is a controller.
//! Source: kubernetes.md 1.3 ("Pod deletion by hand"), 1.5 (claim protection), 1.8 (termination).

mod clock;
mod index;
mod log;
pub mod pod_state;
mod resource;
mod selector;

use std::collections::BTreeMap;
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use clock::{time_of, timestamp};
pub use log::{Action, Change, Cursor, CursorExpired};
pub use resource::{Key, Kind, Object, Resource};
pub use selector::{Labels, matches_labels, matches_selector};

use index::Index;
use log::ChangeLog;

/// How many changes a watch may lie behind by default.
pub const CHANGES_KEPT_DEFAULT: usize = 65_536;

/// What the kubelet is given to stop a pod that does not say otherwise (kubernetes.md 8).
pub const TERMINATION_GRACE_DEFAULT: Span = Span::from_secs(30);

/// The objects of a cluster and the log of their changes.
#[derive(Clone, Debug)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
    index: Index,
    /// The last resource version handed out.
    version: u64,
    /// How many UIDs were handed out.
    uids: u64,
    log: ChangeLog,
}

/// Why a request to the store was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("{0} does not exist")]
    NotFound(Key),
    /// An object of that name is already there.
    #[error("{0} already exists")]
    AlreadyExists(Key),
    /// The object has changed since the caller read it: read it again.
    #[error("{key} has changed: resource version {found}, the request is for {expected}")]
    Conflict {
        /// The object.
        key: Key,
        /// The version the caller had read.
        expected: String,
        /// The version the store holds.
        found: String,
    },
    /// The object of that name is another one than the caller means (it was deleted and created anew).
    #[error("{key} is another object: uid {found}, the request is for {expected}")]
    OtherObject {
        /// The object.
        key: Key,
        /// The UID the caller means.
        expected: String,
        /// The UID of the object in the store.
        found: String,
    },
    /// The object has no name, and no `generateName` either.
    #[error("a {0} without metadata.name and metadata.generateName cannot be created")]
    Nameless(Kind),
}

/// How long a pod may take to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// What the pod says (`terminationGracePeriodSeconds`, 30 s when unset).
    AsDeclared,
    /// This long.
    Within(Span),
    /// Not at all: the object goes at once, whatever the kubelet does (force deletion).
    Forced,
}

/// What a deletion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The object is marked and stays until its kubelet confirms or its finalizers are gone.
    Marked,
    /// The object was marked before; nothing changed.
    AlreadyMarked,
    /// The object is gone.
    Removed,
}

impl Default for Store {
    fn default() -> Self {
        Store::with_changes_kept(CHANGES_KEPT_DEFAULT)
    }
}

impl Store {
    /// An empty store whose watches may lie behind by `changes_kept` changes.
    pub fn with_changes_kept(changes_kept: usize) -> Self {
        Store {
            objects: BTreeMap::new(),
            index: Index::default(),
            version: 0,
            uids: 0,
            log: ChangeLog::new(changes_kept),
        }
    }

    /// The object of that name, if it is there. `namespace` is empty for kinds without one.
    pub fn get<T: Resource>(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.objects.get(&Key::new(T::KIND, namespace, name)).and_then(T::unwrap)
    }

    /// The object under `key`, whatever its kind.
    pub fn get_key(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The keys of all objects.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys()
    }

    /// All objects of a kind, by namespace and name.
    pub fn list<T: Resource>(&self) -> impl Iterator<Item = &Arc<T>> {
        self.list_from::<T>(Key::new(T::KIND, "", "")).filter_map(|(_, object)| T::unwrap(object))
    }

    /// The objects of a kind in one namespace, by name.
    pub fn list_in<'a, T: Resource>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<T>> {
        self.list_from::<T>(Key::new(T::KIND, namespace, ""))
            .take_while(move |(key, _)| key.namespace == namespace)
            .filter_map(|(_, object)| T::unwrap(object))
    }

    fn list_from<T: Resource>(&self, first: Key) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.range(first..).take_while(|(key, _)| key.kind == T::KIND)
    }

    /// Adds an object. It gets a UID, a creation time, generation 1, a resource version, and a name where it
    /// has only `generateName`; a namespaced object without a namespace goes to `default`.
    pub fn create<T: Resource>(&mut self, mut object: T, now: Time) -> Result<Arc<T>, StoreError> {
        self.name_object(&mut object)?;
        let key = Key::of(&object);
        if self.objects.contains_key(&key) {
            return Err(StoreError::AlreadyExists(key));
        }
        self.uids += 1;
        let uid = uid_of(self.uids);
        let meta = object.meta_mut();
        meta.uid = Some(uid);
        meta.creation_timestamp = Some(timestamp(now));
        meta.deletion_timestamp = None;
        meta.generation = Some(1);
        Ok(self.put(key, object, Action::Added, now))
    }

    /// Replaces an object. With a resource version in it, that version must be the stored one; with a UID,
    /// that UID. Replacing an object by its equal changes nothing. An object that is being deleted and has no
    /// finalizers left is removed.
    pub fn update<T: Resource>(&mut self, object: T, now: Time) -> Result<Arc<T>, StoreError> {
        let key = Key::of(&object);
        let stored = self.find::<T>(&key)?;
        check_precondition(&key, object.meta(), stored.meta())?;
        self.replace(key, stored, object, true, now)
    }

    /// Changes an object in place, whatever its version.
    pub fn patch<T: Resource>(
        &mut self,
        namespace: &str,
        name: &str,
        now: Time,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        self.patch_with(Key::new(T::KIND, namespace, name), now, true, change)
    }

    /// Changes an object's status in place; the generation stays as it is.
    pub fn patch_status<T: Resource>(
        &mut self,
        namespace: &str,
        name: &str,
        now: Time,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        self.patch_with(Key::new(T::KIND, namespace, name), now, false, change)
    }

    fn patch_with<T: Resource>(
        &mut self,
        key: Key,
        now: Time,
        specification: bool,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        let stored = self.find::<T>(&key)?;
        let mut object = T::clone(&stored);
        change(&mut object);
        let meta = object.meta_mut();
        meta.name = stored.meta().name.clone();
        meta.namespace = stored.meta().namespace.clone();
        self.replace(key, stored, object, specification, now)
    }

    /// Asks for an object to go. A pod that runs on a node is only marked: [`Store::remove`] ends it. So is
    /// any object with finalizers. `uid`, if given, must be the stored object's.
    pub fn delete<T: Resource>(
        &mut self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        grace: Grace,
        now: Time,
    ) -> Result<Deletion, StoreError> {
        self.delete_key(&Key::new(T::KIND, namespace, name), uid, grace, now)
    }

    /// As [`Store::delete`], of an object of any kind.
    pub fn delete_key(
        &mut self,
        key: &Key,
        uid: Option<&str>,
        grace: Grace,
        now: Time,
    ) -> Result<Deletion, StoreError> {
        let stored = self.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        check_uid(key, uid, stored.meta())?;
        let finalized = stored.meta().finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        let wait = if grace == Grace::Forced { None } else { stored.time_to_stop(grace) };
        if wait.is_none() && !finalized {
            self.take(key, now);
            return Ok(Deletion::Removed);
        }
        if stored.meta().deletion_timestamp.is_some() {
            return Ok(Deletion::AlreadyMarked);
        }
        let wait = wait.unwrap_or(Span::ZERO);
        let marked = stored.edit_meta(|meta| {
            meta.deletion_timestamp = Some(timestamp(now + wait));
            meta.deletion_grace_period_seconds =
                Some(i64::try_from(wait.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX));
        });
        self.put_object(key.clone(), marked, Action::Modified, now);
        Ok(Deletion::Marked)
    }

    /// Changes the metadata of an object of any kind: its labels, owners and finalizers. An object that is being
    /// deleted and has no finalizers left is removed.
    pub fn patch_meta(
        &mut self,
        key: &Key,
        now: Time,
        change: impl FnOnce(&mut ObjectMeta),
    ) -> Result<(), StoreError> {
        let stored = self.objects.get(key).ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let changed = stored.edit_meta(change);
        if changed == *stored {
            return Ok(());
        }
        if loses_last_finalizer(stored.meta(), changed.meta()) {
            self.take(key, now);
        } else {
            self.put_object(key.clone(), changed, Action::Modified, now);
        }
        Ok(())
    }

    /// Takes the object away for good: the kubelet says that the pod has stopped, or it is deleted by force. An object
    /// with finalizers goes when it has lost them.
    pub fn remove<T: Resource>(
        &mut self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        now: Time,
    ) -> Result<Arc<T>, StoreError> {
        let key = Key::new(T::KIND, namespace, name);
        let stored = self.find::<T>(&key)?;
        check_uid(&key, uid, stored.meta())?;
        if stored.meta().finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.take(&key, now);
        } else if stored.meta().deletion_timestamp.is_none() {
            let mark = |meta: &mut ObjectMeta| meta.deletion_timestamp = Some(timestamp(now));
            let marked = T::wrap(stored.clone()).edit_meta(mark);
            self.put_object(key, marked, Action::Modified, now);
        }
        Ok(stored)
    }

    /// Where a watch that has seen everything so far stands.
    pub fn cursor(&self) -> Cursor {
        self.log.end()
    }

    /// The resource version of the oldest change that the log still has.
    pub fn oldest_version(&self) -> Option<u64> {
        self.log.oldest().map(|change| change.version)
    }

    /// The changes after `cursor`, oldest first. After reading them all the watch stands at
    /// [`Store::cursor`]. A watch that lies too far behind is told so: it lists everything again.
    pub fn changes_since(&self, cursor: Cursor) -> Result<impl Iterator<Item = &Change>, CursorExpired> {
        self.log.since(cursor)
    }

    fn find<T: Resource>(&self, key: &Key) -> Result<Arc<T>, StoreError> {
        self.objects.get(key).and_then(T::unwrap).cloned().ok_or_else(|| StoreError::NotFound(key.clone()))
    }

    fn name_object<T: Resource>(&mut self, object: &mut T) -> Result<(), StoreError> {
        let suffix = name_suffix(self.uids + 1);
        let meta = object.meta_mut();
        if meta.name.as_deref().unwrap_or("").is_empty() {
            let prefix = meta.generate_name.as_deref().filter(|prefix| !prefix.is_empty());
            meta.name = Some(format!("{}{suffix}", prefix.ok_or(StoreError::Nameless(T::KIND))?));
        }
        if !T::KIND.is_namespaced() {
            meta.namespace = None;
        } else if meta.namespace.as_deref().unwrap_or("").is_empty() {
            meta.namespace = Some("default".into());
        }
        Ok(())
    }

    fn replace<T: Resource>(
        &mut self,
        key: Key,
        stored: Arc<T>,
        mut object: T,
        specification: bool,
        now: Time,
    ) -> Result<Arc<T>, StoreError> {
        let before = stored.meta();
        let meta = object.meta_mut();
        meta.uid = before.uid.clone();
        meta.creation_timestamp = before.creation_timestamp.clone();
        meta.resource_version = before.resource_version.clone();
        meta.generation = before.generation;
        if object == *stored {
            return Ok(stored);
        }
        let meta = object.meta_mut();
        if specification {
            meta.generation = Some(before.generation.unwrap_or(0) + 1);
        }
        if loses_last_finalizer(before, meta) {
            self.take(&key, now);
            return Ok(Arc::new(object));
        }
        Ok(self.put(key, object, Action::Modified, now))
    }

    fn put<T: Resource>(&mut self, key: Key, mut object: T, action: Action, now: Time) -> Arc<T> {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        let object = Arc::new(object);
        self.record(key, T::wrap(object.clone()), action, now);
        object
    }

    fn put_object(&mut self, key: Key, object: Object, action: Action, now: Time) {
        self.version += 1;
        let version = self.version.to_string();
        let object = object.edit_meta(|meta| meta.resource_version = Some(version));
        self.record(key, object, action, now);
    }

    fn record(&mut self, key: Key, object: Object, action: Action, now: Time) {
        let previous = self.objects.insert(key.clone(), object.clone());
        self.index.follow(&key, previous.as_ref(), Some(&object));
        self.log.push(Change { key, action, object, previous, version: self.version, at: now });
    }

    fn take(&mut self, key: &Key, now: Time) {
        if let Some(object) = self.objects.remove(key) {
            self.index.follow(key, Some(&object), None);
            self.version += 1;
            let previous = Some(object.clone());
            let (key, version) = (key.clone(), self.version);
            self.log.push(Change { key, action: Action::Deleted, object, previous, version, at: now });
        }
    }
}

/// An object that is being deleted goes with its last finalizer.
fn loses_last_finalizer(before: &ObjectMeta, after: &ObjectMeta) -> bool {
    let has = |meta: &ObjectMeta| meta.finalizers.as_ref().is_some_and(|all| !all.is_empty());
    after.deletion_timestamp.is_some() && has(before) && !has(after)
}

fn check_precondition(key: &Key, given: &ObjectMeta, stored: &ObjectMeta) -> Result<(), StoreError> {
    check_uid(key, given.uid.as_deref(), stored)?;
    match (&given.resource_version, &stored.resource_version) {
        (Some(expected), Some(found)) if expected != found => {
            Err(StoreError::Conflict { key: key.clone(), expected: expected.clone(), found: found.clone() })
        }
        _ => Ok(()),
    }
}

fn check_uid(key: &Key, expected: Option<&str>, stored: &ObjectMeta) -> Result<(), StoreError> {
    let found = stored.uid.as_deref().unwrap_or("");
    match expected {
        Some(expected) if expected != found => {
            Err(StoreError::OtherObject { key: key.clone(), expected: expected.into(), found: found.into() })
        }
        _ => Ok(()),
    }
}

/// A UID in the shape of a UUID, from a counter.
fn uid_of(count: u64) -> String {
    format!("00000000-0000-4000-8000-{:012x}", count & 0xffff_ffff_ffff)
}

/// Five characters as the API server appends to `generateName`, from a counter.
fn name_suffix(count: u64) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rest = count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..5)
        .map(|_| {
            let letter = LETTERS[(rest % 27) as usize];
            rest /= 27;
            char::from(letter)
        })
        .collect()
}

#[cfg(test)]
mod tests;
