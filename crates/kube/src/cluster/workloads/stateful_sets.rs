//! The StatefulSet controller's queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::{Controller, Name, controllers_of, create_pod, delete_pod, names_of_kind};
use crate::cluster::api::Api;
use crate::controllers::work_queue::Outcome;
use crate::controllers::{RequestFailed, stateful_set};
use crate::manifest::ObjectRef;
use crate::store::{Change, Grace, Kind, Resource, Store, StoreError};
use crate::volumes;

/// The sets, and those of them whose pods the API server refuses.
pub struct StatefulSets {
    refused: BTreeSet<Name>,
}

/// What a pass looks at.
struct Seen {
    set: Arc<StatefulSet>,
    pods: Vec<Arc<Pod>>,
    claims: Vec<Arc<PersistentVolumeClaim>>,
    revisions: Vec<Arc<ControllerRevision>>,
}

impl StatefulSets {
    pub fn new(without_pods: &[ObjectRef]) -> Self {
        StatefulSets { refused: names_of_kind(without_pods, "StatefulSet").into_iter().collect() }
    }
}

impl Controller for StatefulSets {
    const KINDS: &'static [Kind] =
        &[Kind::StatefulSet, Kind::Pod, Kind::PersistentVolumeClaim, Kind::ControllerRevision];

    fn concerned(&mut self, store: &Store, change: &Change) -> Vec<Name> {
        let key = &change.key;
        let mut names = match key.kind {
            Kind::StatefulSet => vec![(key.namespace.clone(), key.name.clone())],
            // A claim does not name its set, nor does a pod without controller: their own names do.
            Kind::PersistentVolumeClaim => sets_in_name(store, key.namespace.as_str(), &key.name),
            Kind::Pod => {
                let set = key.name.rsplit_once('-').map(|(set, _)| (key.namespace.clone(), set.to_owned()));
                set.into_iter().filter(|set| is_set(store, set)).collect()
            }
            _ => Vec::new(),
        };
        names.extend(controllers_of(change, "StatefulSet"));
        names
    }

    fn all(&mut self, store: &Store) -> Vec<Name> {
        store.list::<StatefulSet>().map(|set| super::name_of(&set.metadata)).collect()
    }

    fn pass(&mut self, api: &Api, name: &Name) -> Outcome {
        if self.refused.contains(name) {
            return Outcome::Done;
        }
        let Some(seen) = api.read(|store| see(store, name)) else { return Outcome::Done };
        let now = hopwise_engine::now();
        let view = stateful_set::View {
            set: &seen.set,
            pods: &seen.pods,
            claims: &seen.claims,
            revisions: &seen.revisions,
            gates: stateful_set::Gates::default(),
            now,
        };
        let mut carry_out = |request: stateful_set::Request| {
            carry_out(api, name, request).map_err(|error| RequestFailed(error.to_string()))
        };
        match stateful_set::reconcile_against(&view, &mut carry_out) {
            Err(_) => Outcome::Failed,
            Ok(()) => stateful_set::available_next(&seen.set, &seen.pods, now)
                .map_or(Outcome::Done, Outcome::LookAgain),
        }
    }
}

fn is_set(store: &Store, (namespace, name): &Name) -> bool {
    store.get::<StatefulSet>(namespace, name).is_some()
}

/// The sets that a claim called `TEMPLATE-SET-ORDINAL` may be of: each part of the name may end the template's.
fn sets_in_name(store: &Store, namespace: &str, claim: &str) -> Vec<Name> {
    let Some((rest, _ordinal)) = claim.rsplit_once('-') else { return Vec::new() };
    let starts = rest.match_indices('-').map(|(at, _)| &rest[at + 1..]);
    let names = starts.map(|set| (namespace.to_owned(), set.to_owned()));
    names.filter(|set| is_set(store, set)).collect()
}

fn see(store: &Store, (namespace, name): &Name) -> Option<Seen> {
    let set = store.get::<StatefulSet>(namespace, name)?.clone();
    let uid = set.metadata.uid.as_deref().unwrap_or("");
    let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
    let pods: Vec<Arc<Pod>> = {
        let selected = store.selected::<Pod>(namespace, &selector).into_iter();
        by_name(store.owned_by::<Pod>(uid).chain(selected))
    };
    let claims = stateful_set::claims_of_interest(&set, &pods);
    let claims = claims.iter().filter_map(|claim| store.get::<PersistentVolumeClaim>(namespace, claim));
    let claims = claims.cloned().collect();
    let selected = store.selected::<ControllerRevision>(namespace, &selector).into_iter();
    let revisions = by_name(store.owned_by::<ControllerRevision>(uid).chain(selected));
    Some(Seen { set, pods, claims, revisions })
}

/// Each object once.
fn by_name<'a, T: Resource>(objects: impl Iterator<Item = &'a Arc<T>>) -> Vec<Arc<T>> {
    let named = objects.map(|object| (object.meta().name.as_deref().unwrap_or(""), object));
    named.collect::<BTreeMap<_, _>>().into_values().cloned().collect()
}

fn carry_out(api: &Api, (namespace, set): &Name, request: stateful_set::Request) -> Result<(), StoreError> {
    use stateful_set::Request;
    match request {
        Request::CreateRevision(revision) => api.write(|store, now| store.create(*revision, now)).map(drop),
        Request::UpdateRevision(revision) => api.write(|store, now| store.update(*revision, now)).map(drop),
        Request::DeleteRevision { name } => api
            .write(|store, now| {
                store.delete::<ControllerRevision>(namespace, &name, None, Grace::AsDeclared, now)
            })
            .map(drop),
        Request::CreateClaim(mut claim) => api
            .write(|store, now| {
                volumes::admit_claim(store, &mut claim);
                store.create(*claim, now)
            })
            .map(drop),
        Request::UpdateClaim(claim) => api.write(|store, now| store.update(*claim, now)).map(drop),
        Request::CreatePod(pod) => create_pod(api, *pod),
        Request::UpdatePod(pod) => api.write(|store, now| store.update(*pod, now)).map(drop),
        Request::DeletePod { name, uid } => delete_pod(api, namespace, &name, uid.as_deref()),
        Request::UpdateStatus(status) => api
            .write(|store, now| {
                store.patch_status::<StatefulSet>(namespace, set, now, |set| set.status = Some(*status))
            })
            .map(drop),
    }
}
