//! Volumes: which claim is bound to which volume, and from where a volume can be reached.
//!
//! Claims bind by name to volumes that are there, or to volumes made for them by their StorageClass. The data
//! lives under the volume ([`VolumeId`]), not under the claim or pod: a pod that comes back to its claim
//! comes back to its data, and a new claim has none. Left out: capacity of pools, resizing, snapshots.
//! Source: kubernetes.md 1.5 and 1.7, the Kubernetes page "Persistent Volumes".

pub mod attach_detach;
pub mod attachment;
mod available;
mod binding;
mod provision;
#[cfg(test)]
mod tests;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::scheduler::matches_node_selector;
use crate::store::pod_state::{self, is_finished, node_name};
use crate::store::{Grace, Store, StoreError};

pub use available::Available;
pub use binding::bind;
pub use provision::{
    DEFAULT_CLASS_ANNOTATION, Disk, PROTECTION_FINALIZER, VOLUME_PROTECTION_FINALIZER, admit_claim,
    admit_volume, disk_of, install_default_class,
};

use binding::{candidates, is_bound};

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

/// A claim with what decides where its volume can be had, looked up once for all nodes.
pub enum ClaimReach<'a> {
    /// The answer is the same on every node.
    Everywhere(Reach),
    /// It has this volume, or will.
    Volume {
        /// The volume.
        volume: &'a PersistentVolume,
        /// Whether it has it already.
        bound: bool,
    },
    /// It is not bound.
    Unbound {
        /// Its class, if there is one.
        class: Option<&'a StorageClass>,
        /// What it could be bound to.
        available: Vec<std::sync::Arc<PersistentVolume>>,
    },
}

impl<'a> ClaimReach<'a> {
    /// Looks a claim up. `available` is what `store` holds.
    pub fn of(store: &'a Store, available: &Available, namespace: &str, claim: &str) -> ClaimReach<'a> {
        let Some(claim) = store.get::<PersistentVolumeClaim>(namespace, claim) else {
            return ClaimReach::Everywhere(Reach::ClaimMissing);
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return ClaimReach::Everywhere(Reach::ClaimTerminating);
        }
        if let Some(volume) = volume_name(claim) {
            return match store.get::<PersistentVolume>("", volume) {
                Some(volume) => ClaimReach::Volume { volume, bound: is_bound(claim) },
                None => ClaimReach::Everywhere(Reach::OutOfReach),
            };
        }
        let available = candidates(available, claim);
        ClaimReach::Unbound { class: class_of(store, claim), available }
    }

    /// Whether the claim's volume can be had on `node`.
    pub fn on(&self, node: &Node) -> Reach {
        match self {
            ClaimReach::Everywhere(reach) => *reach,
            ClaimReach::Volume { volume, bound } => match (can_reach(volume, node), bound) {
                (true, true) => Reach::Bound,
                (true, false) => Reach::CanBind,
                (false, _) => Reach::OutOfReach,
            },
            ClaimReach::Unbound { available, .. }
                if available.iter().any(|volume| can_reach(volume, node)) =>
            {
                Reach::CanBind
            }
            ClaimReach::Unbound { class: Some(class), .. } if !waits_for_consumer(class) => {
                Reach::UnboundImmediate
            }
            ClaimReach::Unbound { class: Some(class), .. } if provision::can_provision(class, Some(node)) => {
                Reach::CanBind
            }
            ClaimReach::Unbound { .. } => Reach::NothingToBind,
        }
    }
}

/// Whether only one pod at a time may use the claim (ReadWriteOncePod).
pub fn is_for_one_pod(store: &Store, namespace: &str, claim: &str) -> bool {
    let claim = store.get::<PersistentVolumeClaim>(namespace, claim);
    let modes = claim.and_then(|claim| claim.spec.as_ref()?.access_modes.as_deref());
    modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod"))
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

/// How large a volume is, in bytes; `None` if there is no such volume, or it does not say.
pub fn capacity_bytes(store: &Store, volume: &VolumeId) -> Option<u64> {
    let volume = store.get::<PersistentVolume>("", &volume.0)?;
    u64::try_from(binding::capacity(volume) / 1000).ok().filter(|bytes| *bytes > 0)
}

/// Lets every deleted claim go that no pod uses, and every volume that no claim has; the volumes that are gone are
/// returned.
///
/// # Errors
/// If the store refuses.
pub fn reclaim(store: &mut Store, now: Time) -> Result<Vec<VolumeId>, StoreError> {
    let claims: Vec<_> = store.list::<PersistentVolumeClaim>().cloned().collect();
    for claim in claims {
        release_claim(store, namespace_of(&claim), claim.metadata.name.as_deref().unwrap_or(""), now)?;
    }
    let volumes: Vec<_> = store.list::<PersistentVolume>().cloned().collect();
    let mut gone = Vec::new();
    for volume in volumes {
        gone.extend(release_volume(store, volume.metadata.name.as_deref().unwrap_or(""), now)?);
    }
    Ok(gone)
}

/// Lets a deleted claim go if no pod uses it any more (finalizer `kubernetes.io/pvc-protection`).
///
/// # Errors
/// If the store refuses.
pub fn release_claim(store: &mut Store, namespace: &str, name: &str, now: Time) -> Result<(), StoreError> {
    let claim = store.get::<PersistentVolumeClaim>(namespace, name);
    let is_going = claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_some());
    if is_going && !is_used(store, namespace, name) {
        store.patch::<PersistentVolumeClaim>(namespace, name, now, |claim| {
            if let Some(finalizers) = claim.metadata.finalizers.as_mut() {
                finalizers.retain(|finalizer| finalizer != PROTECTION_FINALIZER);
            }
        })?;
    }
    Ok(())
}

/// Deletes a volume whose claim is gone, or marks it Released, by its reclaim policy; a volume that someone deletes goes
/// once no claim has it (finalizer `kubernetes.io/pv-protection`), and no disk is deleted while a machine has it. The
/// volume is returned when it is gone, its data with it.
///
/// # Errors
/// If the store refuses.
pub fn release_volume(store: &mut Store, name: &str, now: Time) -> Result<Option<VolumeId>, StoreError> {
    let Some(volume) = store.get::<PersistentVolume>("", name).cloned() else { return Ok(None) };
    let spec = volume.spec.as_ref();
    let owner = spec.and_then(|spec| spec.claim_ref.as_ref());
    let has_claim = owner.is_some_and(|owner| {
        let namespace = owner.namespace.as_deref().unwrap_or("default");
        let claim = store.get::<PersistentVolumeClaim>(namespace, owner.name.as_deref().unwrap_or(""));
        claim.is_some_and(|claim| owner.uid.is_none() || claim.metadata.uid == owner.uid)
    });
    if has_claim {
        return Ok(None);
    }
    let was_bound = matches!(phase_of(&volume), Some("Bound" | "Released"));
    let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    let is_deleted = volume.metadata.deletion_timestamp.is_some();
    if is_deleted || (was_bound && policy == Some("Delete")) {
        if attachment::is_attached_anywhere(store, name) {
            return set_released(store, name, now);
        }
        if !is_deleted {
            store.delete::<PersistentVolume>("", name, None, Grace::AsDeclared, now)?;
        }
        // Without a finalizer it is gone already.
        let _ = store.patch::<PersistentVolume>("", name, now, |volume| {
            if let Some(finalizers) = volume.metadata.finalizers.as_mut() {
                finalizers.retain(|finalizer| finalizer != VOLUME_PROTECTION_FINALIZER);
            }
        });
        let is_gone = store.get::<PersistentVolume>("", name).is_none();
        return Ok(is_gone.then(|| VolumeId(name.to_owned())));
    }
    if was_bound { set_released(store, name, now) } else { Ok(None) }
}

fn set_released(store: &mut Store, name: &str, now: Time) -> Result<Option<VolumeId>, StoreError> {
    store.patch_status::<PersistentVolume>("", name, now, |volume| {
        volume.status.get_or_insert_default().phase = Some("Released".into());
    })?;
    Ok(None)
}

fn phase_of(volume: &PersistentVolume) -> Option<&str> {
    volume.status.as_ref().and_then(|status| status.phase.as_deref())
}

/// Whether a pod that is bound to a node uses the claim. One that is not bound has not seen it yet, and its controller
/// makes it a new claim (kubernetes.md 1.2, step 1c).
fn is_used(store: &Store, namespace: &str, claim: &str) -> bool {
    store.pods_with_claim(namespace, claim).any(|pod| node_name(pod).is_some() && !is_finished(pod))
}

fn namespace_of(claim: &PersistentVolumeClaim) -> &str {
    claim.metadata.namespace.as_deref().unwrap_or("default")
}

/// The volume a claim is bound to, or asks for by name.
fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether a claim is bound as soon as it is there: its class does not wait for the first pod that uses it.
pub fn binds_at_once(store: &Store, claim: &PersistentVolumeClaim) -> bool {
    !is_bound(claim)
        && (volume_name(claim).is_some() || class_of(store, claim).is_none_or(|it| !waits_for_consumer(it)))
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
