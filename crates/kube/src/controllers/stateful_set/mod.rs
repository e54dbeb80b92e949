//! The StatefulSet controller: numbered pods with claims of their own.
//!
//! One call of [`reconcile_against`] is one pass of the real controller: it compares the set with its pods
//! and claims, makes its requests in order (each may fail, which ends the pass), and writes the status once
//! at the end. [`reconcile`] is the same with requests that never fail. Left out: the events it records.
//! What a deleted set owned is left to the [garbage collector](super::garbage_collector).
//! Source: kubernetes.md 1.1 to 1.5.

mod claims;
mod identity;
#[cfg(test)]
mod invariants;
mod pass;
mod revision;
mod status;
#[cfg(test)]
mod tests;
mod update;

use std::collections::BTreeSet;
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodTemplateSpec};

use super::{REPLICAS_MAX, RequestFailed};
use crate::store::pod_state;
use pass::Pass;

pub use claims::{ClaimOwner, claim_name, claim_owner};
pub use identity::{POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL, ordinal_of, pod_name};

/// What the controller sees when it looks at one set.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// Its pods: those that it controls, and those without controller that its selector selects. Others do no harm.
    pub pods: &'a [Arc<Pod>],
    /// The claims that [`claims_of_interest`] names, as far as they exist. Others do no harm.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Its revisions: those that it controls, and those without controller that have its selector's labels. Others do
    /// no harm.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// The features that are switched on.
    pub gates: Gates,
    /// The present instant, for `minReadySeconds`.
    pub now: Time,
}

/// Features of the controller that clusters switch on or off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// `MaxUnavailableStatefulSet`: without it `maxUnavailable` is ignored (kubernetes.md 1.4).
    pub max_unavailable: bool,
}

/// Something the controller asks of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Keep this revision of the template.
    CreateRevision(Box<ControllerRevision>),
    /// Give a revision another number (an earlier template is in use again).
    UpdateRevision(Box<ControllerRevision>),
    /// Forget a revision that is no longer used.
    DeleteRevision {
        /// Its name.
        name: String,
    },
    /// Create a claim.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Change the owners of a claim.
    UpdateClaim(Box<PersistentVolumeClaim>),
    /// Create a pod.
    CreatePod(Box<Pod>),
    /// Put right the identity, volumes or owner of a pod.
    UpdatePod(Box<Pod>),
    /// Ask for a pod to go, with its own grace period.
    DeletePod {
        /// Its name.
        name: String,
        /// The UID of the pod that is meant.
        uid: Option<String>,
    },
    /// Write the set's status.
    UpdateStatus(Box<StatefulSetStatus>),
}

/// The API as the controller uses it. A closure over requests is one.
pub trait Requests {
    /// Carries out a request, or says that it failed.
    ///
    /// # Errors
    /// If the API refuses.
    fn make(&mut self, request: Request) -> Result<(), RequestFailed>;

    /// What is asked for `pods` pods, up to the next call of this, is asked for at the same time (Parallel goes in
    /// batches of 1, 2, 4, ... pods).
    fn begin_batch(&mut self, _pods: usize) {}
}

impl<F: FnMut(Request) -> Result<(), RequestFailed>> Requests for F {
    fn make(&mut self, request: Request) -> Result<(), RequestFailed> {
        self(request)
    }
}

/// One pass, every request of which succeeds.
pub fn reconcile(view: &View<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    let accepted = reconcile_against(view, &mut |request: Request| {
        requests.push(request);
        Ok(())
    });
    debug_assert!(accepted.is_ok(), "a request failed although none can");
    requests
}

/// One pass. `api` is given each request in order and says whether it succeeded; the first failure ends the
/// pass, after which only the status is written. The failure is returned, for the caller to try again later.
pub fn reconcile_against(view: &View<'_>, api: &mut dyn Requests) -> Result<(), RequestFailed> {
    let revisions = revision::resolve(view, api)?;
    let mut pass = Pass::new(view, &revisions, api)?;
    let done = if view.set.metadata.deletion_timestamp.is_some() { Ok(()) } else { pass.run() };
    let status = status::of(view, &pass);
    let live = pass.revisions_in_use();
    // The status is written once per pass, also when the pass failed (kubernetes.md 1.2).
    let written = if view.set.status.as_ref() == Some(&status) {
        Ok(())
    } else {
        api.make(Request::UpdateStatus(Box::new(status)))
    };
    done.and(written)?;
    revision::forget_unused(view, &revisions, &live, api)
}

/// The last stage of a pass alone: replacing pods whose template has changed. A whole pass comes this far only when
/// no earlier stage ends it.
///
/// # Errors
/// The first request that fails.
pub fn update_stage(view: &View<'_>, api: &mut dyn Requests) -> Result<(), RequestFailed> {
    let revisions = revision::resolve(view, api)?;
    Pass::new(view, &revisions, api)?.update_pods()
}

/// The names of the claims that a pass over these pods looks at: those of the set's ordinals, and of pods beyond.
pub fn claims_of_interest(set: &StatefulSet, pods: &[Arc<Pod>]) -> BTreeSet<String> {
    let start = start_ordinal(set);
    let wanted = (0..replicas_wanted(set) as u64).map(|index| start.saturating_add(index));
    let named = pods.iter().filter_map(|pod| pod.metadata.name.as_deref());
    let existing = named.filter_map(|name| ordinal_of(identity::set_name(set), name));
    let ordinals: BTreeSet<u64> = wanted.chain(existing).collect();
    ordinals.into_iter().flat_map(|ordinal| claims::names_of(set, ordinal)).collect()
}

/// The pod template that the set had before its present one, which a rollback goes back to.
pub fn previous_template(
    set: &StatefulSet,
    revisions: &[Arc<ControllerRevision>],
) -> Option<PodTemplateSpec> {
    revision::previous_template(set, revisions)
}

/// When the next of these pods becomes available, if that is a matter of time alone.
pub fn available_next(set: &StatefulSet, pods: &[Arc<Pod>], now: Time) -> Option<Time> {
    let min_ready = min_ready(set);
    pods.iter().filter_map(|pod| pod_state::available_at(pod, min_ready)).filter(|at| *at > now).min()
}

/// The pods that the set has when nothing is in its way, in order of their ordinals, as they are created.
pub fn pods_wanted(set: &StatefulSet) -> Vec<Pod> {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let start = start_ordinal(set);
    let ordinals = (0..replicas_wanted(set) as u64).map(|index| start.saturating_add(index));
    ordinals.map(|ordinal| identity::new_pod(set, &template, "", ordinal)).collect()
}

/// Whether pods are created and removed one after the other (`podManagementPolicy`).
fn is_ordered(set: &StatefulSet) -> bool {
    let policy = set.spec.as_ref().and_then(|spec| spec.pod_management_policy.as_deref());
    policy.unwrap_or("OrderedReady") != "Parallel"
}

/// The number of pods that are wanted, at most [`REPLICAS_MAX`].
fn replicas_wanted(set: &StatefulSet) -> usize {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    usize::try_from(wanted).unwrap_or(0).min(REPLICAS_MAX)
}

/// The first ordinal.
fn start_ordinal(set: &StatefulSet) -> u64 {
    let start = set.spec.as_ref().and_then(|spec| spec.ordinals.as_ref()).and_then(|ordinals| ordinals.start);
    start.map_or(0, |start| u64::try_from(start).unwrap_or(0))
}

/// How long a pod has to be Ready to count as available.
fn min_ready(set: &StatefulSet) -> Span {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    Span::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Whether the strategy is RollingUpdate (the default), and its partition (0 by default).
fn rolling_partition(set: &StatefulSet) -> Option<usize> {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let kind = strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate");
    if kind != "RollingUpdate" {
        return None;
    }
    let partition =
        strategy.and_then(|strategy| strategy.rolling_update.as_ref()).and_then(|rolling| rolling.partition);
    Some(partition.map_or(0, |partition| usize::try_from(partition).unwrap_or(0)))
}
