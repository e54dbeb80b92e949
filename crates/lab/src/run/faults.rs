//! The timeline of faults, and what the pods were that they hit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use hopwise_kube::cluster::Cluster;
use hopwise_kube::store::Grace;
use k8s_openapi::api::apps::v1::StatefulSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clients::{RunningClient, failed};
use super::identity::{self, Extents};
use super::times::Times;
use super::workload::Partition;
use crate::programs::Brokers;
use crate::report::run::Check;
use crate::scenario::{Fault, FaultKind, PodIdentity, PodName};

/// How long before its fault a pod is looked at: its records are read over the network.
pub(super) const LOOK_AHEAD: Duration = Duration::from_secs(1);

/// What faults act on, and what looks at it before.
pub(super) struct Stakes<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its brokers.
    pub brokers: &'a Brokers,
    /// The client that reads records back; none without a workload.
    pub verifier: Option<&'a RunningClient>,
    /// The workload's partitions.
    pub partitions: Rc<[Partition]>,
    /// The StatefulSets that faults create, by their files.
    pub stateful_sets: &'a BTreeMap<String, StatefulSet>,
}

/// A pod before its first fault.
#[derive(Clone, Debug)]
pub(super) struct Before {
    /// The pod; no identity if it was not there.
    pub identity: Option<PodIdentity>,
    /// What was on its volume.
    pub extents: Option<Extents>,
}

/// What the timeline did.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    /// The pods that were hit.
    pub before: BTreeMap<PodName, Before>,
    /// Faults that could not be played.
    pub failures: Vec<Check>,
}

/// Plays the faults at their times after `start`, which has to be at least [`LOOK_AHEAD`] from now. A fault that takes
/// its time (a drain) does not hold up the next.
pub(super) async fn play(stakes: &Stakes<'_>, faults: &[Fault], times: &Times<'_>, start: Instant) -> Played {
    let played = RefCell::new(Played::default());
    let mut faults: Vec<&Fault> = faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    join_all(faults.into_iter().map(|fault| play_one(stakes, fault, times, start, &played))).await;
    played.into_inner()
}

async fn play_one(
    stakes: &Stakes<'_>,
    fault: &Fault,
    times: &Times<'_>,
    start: Instant,
    played: &RefCell<Played>,
) {
    let due = start + Duration::from(fault.at.span());
    if let (FaultKind::DeletePod(pod), Some(verifier)) = (&fault.kind, stakes.verifier) {
        sleep_until(due - LOOK_AHEAD).await;
        if !played.borrow().before.contains_key(pod) {
            let seen = look(stakes, verifier, pod, due).await;
            played.borrow_mut().before.insert(pod.clone(), seen);
        }
    }
    sleep_until(due).await;
    times.strike(fault.name());
    if let Err(why) = strike(stakes, fault).await {
        let expected = format!("{} happens at {}", fault.name(), fault.at);
        played.borrow_mut().failures.push(failed(&expected, &why));
    }
}

/// What a fault does to the cluster.
async fn strike(stakes: &Stakes<'_>, fault: &Fault) -> Result<(), String> {
    let cluster = stakes.cluster;
    match &fault.kind {
        FaultKind::DeletePod(pod) => {
            let grace = match (fault.force, fault.grace_period) {
                (true, _) => Grace::Forced,
                (false, Some(period)) => Grace::Within(period.span()),
                (false, None) => Grace::AsDeclared,
            };
            cluster.delete_pod(&pod.namespace, &pod.name, grace).map_err(|error| error.to_string())
        }
        _ => Err(format!("{} cannot be played", fault.kind.field())),
    }
}

async fn look(stakes: &Stakes<'_>, verifier: &RunningClient, pod: &PodName, due: Instant) -> Before {
    let Some(mut identity) = identity::identify(stakes.cluster, stakes.brokers, pod) else {
        return Before { identity: None, extents: None };
    };
    let records = async {
        let extents = identity::extents(verifier, stakes.partitions.clone(), identity.broker).await?;
        let data = identity::data_of(verifier, extents.clone()).await?;
        Ok::<_, String>((extents, data))
    };
    // Records that cannot be read in time stay unknown, and the expectation that they are kept fails.
    let (extents, data) = match timeout_at(due, records).await {
        Ok(Ok((extents, data))) => (Some(extents), Some(data)),
        Ok(Err(_)) | Err(_) => (None, None),
    };
    identity.data = data;
    Before { identity: Some(identity), extents }
}

/// The pods that were hit, as they are now.
pub(super) async fn look_again(
    cluster: &Cluster,
    brokers: &Brokers,
    verifier: &RunningClient,
    played: &Played,
) -> Vec<PodIdentity> {
    let mut pods = Vec::new();
    for (pod, before) in &played.before {
        let Some(mut identity) = identity::identify(cluster, brokers, pod) else { continue };
        if let Some(extents) = &before.extents {
            identity.data = identity::data_of(verifier, extents.clone()).await.ok();
        }
        pods.push(identity);
    }
    pods
}
