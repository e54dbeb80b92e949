//! The volumes that claims could still be bound to.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

use super::binding::{is_owner, is_released};
use super::namespace_of;
use crate::store::{Action, Store};

/// The free volumes, and the ones that belong to a claim, kept up to date volume by volume.
#[derive(Clone, Debug, Default)]
pub struct Available {
    free: BTreeMap<String, Arc<PersistentVolume>>,
    /// By the namespace and name of the claim they belong to.
    owned: BTreeMap<(String, String), BTreeMap<String, Arc<PersistentVolume>>>,
    /// To which claim each volume belongs.
    owners: BTreeMap<String, (String, String)>,
}

impl Available {
    /// What the store holds.
    pub fn of(store: &Store) -> Self {
        let mut available = Available::default();
        store.list::<PersistentVolume>().for_each(|volume| available.apply(volume, Action::Added));
        available
    }

    /// Takes up a change of a volume.
    pub fn apply(&mut self, volume: &Arc<PersistentVolume>, action: Action) {
        let name = volume.metadata.name.clone().unwrap_or_default();
        self.free.remove(&name);
        if let Some(owner) = self.owners.remove(&name)
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            owned.remove(&name);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
        if action == Action::Deleted || is_released(volume) {
            return;
        }
        match volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) {
            Some(owner) => {
                let namespace = owner.namespace.clone().unwrap_or_else(|| "default".into());
                let owner = (namespace, owner.name.clone().unwrap_or_default());
                self.owned.entry(owner.clone()).or_default().insert(name.clone(), volume.clone());
                self.owners.insert(name, owner);
            }
            None if volume.metadata.deletion_timestamp.is_none() => {
                self.free.insert(name, volume.clone());
            }
            None => {}
        }
    }

    /// The volumes that belong to nobody, by name.
    pub(super) fn free(&self) -> impl Iterator<Item = &Arc<PersistentVolume>> {
        self.free.values()
    }

    /// The volume whose claim reference names this claim.
    pub(super) fn reserved_for(&self, claim: &PersistentVolumeClaim) -> Option<&Arc<PersistentVolume>> {
        let key = (namespace_of(claim).to_owned(), claim.metadata.name.clone().unwrap_or_default());
        self.owned.get(&key)?.values().find(|volume| is_owner(volume, claim))
    }
}
