//! The StatefulSet controller against the sequences of Kubernetes' own tests.
//!
//! The sequences are not part of this repository: the environment variable `HOPWISE_CASES` names their
//! directory; without it the test says so and checks nothing. Each case is a world (a set, its pods, claims
//! and revisions) that events change and that every `sync` step reconciles once; the requests and the status
//! must be those of the table.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use hopwise_kube::controllers::RequestFailed;
use hopwise_kube::controllers::stateful_set::{
    ClaimOwner, Gates, REVISION_LABEL, Request, View, claim_owner, ordinal_of, reconcile_against,
};
use hopwise_kube::store::timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodCondition};
use serde_json::{Value, json};

/// A set with its objects, as the API would hold them.
struct World {
    set: StatefulSet,
    pods: BTreeMap<u64, Pod>,
    claims: Vec<Arc<PersistentVolumeClaim>>,
    revisions: Vec<Arc<ControllerRevision>>,
    gates: Gates,
    now: Time,
    uids: usize,
    /// Requests that fail: the word, and after how many more of them.
    failing: BTreeMap<String, u64>,
    status_writes: usize,
}

impl World {
    fn new(case: &Value) -> World {
        let set = &case["set"];
        let mut rolling = json!({ "partition": set["partition"] });
        if !set["max_unavailable"].is_null() {
            rolling["maxUnavailable"] = set["max_unavailable"].clone();
        }
        let strategy = set["update_strategy"].as_str().unwrap_or("RollingUpdate");
        let object = json!({
            "metadata": { "name": "set", "namespace": "ns", "uid": "set-uid" },
            "spec": {
                "replicas": set["replicas"], "podManagementPolicy": set["pod_management_policy"],
                "minReadySeconds": set["min_ready_seconds"],
                "ordinals": { "start": set["ordinals_start"].as_i64().unwrap_or(0) },
                "updateStrategy": { "type": strategy, "rollingUpdate": rolling },
                "selector": { "matchLabels": { "app": "set" } }, "serviceName": "set",
                "template": {
                    "metadata": { "labels": { "app": "set" } },
                    "spec": { "containers": [{ "name": "c", "image": "r1" }] }
                },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }]
            }
        });
        let mut world = World {
            set: serde_json::from_value(object).unwrap(),
            pods: BTreeMap::new(),
            claims: Vec::new(),
            revisions: Vec::new(),
            gates: Gates { max_unavailable: case["gates"]["MaxUnavailableStatefulSet"] == json!(true) },
            now: Time::from_nanos(1_000_000_000_000_000),
            uids: 0,
            failing: BTreeMap::new(),
            status_writes: 0,
        };
        world.build_up(&case["initial"]["pods"]);
        world
    }

    /// Brings the initial pods about by the controller itself, then gives them the state of the table.
    fn build_up(&mut self, pods: &Value) {
        let Some(pods) = pods.as_array() else { return };
        for _ in 0..=2 * pods.len() {
            let (words, done) = self.reconcile();
            done.expect("no request fails yet");
            if words.is_empty() && self.pods.len() == pods.len() {
                break;
            }
            for ordinal in self.pods.keys().copied().collect::<Vec<_>>() {
                self.set_pod(ordinal, &json!({ "phase": "Running", "ready": true, "available": true }));
            }
        }
        assert_eq!(self.pods.len(), pods.len(), "the initial pods do not come about");
        for pod in pods {
            self.set_pod(pod["ordinal"].as_u64().unwrap(), pod);
        }
        self.reconcile().1.expect("no request fails yet");
        self.status_writes = 0;
    }

    fn set_pod(&mut self, ordinal: u64, change: &Value) {
        let min_ready = self.set.spec.as_ref().unwrap().min_ready_seconds.unwrap_or(0);
        let pod = self.pods.get_mut(&ordinal).unwrap_or_else(|| panic!("no pod {ordinal}"));
        let status = pod.status.get_or_insert_default();
        if let Some(phase) = change["phase"].as_str() {
            status.phase = Some(phase.into());
        }
        let was_ready = status.conditions.iter().flatten().any(|condition| condition.status == "True");
        let ready = change["ready"].as_bool().unwrap_or(was_ready);
        let ready_for_s = match (change["ready_for_s"].as_u64(), change["available"].as_bool()) {
            (Some(seconds), _) => seconds,
            (None, Some(true)) => u64::try_from(min_ready).unwrap() + 1,
            (None, _) => 0,
        };
        let since = Time::from_nanos(self.now.as_nanos() - Span::from_secs(ready_for_s).as_nanos());
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".into(),
            status: if ready { "True" } else { "False" }.into(),
            last_transition_time: Some(timestamp(since)),
            ..Default::default()
        }]);
    }

    fn event(&mut self, event: &Value) {
        if let Some(ordinal) = event["pod"].as_u64() {
            if event["removed"] == json!(true) {
                self.pods.remove(&ordinal);
            } else if event["terminating"] == json!(true) {
                let now = timestamp(self.now);
                self.pods.get_mut(&ordinal).unwrap().metadata.deletion_timestamp = Some(now);
            } else {
                self.set_pod(ordinal, event);
            }
        } else if let Some(request) = event["api_error"].as_str() {
            self.failing.insert(request.into(), event["after_calls"].as_u64().unwrap());
        } else if let Some(request) = event["api_ok"].as_str() {
            self.failing.remove(request);
        } else if let Some(change) = event["spec"].as_object() {
            let spec = self.set.spec.as_mut().unwrap();
            for (field, value) in change {
                match field.as_str() {
                    "replicas" => spec.replicas = Some(i32::try_from(value.as_i64().unwrap()).unwrap()),
                    "template" => {
                        let containers = &mut spec.template.spec.as_mut().unwrap().containers;
                        containers[0].image = Some(value.as_str().unwrap().into());
                    }
                    "partition" | "update_strategy" => {
                        let strategy = spec.update_strategy.get_or_insert_default();
                        let number = || i32::try_from(value.as_i64().unwrap()).unwrap();
                        if field == "partition" {
                            strategy.rolling_update.get_or_insert_default().partition = Some(number());
                        } else {
                            strategy.type_ = Some(value.as_str().unwrap().into());
                        }
                    }
                    other => panic!("the test does not know spec.{other}"),
                }
            }
        } else {
            panic!("the test does not know the event {event}");
        }
    }

    /// One reconcile: the requests about pods as the table words them, and whether one failed.
    fn reconcile(&mut self) -> (Vec<String>, Result<(), RequestFailed>) {
        let pods: Vec<Arc<Pod>> = self.pods.values().cloned().map(Arc::new).collect();
        let (set, claims, revisions) = (self.set.clone(), self.claims.clone(), self.revisions.clone());
        let (gates, now) = (self.gates, self.now);
        let view = View { set: &set, pods: &pods, claims: &claims, revisions: &revisions, gates, now };
        let mut words = Vec::new();
        let done = reconcile_against(&view, &mut |request| {
            words.extend(self.carry_out(request)?);
            Ok(())
        });
        (words, done)
    }

    fn carry_out(&mut self, request: Request) -> Result<Option<String>, RequestFailed> {
        match request {
            Request::CreatePod(mut pod) => {
                self.fail("create")?;
                let name = pod.metadata.name.clone().unwrap();
                let ordinal = ordinal_of("set", &name).unwrap();
                assert!(!self.pods.contains_key(&ordinal), "{name} exists");
                self.uids += 1;
                pod.metadata.uid = Some(format!("pod-{}", self.uids));
                let word = format!("create {ordinal}@{}", image(&pod));
                self.pods.insert(ordinal, *pod);
                return Ok(Some(word));
            }
            Request::DeletePod { name, .. } => {
                self.fail("delete")?;
                let ordinal = ordinal_of("set", &name).unwrap();
                let now = timestamp(self.now);
                self.pods.get_mut(&ordinal).unwrap().metadata.deletion_timestamp.get_or_insert(now);
                return Ok(Some(format!("delete {ordinal}")));
            }
            Request::UpdatePod(pod) => {
                let ordinal = ordinal_of("set", pod.metadata.name.as_deref().unwrap()).unwrap();
                self.pods.insert(ordinal, *pod);
            }
            Request::CreateClaim(claim) => self.claims.push(Arc::new(*claim)),
            Request::UpdateClaim(claim) => {
                self.claims.retain(|other| other.metadata.name != claim.metadata.name);
                self.claims.push(Arc::new(*claim));
            }
            Request::CreateRevision(revision) => self.revisions.push(Arc::new(*revision)),
            Request::UpdateRevision(revision) => {
                self.revisions.retain(|other| other.metadata.name != revision.metadata.name);
                self.revisions.push(Arc::new(*revision));
            }
            Request::DeleteRevision { name } => {
                self.revisions.retain(|revision| revision.metadata.name.as_ref() != Some(&name));
            }
            Request::UpdateStatus(status) => {
                self.status_writes += 1;
                self.fail("status")?;
                self.set.status = Some(*status);
            }
        }
        Ok(None)
    }

    fn fail(&mut self, request: &str) -> Result<(), RequestFailed> {
        match self.failing.get_mut(request) {
            Some(0) => Err(RequestFailed(request.into())),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The table's name of a revision: the image of its template.
    fn revision(&self, name: Option<&String>) -> String {
        let found = self.revisions.iter().find(|revision| revision.metadata.name.as_ref() == name);
        let data = found.and_then(|revision| revision.data.as_ref());
        let image = data.and_then(|data| data.0.pointer("/spec/template/spec/containers/0/image"));
        image.and_then(Value::as_str).unwrap_or("none").to_owned()
    }

    /// The status in the table's words.
    fn status(&self) -> Value {
        let status: StatefulSetStatus = self.set.status.clone().unwrap_or_default();
        json!({
            "replicas": status.replicas, "ready": status.ready_replicas.unwrap_or(0),
            "available": status.available_replicas.unwrap_or(0), "current": status.current_replicas.unwrap_or(0),
            "updated": status.updated_replicas.unwrap_or(0),
            "current_revision": self.revision(status.current_revision.as_ref()),
            "update_revision": self.revision(status.update_revision.as_ref()),
        })
    }
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

/// Runs the steps of a case; the first difference is the error.
fn run(case: &Value) -> Result<(), String> {
    let mut world = World::new(case);
    let parallel = case["set"]["pod_management_policy"] == "Parallel";
    for (index, step) in case["steps"].as_array().unwrap().iter().enumerate() {
        if !step["event"].is_null() {
            world.event(&step["event"]);
            continue;
        }
        let (mut found, done) = world.reconcile();
        let mut expected: Vec<String> =
            step["sync"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        // Under Parallel the order inside one pass is not significant.
        if parallel {
            found.sort_unstable();
            expected.sort_unstable();
        }
        if found != expected {
            return Err(format!("step {index}: expected {expected:?}, found {found:?}"));
        }
        let status = world.status();
        if step["status"].is_object() && case["stage"].is_null() && status != step["status"] {
            return Err(format!("step {index}: expected {}, found {status}", step["status"]));
        }
        let failed = done.err().map(|error| error.0);
        if failed.as_deref() != step["error"].as_str() {
            return Err(format!("step {index}: expected error {}, found {failed:?}", step["error"]));
        }
    }
    check_end(&mut world, &case["expect"])
}

/// What holds at the end of a case.
fn check_end(world: &mut World, expect: &Value) -> Result<(), String> {
    let status = world.status();
    for (field, expected) in expect["status"].as_object().into_iter().flatten() {
        if status[field] != *expected {
            return Err(format!("at the end: {field} is {}, expected {expected}", status[field]));
        }
    }
    for (ordinal, revision) in expect["pods_at"].as_object().into_iter().flatten() {
        let pod = &world.pods[&ordinal.parse::<u64>().unwrap()];
        let named =
            world.revision(pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)));
        if named != *revision || image(pod) != revision {
            return Err(format!("at the end: pod {ordinal} is at {named}, expected {revision}"));
        }
    }
    for (which, expected) in expect["revisions"].as_object().into_iter().flatten() {
        let found = &status[format!("{which}_revision")];
        if found != expected {
            return Err(format!("at the end: {which} revision is {found}, expected {expected}"));
        }
    }
    Ok(())
}

/// Cases that have only a beginning and an end: everything settles in the given number of reconciles.
fn run_to_end(case: &Value) -> Result<(), String> {
    let replicas = case["set"]["replicas"].as_u64().unwrap_or(0);
    let initial: Vec<Value> = (0..replicas).map(|ordinal| json!({ "ordinal": ordinal })).collect();
    let mut case = case.clone();
    if case["initial"]["pods"].is_null() && case["expect"]["max_reconciles"].is_u64() {
        case["initial"] = json!({ "pods": initial });
    }
    let mut world = World::new(&case);
    for step in case["steps"].as_array().into_iter().flatten() {
        let event = &step["event"];
        if event["create_fails"].is_boolean() {
            for (field, request) in [("create_fails", "create"), ("status_write_fails", "status")] {
                if event[field] == json!(true) {
                    world.failing.insert(request.into(), 0);
                }
            }
        } else {
            world.event(event);
        }
    }
    let expect = &case["expect"];
    if let Some(writes) = expect["status_writes"].as_u64() {
        let failed = world.reconcile().1.is_err();
        if failed == expect["error"].is_null() || world.status_writes as u64 != writes {
            return Err(format!("{} status writes, failed: {failed}", world.status_writes));
        }
        return Ok(());
    }
    for _ in 0..expect["max_reconciles"].as_u64().unwrap_or(1) {
        world.reconcile().1.map_err(|error| error.to_string())?;
        world.pods.retain(|_, pod| pod.metadata.deletion_timestamp.is_none());
    }
    check_end(&mut world, expect)
}

/// The claim's owner by the retention policy.
fn run_claims(case: &Value) -> Result<(), String> {
    let pvc = &case["pvc"];
    let set = json!({
        "metadata": { "name": "set" },
        "spec": {
            "selector": {}, "template": {},
            "persistentVolumeClaimRetentionPolicy": { "whenScaled": pvc["when_scaled"], "whenDeleted": pvc["when_deleted"] }
        }
    });
    let set: StatefulSet = serde_json::from_value(set).unwrap();
    let owners = match claim_owner(&set, pvc["pod_in_range"] == json!(true)) {
        ClaimOwner::Nobody => json!([]),
        ClaimOwner::Set => json!(["set"]),
        ClaimOwner::Pod => json!(["pod"]),
    };
    if owners == case["expect"]["pvc_owners"] { Ok(()) } else { Err(format!("owners are {owners}")) }
}

#[test]
fn sets_reconcile_as_in_kubernetes_own_tests() {
    let Some(directory) = std::env::var_os("HOPWISE_CASES") else {
        eprintln!("skipped: set HOPWISE_CASES to the directory of statefulset.json");
        return;
    };
    let path = PathBuf::from(directory).join("statefulset.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Value = serde_json::from_str(&text).unwrap();
    let (mut passed, mut failed, mut elsewhere) = (0, Vec::new(), Vec::new());
    for case in table["cases"].as_array().unwrap() {
        let id = case["id"].as_str().unwrap();
        let has_sync =
            case["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| !step["sync"].is_null()));
        let outcome = if !case["pvc"].is_null() {
            run_claims(case)
        } else if case["stage"] == "update_only" && !is_whole(case) {
            // Only one stage of the real controller's pass, in a state in which the whole pass ends before
            // it.
            elsewhere.push(id);
            continue;
        } else if has_sync {
            run(case)
        } else if case["set"].is_object() {
            run_to_end(case)
        } else {
            // Node loss, adoption and revision bookkeeping are not told as reconciles of a set; unit tests
            // have the latter two.
            elsewhere.push(id);
            continue;
        };
        match outcome {
            Ok(()) => passed += 1,
            Err(error) => failed.push(format!("{id} {}: {error}", case["title"])),
        }
    }
    eprintln!("{passed} cases pass; not told as whole reconciles: {elsewhere:?}");
    assert!(failed.is_empty(), "{} cases fail:\n{}", failed.len(), failed.join("\n"));
}

/// Whether a case of the update stage alone has the same outcome in a whole pass: under Parallel no stage
/// ends the pass, and under OrderedReady all pods must be available.
fn is_whole(case: &Value) -> bool {
    let disturbed = case["steps"].as_array().unwrap().iter().any(|step| !step["event"]["pod"].is_null());
    case["set"]["pod_management_policy"] == "Parallel" || !disturbed
}
