//! The scheduler's and the volume controller's loops.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};

use super::api::Api;
use super::{pod_status, timing};
use crate::scheduler::{self, ClusterState, Placement};
use crate::store::{Kind, Store, pod_state};
use crate::volumes;

const KINDS: &[Kind] =
    &[Kind::Pod, Kind::Node, Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::StorageClass];

/// Binds pods to nodes, and claims to volumes.
pub async fn run(api: Api) {
    let mut watch = api.watch(KINDS);
    loop {
        watch.next(timing::CONTROLLER_LAG).await;
        bind_immediate_claims(&api);
        for pod in unscheduled(&api) {
            place(&api, &pod);
        }
    }
}

/// Claims whose class does not wait for a consumer are bound as soon as they are there (kubernetes.md 1.7).
fn bind_immediate_claims(api: &Api) {
    let claims: Vec<Arc<PersistentVolumeClaim>> = api.read(|store| store.list().cloned().collect());
    for claim in claims {
        let (namespace, name) = (claim.metadata.namespace.as_deref(), claim.metadata.name.as_deref());
        api.write(|store, now| {
            // Claims that wait for their consumer, or for a volume, are looked at again when something changes.
            let _ = volumes::bind(store, namespace.unwrap_or(""), name.unwrap_or(""), None, now);
        });
    }
}

/// The pods without a node, oldest first; ordinals count as numbers.
fn unscheduled(api: &Api) -> Vec<Arc<Pod>> {
    let mut pods: Vec<Arc<Pod>> = api.read(|store| {
        let waits = |pod: &&Arc<Pod>| {
            pod_state::node_name(pod).is_none()
                && !pod_state::is_terminating(pod)
                && !pod_state::is_finished(pod)
        };
        store.list::<Pod>().filter(waits).cloned().collect()
    });
    let version = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|at| at.0);
    pods.sort_by_key(|pod| {
        (version(pod), scheduler::natural_key(pod.metadata.name.as_deref().unwrap_or("")))
    });
    pods
}

fn place(api: &Api, pod: &Pod) {
    let (namespace, name) =
        (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default());
    let placement = api.read(|store| scheduler::schedule(pod, &ClusterState::of(store)));
    let object = format!("pod {namespace}/{name}");
    match placement {
        Placement::Bound(node_name) => {
            let bound = api.write(|store, now| {
                bind_claims(store, &namespace, pod, &node_name, now)?;
                let _ = store.patch::<Pod>(&namespace, &name, now, |pod| {
                    pod.spec.get_or_insert_default().node_name = Some(node_name.clone());
                });
                let _ = store.patch_status::<Pod>(&namespace, &name, now, |pod| {
                    pod_status::set_scheduled(pod, None, now)
                });
                Ok::<_, volumes::BindError>(())
            });
            match bound {
                Ok(()) => hopwise_engine::notable("pod.scheduled", object, format!("to {node_name}")),
                Err(error) => {
                    refuse(api, &namespace, &name, &error.to_string());
                }
            }
        }
        Placement::Unschedulable { message, .. } => {
            if refuse(api, &namespace, &name, &message) {
                hopwise_engine::notable("pod.unschedulable", object, message);
            }
        }
    }
}

fn bind_claims(
    store: &mut Store,
    namespace: &str,
    pod: &Pod,
    node: &str,
    now: hopwise_engine::Time,
) -> Result<(), volumes::BindError> {
    let node = store.get::<Node>("", node).cloned();
    for claim in volumes::claims_of_pod(pod) {
        volumes::bind(store, namespace, &claim, node.as_deref(), now)?;
    }
    Ok(())
}

/// Says in the pod's status why it cannot be scheduled; whether that is news.
fn refuse(api: &Api, namespace: &str, name: &str, message: &str) -> bool {
    let known = api.read(|store| {
        let pod = store.get::<Pod>(namespace, name)?;
        pod_state::condition(pod, "PodScheduled").and_then(|condition| condition.message.clone())
    });
    if known.as_deref() == Some(message) {
        return false;
    }
    let _ = api.write(|store, now| {
        store.patch_status::<Pod>(namespace, name, now, |pod| {
            pod_status::set_scheduled(pod, Some(message), now)
        })
    });
    true
}
