//! The timeline of faults, and what the pods were that they hit.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hopwise_kube::cluster::Cluster;
use hopwise_kube::store::Grace;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clients::{RunningClient, failed};
use super::identity::{self, Extents};
use super::workload::Partition;
use crate::programs::Brokers;
use crate::report::run::Check;
use crate::scenario::{Fault, FaultKind, PodIdentity, PodName};

/// How long before its fault a pod is looked at: its records are read over the network.
pub(super) const LOOK_AHEAD: Duration = Duration::from_secs(1);

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

/// Plays the faults at their times after `start`, which has to be at least [`LOOK_AHEAD`] from now.
pub(super) async fn play(
    cluster: &Cluster,
    brokers: &Brokers,
    verifier: &RunningClient,
    partitions: Rc<[Partition]>,
    faults: &[Fault],
    start: Instant,
) -> Played {
    let mut faults: Vec<&Fault> = faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let mut played = Played::default();
    for fault in faults {
        let FaultKind::DeletePod { pod, grace_period, force } = &fault.kind;
        let due = start + Duration::from(fault.at.span());
        if !played.before.contains_key(pod) {
            sleep_until(due - LOOK_AHEAD).await;
            let seen = look(cluster, brokers, verifier, partitions.clone(), pod, due).await;
            played.before.insert(pod.clone(), seen);
        }
        sleep_until(due).await;
        let grace = match (force, grace_period) {
            (true, _) => Grace::Forced,
            (false, Some(period)) => Grace::Within(period.span()),
            (false, None) => Grace::AsDeclared,
        };
        if let Err(error) = cluster.delete_pod(&pod.namespace, &pod.name, grace) {
            let expected = format!("pod {pod} is deleted at {}", fault.at);
            played.failures.push(failed(&expected, &error.to_string()));
        }
    }
    played
}

async fn look(
    cluster: &Cluster,
    brokers: &Brokers,
    verifier: &RunningClient,
    partitions: Rc<[Partition]>,
    pod: &PodName,
    due: Instant,
) -> Before {
    let Some(mut identity) = identity::identify(cluster, brokers, pod) else {
        return Before { identity: None, extents: None };
    };
    let records = async {
        let extents = identity::extents(verifier, partitions, identity.broker).await?;
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
