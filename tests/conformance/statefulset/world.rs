//! A set with its objects, as the API would hold them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use hopwise_kube::controllers::RequestFailed;
use hopwise_kube::controllers::stateful_set::{
    Gates, REVISION_LABEL, Request, Requests, View, ordinal_of, reconcile_against, update_stage,
};
use hopwise_kube::store::timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodCondition};
use serde_json::json;

use super::format::{PodState, Set, SpecChange, Status};

pub const SET: &str = "set";
/// The template of the pods before an event changes it.
pub const FIRST_TEMPLATE: &str = "r1";

/// The state of the API, and what was asked of it.
pub struct World {
    pub set: StatefulSet,
    pub objects: Objects,
    pub gates: Gates,
    pub now: Time,
}

/// The set's objects and the record of requests.
#[derive(Default)]
pub struct Objects {
    pub pods: BTreeMap<u64, Pod>,
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    pub revisions: BTreeMap<String, ControllerRevision>,
    /// Requests that fail: the word, and after how many more of them.
    pub failing: BTreeMap<String, u64>,
    /// How often each request was made, failed ones included.
    pub calls: BTreeMap<String, u64>,
    /// The pods of each batch, and how many requests about pods it made.
    pub batches: Vec<(usize, usize)>,
    uids: usize,
    now: Time,
    /// The pods that the present pass has tried to create.
    pub attempted: std::collections::BTreeSet<u64>,
    /// The requests of the present pass in the words of the file.
    words: Vec<String>,
    status: Option<k8s_openapi::api::apps::v1::StatefulSetStatus>,
}

impl World {
    /// A set that has nothing yet. `claim` is the name of its claim template.
    pub fn new(set: &Set, gates: Gates, claim: &str) -> World {
        let mut rolling = json!({ "partition": set.partition });
        if let Some(max_unavailable) = &set.max_unavailable {
            rolling["maxUnavailable"] = max_unavailable.clone();
        }
        let object = json!({
            "metadata": { "name": SET, "namespace": "ns", "uid": "set-uid" },
            "spec": {
                "replicas": set.replicas, "podManagementPolicy": set.pod_management_policy,
                "minReadySeconds": set.min_ready_seconds, "ordinals": { "start": set.ordinals_start },
                "updateStrategy": {
                    "type": set.update_strategy.as_deref().unwrap_or("RollingUpdate"), "rollingUpdate": rolling
                },
                "selector": { "matchLabels": { "app": SET } }, "serviceName": SET,
                "template": {
                    "metadata": { "labels": { "app": SET } },
                    "spec": { "containers": [{ "name": "c", "image": FIRST_TEMPLATE }] }
                },
                "volumeClaimTemplates": [{ "metadata": { "name": claim }, "spec": {} }]
            }
        });
        let set = serde_json::from_value(object).expect("a StatefulSet");
        let now = Time::from_nanos(1_000_000_000_000_000);
        World { set, objects: Objects { now, ..Objects::default() }, gates, now }
    }

    /// One pass of the controller: the requests about pods and claims, and whether one failed.
    pub fn reconcile(&mut self) -> (Vec<String>, Result<(), RequestFailed>) {
        self.pass(reconcile_against)
    }

    /// The update stage of a pass alone.
    pub fn update(&mut self) -> (Vec<String>, Result<(), RequestFailed>) {
        self.pass(update_stage)
    }

    fn pass(
        &mut self,
        stage: fn(&View<'_>, &mut dyn Requests) -> Result<(), RequestFailed>,
    ) -> (Vec<String>, Result<(), RequestFailed>) {
        let pods: Vec<Arc<Pod>> = self.objects.pods.values().cloned().map(Arc::new).collect();
        let claims: Vec<_> = self.objects.claims.values().cloned().map(Arc::new).collect();
        let revisions: Vec<_> = self.objects.revisions.values().cloned().map(Arc::new).collect();
        let set = self.set.clone();
        let (gates, now) = (self.gates, self.now);
        let view = View { set: &set, pods: &pods, claims: &claims, revisions: &revisions, gates, now };
        self.objects.words.clear();
        self.objects.attempted.clear();
        self.objects.batches.clear();
        self.objects.status = self.set.status.take();
        let done = stage(&view, &mut self.objects);
        self.set.status = self.objects.status.take();
        (std::mem::take(&mut self.objects.words), done)
    }

    /// Gives a pod a state. What is not said stays.
    pub fn set_pod(&mut self, ordinal: u64, state: &PodState) -> Result<(), String> {
        let min_ready = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        let now = self.now;
        let pod = self.pod(ordinal)?;
        let status = pod.status.get_or_insert_default();
        if let Some(phase) = &state.phase {
            status.phase = Some(phase.clone());
        }
        let was_ready = status.conditions.iter().flatten().any(|condition| condition.status == "True");
        let ready = state.ready.unwrap_or(was_ready);
        let ready_for_s = match (state.ready_for_s, state.available) {
            (Some(seconds), _) => seconds,
            (None, Some(true)) => u64::try_from(min_ready).unwrap_or(0) + 1,
            (None, _) => 0,
        };
        let since = Time::from_nanos(now.as_nanos() - Span::from_secs(ready_for_s).as_nanos());
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            last_transition_time: Some(timestamp(since)),
            ..PodCondition::default()
        }]);
        Ok(())
    }

    pub fn pod(&mut self, ordinal: u64) -> Result<&mut Pod, String> {
        self.objects.pods.get_mut(&ordinal).ok_or_else(|| format!("there is no pod {ordinal}"))
    }

    /// Marks a pod as one that was asked to go.
    pub fn mark(&mut self, ordinal: u64) -> Result<(), String> {
        let now = timestamp(self.now);
        self.pod(ordinal)?.metadata.deletion_timestamp.get_or_insert(now);
        Ok(())
    }

    pub fn change_spec(&mut self, change: &SpecChange) {
        let spec = self.set.spec.get_or_insert_default();
        spec.replicas = change.replicas.or(spec.replicas);
        spec.min_ready_seconds = change.min_ready_seconds.or(spec.min_ready_seconds);
        if let Some(template) = &change.template {
            set_image(&mut self.set, template);
        }
        let spec = self.set.spec.get_or_insert_default();
        if change.ordinals_start.is_some() {
            spec.ordinals.get_or_insert_default().start = change.ordinals_start;
        }
        let strategy = spec.update_strategy.get_or_insert_default();
        strategy.type_ = change.update_strategy.clone().or_else(|| strategy.type_.take());
        let rolling = strategy.rolling_update.get_or_insert_default();
        rolling.partition = change.partition.or(rolling.partition);
        if let Some(value) = &change.max_unavailable {
            rolling.max_unavailable = serde_json::from_value(value.clone()).ok();
        }
    }

    /// The file's name of a revision: the image of its template.
    pub fn revision(&self, name: Option<&String>) -> String {
        let found = name.and_then(|name| self.objects.revisions.get(name));
        let data = found.and_then(|revision| revision.data.as_ref());
        let image = data.and_then(|data| data.0.pointer("/spec/template/spec/containers/0/image"));
        image.and_then(|image| image.as_str()).unwrap_or("none").to_owned()
    }

    /// The file's name of the revision that a pod was created from.
    pub fn revision_of(&self, pod: &Pod) -> String {
        self.revision(pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)))
    }

    /// The status, as far as `asked` says something.
    pub fn status_as_asked(&self, asked: &Status) -> Status {
        let status = self.set.status.clone().unwrap_or_default();
        let number = |asked: Option<i32>, found: i32| asked.map(|_| found);
        let revision =
            |asked: &Option<String>, name: Option<&String>| asked.as_ref().map(|_| self.revision(name));
        Status {
            replicas: number(asked.replicas, status.replicas),
            ready: number(asked.ready, status.ready_replicas.unwrap_or(0)),
            available: number(asked.available, status.available_replicas.unwrap_or(0)),
            current: number(asked.current, status.current_replicas.unwrap_or(0)),
            updated: number(asked.updated, status.updated_replicas.unwrap_or(0)),
            current_revision: revision(&asked.current_revision, status.current_revision.as_ref()),
            update_revision: revision(&asked.update_revision, status.update_revision.as_ref()),
        }
    }
}

/// Changes the pod template.
pub fn set_image(set: &mut StatefulSet, image: &str) {
    let template = &mut set.spec.get_or_insert_default().template;
    if let Some(container) = template.spec.as_mut().and_then(|spec| spec.containers.first_mut()) {
        container.image = Some(image.to_owned());
    }
}

/// The image of a pod's container.
pub fn image(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container.and_then(|container| container.image.as_deref()).unwrap_or("none")
}

impl Requests for Objects {
    fn make(&mut self, request: Request) -> Result<(), RequestFailed> {
        match request {
            Request::CreatePod(pod) => return self.create_pod(*pod),
            Request::DeletePod { name, .. } => {
                self.count("delete")?;
                let ordinal = ordinal_of(SET, &name).expect("a pod of the set");
                let now = timestamp(self.now);
                let pod = self.pods.get_mut(&ordinal).expect("the pod is there");
                pod.metadata.deletion_timestamp.get_or_insert(now);
                self.words.push(format!("delete {ordinal}"));
            }
            Request::UpdatePod(pod) => {
                self.count("update")?;
                let name = pod.metadata.name.as_deref().expect("pods have names");
                self.pods.insert(ordinal_of(SET, name).expect("a pod of the set"), *pod);
            }
            Request::CreateClaim(claim) => {
                self.count("create_pvc")?;
                let name = claim.metadata.name.clone().expect("claims have names");
                self.words.push(format!("create_pvc {name}"));
                self.claims.insert(name, *claim);
            }
            Request::UpdateClaim(claim) => {
                self.count("update_pvc")?;
                self.claims.insert(claim.metadata.name.clone().expect("claims have names"), *claim);
            }
            Request::CreateRevision(revision) | Request::UpdateRevision(revision) => {
                self.revisions
                    .insert(revision.metadata.name.clone().expect("revisions have names"), *revision);
            }
            Request::DeleteRevision { name } => drop(self.revisions.remove(&name)),
            Request::UpdateStatus(status) => {
                self.count("status")?;
                self.status = Some(*status);
            }
        }
        Ok(())
    }

    fn begin_batch(&mut self, pods: usize) {
        self.batches.push((pods, 0));
    }
}

impl Objects {
    fn create_pod(&mut self, mut pod: Pod) -> Result<(), RequestFailed> {
        let name = pod.metadata.name.clone().expect("pods have names");
        let ordinal = ordinal_of(SET, &name).expect("a pod of the set");
        self.attempted.insert(ordinal);
        self.count("create")?;
        if self.pods.contains_key(&ordinal) {
            return Err(RequestFailed(format!("{name} already exists")));
        }
        self.uids += 1;
        pod.metadata.uid = Some(format!("pod-{}", self.uids));
        self.words.push(format!("create {ordinal}@{}", image(&pod)));
        self.pods.insert(ordinal, pod);
        Ok(())
    }

    /// Counts a request; fails if it is to fail.
    fn count(&mut self, request: &str) -> Result<(), RequestFailed> {
        *self.calls.entry(request.to_owned()).or_default() += 1;
        if let (Some(batch), "create" | "delete") = (self.batches.last_mut(), request) {
            batch.1 += 1;
        }
        match self.failing.get_mut(request) {
            Some(0) => Err(RequestFailed(request.to_owned())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}
