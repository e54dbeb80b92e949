//! Gathers what was seen in a run for pictures of it; see `recording`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hopwise_kube::cluster::{Changes, Cluster};
use hopwise_kube::proxy::ServiceName;
use hopwise_kube::store::{Action, Kind, Object, Store};
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
    let mut known = cluster.api().read(Known::all);
    loop {
        let changed = match watch.next(Duration::ZERO).await {
            Changes::All => known.replace(cluster.api().read(Known::all)),
            Changes::Some(changes) => {
                changes.iter().filter_map(|change| known.take(&change.object, change.action)).collect()
            }
        };
        let note = |(service, ready): (ServiceName, Vec<String>)| EndpointChange {
            at: hopwise_engine::now(),
            service: format!("{}/{}", service.namespace, service.name),
            ready,
        };
        changes.borrow_mut().extend(changed.into_iter().map(note));
    }
}

/// The ready endpoints of each Service, by the slices that name them.
#[derive(Default)]
struct Known(BTreeMap<ServiceName, BTreeMap<String, Vec<String>>>);

type Changed = (ServiceName, Vec<String>);

impl Known {
    fn all(store: &Store) -> Known {
        let mut known = Known::default();
        for slice in store.list::<EndpointSlice>() {
            if let Some(service) = ServiceName::of_slice(slice) {
                let name = slice.metadata.name.clone().unwrap_or_default();
                known.0.entry(service).or_default().insert(name, ready_of(slice));
            }
        }
        known
    }

    /// The ready endpoints of a Service: pods, or addresses of what is no pod.
    fn ready(&self, service: &ServiceName) -> Vec<String> {
        let slices = self.0.get(service).into_iter().flat_map(BTreeMap::values);
        let ready: BTreeSet<String> = slices.flatten().cloned().collect();
        ready.into_iter().collect()
    }

    /// Takes a change of one slice; the Service's endpoints if they are others now.
    fn take(&mut self, object: &Object, action: Action) -> Option<Changed> {
        let Object::EndpointSlice(slice) = object else { return None };
        let service = ServiceName::of_slice(slice)?;
        let before = self.ready(&service);
        let slices = self.0.entry(service.clone()).or_default();
        let name = slice.metadata.name.clone().unwrap_or_default();
        match action {
            Action::Deleted => slices.remove(&name),
            _ => slices.insert(name, ready_of(slice)),
        };
        let after = self.ready(&service);
        (before != after).then_some((service, after))
    }

    /// Takes everything anew; the Services whose endpoints are others now.
    fn replace(&mut self, now: Known) -> Vec<Changed> {
        let before = std::mem::replace(self, now);
        let services: BTreeSet<&ServiceName> = before.0.keys().chain(self.0.keys()).collect();
        let changed =
            services.into_iter().map(|service| (before.ready(service), self.ready(service), service));
        let changed = changed.filter(|(before, after, _)| before != after);
        changed.map(|(_, after, service)| (service.clone(), after)).collect()
    }
}

fn ready_of(slice: &EndpointSlice) -> Vec<String> {
    let namespace = slice.metadata.namespace.as_deref().unwrap_or("");
    let is_ready = |endpoint: &&Endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready.unwrap_or(true))
    };
    let name = |endpoint: &Endpoint| {
        let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
        pod.map_or_else(|| endpoint.addresses.join(","), |pod| format!("{namespace}/{pod}"))
    };
    slice.endpoints.iter().flatten().filter(is_ready).map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    fn slice(name: &str, endpoints: &[(&str, bool)]) -> Object {
        let endpoint = |(pod, ready): &(&str, bool)| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"name": pod}});
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        let slice = json!({
            "metadata": {"name": name, "namespace": "a", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "ports": [], "endpoints": endpoints,
        });
        Object::EndpointSlice(Arc::new(serde_json::from_value(slice).expect("it is one")))
    }

    #[test]
    fn what_takes_connections_is_told_when_it_changes() {
        let mut known = Known::default();
        let mut take = |name, endpoints: &[_], action| {
            known.take(&slice(name, endpoints), action).map(|(_, ready)| ready.join(" "))
        };
        assert_eq!(take("s-1", &[("p-0", false)], Action::Added), None);
        assert_eq!(take("s-1", &[("p-0", true)], Action::Modified).as_deref(), Some("a/p-0"));
        assert_eq!(take("s-2", &[("p-1", true)], Action::Added).as_deref(), Some("a/p-0 a/p-1"));
        assert_eq!(take("s-2", &[("p-1", true)], Action::Modified), None);
        assert_eq!(take("s-1", &[("p-0", true)], Action::Deleted).as_deref(), Some("a/p-1"));
        let changed = known.replace(Known::default());
        assert_eq!((changed.len(), changed[0].1.len()), (1, 0));
    }
}
