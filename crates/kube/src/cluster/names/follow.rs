//! Keeps a CoreDNS pod's zone as the API server's objects are: what it does costs by what has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::watch;

use super::super::api::Api;
use super::super::timing;
use super::super::watches::Changes;
use super::{DnsTrouble, SharedServer};
use crate::dns::{self, Endpoint, Port, ServiceKind, Slice, Zone};
use crate::proxy::ServiceName;
use crate::store::{Action, Kind, Object, Store, pod_state};

const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice, Kind::Namespace];
const KINDS_WITH_PODS: &[Kind] = &[Kind::Service, Kind::EndpointSlice, Kind::Namespace, Kind::Pod];

/// Follows the API server; `synced` becomes true with the first objects. CoreDNS watches pods only if it needs them.
pub(super) async fn follow(
    api: Api,
    server: SharedServer,
    needs_pods: bool,
    synced: watch::Sender<bool>,
    trouble: DnsTrouble,
) {
    let mut watch = api.watch(if needs_pods { KINDS_WITH_PODS } else { KINDS });
    let mut objects = Objects::default();
    loop {
        let changes = watch.next(timing::DNS_LAG).await;
        trouble.thawed().await;
        let zone = &mut server.borrow_mut().zone;
        match changes {
            Changes::Some(changes) => {
                changes.into_iter().for_each(|change| objects.apply(zone, change.action, change.object));
            }
            Changes::All => api.read(|store| objects.replace(zone, store, needs_pods)),
        }
        objects.update(zone);
        zone.options.synced = true;
        synced.send_if_modified(|synced| !std::mem::replace(synced, true));
    }
}

/// The Services and their slices, and which of them have changed.
#[derive(Default)]
struct Objects {
    services: BTreeMap<ServiceName, Known>,
    changed: BTreeSet<ServiceName>,
}

#[derive(Default)]
struct Known {
    service: Option<Arc<Service>>,
    slices: BTreeMap<String, Slice>,
}

impl Objects {
    fn apply(&mut self, zone: &mut Zone, action: Action, object: Object) {
        let gone = action == Action::Deleted;
        match object {
            Object::Service(service) => {
                let name = ServiceName::of(&service);
                self.services.entry(name.clone()).or_default().service = (!gone).then_some(service);
                self.changed.insert(name);
            }
            Object::EndpointSlice(slice) => {
                let Some(name) = ServiceName::of_slice(&slice) else { return };
                let slices = &mut self.services.entry(name.clone()).or_default().slices;
                let key = slice.metadata.name.clone().unwrap_or_default();
                if gone {
                    slices.remove(&key);
                } else {
                    slices.insert(key, slice_entry(&slice));
                }
                self.changed.insert(name);
            }
            Object::Namespace(namespace) => {
                let name = namespace.metadata.name.clone().unwrap_or_default();
                if gone { zone.remove_namespace(&name) } else { zone.put_namespace(&name) }
            }
            Object::Pod(pod) => put_pod(zone, &pod, gone),
            _ => {}
        }
    }

    /// Starts over with all objects there are.
    fn replace(&mut self, zone: &mut Zone, store: &Store, with_pods: bool) {
        zone.clear();
        *self = Objects::default();
        let mut add = |object| self.apply(zone, Action::Added, object);
        store.list::<Namespace>().cloned().map(Object::Namespace).for_each(&mut add);
        store.list::<Service>().cloned().map(Object::Service).for_each(&mut add);
        store.list::<EndpointSlice>().cloned().map(Object::EndpointSlice).for_each(&mut add);
        if with_pods {
            store.list::<Pod>().cloned().map(Object::Pod).for_each(&mut add);
        }
    }

    /// Writes the Services that have changed.
    fn update(&mut self, zone: &mut Zone) {
        for name in std::mem::take(&mut self.changed) {
            let Some(known) = self.services.get(&name) else { continue };
            match &known.service {
                Some(service) => zone.put_service(service_entry(service, &name, &known.slices)),
                None => zone.remove_service(&name.namespace, &name.name),
            }
            if known.service.is_none() && known.slices.is_empty() {
                self.services.remove(&name);
            }
        }
    }
}

fn put_pod(zone: &mut Zone, pod: &Pod, gone: bool) {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let ips: Vec<IpAddr> = pod_state::addresses(pod).iter().filter_map(|ip| ip.parse().ok()).collect();
    if gone || ips.is_empty() {
        zone.remove_pod(namespace, name);
    } else {
        zone.put_pod(namespace, name, &ips);
    }
}

fn service_entry(service: &Service, name: &ServiceName, slices: &BTreeMap<String, Slice>) -> dns::Service {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let number = u16::try_from(port.port).ok()?;
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some(Port { name: port.name.clone().unwrap_or_default(), protocol, number })
    });
    dns::Service {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        kind: kind_of(&spec),
        ports: ports.collect(),
        slices: slices.values().cloned().collect(),
        publishes_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
    }
}

fn kind_of(spec: &ServiceSpec) -> ServiceKind {
    if spec.type_.as_deref() == Some("ExternalName") {
        return ServiceKind::ExternalName(spec.external_name.clone().unwrap_or_default());
    }
    let all =
        spec.cluster_ips.clone().or_else(|| spec.cluster_ip.clone().map(|ip| vec![ip])).unwrap_or_default();
    if all.iter().any(|ip| ip == "None") {
        return ServiceKind::Headless;
    }
    ServiceKind::ClusterIp(all.iter().filter_map(|ip| ip.parse().ok()).collect())
}

fn slice_entry(slice: &EndpointSlice) -> Slice {
    let ports = slice.ports.iter().flatten().filter_map(|port| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol,
            number: u16::try_from(port.port?).ok()?,
        })
    });
    let endpoints = slice.endpoints.iter().flatten().filter_map(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        Some(Endpoint {
            ip: endpoint.addresses.first()?.parse().ok()?,
            hostname: endpoint.hostname.clone(),
            pod: endpoint.target_ref.as_ref().and_then(|target| target.name.clone()),
            zone: endpoint.zone.clone(),
            ready: conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
            terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
        })
    });
    Slice { ports: ports.collect(), endpoints: endpoints.collect() }
}
