//! The garbage collector's loop, and claims that go once no pod uses them.
//!
//! Source: kubernetes.md 1.5 (owner references, finalizer `kubernetes.io/pvc-protection`).

use k8s_openapi::api::core::v1::Pod;

use crate::cluster::api::Api;
use crate::cluster::timing;
use crate::cluster::watches::Changes;
use crate::controllers::garbage_collector::{self, Request};
use crate::store::{Action, Change, Key, Kind, Object, Store, StoreError, pod_state};
use crate::volumes;

const KINDS: &[Kind] = &[
    Kind::Pod,
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::ControllerRevision,
    Kind::PersistentVolumeClaim,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Node,
];

/// Deletes what has lost its owners, and lets deleted claims go that nobody uses any more.
pub async fn run(api: Api) {
    let mut watch = api.watch(KINDS);
    loop {
        let changes = watch.next(timing::CONTROLLER_LAG).await;
        let requests = api.read(|store| match &changes {
            Changes::Some(changes) => {
                changes.iter().flat_map(|change| garbage_collector::follow(store, change)).collect()
            }
            Changes::All => garbage_collector::sweep(store, store.keys()),
        });
        for request in requests {
            // An object that has changed or gone in between is told of by another change.
            let _ = carry_out(&api, &request);
        }
        let frees_claims = api.read(|store| match &changes {
            Changes::Some(changes) => changes.iter().any(|change| may_free_claim(store, change)),
            Changes::All => true,
        });
        if frees_claims {
            let _ = api.write(volumes::reclaim);
        }
    }
}

fn carry_out(api: &Api, request: &Request) -> Result<(), StoreError> {
    api.write(|store, now| request.carry_out(store, now))?;
    if let Request::Delete { key: Key { kind: Kind::Pod, namespace, name }, .. } = request {
        hopwise_engine::notable("pod.deleted", format!("pod {namespace}/{name}"), "its owner is gone");
    }
    Ok(())
}

/// Whether a deleted claim may be without users, or a volume without claim, because of the change.
fn may_free_claim(store: &Store, change: &Change) -> bool {
    match &change.object {
        Object::PersistentVolumeClaim(claim) => {
            change.action == Action::Deleted || claim.metadata.deletion_timestamp.is_some()
        }
        Object::Pod(pod) if change.action == Action::Deleted || pod_state::is_finished(pod) => {
            uses_deleted_claim(store, pod)
        }
        _ => false,
    }
}

fn uses_deleted_claim(store: &Store, pod: &Pod) -> bool {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
    pod_state::claim_names(pod).iter().any(|claim| {
        let key = Key::new(Kind::PersistentVolumeClaim, namespace, claim);
        store.get_key(&key).is_some_and(|claim| claim.meta().deletion_timestamp.is_some())
    })
}
