//! Volumes: which claim is bound to which volume, and from where a volume can be reached.
//!
//! Claims bind by name to volumes that are there, or to volumes made for them by their StorageClass. The data
//! lives under the volume ([`VolumeId`]), not under the claim or pod: a pod that comes back to its claim
//! comes back to its data, and a new claim has none. Left out: capacity of pools, resizing, snapshots, attach
//! and detach times, read-write-once conflicts.
//! Source: kubernetes.md 1.5 and 1.7, the Kubernetes page "Persistent Volumes".

pub mod attachment;
mod binding;
mod provision;
#[cfg(test)]
mod tests;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::scheduler::matches_node_selector;
use crate::store::pod_state::is_finished;
use crate::store::{Grace, Store, StoreError, pod_state};

pub use binding::bind;
pub use provision::{
    DEFAULT_CLASS_ANNOTATION, Disk, PROTECTION_FINALIZER, admit_claim, disk_of, install_default_class,
};

use binding::{find_available, is_bound};

/// What data lives under: the name of the persistent volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(pub String);

/// Why a claim is not bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The claim does not exist.
    #[error("claim {0} does not exist")]
    NoClaim(String),
    /// The claim is going away; a new one has to be created first.
    #[error("claim {0} is being deleted")]
    Terminating(String),
    /// The claim's class binds when a pod that uses it is scheduled; give the node.
    #[error("claim {0} waits for the first pod that uses it")]
    WaitsForConsumer(String),
    /// The claim's StorageClass does not exist.
    #[error("claim {claim}: StorageClass {class:?} does not exist; create it or name another")]
    NoClass {
        /// The claim.
        claim: String,
        /// The class.
        class: String,
    },
    /// No volume fits and the class makes none.
    #[error("claim {0}: no available volume fits and none can be provisioned")]
    NothingFits(String),
    /// The volume the claim is bound to does not exist.
    #[error("claim {claim}: its volume {volume} does not exist")]
    NoVolume {
        /// The claim.
        claim: String,
        /// The volume.
        volume: String,
    },
    /// The volume the claim asks for belongs to another claim.
    #[error("claim {claim}: volume {volume} belongs to another claim")]
    VolumeTaken {
        /// The claim.
        claim: String,
        /// The volume.
        volume: String,
    },
    /// The store refused a change.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether a claim's volume can be had on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It is bound, and the volume can be reached from the node.
    Bound,
    /// It would be bound when the pod is scheduled there.
    CanBind,
    /// The claim does not exist.
    ClaimMissing,
    /// The claim is going away.
    ClaimTerminating,
    /// It binds at once by its class, but is not bound.
    UnboundImmediate,
    /// It is bound to a volume that cannot be reached from the node, or that is gone.
    OutOfReach,
    /// No volume is there for it on this node, and none can be made.
    NothingToBind,
}

/// The names of the claims that a pod uses.
pub fn claims_of_pod(pod: &Pod) -> Vec<String> {
    pod_state::claim_names(pod)
}

/// Whether a claim's volume can be had on `node`.
pub fn reach(store: &Store, namespace: &str, claim: &str, node: &Node) -> Reach {
    let Some(claim) = store.get::<PersistentVolumeClaim>(namespace, claim) else {
        return Reach::ClaimMissing;
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Reach::ClaimTerminating;
    }
    if let Some(volume) = volume_name(claim) {
        let found = store.get::<PersistentVolume>("", volume);
        return match found.is_some_and(|volume| can_reach(volume, node)) {
            true if is_bound(claim) => Reach::Bound,
            true => Reach::CanBind,
            false => Reach::OutOfReach,
        };
    }
    if find_available(store, claim, Some(node)).is_some() {
        return Reach::CanBind;
    }
    match class_of(store, claim) {
        Some(class) if !waits_for_consumer(class) => Reach::UnboundImmediate,
        Some(class) if provision::can_provision(class, Some(node)) => Reach::CanBind,
        _ => Reach::NothingToBind,
    }
}

/// Whether a volume's node affinity lets it be used on `node`.
pub fn can_reach(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required.as_ref());
    required.is_none_or(|selector| matches_node_selector(selector, node))
}

/// The volume under which the claim's data lives; none while it is not bound.
pub fn volume_of(store: &Store, namespace: &str, claim: &str) -> Option<VolumeId> {
    let claim = store.get::<PersistentVolumeClaim>(namespace, claim)?;
    is_bound(claim).then(|| volume_name(claim).map(|name| VolumeId(name.to_owned())))?
}

/// Lets deleted claims go that no pod uses any more, and then their volumes as their reclaim policy says. The
/// volumes whose data is gone for good are returned. (A claim in use keeps terminating: finalizer
/// `kubernetes.io/pvc-protection`.)
pub fn reclaim(store: &mut Store, now: Time) -> Result<Vec<VolumeId>, StoreError> {
    let unused: Vec<(String, String)> = store
        .list::<PersistentVolumeClaim>()
        .filter(|claim| claim.metadata.deletion_timestamp.is_some())
        .map(|claim| (namespace_of(claim).to_owned(), claim.metadata.name.clone().unwrap_or_default()))
        .filter(|(namespace, name)| !is_used(store, namespace, name))
        .collect();
    for (namespace, name) in unused {
        store.patch::<PersistentVolumeClaim>(&namespace, &name, now, |claim| {
            if let Some(finalizers) = claim.metadata.finalizers.as_mut() {
                finalizers.retain(|finalizer| finalizer != PROTECTION_FINALIZER);
            }
        })?;
    }
    release_volumes(store, now)
}

/// Volumes whose claim is gone are deleted or marked Released, by their reclaim policy.
fn release_volumes(store: &mut Store, now: Time) -> Result<Vec<VolumeId>, StoreError> {
    let orphaned: Vec<(String, bool)> = store
        .list::<PersistentVolume>()
        .filter(|volume| volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound"))
        .filter_map(|volume| {
            let spec = volume.spec.as_ref()?;
            let owner = spec.claim_ref.as_ref()?;
            let (namespace, name) = (owner.namespace.as_deref().unwrap_or("default"), owner.name.as_deref()?);
            let claim = store.get::<PersistentVolumeClaim>(namespace, name);
            let kept = claim.is_some_and(|claim| owner.uid.is_none() || claim.metadata.uid == owner.uid);
            let deletes = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
            (!kept).then(|| Some((volume.metadata.name.clone()?, deletes)))?
        })
        .collect();
    let mut gone = Vec::new();
    for (name, deletes) in orphaned {
        if deletes {
            store.delete::<PersistentVolume>("", &name, None, Grace::Forced, now)?;
            gone.push(VolumeId(name));
        } else {
            store.patch_status::<PersistentVolume>("", &name, now, |volume| {
                volume.status.get_or_insert_default().phase = Some("Released".into());
            })?;
        }
    }
    Ok(gone)
}

fn is_used(store: &Store, namespace: &str, claim: &str) -> bool {
    store.pods_with_claim(namespace, claim).any(|pod| !is_finished(pod))
}

fn namespace_of(claim: &PersistentVolumeClaim) -> &str {
    claim.metadata.namespace.as_deref().unwrap_or("default")
}

/// The volume a claim is bound to, or asks for by name.
fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// The class a claim names; empty means "no class, existing volumes only".
fn class_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or("")
}

fn class_of<'a>(store: &'a Store, claim: &PersistentVolumeClaim) -> Option<&'a StorageClass> {
    store.get::<StorageClass>("", class_name(claim)).map(std::sync::Arc::as_ref)
}

fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}
