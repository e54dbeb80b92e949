//! The garbage collector's loop.
//!
//! Source: kubernetes.md 1.5 (owner references).

use crate::cluster::api::Api;
use crate::cluster::timing;
use crate::cluster::watches::Changes;
use crate::controllers::garbage_collector::{self, Request};
use crate::store::{Key, Kind, StoreError};

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

/// Deletes what has lost its owners.
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
    }
}

fn carry_out(api: &Api, request: &Request) -> Result<(), StoreError> {
    api.write(|store, now| request.carry_out(store, now))?;
    if let Request::Delete { key: Key { kind: Kind::Pod, namespace, name }, .. } = request {
        hopwise_engine::notable("pod.deleted", format!("pod {namespace}/{name}"), "its owner is gone");
    }
    Ok(())
}
