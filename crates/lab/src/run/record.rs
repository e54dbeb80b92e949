//! Gathers what was seen in a run for pictures of it; see `recording`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hopwise_kube::cluster::{Changes, Cluster};
use hopwise_kube::proxy::ServiceName;
use hopwise_kube::store::{Kind, Object, Store};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use super::clients::RunningClient;
use super::times::Strike;
use crate::check::{brokers_of, pods, services};
use crate::inputs::Inputs;
use crate::programs::BrokerLife;
use crate::recording::{Election, EndpointChange, RecordedClient, RecordedFault, Topology};
use crate::simulate::Started;

/// The cluster as it stands now.
pub(super) fn topology(started: &Started, inputs: &Inputs) -> Topology {
    let brokers = brokers_of(inputs, started);
    let (pods, services) = started.cluster.api().read(|store| (pods(store), services(store)));
    Topology::of(&inputs.cluster.nodes, brokers, pods, services)
}

pub(super) fn clients(clients: &[RunningClient]) -> Vec<RecordedClient> {
    let recorded = |client: &RunningClient| RecordedClient {
        name: client.name.clone(),
        place: client.place.clone(),
        attempts: client.journal.records(),
    };
    clients.iter().map(recorded).collect()
}

pub(super) fn faults(strikes: Vec<Strike>) -> Vec<RecordedFault> {
    strikes.into_iter().map(|strike| RecordedFault { at: strike.at, name: strike.fault }).collect()
}

/// Who became a leader, from what the brokers' own replicas knew.
pub(super) fn elections(lives: &[BrokerLife]) -> Vec<Election> {
    let of_life = |life: &BrokerLife| {
        let pod = life.pod.clone();
        let election = move |tenure: &hopwise_broker::Tenure| Election {
            at: tenure.since,
            pod: pod.clone(),
            topic: tenure.topic.clone(),
            partition: tenure.partition,
            term: tenure.term,
        };
        life.tenures.iter().map(election).collect::<Vec<_>>()
    };
    let mut elections: Vec<Election> = lives.iter().flat_map(of_life).collect();
    elections.sort_by(|a, b| (a.at, &a.topic, a.partition).cmp(&(b.at, &b.topic, b.partition)));
    elections
}

/// Notes every change of the ready endpoints of Services, for as long as it is polled.
pub(super) async fn endpoints(cluster: &Cluster, changes: &RefCell<Vec<EndpointChange>>) {
    let mut watch = cluster.api().watch(&[Kind::EndpointSlice]);
    let every = |store: &Store| {
        store.list::<EndpointSlice>().filter_map(|slice| ServiceName::of_slice(slice)).collect()
    };
    let mut known: BTreeMap<ServiceName, Vec<String>> = BTreeMap::new();
    let mut touched: BTreeSet<ServiceName> = cluster.api().read(every);
    let mut first = true;
    loop {
        for service in std::mem::take(&mut touched) {
            let ready = cluster.api().read(|store| ready_of(store, &service));
            let before = known.insert(service.clone(), ready.clone());
            if !first && before.as_ref() != Some(&ready) {
                let service = format!("{}/{}", service.namespace, service.name);
                changes.borrow_mut().push(EndpointChange { at: hopwise_engine::now(), service, ready });
            }
        }
        first = false;
        touched = match watch.next(Duration::ZERO).await {
            Changes::All => cluster.api().read(every),
            Changes::Some(changes) => changes
                .iter()
                .filter_map(|change| match &change.object {
                    Object::EndpointSlice(slice) => ServiceName::of_slice(slice),
                    _ => None,
                })
                .collect(),
        };
    }
}

/// The endpoints of a Service that are ready: pods, or addresses of what is no pod.
fn ready_of(store: &Store, service: &ServiceName) -> Vec<String> {
    let slices = store
        .list_in::<EndpointSlice>(&service.namespace)
        .filter(|slice| ServiceName::of_slice(slice).is_some_and(|of| of == *service));
    let ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
    };
    let name = |endpoint: &Endpoint| {
        let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
        pod.map_or_else(|| endpoint.addresses.join(","), |pod| format!("{}/{pod}", service.namespace))
    };
    let names: BTreeSet<String> = slices
        .flat_map(|slice| slice.endpoints.iter().flatten().filter(ready).map(name).collect::<Vec<_>>())
        .collect();
    names.into_iter().collect()
}
