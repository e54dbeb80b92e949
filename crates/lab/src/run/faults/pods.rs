//! What faults do to pods, and what the pods were that are deleted.

use std::rc::Rc;
use std::time::Duration;

use hopwise_kube::cluster::{Cluster, ExitReason, OperationError};
use hopwise_kube::store::Grace;
use tokio::time::{Instant, timeout_at};

use super::{Played, Stakes};
use crate::programs::Brokers;
use crate::run::clients::RunningClient;
use crate::run::identity::{self, Extents};
use crate::scenario::{self, ExitContainer, Fault, PodIdentity, PodName};

/// How long before its fault a pod is looked at: its records are read over the network.
pub(in crate::run) const LOOK_AHEAD: Duration = Duration::from_secs(1);

/// A pod before its first fault.
#[derive(Clone, Debug)]
pub(in crate::run) struct Before {
    /// The pod; no identity if it was not there.
    pub identity: Option<PodIdentity>,
    /// What was on its volume.
    pub extents: Option<Extents>,
}

/// How a fault's pod is deleted.
pub(super) fn grace_of(fault: &Fault) -> Grace {
    match (fault.force, fault.grace_period) {
        (true, _) => Grace::Forced,
        (false, Some(period)) => Grace::Within(period.span()),
        (false, None) => Grace::AsDeclared,
    }
}

pub(super) fn exit(cluster: &Cluster, exit: &ExitContainer) -> Result<(), OperationError> {
    let reason = match exit.reason {
        scenario::ExitReason::Error => ExitReason::Crash,
        scenario::ExitReason::OomKilled => ExitReason::OutOfMemory,
    };
    cluster.exit_container(&exit.pod.namespace, &exit.pod.name, &exit.container, reason)
}

/// What a pod is now; its records are read until `due`.
pub(super) async fn look(
    stakes: &Stakes<'_>,
    verifier: &RunningClient,
    pod: &PodName,
    due: Instant,
) -> Before {
    let Some(mut identity) = identity::identify(stakes.cluster, stakes.brokers, pod) else {
        return Before { identity: None, extents: None };
    };
    let records = async {
        let extents = identity::extents(verifier, Rc::clone(&stakes.partitions), identity.broker).await?;
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
pub(in crate::run) async fn look_again(
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
