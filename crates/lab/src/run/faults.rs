//! The timeline of faults, and what the pods were that they hit.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use hopwise_kube::cluster::{Cascade, Cluster, ExitReason, OperationError};
use hopwise_kube::store::{Grace, Kind};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Taint;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::clients::{RunningClient, failed};
use super::identity::{self, Extents};
use super::times::Times;
use super::workload::Partition;
use crate::programs::Brokers;
use crate::report::run::Check;
use crate::scenario::{
    self, DeleteWorkload, Fault, FaultKind, ObjectKind, ObjectName, PodIdentity, PodName, Scale, SetImage,
    TaintNode,
};

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
    /// The pods of which something is expected that has to be seen before they are hit.
    pub watched: BTreeSet<PodName>,
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
/// its time (a drain) does not hold up the next, and is given up when another takes it back, or at `end`.
pub(super) async fn play(
    stakes: &Stakes<'_>,
    faults: &[Fault],
    times: &Times<'_>,
    (start, end): (Instant, Instant),
) -> Played {
    let played = RefCell::new(Played::default());
    let mut faults: Vec<&Fault> = faults.iter().collect();
    faults.sort_by_key(|fault| fault.at);
    let ends = |fault: &Fault| match undone_at(&faults, fault) {
        Some(at) => end.min(start + Duration::from(at.span())),
        None => end,
    };
    let all = faults.iter().map(|fault| play_one(stakes, fault, times, (start, ends(fault)), &played));
    join_all(all).await;
    played.into_inner()
}

/// When another fault takes this one back.
fn undone_at(faults: &[&Fault], fault: &Fault) -> Option<scenario::Duration> {
    let undo = fault.kind.undo()?;
    faults.iter().find(|other| other.at > fault.at && other.kind == undo).map(|other| other.at)
}

async fn play_one(
    stakes: &Stakes<'_>,
    fault: &Fault,
    times: &Times<'_>,
    (start, end): (Instant, Instant),
    played: &RefCell<Played>,
) {
    let due = start + Duration::from(fault.at.span());
    if let (FaultKind::DeletePod(pod), Some(verifier)) = (&fault.kind, stakes.verifier)
        && stakes.watched.contains(pod)
    {
        sleep_until(due - LOOK_AHEAD).await;
        if !played.borrow().before.contains_key(pod) {
            let seen = look(stakes, verifier, pod, due).await;
            played.borrow_mut().before.insert(pod.clone(), seen);
        }
    }
    sleep_until(due).await;
    times.strike(fault.name());
    if let Err(why) = strike(stakes, fault, end).await {
        if fault.may_miss {
            hopwise_engine::notable("fault.missed", fault.name(), why);
            return;
        }
        let expected = format!("{} happens at {}", fault.name(), fault.at);
        played.borrow_mut().failures.push(failed(&expected, &why));
    }
}

/// What a fault does to the cluster.
///
/// # Errors
/// Why it cannot be done.
async fn strike(stakes: &Stakes<'_>, fault: &Fault, end: Instant) -> Result<(), String> {
    use FaultKind as F;
    let cluster = stakes.cluster;
    let done = match &fault.kind {
        F::DeletePod(pod) => {
            return cluster
                .delete_pod(&pod.namespace, &pod.name, grace_of(fault))
                .map_err(|error| error.to_string());
        }
        F::EvictPod(pod) => cluster.evict_pod(&pod.namespace, &pod.name),
        F::ExitContainer(exit) => {
            let reason = match exit.reason {
                scenario::ExitReason::Error => ExitReason::Crash,
                scenario::ExitReason::OomKilled => ExitReason::OutOfMemory,
            };
            cluster.exit_container(&exit.pod.namespace, &exit.pod.name, &exit.container, reason)
        }
        F::PowerOffNode(node) => cluster.power_off_node(node),
        F::PowerOnNode(node) => cluster.power_on_node(node),
        F::RebootNode(reboot) => cluster.reboot_node(&reboot.node, reboot.down_for.span().into()),
        F::ShutDownNode(node) => cluster.shut_down_node(node),
        F::CutNodeFromControlPlane(node) => cluster.cut_node_from_control_plane(node),
        F::ReconnectNodeToControlPlane(node) => cluster.reconnect_node_to_control_plane(node),
        F::CutNodeFromNetwork(node) => cluster.cut_node_from_network(node),
        F::ReconnectNodeToNetwork(node) => cluster.reconnect_node_to_network(node),
        F::PowerOffZone(zone) => each_node(cluster, zone, Cluster::power_off_node),
        F::PowerOnZone(zone) => each_node(cluster, zone, Cluster::power_on_node),
        F::CutZoneFromControlPlane(zone) => each_node(cluster, zone, Cluster::cut_node_from_control_plane),
        F::ReconnectZoneToControlPlane(zone) => {
            each_node(cluster, zone, Cluster::reconnect_node_to_control_plane)
        }
        F::CutZoneFromNetwork(zone) => each_node(cluster, zone, Cluster::cut_node_from_network),
        F::ReconnectZoneToNetwork(zone) => each_node(cluster, zone, Cluster::reconnect_node_to_network),
        F::StopKubelet(node) => cluster.stop_kubelet(node),
        F::StartKubelet(node) => cluster.start_kubelet(node),
        F::StopKubeProxy(node) => cluster.stop_kube_proxy(node),
        F::StartKubeProxy(node) => cluster.start_kube_proxy(node),
        F::LagKubeProxy(lag) => cluster.lag_kube_proxy(&lag.node, lag.by.span().into()),
        F::StopApiServer(_) => cluster.stop_api_server(),
        F::StartApiServer(_) => cluster.start_api_server(),
        F::CordonNode(node) => cluster.cordon_node(node),
        F::UncordonNode(node) => cluster.uncordon_node(node),
        // A drain that a budget holds up for ever is no mistake of the scenario; what it expects tells.
        F::DrainNode(node) => timeout_at(end, cluster.drain_node(node)).await.unwrap_or(Ok(())),
        F::TaintNode(taint) => cluster.taint_node(&taint.node, taint_of(taint)),
        F::RemoveTaint(taint) => cluster.remove_taint(&taint.node, &taint.key),
        F::DeleteNode(node) => cluster.delete_node(node),
        F::Scale(Scale { object, replicas }) => {
            let replicas = i32::try_from(*replicas).unwrap_or(i32::MAX);
            cluster.scale(kind_of(object), &object.namespace, &object.name, replicas)
        }
        F::RestartRollout(object) => {
            cluster.restart_rollout(kind_of(object), &object.namespace, &object.name)
        }
        F::RollBack(object) => cluster.roll_back(kind_of(object), &object.namespace, &object.name),
        F::SetImage(SetImage { object, container, image }) => {
            cluster.set_image(kind_of(object), &object.namespace, &object.name, container, image)
        }
        F::DeleteWorkload(DeleteWorkload { object, cascade }) => {
            let cascade = match cascade {
                scenario::Cascade::Background => Cascade::Background,
                scenario::Cascade::Orphan => Cascade::Orphan,
            };
            cluster.delete_workload(kind_of(object), &object.namespace, &object.name, cascade)
        }
        F::CreateStatefulSet(file) => match stakes.stateful_sets.get(file) {
            Some(set) => cluster.create_stateful_set(set.clone()),
            None => return Err(format!("{file} was not read")),
        },
        F::DeleteClaim(object) => cluster.delete_claim(&object.namespace, &object.name),
    };
    done.map_err(|error| error.to_string())
}

fn grace_of(fault: &Fault) -> Grace {
    match (fault.force, fault.grace_period) {
        (true, _) => Grace::Forced,
        (false, Some(period)) => Grace::Within(period.span()),
        (false, None) => Grace::AsDeclared,
    }
}

/// Does the same to every node of a zone, in the order of their names.
fn each_node(
    cluster: &Cluster,
    zone: &str,
    act: fn(&Cluster, &str) -> Result<(), OperationError>,
) -> Result<(), OperationError> {
    let nodes = cluster.nodes();
    let mut in_zone = nodes.iter().filter(|(_, (of, _))| of.as_deref() == Some(zone));
    in_zone.try_for_each(|(node, _)| act(cluster, node))
}

fn taint_of(taint: &TaintNode) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.as_str().to_owned(),
        ..Taint::default()
    }
}

/// The store's kind of a workload; the API refuses what is none.
fn kind_of(object: &ObjectName) -> Kind {
    match object.kind {
        ObjectKind::StatefulSet => Kind::StatefulSet,
        ObjectKind::Deployment => Kind::Deployment,
        ObjectKind::Pod | ObjectKind::Container => Kind::Pod,
        ObjectKind::Node => Kind::Node,
        ObjectKind::Service => Kind::Service,
        ObjectKind::PersistentVolumeClaim => Kind::PersistentVolumeClaim,
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
