//! What becomes of the objects that a scenario expects something of, from the timeline's start to its end.

use std::collections::BTreeMap;
use std::time::Duration;

use hopwise_kube::cluster::Cluster;
use hopwise_kube::proxy::ServiceName;
use hopwise_kube::store::{Kind, Store, pod_state};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::{Instant, timeout_at};

use crate::check::facts::why_not_ready;
use crate::scenario::{Fact, Facts, History, ObjectKind, ObjectName, Scenario};

const KINDS: &[Kind] = &[
    Kind::Pod,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::PersistentVolumeClaim,
];

/// The histories of several objects.
pub(super) struct Histories(pub BTreeMap<ObjectName, History>);

impl Histories {
    /// That of one object that was watched.
    pub(super) fn of(&self, object: &ObjectName) -> &History {
        &self.0[object]
    }
}

/// Watches every object that a state is expected of, up to `end`.
pub(super) async fn record(
    cluster: &Cluster,
    scenario: &Scenario,
    end: Instant,
) -> BTreeMap<ObjectName, History> {
    let objects = scenario.expect.states.iter().map(|state| state.object.clone());
    let mut histories: BTreeMap<ObjectName, History> =
        objects.map(|object| (object, History::default())).collect();
    let mut watch = cluster.api().watch(KINDS);
    loop {
        let now = hopwise_engine::now();
        cluster.api().read(|store| {
            for (object, history) in &mut histories {
                history.note(now, facts(store, object));
            }
        });
        if timeout_at(end, watch.next(Duration::ZERO)).await.is_err() {
            return histories;
        }
    }
}

/// What is true of an object now.
fn facts(store: &Store, object: &ObjectName) -> Facts {
    let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
    let facts = match object.kind {
        ObjectKind::Pod => store.get::<Pod>(namespace, name).map(|pod| pod_facts(pod)),
        ObjectKind::Container | ObjectKind::Secret => None,
        ObjectKind::Node => store.get::<Node>("", name).map(|node| node_facts(node)),
        ObjectKind::Service => {
            store.get::<Service>(namespace, name).map(|_| service_facts(store, namespace, name))
        }
        ObjectKind::StatefulSet => {
            store.get::<StatefulSet>(namespace, name).map(|set| stateful_set_facts(set))
        }
        ObjectKind::Deployment => store.get::<Deployment>(namespace, name).map(|it| deployment_facts(it)),
        ObjectKind::PersistentVolumeClaim => {
            store.get::<PersistentVolumeClaim>(namespace, name).map(|claim| claim_facts(claim))
        }
    };
    let exists = one("exists", facts.is_some());
    facts.unwrap_or_default().into_iter().chain([exists]).collect()
}

fn one(word: &'static str, value: impl ToString) -> (&'static str, Fact) {
    (word, Fact::One(value.to_string()))
}

fn text(word: &'static str, value: Option<&str>) -> (&'static str, Fact) {
    (word, Fact::One(value.unwrap_or("").to_owned()))
}

fn many(word: &'static str, values: impl Iterator<Item = String>) -> (&'static str, Fact) {
    let mut values: Vec<String> = values.collect();
    values.sort();
    values.dedup();
    (word, Fact::Many(values))
}

fn uid(meta: &ObjectMeta) -> (&'static str, Fact) {
    text("uid", meta.uid.as_deref())
}

fn pod_facts(pod: &Pod) -> Facts {
    let ready = pod_state::condition(pod, "Ready").map_or("False", |condition| condition.status.as_str());
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let labels = pod.metadata.labels.as_ref();
    let revision = labels.and_then(|labels| labels.get("controller-revision-hash")).map(String::as_str);
    let owner = owner.map(|owner| format!("{} {}", owner.kind, owner.name));
    [
        one("phase", pod_state::phase(pod)),
        one("ready", truth(ready)),
        text("node", pod_state::node_name(pod)),
        text("ip", pod_state::addresses(pod).first().copied()),
        uid(&pod.metadata),
        one("restarts", statuses.map(|status| status.restart_count).sum::<i32>()),
        one("terminating", pod_state::is_terminating(pod)),
        text("reason", why_not_ready(pod).as_deref()),
        text("owner", owner.as_deref()),
        text("revision", revision),
    ]
    .into()
}

fn node_facts(node: &Node) -> Facts {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let spec = node.spec.clone().unwrap_or_default();
    let taints = spec.taints.into_iter().flatten().map(|taint| format!("{}:{}", taint.key, taint.effect));
    [
        one("ready", truth(ready.map_or("Unknown", |condition| condition.status.as_str()))),
        many("taints", taints),
        one("schedulable", !spec.unschedulable.unwrap_or(false)),
    ]
    .into()
}

/// A condition's status as scenarios write it: `true`, `false` or `unknown`.
fn truth(status: &str) -> String {
    status.to_ascii_lowercase()
}

fn service_facts(store: &Store, namespace: &str, name: &str) -> Facts {
    let of_service =
        |slice: &EndpointSlice| ServiceName::of_slice(slice).is_some_and(|service| service.name == name);
    let slices = store.list_in::<EndpointSlice>(namespace).filter(|slice| of_service(slice));
    let endpoints: Vec<&Endpoint> = slices.flat_map(|slice| slice.endpoints.iter().flatten()).collect();
    let with = |word: &'static str, test: fn(Option<bool>, Option<bool>, Option<bool>) -> bool| {
        let chosen = endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            test(conditions.ready, conditions.serving, conditions.terminating)
        });
        let target = |endpoint: &&&Endpoint| {
            let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
            pod.map_or_else(|| endpoint.addresses.join(","), |pod| format!("{namespace}/{pod}"))
        };
        many(word, chosen.map(|endpoint| target(&endpoint)))
    };
    [
        with("ready", |ready, _, _| ready.unwrap_or(true)),
        with("notReady", |ready, _, _| !ready.unwrap_or(true)),
        with("serving", |_, serving, _| serving.unwrap_or(true)),
        with("terminating", |_, _, terminating| terminating.unwrap_or(false)),
    ]
    .into()
}

fn stateful_set_facts(set: &StatefulSet) -> Facts {
    let status = set.status.clone().unwrap_or_default();
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    [
        uid(&set.metadata),
        one("replicas", replicas),
        one("pods", status.replicas),
        one("readyReplicas", status.ready_replicas.unwrap_or(0)),
        one("updatedReplicas", status.updated_replicas.unwrap_or(0)),
        text("currentRevision", status.current_revision.as_deref()),
        text("updateRevision", status.update_revision.as_deref()),
    ]
    .into()
}

fn deployment_facts(deployment: &Deployment) -> Facts {
    let status = deployment.status.clone().unwrap_or_default();
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    [
        uid(&deployment.metadata),
        one("replicas", replicas),
        one("pods", status.replicas.unwrap_or(0)),
        one("readyReplicas", status.ready_replicas.unwrap_or(0)),
        one("updatedReplicas", status.updated_replicas.unwrap_or(0)),
    ]
    .into()
}

fn claim_facts(claim: &PersistentVolumeClaim) -> Facts {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    [
        uid(&claim.metadata),
        one("phase", phase),
        text("volume", volume),
        one("terminating", claim.metadata.deletion_timestamp.is_some()),
    ]
    .into()
}
