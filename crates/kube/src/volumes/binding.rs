//! Binding a claim to a volume, one to one.

use std::sync::Arc;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};

use super::provision::{can_provision, new_volume, reference};
use super::{
    Available, BindError, VolumeId, can_reach, class_name, class_of, namespace_of, volume_name,
    waits_for_consumer,
};
use crate::scheduler::parse_milli;
use crate::store::{Action, Store, matches_selector};

/// Binds a claim: to the volume it names, to the smallest available volume that fits, or to a new one of its
/// class. `node` is where the pod that uses it is going to run; without a node, classes that wait for their
/// first consumer do not bind. Binding a bound claim changes nothing. `available` is what `store` holds, and is kept so.
pub fn bind(
    store: &mut Store,
    available: &mut Available,
    namespace: &str,
    name: &str,
    node: Option<&Node>,
    now: Time,
) -> Result<VolumeId, BindError> {
    let full_name = format!("{namespace}/{name}");
    let found = store.get::<PersistentVolumeClaim>(namespace, name).cloned();
    let claim = found.ok_or_else(|| BindError::NoClaim(full_name.clone()))?;
    if claim.metadata.deletion_timestamp.is_some() && !is_bound(&claim) {
        return Err(BindError::Terminating(full_name));
    }
    if let Some(volume) = volume_name(&claim) {
        if is_bound(&claim) {
            return Ok(VolumeId(volume.to_owned()));
        }
        let volume = requested_volume(store, &claim, &full_name, volume)?;
        return tie(store, available, &claim, volume, now);
    }
    let class = class_of(store, &claim);
    if class.is_some_and(waits_for_consumer) && node.is_none() && available.reserved_for(&claim).is_none() {
        return Err(BindError::WaitsForConsumer(full_name));
    }
    while let Some(volume) = find_available(available, &claim, node) {
        let volume = volume.metadata.name.clone().unwrap_or_default();
        let stored = store.get::<PersistentVolume>("", &volume);
        if !stored.is_some_and(|it| is_free(it) || (is_owner(it, &claim) && !is_released(it))) {
            // Somebody else has taken it since.
            *available = Available::of(store);
            continue;
        }
        return tie(store, available, &claim, volume, now);
    }
    let Some(class) = class else {
        return Err(match class_name(&claim) {
            "" => BindError::NothingFits(full_name),
            class => BindError::NoClass { claim: full_name, class: class.into() },
        });
    };
    if !can_provision(class, node) {
        return Err(BindError::NothingFits(full_name));
    }
    // Where a local disk lies is only known with the node.
    let volume = new_volume(store, class, &claim, node).ok_or(BindError::WaitsForConsumer(full_name))?;
    let volume = store.create(volume, now)?.metadata.name.clone().unwrap_or_default();
    tie(store, available, &claim, volume, now)
}

/// Whether the claim's phase is Bound.
pub(super) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// The volume for a claim among those that are there: one that was reserved for it, else the smallest that
/// fits, by name.
fn find_available(
    available: &Available,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<Arc<PersistentVolume>> {
    let in_reach = |volume: &Arc<PersistentVolume>| node.is_none_or(|node| can_reach(volume, node));
    let found = candidates(available, claim).into_iter().filter(in_reach);
    found.min_by_key(|volume| (capacity(volume), volume.metadata.name.clone()))
}

/// The volumes that a claim could be bound to: the one that was reserved for it, else all that fit.
pub(super) fn candidates(available: &Available, claim: &PersistentVolumeClaim) -> Vec<Arc<PersistentVolume>> {
    match available.reserved_for(claim) {
        Some(reserved) => vec![reserved.clone()],
        None => available.free().filter(|volume| fits(volume, claim)).cloned().collect(),
    }
}

fn requested_volume(
    store: &Store,
    claim: &PersistentVolumeClaim,
    full_name: &str,
    name: &str,
) -> Result<String, BindError> {
    let (claim_name, volume) = (full_name.to_owned(), name.to_owned());
    match store.get::<PersistentVolume>("", name) {
        None => Err(BindError::NoVolume { claim: claim_name, volume }),
        Some(found) if is_free(found) || (is_owner(found, claim) && !is_released(found)) => Ok(volume),
        Some(_) => Err(BindError::VolumeTaken { claim: claim_name, volume }),
    }
}

/// Writes both ends of the binding.
fn tie(
    store: &mut Store,
    available: &mut Available,
    claim: &PersistentVolumeClaim,
    volume: String,
    now: Time,
) -> Result<VolumeId, BindError> {
    let mut capacity = None;
    let mut access_modes = None;
    let tied = store.patch::<PersistentVolume>("", &volume, now, |bound| {
        let spec = bound.spec.get_or_insert_default();
        spec.claim_ref = Some(reference(claim));
        (capacity, access_modes) = (spec.capacity.clone(), spec.access_modes.clone());
        bound.status.get_or_insert_default().phase = Some("Bound".into());
    })?;
    available.apply(&tied, Action::Modified);
    let name = claim.metadata.name.as_deref().unwrap_or("");
    store.patch::<PersistentVolumeClaim>(namespace_of(claim), name, now, |bound| {
        bound.spec.get_or_insert_default().volume_name = Some(volume.clone());
        let status = bound.status.get_or_insert_default();
        status.phase = Some("Bound".into());
        (status.capacity, status.access_modes) = (capacity, access_modes);
    })?;
    Ok(VolumeId(volume))
}

fn is_free(volume: &PersistentVolume) -> bool {
    let owned = volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_some());
    !owned && !is_released(volume) && volume.metadata.deletion_timestamp.is_none()
}

/// A released volume is not bound again (kubernetes.md 1.5).
pub(super) fn is_released(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Released" | "Failed"))
}

pub(super) fn is_owner(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let owner = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    owner.is_some_and(|owner| {
        owner.name == claim.metadata.name
            && owner.namespace.as_deref().unwrap_or("default") == namespace_of(claim)
            && (owner.uid.is_none() || owner.uid == claim.metadata.uid)
    })
}

/// Class, access modes, volume mode, selector and size.
fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(have), Some(want)) = (volume.spec.as_ref(), claim.spec.as_ref()) else { return false };
    let mode = |mode: &Option<String>| mode.as_deref().unwrap_or("Filesystem").to_owned();
    let modes = have.access_modes.as_deref().unwrap_or(&[]);
    let wanted_size = want.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let wanted_size =
        wanted_size.and_then(|requests| requests.get("storage")).and_then(|size| parse_milli(&size.0));
    have.storage_class_name.as_deref().unwrap_or("") == class_name(claim)
        && mode(&have.volume_mode) == mode(&want.volume_mode)
        && want.access_modes.iter().flatten().all(|mode| modes.contains(mode))
        && want
            .selector
            .as_ref()
            .is_none_or(|selector| matches_selector(selector, volume.metadata.labels.as_ref()))
        && capacity(volume) >= wanted_size.unwrap_or(0)
}

/// The volume's size in thousandths of a byte.
pub(super) fn capacity(volume: &PersistentVolume) -> i128 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    capacity.and_then(|capacity| capacity.get("storage")).and_then(|size| parse_milli(&size.0)).unwrap_or(0)
}
