//! The Deployment controller's queue.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use super::{Controller, Name, controllers_of, create_pod, delete_pod, names_of_kind};
use crate::cluster::api::Api;
use crate::controllers::deployment::{self, Request};
use crate::controllers::work_queue::Outcome;
use crate::manifest::ObjectRef;
use crate::store::{Change, Kind, Store, StoreError};

/// The Deployments, and those of them whose pods the API server refuses.
pub struct Deployments {
    refused: BTreeSet<Name>,
}

impl Deployments {
    pub fn new(without_pods: &[ObjectRef]) -> Self {
        Deployments { refused: names_of_kind(without_pods, "Deployment").into_iter().collect() }
    }
}

impl Controller for Deployments {
    const KINDS: &'static [Kind] = &[Kind::Deployment, Kind::Pod];

    fn concerned(&mut self, _: &Store, change: &Change) -> Vec<Name> {
        match change.key.kind {
            Kind::Deployment => vec![(change.key.namespace.clone(), change.key.name.clone())],
            _ => controllers_of(change, "Deployment"),
        }
    }

    fn all(&mut self, store: &Store) -> Vec<Name> {
        store.list::<Deployment>().map(|it| super::name_of(&it.metadata)).collect()
    }

    fn pass(&mut self, api: &Api, name: &Name) -> Outcome {
        if self.refused.contains(name) {
            return Outcome::Done;
        }
        let seen = api.read(|store| {
            let deployment = store.get::<Deployment>(&name.0, &name.1)?.clone();
            let uid = deployment.metadata.uid.as_deref().unwrap_or("");
            let pods: Vec<Arc<Pod>> = store.owned_by::<Pod>(uid).cloned().collect();
            Some((deployment, pods))
        });
        let Some((deployment, pods)) = seen else { return Outcome::Done };
        let now = hopwise_engine::now();
        for request in deployment::reconcile(&deployment, &pods, now) {
            if carry_out(api, name, request).is_err() {
                return Outcome::Failed;
            }
        }
        deployment::available_next(&deployment, &pods, now).map_or(Outcome::Done, Outcome::LookAgain)
    }
}

fn carry_out(api: &Api, (namespace, deployment): &Name, request: Request) -> Result<(), StoreError> {
    match request {
        Request::CreatePod(pod) => create_pod(api, *pod),
        Request::DeletePod { name, uid } => delete_pod(api, namespace, &name, uid.as_deref()),
        Request::UpdateStatus(status) => {
            let write = |object: &mut Deployment| object.status = Some(*status);
            api.write(|store, now| store.patch_status::<Deployment>(namespace, deployment, now, write))
                .map(drop)
        }
    }
}
