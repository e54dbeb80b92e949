//! Whether the cluster has started, and what is missing.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::Span;
use hopwise_kube::cluster::{Cluster, Settled};
use hopwise_kube::store::pod_state;
use k8s_openapi::api::core::v1::{ContainerState, Pod, Service};

use super::clients::failed;
use crate::programs::Brokers;
use crate::report::run::Check;
use crate::scenario::Duration;
use crate::simulate::Started;

/// A failed check that says what is not ready and why; `None` if everything is.
pub(super) fn check(started: &Started) -> Option<Check> {
    let Started { cluster, brokers, settled, limit } = started;
    let why = match settled {
        Settled::Ready => return None,
        Settled::Stuck => "nothing changes any more".to_owned(),
        Settled::StillChanging => format!("the time is over ({})", Duration(Span::from(*limit))),
    };
    let mut missing = pods_missing(cluster, brokers);
    missing.extend(balancers_missing(cluster));
    let detail = format!("{why}; {}", missing.join("; "));
    Some(failed("every pod is ready and every load balancer has a healthy target", &detail))
}

fn pods_missing(cluster: &Cluster, brokers: &Brokers) -> Vec<String> {
    let mut reasons: BTreeMap<String, String> = BTreeMap::new();
    for failure in brokers.failures() {
        reasons.insert(failure.pod, failure.reason);
    }
    for failure in cluster.init_failures() {
        let pod = format!("{}/{}", failure.pod.0, failure.pod.1);
        reasons.insert(pod, format!("init container {}: {}", failure.container, failure.problem));
    }
    cluster.api().read(|store| {
        let pods = store.list::<Pod>().filter(|pod| !pod_state::is_healthy(pod));
        pods.map(|pod| {
            let [namespace, name] =
                [&pod.metadata.namespace, &pod.metadata.name].map(|part| part.clone().unwrap_or_default());
            let name = format!("{namespace}/{name}");
            let reason = reasons.get(&name).cloned().or_else(|| said_by_status(pod));
            let reason = reason.unwrap_or_else(|| "its status gives no reason".to_owned());
            format!("pod {name} is {} and not ready: {reason}", pod_state::phase(pod))
        })
        .collect()
    })
}

/// What the pod's conditions and containers say.
fn said_by_status(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let waiting = |state: &ContainerState| {
        let waiting = state.waiting.as_ref()?;
        let message = waiting.message.as_deref().filter(|message| !message.is_empty());
        message.or(waiting.reason.as_deref()).map(str::to_owned)
    };
    let containers = status.container_statuses.iter().flatten();
    let from_containers = containers.filter_map(|container| waiting(container.state.as_ref()?)).next();
    let conditions = status.conditions.iter().flatten().filter(|condition| condition.status == "False");
    let from_conditions =
        conditions.filter_map(|condition| condition.message.clone()).find(|it| !it.is_empty());
    from_conditions.or(from_containers).or_else(|| status.message.clone())
}

/// Services of type LoadBalancer whose instance has no healthy target. Those without an instance are pending, which
/// is not waited for.
fn balancers_missing(cluster: &Cluster) -> Vec<String> {
    let mut healthy: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for event in hopwise_engine::notable_events() {
        let Some(service) = event.object.strip_prefix("load balancer ") else { continue };
        let nodes = healthy.entry(service.to_owned()).or_default();
        match event.kind {
            "load_balancer.target_healthy" => nodes.insert(event.detail),
            "load_balancer.target_unhealthy" | "load_balancer.target_deregistered" => {
                nodes.remove(&event.detail)
            }
            _ => false,
        };
    }
    cluster.api().read(|store| {
        let services = store.list::<Service>().filter_map(|service| {
            let name =
                format!("{}/{}", service.metadata.namespace.as_ref()?, service.metadata.name.as_ref()?);
            let published = service.status.as_ref()?.load_balancer.as_ref()?.ingress.is_some();
            let has_target = healthy.get(&name).is_some_and(|nodes| !nodes.is_empty());
            (published && !has_target).then(|| format!("load balancer {name} has no healthy target"))
        });
        services.collect()
    })
}
