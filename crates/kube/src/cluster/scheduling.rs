//! The scheduler's loop: pods wait in a queue, and each attempt costs by what has changed since the last one.

use std::sync::Arc;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::api::Api;
use super::{pod_status, timing};
use crate::scheduler::{self, ClusterState, Placement, Queue};
use crate::store::{Key, Kind, Store, pod_state};
use crate::volumes::{self, Available};

const KINDS: &[Kind] = &[
    Kind::Pod,
    Kind::Node,
    Kind::Namespace,
    Kind::PersistentVolumeClaim,
    Kind::PersistentVolume,
    Kind::StorageClass,
];

/// Binds pods to nodes, and the claims they use to volumes.
pub async fn run(api: Api) {
    let mut watch = api.watch(KINDS);
    let (mut state, mut queue) = (ClusterState::default(), Queue::default());
    loop {
        let timer = queue.next_at();
        tokio::select! {
            biased;
            _ = watch.next(timing::CONTROLLER_LAG) => {}
            () = timing::at(timer) => {}
        }
        api.reachable().await;
        let now = hopwise_engine::now();
        take_up(&api, &mut state, &mut queue, now);
        queue.advance(now);
        while let Some(key) = queue.pop() {
            attempt(&api, &mut state, &mut queue, key);
            take_up(&api, &mut state, &mut queue, now);
        }
    }
}

/// Brings the scheduler's view up to date.
fn take_up(api: &Api, state: &mut ClusterState, queue: &mut Queue, now: Time) {
    let news = api.read(|store| state.sync(store));
    news.settled.iter().for_each(|key| queue.remove(key));
    news.unplaced.iter().for_each(|pod| queue.add(Key::of(pod.as_ref()), pod));
    queue.wake(&news.causes, now);
}

/// Tries to find a node for a pod once.
fn attempt(api: &Api, state: &mut ClusterState, queue: &mut Queue, key: Key) {
    let Some(pod) = api.read(|store| store.get::<Pod>(&key.namespace, &key.name).cloned()) else { return };
    if !scheduler::needs_node(&pod) {
        return queue.remove(&key);
    }
    let now = hopwise_engine::now();
    let placement = api.read(|store| scheduler::schedule(&pod, state, store));
    let helped_by = placement.helped_by();
    let object = format!("pod {}/{}", key.namespace, key.name);
    match placement {
        Placement::Bound(node) => match api.write(|store, now| bind(store, state, &pod, &node, now)) {
            Ok(()) => {
                queue.remove(&key);
                hopwise_engine::notable("pod.scheduled", object, format!("to {node}"));
            }
            Err(error) => {
                refuse(api, &key, &error.to_string());
                queue.park(key, [scheduler::Cause::VolumeChanged].into(), now);
            }
        },
        Placement::Unschedulable { message, .. } => {
            if refuse(api, &key, &message) {
                hopwise_engine::notable("pod.unschedulable", object, message);
            }
            queue.park(key, helped_by, now);
        }
    }
}

/// Binds the pod's claims, then the pod.
fn bind(
    store: &mut Store,
    state: &mut ClusterState,
    pod: &Arc<Pod>,
    node: &str,
    now: Time,
) -> Result<(), volumes::BindError> {
    let (namespace, name) =
        (pod.metadata.namespace.as_deref().unwrap_or("default"), pod.metadata.name.as_deref().unwrap_or(""));
    bind_claims(store, state.available_mut(), namespace, pod, node, now)?;
    store.patch::<Pod>(namespace, name, now, |pod| {
        pod.spec.get_or_insert_default().node_name = Some(node.to_owned());
        pod_status::set_scheduled(pod, None, now);
    })?;
    Ok(())
}

fn bind_claims(
    store: &mut Store,
    available: &mut Available,
    namespace: &str,
    pod: &Pod,
    node: &str,
    now: Time,
) -> Result<(), volumes::BindError> {
    let node = store.get::<Node>("", node).cloned();
    for claim in volumes::claims_of_pod(pod) {
        volumes::bind(store, available, namespace, &claim, node.as_deref(), now)?;
    }
    Ok(())
}

/// Says in the pod's status why it cannot be scheduled; whether that is news.
fn refuse(api: &Api, key: &Key, message: &str) -> bool {
    let known = api.read(|store| {
        let pod = store.get::<Pod>(&key.namespace, &key.name)?;
        pod_state::condition(pod, "PodScheduled").and_then(|condition| condition.message.clone())
    });
    if known.as_deref() == Some(message) {
        return false;
    }
    let _ = api.write(|store, now| {
        store.patch_status::<Pod>(&key.namespace, &key.name, now, |pod| {
            pod_status::set_scheduled(pod, Some(message), now)
        })
    });
    true
}
