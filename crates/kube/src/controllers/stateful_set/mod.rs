//! The StatefulSet controller: numbered pods with claims of their own.
//!
//! One call of [`reconcile_against`] is one pass of the real controller: it compares the set with its pods
//! and claims, makes its requests in order (each may fail, which ends the pass), and writes the status once
//! at the end. [`reconcile`] is the same with requests that never fail. Left out: the events it records, and
//! garbage collection of what a deleted set owned.
//! Source: kubernetes.md 1.1 to 1.5.

mod claims;
mod identity;
mod pass;
mod revision;
mod status;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::{REPLICAS_MAX, RequestFailed};
use pass::Pass;

pub use claims::{ClaimOwner, claim_name, claim_owner};
pub use identity::{POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL, ordinal_of, pod_name};

/// What the controller sees when it looks at one set.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// All pods of its namespace.
    pub pods: &'a [Arc<Pod>],
    /// All claims of its namespace.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// All controller revisions of its namespace.
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

/// One pass, every request of which succeeds.
pub fn reconcile(view: &View<'_>) -> Vec<Request> {
    let mut requests = Vec::new();
    let accepted = reconcile_against(view, &mut |request| {
        requests.push(request);
        Ok(())
    });
    debug_assert!(accepted.is_ok(), "a request failed although none can");
    requests
}

/// One pass. `api` is given each request in order and says whether it succeeded; the first failure ends the
/// pass, after which only the status is written. The failure is returned, for the caller to try again later.
pub fn reconcile_against(
    view: &View<'_>,
    api: &mut dyn FnMut(Request) -> Result<(), RequestFailed>,
) -> Result<(), RequestFailed> {
    let revisions = revision::resolve(view, api)?;
    let mut pass = Pass::new(view, &revisions, api)?;
    let done = if view.set.metadata.deletion_timestamp.is_some() { Ok(()) } else { pass.run() };
    let status = status::of(view, &pass);
    let live = pass.revisions_in_use();
    // The status is written once per pass, also when the pass failed (kubernetes.md 1.2).
    let written = if view.set.status.as_ref() == Some(&status) {
        Ok(())
    } else {
        api(Request::UpdateStatus(Box::new(status)))
    };
    done.and(written)?;
    revision::forget_unused(view, &revisions, &live, api)
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
