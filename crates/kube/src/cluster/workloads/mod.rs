//! The controller manager: runs each controller over a queue of the objects that changes are about, and carries out
//! what it asks for.
//!
//! A change is turned into the keys of the objects that have to be looked at, and only those are: what a change
//! costs does not depend on how many objects there are.

mod deployments;
mod endpoint_slices;
mod garbage;
mod stateful_sets;

use std::time::Duration;

use hopwise_engine::Time;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::api::Api;
use super::timing;
use super::watches::Changes;
use crate::controllers::pod_admission;
use crate::controllers::work_queue::{Outcome, WorkQueue};
use crate::manifest::ObjectRef;
use crate::store::{Change, Grace, Kind, Store, StoreError};

/// The namespace and name of an object that a controller looks at.
pub type Name = (String, String);

/// A controller that is told of changes and looks at one object at a time.
trait Controller {
    /// The kinds whose changes it has to know of.
    const KINDS: &'static [Kind];

    /// The objects that a change is about.
    fn concerned(&mut self, store: &Store, change: &Change) -> Vec<Name>;

    /// All its objects.
    fn all(&mut self, store: &Store) -> Vec<Name>;

    /// One pass over one object, which may be gone.
    fn pass(&mut self, api: &Api, name: &Name) -> Outcome;
}

/// Keeps StatefulSets as they are declared. Those in `without_pods` ask for pods that the API server refuses.
pub async fn run_stateful_sets(api: Api, without_pods: Vec<ObjectRef>) {
    run(api, timing::CONTROLLER_LAG, stateful_sets::StatefulSets::new(&without_pods)).await;
}

/// Keeps Deployments as they are declared. Those in `without_pods` ask for pods that the API server refuses.
pub async fn run_deployments(api: Api, without_pods: Vec<ObjectRef>) {
    run(api, timing::CONTROLLER_LAG, deployments::Deployments::new(&without_pods)).await;
}

/// Keeps the EndpointSlices of Services as their pods are.
pub async fn run_endpoint_slices(api: Api) {
    run(api, timing::ENDPOINT_SLICE_LAG, endpoint_slices::EndpointSlices::default()).await;
}

pub use garbage::run as run_garbage_collector;

/// Runs a controller: when objects have changed, and when something that it waits for is due.
async fn run<C: Controller>(api: Api, lag: Duration, mut controller: C) {
    let mut watch = api.watch(C::KINDS);
    let mut queue: WorkQueue<Name> = WorkQueue::default();
    loop {
        let due = queue.next_due();
        let changes = tokio::select! {
            biased;
            changes = watch.next(lag) => Some(changes),
            () = sleep_until(due) => None,
        };
        // What is due while the API server is out of reach is done when it is back.
        api.reachable().await;
        let now = hopwise_engine::now();
        let names = changes.map(|changes| {
            api.read(|store| match changes {
                Changes::Some(changes) => {
                    changes.iter().flat_map(|change| controller.concerned(store, change)).collect()
                }
                Changes::All => controller.all(store),
            })
        });
        names.unwrap_or_else(Vec::new).into_iter().for_each(|name| queue.add(name, now));
        while let Some(name) = queue.take_due(now) {
            let outcome = controller.pass(&api, &name);
            queue.finish(name, outcome, now);
        }
    }
}

/// Sleeps until `at`; for ever without it.
async fn sleep_until(at: Option<Time>) {
    match at {
        Some(at) => tokio::time::sleep(Duration::from(at.since(hopwise_engine::now()))).await,
        None => std::future::pending().await,
    }
}

/// The objects of a kind among `refused`.
fn names_of_kind(refused: &[ObjectRef], kind: &str) -> Vec<Name> {
    let of_kind = refused.iter().filter(|object| object.kind == kind);
    of_kind.map(|object| (object.namespace.clone().unwrap_or_default(), object.name.clone())).collect()
}

fn name_of(meta: &ObjectMeta) -> Name {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The names of the controllers of that kind that a changed object has or had.
fn controllers_of(change: &Change, kind: &str) -> Vec<Name> {
    let metas = [Some(change.object.meta()), change.previous.as_ref().map(|object| object.meta())];
    let owners = metas.into_iter().flatten().flat_map(|meta| meta.owner_references.iter().flatten());
    let controllers = owners.filter(|owner| owner.controller == Some(true) && owner.kind == kind);
    controllers.map(|owner| (change.key.namespace.clone(), owner.name.clone())).collect()
}

/// Creates a pod with the API server's defaults.
pub fn create_pod(api: &Api, mut pod: Pod) -> Result<(), StoreError> {
    pod_admission::admit(&mut pod);
    let created = api.write(|store, now| store.create(pod, now))?;
    let (namespace, name) = name_of(&created.metadata);
    hopwise_engine::notable("pod.created", format!("pod {namespace}/{name}"), "");
    Ok(())
}

fn delete_pod(api: &Api, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), StoreError> {
    api.write(|store, now| store.delete::<Pod>(namespace, name, uid, Grace::AsDeclared, now))?;
    hopwise_engine::notable("pod.deleted", format!("pod {namespace}/{name}"), "by its controller");
    Ok(())
}
