//! One pass over the set's pods: the steps of kubernetes.md 1.2, in their order.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::claims::{Claims, by_name, claims_of, claims_to_reown, find, must_wait, names_of};
use super::identity::{
    self, Membership, has_identity, membership, new_pod, ordinal_of, pod_name, put_identity_right, set_name,
};
use super::revision::Revisions;
use super::{
    Request, Requests, View, is_ordered, min_ready, replicas_wanted, rolling_partition, start_ordinal,
};
use crate::controllers::{RequestFailed, controller_reference};
use crate::store::pod_state::{
    is_available, is_finished, is_healthy, is_running_and_ready, is_terminating, phase,
};

/// The largest batch of requests that Parallel makes at once.
const BATCH_MAX: usize = 500;

/// A place for a pod, as the pass leaves it.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub ordinal: u64,
    /// The pod as it is, or as it is going to be created.
    pub pod: Arc<Pod>,
    /// Whether the pod exists.
    pub created: bool,
    /// Whether the pod was asked to go, before or in this pass.
    pub terminating: bool,
}

impl Slot {
    fn existing(ordinal: u64, pod: Arc<Pod>) -> Self {
        let terminating = is_terminating(&pod);
        Slot { ordinal, pod, created: true, terminating }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.created && !self.terminating && is_healthy(&self.pod)
    }

    pub(super) fn is_available(&self, view: &View<'_>) -> bool {
        self.created && is_available(&self.pod, min_ready(view.set), view.now)
    }

    pub(super) fn revision(&self) -> &str {
        identity::revision_of(&self.pod)
    }
}

type Api<'a> = &'a mut dyn Requests;

/// Whether the pass goes on to the next slot or stage.
type Step = Result<ControlFlow<()>, RequestFailed>;

/// The state of a pass.
pub(super) struct Pass<'a> {
    pub view: &'a View<'a>,
    pub revisions: &'a Revisions,
    /// The slots of the set's ordinals, ascending.
    pub replicas: Vec<Slot>,
    /// Pods outside the set's ordinals, descending.
    pub condemned: Vec<Slot>,
    claims: Claims<'a>,
    pub(super) api: Api<'a>,
}

impl<'a> Pass<'a> {
    /// Sorts the pods into slots, adopting orphans and releasing strays.
    pub(super) fn new(
        view: &'a View<'a>,
        revisions: &'a Revisions,
        api: Api<'a>,
    ) -> Result<Self, RequestFailed> {
        let first = start_ordinal(view.set);
        let mut replicas: Vec<Option<Slot>> = vec![None; replicas_wanted(view.set)];
        let mut condemned = Vec::new();
        for pod in view.pods {
            let Some(pod) = claim_pod(view, pod, api)? else { continue };
            let name = pod.metadata.name.as_deref().unwrap_or("");
            let Some(ordinal) = ordinal_of(set_name(view.set), name) else { continue };
            let slot = Slot::existing(ordinal, pod);
            let index = ordinal.checked_sub(first).and_then(|index| usize::try_from(index).ok());
            match index.and_then(|index| replicas.get_mut(index)) {
                Some(place) => *place = Some(slot),
                None => condemned.push(slot),
            }
        }
        condemned.sort_by_key(|slot| std::cmp::Reverse(slot.ordinal));
        let replicas = (first..).zip(replicas).map(|(ordinal, slot)| {
            slot.unwrap_or_else(|| Slot {
                ordinal,
                pod: Arc::new(pod_to_create(view, revisions, ordinal)),
                created: false,
                terminating: false,
            })
        });
        let replicas = replicas.collect();
        Ok(Pass { view, revisions, replicas, condemned, claims: by_name(view), api })
    }

    /// Steps 1 to 4.
    pub(super) fn run(&mut self) -> Result<(), RequestFailed> {
        let ordered = is_ordered(self.view.set);
        let first_unhealthy = self.first_unhealthy();
        let count = self.replicas.len();
        if self.for_all(count, ordered, |pass, index| pass.process_replica(index, ordered))?.is_break() {
            return Ok(());
        }
        self.put_condemned_claims_right()?;
        let count = self.condemned.len();
        let condemn = |pass: &mut Self, index| pass.process_condemned(index, ordered, first_unhealthy);
        if self.for_all(count, ordered, condemn)?.is_break() {
            return Ok(());
        }
        self.update_pods()
    }

    /// The names of the revisions that must be kept.
    pub(super) fn revisions_in_use(&self) -> BTreeSet<String> {
        let pods = self.replicas.iter().chain(&self.condemned).filter(|slot| slot.created);
        pods.map(|slot| slot.revision().to_owned())
            .chain([self.revisions.current.name.clone(), self.revisions.update.name.clone()])
            .collect()
    }

    /// Asks for the slot's pod to go.
    pub(super) fn delete(api: Api<'_>, slot: &mut Slot) -> Result<(), RequestFailed> {
        let name = slot.pod.metadata.name.clone().unwrap_or_default();
        api.make(Request::DeletePod { name, uid: slot.pod.metadata.uid.clone() })?;
        slot.terminating = true;
        Ok(())
    }

    /// OrderedReady: one slot after the other, stopping where a step says so. Parallel: batches of 1, 2, 4,
    /// ... requests; within a batch every slot is tried, and an error ends the pass after its batch.
    fn for_all(
        &mut self,
        count: usize,
        ordered: bool,
        mut step: impl FnMut(&mut Self, usize) -> Step,
    ) -> Step {
        if ordered {
            for index in 0..count {
                if step(self, index)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        }
        let (mut next, mut batch) = (0, 1);
        while next < count {
            let end = (next + batch).min(count);
            let mut failed = None;
            self.api.begin_batch(end - next);
            for index in next..end {
                if let Err(error) = step(self, index) {
                    failed.get_or_insert(error);
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            (next, batch) = (end, (batch * 2).min(BATCH_MAX));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Step 1: one slot of the set's ordinals.
    fn process_replica(&mut self, index: usize, ordered: bool) -> Step {
        let slot = &mut self.replicas[index];
        if slot.created && is_finished(&slot.pod) {
            if !slot.terminating {
                Self::delete(self.api, slot)?;
            }
            return Ok(ControlFlow::Break(()));
        }
        if !slot.created {
            return self.create(index).map(|created| match created && !ordered {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            });
        }
        if phase(&slot.pod) == "Pending" {
            let ordinal = slot.ordinal;
            self.create_missing_claims(ordinal)?;
        }
        let slot = &self.replicas[index];
        if ordered && (slot.terminating || !is_running_and_ready(&slot.pod) || !slot.is_available(self.view))
        {
            return Ok(ControlFlow::Break(()));
        }
        self.put_right(index)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Creates the slot's claims and pod; false if a claim is in the way.
    fn create(&mut self, index: usize) -> Result<bool, RequestFailed> {
        let ordinal = self.replicas[index].ordinal;
        if must_wait(self.view.set, &self.claims, ordinal) {
            return Ok(false);
        }
        self.create_missing_claims(ordinal)?;
        let slot = &mut self.replicas[index];
        self.api.make(Request::CreatePod(Box::new(Pod::clone(&slot.pod))))?;
        slot.created = true;
        Ok(true)
    }

    fn create_missing_claims(&mut self, ordinal: u64) -> Result<(), RequestFailed> {
        let is_missing = |name: String| find(&self.claims, &name).is_none();
        if !names_of(self.view.set, ordinal).any(is_missing) {
            return Ok(());
        }
        for claim in claims_of(self.view.set, ordinal) {
            if claim.metadata.name.as_deref().is_none_or(|name| find(&self.claims, name).is_none()) {
                self.api.make(Request::CreateClaim(Box::new(claim)))?;
            }
        }
        Ok(())
    }

    /// Step 1e: identity, storage and claim owners.
    fn put_right(&mut self, index: usize) -> Result<(), RequestFailed> {
        let slot = &mut self.replicas[index];
        if !has_identity(self.view.set, slot.ordinal, &slot.pod) {
            let pod = Arc::make_mut(&mut slot.pod);
            put_identity_right(self.view.set, slot.ordinal, pod);
            self.api.make(Request::UpdatePod(Box::new(pod.clone())))?;
        }
        for claim in claims_to_reown(self.view.set, &self.claims, &slot.pod, slot.ordinal, true) {
            self.api.make(Request::UpdateClaim(Box::new(claim)))?;
        }
        Ok(())
    }

    fn put_condemned_claims_right(&mut self) -> Result<(), RequestFailed> {
        for slot in &self.condemned {
            for claim in claims_to_reown(self.view.set, &self.claims, &slot.pod, slot.ordinal, false) {
                self.api.make(Request::UpdateClaim(Box::new(claim)))?;
            }
        }
        Ok(())
    }

    /// Step 2: one pod outside the set's ordinals.
    fn process_condemned(&mut self, index: usize, ordered: bool, first_unhealthy: Option<u64>) -> Step {
        let slot = &mut self.condemned[index];
        if slot.terminating {
            return Ok(if ordered { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
        }
        let unready = !is_running_and_ready(&slot.pod) || !slot.is_available(self.view);
        if ordered && unready && first_unhealthy != Some(slot.ordinal) {
            return Ok(ControlFlow::Break(()));
        }
        Self::delete(self.api, slot)?;
        Ok(if ordered { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// The lowest unhealthy ordinal of the set, else of the condemned.
    fn first_unhealthy(&self) -> Option<u64> {
        let in_range = self.replicas.iter().find(|slot| !slot.is_healthy());
        in_range
            .or_else(|| self.condemned.iter().rev().find(|slot| !slot.is_healthy()))
            .map(|slot| slot.ordinal)
    }
}

/// The pod if it belongs to the set, adopted if nobody controls it; a pod whose labels no longer match is
/// released.
fn claim_pod(view: &View<'_>, pod: &Arc<Pod>, api: Api<'_>) -> Result<Option<Arc<Pod>>, RequestFailed> {
    let deleted = view.set.metadata.deletion_timestamp.is_some();
    match membership(view.set, pod) {
        Membership::Member => Ok(Some(pod.clone())),
        Membership::Orphan if !deleted => {
            let mut pod = Pod::clone(pod);
            let owner = controller_reference("apps/v1", "StatefulSet", &view.set.metadata);
            pod.metadata.owner_references.get_or_insert_default().push(owner);
            api.make(Request::UpdatePod(Box::new(pod.clone())))?;
            Ok(Some(Arc::new(pod)))
        }
        Membership::Stray if !deleted => {
            let mut pod = Pod::clone(pod);
            if let Some(owners) = pod.metadata.owner_references.as_mut() {
                owners.retain(|owner| Some(&owner.uid) != view.set.metadata.uid.as_ref());
            }
            api.make(Request::UpdatePod(Box::new(pod)))?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The pod that an empty slot gets. During a rolling update, ordinals below the partition stay at the current
/// revision (kubernetes.md 1.3).
fn pod_to_create(view: &View<'_>, revisions: &Revisions, ordinal: u64) -> Pod {
    let kept = rolling_partition(view.set)
        .is_some_and(|partition| ordinal < start_ordinal(view.set).saturating_add(partition as u64));
    let revision = if kept { &revisions.current } else { &revisions.update };
    let pod = new_pod(view.set, &revision.template, &revision.name, ordinal);
    debug_assert_eq!(pod.metadata.name.as_deref(), Some(pod_name(set_name(view.set), ordinal).as_str()));
    pod
}
