//! The controllers of claims and volumes: binding at once, protection and reclaim, attaching and detaching.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};

use super::api::Api;
use super::node_controllers::lease_renewed;
use super::state::Shared;
use super::timing;
use super::watches::Changes;
use crate::controllers::{node_lifecycle, pod_gc};
use crate::store::{Action, Change, Key, Kind, Object};
use crate::volumes::attach_detach::{AttachDetach, Delays, NodeFacts};
use crate::volumes::{self, Available, attachment};

/// Binds claims whose class does not wait for a consumer as soon as they are there (kubernetes.md 1.7).
pub async fn run_binder(api: Api) {
    let kinds = &[Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::StorageClass, Kind::Node];
    let mut watch = api.watch(kinds);
    let mut pending: BTreeSet<Key> = BTreeSet::new();
    let mut available = Available::default();
    loop {
        let mut tried: BTreeSet<Key> = BTreeSet::new();
        match watch.next(timing::CONTROLLER_LAG).await {
            Changes::Some(changes) => {
                for change in &changes {
                    match &change.object {
                        Object::PersistentVolumeClaim(_) => drop(tried.insert(change.key.clone())),
                        Object::PersistentVolume(volume) => {
                            available.apply(volume, change.action);
                            tried.append(&mut pending);
                        }
                        // Volumes may be made where a new node is, or by a new class.
                        _ if change.action != Action::Modified || change.key.kind == Kind::StorageClass => {
                            tried.append(&mut pending);
                        }
                        _ => {}
                    }
                }
            }
            Changes::All => {
                available = api.read(Available::of);
                tried = api.read(|store| {
                    store.list::<PersistentVolumeClaim>().map(|claim| Key::of(claim.as_ref())).collect()
                });
            }
        }
        for key in tried {
            pending.remove(&key);
            let wants = api.read(|store| {
                let claim = store.get::<PersistentVolumeClaim>(&key.namespace, &key.name);
                claim.is_some_and(|claim| volumes::binds_at_once(store, claim))
            });
            let bound = wants.then(|| {
                api.write(|store, now| {
                    volumes::bind(store, &mut available, &key.namespace, &key.name, None, now)
                })
            });
            if let Some(Err(_)) = bound {
                pending.insert(key);
            }
        }
    }
}

/// Lets claims and volumes go when nobody uses them (kubernetes.md 1.5, 1.7).
pub async fn run_protection(shared: Rc<Shared>) {
    let api = shared.api.clone();
    let kinds = &[Kind::Pod, Kind::PersistentVolumeClaim, Kind::PersistentVolume, Kind::VolumeAttachment];
    let mut watch = api.watch(kinds);
    loop {
        let (claims, released) = match watch.next(timing::CONTROLLER_LAG).await {
            Changes::Some(changes) => candidates(&changes),
            Changes::All => api.read(|store| {
                let claims = store.list::<PersistentVolumeClaim>().map(|it| Key::of(it.as_ref())).collect();
                let volumes = store.list::<PersistentVolume>().filter_map(|it| it.metadata.name.clone());
                (claims, volumes.collect())
            }),
        };
        for key in claims {
            let _ = api.write(|store, now| volumes::release_claim(store, &key.namespace, &key.name, now));
        }
        for name in released {
            if let Ok(Some(gone)) = api.write(|store, now| volumes::release_volume(store, &name, now)) {
                shared.forget_file_system(&gone);
                hopwise_engine::notable("volume.deleted", format!("volume {}", gone.0), "its claim is gone");
            }
        }
    }
}

/// The claims and volumes that may go after these changes.
fn candidates(changes: &[Change]) -> (BTreeSet<Key>, BTreeSet<String>) {
    let (mut claims, mut released) = (BTreeSet::new(), BTreeSet::new());
    for change in changes {
        let is_gone = change.action == Action::Deleted;
        match &change.object {
            Object::Pod(pod) if is_gone || crate::store::pod_state::is_finished(pod) => {
                let namespace = &change.key.namespace;
                let names = volumes::claims_of_pod(pod).into_iter();
                claims.extend(names.map(|name| Key::new(Kind::PersistentVolumeClaim, namespace, &name)));
            }
            Object::PersistentVolumeClaim(claim) if is_gone => {
                released.extend(claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()));
            }
            Object::PersistentVolumeClaim(claim) if claim.metadata.deletion_timestamp.is_some() => {
                claims.insert(change.key.clone());
            }
            Object::PersistentVolume(volume) if !is_gone => {
                let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
                if volume.metadata.deletion_timestamp.is_some() || phase == Some("Released") {
                    released.insert(change.key.name.clone());
                }
            }
            Object::VolumeAttachment(attachment) if is_gone => {
                released.extend(attachment.spec.source.persistent_volume_name.clone());
            }
            _ => {}
        }
    }
    (claims, released)
}

/// Attaches disks to the nodes whose pods use them, and detaches them (kubernetes.md 1.7).
pub async fn run_attach_detach(api: Api, delays: Delays) {
    let kinds = &[Kind::Pod, Kind::PersistentVolumeClaim, Kind::Node, Kind::Lease];
    let mut watch = api.watch(kinds);
    let mut controller = AttachDetach::new(delays);
    loop {
        let timer = controller.next_at();
        tokio::select! {
            biased;
            changes = watch.next(timing::CONTROLLER_LAG) => take_up(&api, &mut controller, changes),
            () = timing::at(timer) => {}
        }
        api.reachable().await;
        let facts = |node: &str| api.read(|store| facts_of(store, node));
        for request in controller.advance(facts, hopwise_engine::now()) {
            tell(&request);
            // What is there already, or gone, needs no change.
            let _ = api.write(|store, now| attachment::record(store, &request, now));
        }
    }
}

fn facts_of(store: &crate::store::Store, name: &str) -> NodeFacts {
    let heard_at = lease_renewed(store, name);
    match store.get::<Node>("", name) {
        Some(node) => NodeFacts {
            is_ready: node_lifecycle::is_ready(node),
            is_out_of_service: pod_gc::is_out_of_service(node),
            heard_at,
        },
        None => NodeFacts { heard_at, ..NodeFacts::default() },
    }
}

fn take_up(api: &Api, controller: &mut AttachDetach, changes: Changes) {
    let changes = match changes {
        Changes::Some(changes) => changes,
        Changes::All => {
            let pods: Vec<Arc<Pod>> = api.read(|store| store.list().cloned().collect());
            for key in controller.pods() {
                if api.read(|store| store.get::<Pod>(&key.namespace, &key.name).is_none()) {
                    controller.pod_changed(&key, None);
                }
            }
            pods.iter().for_each(|pod| follow_pod(api, controller, &Key::of(pod.as_ref()), pod));
            let nodes: Vec<Arc<Node>> = api.read(|store| store.list().cloned().collect());
            nodes
                .iter()
                .for_each(|node| controller.node_changed(node.metadata.name.as_deref().unwrap_or("")));
            return;
        }
    };
    for change in &changes {
        match &change.object {
            Object::Pod(_) if change.action == Action::Deleted => controller.pod_changed(&change.key, None),
            Object::Pod(pod) => follow_pod(api, controller, &change.key, pod),
            Object::Node(_) | Object::Lease(_) => controller.node_changed(&change.key.name),
            // A claim that is bound after the pod that uses it.
            Object::PersistentVolumeClaim(_) if change.action == Action::Modified => {
                let users: Vec<Arc<Pod>> = api.read(|store| {
                    store.pods_with_claim(&change.key.namespace, &change.key.name).cloned().collect()
                });
                users.iter().for_each(|pod| follow_pod(api, controller, &Key::of(pod.as_ref()), pod));
            }
            _ => {}
        }
    }
}

fn follow_pod(api: &Api, controller: &mut AttachDetach, key: &Key, pod: &Pod) {
    let uses = api.read(|store| attachment::use_of(store, pod));
    controller.pod_changed(key, uses);
}

fn tell(request: &volumes::attach_detach::Request) {
    use volumes::attach_detach::Request;
    let (kind, volume, node) = match request {
        Request::Attached(volume, node) => ("volume.attached", volume, node),
        Request::Detached(volume, node) => ("volume.detached", volume, node),
        Request::Attach(..) | Request::Detach(..) => return,
    };
    hopwise_engine::notable(kind, format!("volume {volume}"), format!("node {node}"));
}
