//! The controller manager: runs the controllers whenever objects have changed, and carries out their requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::api::Api;
use super::timing;
use crate::controllers::{
    RequestFailed, deployment, endpoint_slices, pod_admission, stateful_set, topology_hints,
};
use crate::manifest::ObjectRef;
use crate::store::{Grace, Kind, Resource, Store, StoreError};
use crate::volumes;

const WORKLOAD_KINDS: &[Kind] =
    &[Kind::StatefulSet, Kind::Deployment, Kind::Pod, Kind::PersistentVolumeClaim, Kind::ControllerRevision];
const ENDPOINT_KINDS: &[Kind] = &[Kind::Service, Kind::Pod, Kind::Node];

/// Keeps StatefulSets and Deployments as they are declared.
///
/// The controllers in `without_pods` ask for pods that the API server refuses.
pub async fn run_workload_controllers(api: Api, without_pods: Vec<ObjectRef>) {
    let refused = |kind: &str, meta: &ObjectMeta| {
        without_pods.iter().any(|it| {
            it.kind == kind && it.namespace == meta.namespace && Some(&it.name) == meta.name.as_ref()
        })
    };
    let mut watch = api.watch(WORKLOAD_KINDS);
    loop {
        watch.next(timing::CONTROLLER_LAG).await;
        let sets: Vec<Arc<StatefulSet>> = api.read(|store| store.list().cloned().collect());
        for set in sets.iter().filter(|set| !refused("StatefulSet", &set.metadata)) {
            reconcile_stateful_set(&api, set);
        }
        let deployments: Vec<Arc<Deployment>> = api.read(|store| store.list().cloned().collect());
        for deployment in deployments.iter().filter(|it| !refused("Deployment", &it.metadata)) {
            reconcile_deployment(&api, deployment);
        }
    }
}

/// Keeps the EndpointSlices of Services as their pods are.
pub async fn run_endpoint_slice_controller(api: Api) {
    let mut watch = api.watch(ENDPOINT_KINDS);
    loop {
        watch.next(timing::ENDPOINT_SLICE_LAG).await;
        let services: Vec<Arc<Service>> = api.read(|store| store.list().cloned().collect());
        for service in services {
            reconcile_endpoint_slices(&api, &service);
        }
    }
}

fn all_in<T: Resource>(store: &Store, namespace: &str) -> Vec<Arc<T>> {
    store.list_in(namespace).cloned().collect()
}

fn reconcile_stateful_set(api: &Api, set: &StatefulSet) {
    let namespace = set.metadata.namespace.clone().unwrap_or_default();
    let name = set.metadata.name.clone().unwrap_or_default();
    let (pods, claims, revisions) = api.read(|store| {
        let pods: Vec<Arc<Pod>> = all_in(store, &namespace);
        let claims: Vec<Arc<PersistentVolumeClaim>> = all_in(store, &namespace);
        let revisions: Vec<Arc<ControllerRevision>> = all_in(store, &namespace);
        (pods, claims, revisions)
    });
    let view = stateful_set::View {
        set,
        pods: &pods,
        claims: &claims,
        revisions: &revisions,
        gates: stateful_set::Gates::default(),
        now: hopwise_engine::now(),
    };
    // A failed request ends the pass; the change that made it fail starts the next one.
    let _ = stateful_set::reconcile_against(&view, &mut |request| {
        carry_out(api, &namespace, &name, request).map_err(|error| RequestFailed(error.to_string()))
    });
}

fn carry_out(
    api: &Api,
    namespace: &str,
    set: &str,
    request: stateful_set::Request,
) -> Result<(), StoreError> {
    use stateful_set::Request;
    match request {
        Request::CreateRevision(revision) => api.write(|store, now| store.create(*revision, now)).map(drop),
        Request::UpdateRevision(revision) => api.write(|store, now| store.update(*revision, now)).map(drop),
        Request::DeleteRevision { name } => api
            .write(|store, now| {
                store.delete::<ControllerRevision>(namespace, &name, None, Grace::AsDeclared, now)
            })
            .map(drop),
        Request::CreateClaim(mut claim) => api
            .write(|store, now| {
                volumes::admit_claim(store, &mut claim);
                store.create(*claim, now)
            })
            .map(drop),
        Request::UpdateClaim(claim) => api.write(|store, now| store.update(*claim, now)).map(drop),
        Request::CreatePod(pod) => create_pod(api, *pod),
        Request::UpdatePod(pod) => api.write(|store, now| store.update(*pod, now)).map(drop),
        Request::DeletePod { name, uid } => delete_pod(api, namespace, &name, uid.as_deref()),
        Request::UpdateStatus(status) => api
            .write(|store, now| {
                store.patch_status::<StatefulSet>(namespace, set, now, |set| set.status = Some(*status))
            })
            .map(drop),
    }
}

fn reconcile_deployment(api: &Api, deployment: &Deployment) {
    use deployment::Request;
    let namespace = deployment.metadata.namespace.clone().unwrap_or_default();
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let pods: Vec<Arc<Pod>> = api.read(|store| all_in(store, &namespace));
    for request in deployment::reconcile(deployment, &pods, hopwise_engine::now()) {
        let done = match request {
            Request::CreatePod(pod) => create_pod(api, *pod),
            Request::DeletePod { name, uid } => delete_pod(api, &namespace, &name, uid.as_deref()),
            Request::UpdateStatus(status) => api
                .write(|store, now| {
                    store.patch_status::<Deployment>(&namespace, &name, now, |object| {
                        object.status = Some(*status)
                    })
                })
                .map(drop),
        };
        if done.is_err() {
            return;
        }
    }
}

fn reconcile_endpoint_slices(api: &Api, service: &Service) {
    use endpoint_slices::Request;
    let namespace = service.metadata.namespace.clone().unwrap_or_default();
    let (pods, slices, nodes) = api.read(|store| {
        let nodes: BTreeMap<String, Arc<Node>> = store
            .list::<Node>()
            .map(|node| (node.metadata.name.clone().unwrap_or_default(), node.clone()))
            .collect();
        (all_in::<Pod>(store, &namespace), all_in::<EndpointSlice>(store, &namespace), nodes)
    });
    let node = |name: &str| nodes.get(name).map(Arc::as_ref);
    let zones = || topology_hints::Zones::of(nodes.values().map(Arc::as_ref));
    for request in endpoint_slices::reconcile(service, &pods, &slices, node, zones) {
        let done = api.write(|store, now| match request {
            Request::Create(slice) => store.create(*slice, now).map(drop),
            Request::Update(slice) => store.update(*slice, now).map(drop),
            Request::Delete { name } => {
                store.delete::<EndpointSlice>(&namespace, &name, None, Grace::AsDeclared, now).map(drop)
            }
        });
        if done.is_err() {
            return;
        }
    }
}

/// Creates a pod with the API server's defaults.
pub fn create_pod(api: &Api, mut pod: Pod) -> Result<(), StoreError> {
    pod_admission::admit(&mut pod);
    let created = api.write(|store, now| store.create(pod, now))?;
    let (namespace, name) = (created.metadata.namespace.as_deref(), created.metadata.name.as_deref());
    hopwise_engine::notable(
        "pod.created",
        format!("pod {}/{}", namespace.unwrap_or(""), name.unwrap_or("")),
        "",
    );
    Ok(())
}

fn delete_pod(api: &Api, namespace: &str, name: &str, uid: Option<&str>) -> Result<(), StoreError> {
    hopwise_engine::notable("pod.deleted", format!("pod {namespace}/{name}"), "by its controller");
    api.write(|store, now| store.delete::<Pod>(namespace, name, uid, Grace::AsDeclared, now)).map(drop)
}
