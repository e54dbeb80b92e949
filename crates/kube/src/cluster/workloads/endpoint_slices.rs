//! The EndpointSlice controller's queue: a changed pod concerns the Services that select it, a changed node those
//! that select its pods.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{Controller, Name, controllers_of};
use crate::cluster::api::Api;
use crate::controllers::endpoint_slices::{self, Request, SERVICE_NAME_LABEL};
use crate::controllers::selector_index::SelectorIndex;
use crate::controllers::topology_hints;
use crate::controllers::work_queue::Outcome;
use crate::store::{Action, Change, Grace, Kind, Labels, Object, Store, StoreError};

/// The Services by their selectors.
#[derive(Default)]
pub struct EndpointSlices {
    services: SelectorIndex,
}

impl EndpointSlices {
    fn know(&mut self, service: &Service) {
        let none = Labels::new();
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).unwrap_or(&none);
        let (namespace, name) = super::name_of(&service.metadata);
        self.services.set(&namespace, &name, selector);
    }

    fn selecting(&self, namespace: &str, labels: Option<&Labels>) -> impl Iterator<Item = Name> {
        let names = self.services.selecting(namespace, labels).into_iter();
        names.map(|name| (namespace.to_owned(), name.to_owned()))
    }
}

impl Controller for EndpointSlices {
    const KINDS: &'static [Kind] = &[Kind::Service, Kind::Pod, Kind::Node, Kind::EndpointSlice];

    fn concerned(&mut self, store: &Store, change: &Change) -> Vec<Name> {
        let (namespace, name) = (&change.key.namespace, &change.key.name);
        match (&change.object, change.action) {
            (Object::Service(service), action) => {
                if action == Action::Deleted {
                    self.services.remove(namespace, name);
                } else {
                    self.know(service);
                }
                vec![(namespace.clone(), name.clone())]
            }
            (Object::Pod(pod), _) => {
                let before = change.previous.as_ref().and_then(|object| object.meta().labels.as_ref());
                let mut names: Vec<Name> = self.selecting(namespace, pod.metadata.labels.as_ref()).collect();
                if before != pod.metadata.labels.as_ref() {
                    names.extend(self.selecting(namespace, before));
                }
                names
            }
            (Object::Node(node), _) if matters(change, node) => {
                let labels = store.pods_on(name).map(|pod| (super::name_of(&pod.metadata).0, &pod.metadata));
                let names = labels.flat_map(|(namespace, meta)| {
                    self.selecting(&namespace, meta.labels.as_ref()).collect::<Vec<_>>()
                });
                names.collect()
            }
            // A slice that somebody else has deleted comes back.
            (Object::EndpointSlice(_), Action::Deleted) => controllers_of(change, "Service"),
            _ => Vec::new(),
        }
    }

    fn all(&mut self, store: &Store) -> Vec<Name> {
        self.services = SelectorIndex::default();
        store.list::<Service>().for_each(|service| self.know(service));
        store.list::<Service>().map(|service| super::name_of(&service.metadata)).collect()
    }

    fn pass(&mut self, api: &Api, (namespace, name): &Name) -> Outcome {
        for request in api.read(|store| requests(store, namespace, name)) {
            if carry_out(api, namespace, request).is_err() {
                return Outcome::Failed;
            }
        }
        Outcome::Done
    }
}

/// Whether a node's change can change an endpoint. (A heartbeat cannot.)
fn matters(change: &Change, node: &Node) -> bool {
    let Some(Object::Node(before)) = change.previous.as_ref() else { return true };
    let ready = |node: &Node| {
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready");
        ready.map(|condition| condition.status.clone())
    };
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    change.action != Action::Modified
        || before.metadata.labels != node.metadata.labels
        || ready(before) != ready(node)
        || allocatable(before) != allocatable(node)
}

fn requests(store: &Store, namespace: &str, name: &str) -> Vec<Request> {
    // The slices of a Service that is gone are garbage.
    let Some(service) = store.get::<Service>(namespace, name) else { return Vec::new() };
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let pods: Vec<_> = match selector.filter(|selector| !selector.is_empty()) {
        Some(selector) => store.labelled(namespace, selector).into_iter().cloned().collect(),
        None => Vec::new(),
    };
    let of_service = Labels::from([(SERVICE_NAME_LABEL.to_owned(), name.to_owned())]);
    let slices: Vec<Arc<EndpointSlice>> =
        store.labelled(namespace, &of_service).into_iter().cloned().collect();
    let node = |name: &str| store.get::<Node>("", name).map(Arc::as_ref);
    let zones = || topology_hints::Zones::of(store.list::<Node>().map(Arc::as_ref));
    endpoint_slices::reconcile(service, &pods, &slices, node, zones)
}

fn carry_out(api: &Api, namespace: &str, request: Request) -> Result<(), StoreError> {
    api.write(|store, now| match request {
        Request::Create(slice) => store.create(*slice, now).map(drop),
        Request::Update(slice) => store.update(*slice, now).map(drop),
        Request::Delete { name } => {
            store.delete::<EndpointSlice>(namespace, &name, None, Grace::AsDeclared, now).map(drop)
        }
    })
}
