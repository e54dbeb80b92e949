//! The controller over a small world of its own: requests are carried out, pods become ready when told.

use serde_json::json;

use super::*;
use crate::store::timestamp;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

/// A set with its objects, as the API would hold them.
pub(super) struct World {
    pub(super) set: StatefulSet,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) claims: Vec<Arc<PersistentVolumeClaim>>,
    revisions: Vec<Arc<ControllerRevision>>,
    gates: Gates,
    now: Time,
}

impl World {
    pub(super) fn new(replicas: i32, policy: &str) -> World {
        let set = serde_json::from_value(json!({
            "metadata": { "name": "db", "namespace": "ns", "uid": "set-1" },
            "spec": {
                "replicas": replicas, "podManagementPolicy": policy, "serviceName": "db-headless",
                "selector": { "matchLabels": { "app": "db" } },
                "template": {
                    "metadata": { "labels": { "app": "db" } },
                    "spec": { "containers": [{ "name": "c", "image": "one" }] }
                },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }]
            }
        }));
        World {
            set: set.unwrap(),
            pods: Vec::new(),
            claims: Vec::new(),
            revisions: Vec::new(),
            gates: Gates::default(),
            now: Time::from_nanos(1_000_000_000_000),
        }
    }

    /// One pass whose requests are carried out; the requests that are about pods and claims, as words.
    pub(super) fn pass(&mut self) -> Vec<String> {
        let view = View {
            set: &self.set,
            pods: &self.pods,
            claims: &self.claims,
            revisions: &self.revisions,
            gates: self.gates,
            now: self.now,
        };
        let mut words = Vec::new();
        for request in reconcile(&view) {
            words.extend(self.carry_out(request));
        }
        words
    }

    fn carry_out(&mut self, request: Request) -> Option<String> {
        match request {
            Request::CreateRevision(revision) => self.revisions.push(Arc::new(*revision)),
            Request::UpdateRevision(revision) => {
                self.revisions.retain(|other| other.metadata.name != revision.metadata.name);
                self.revisions.push(Arc::new(*revision));
            }
            Request::DeleteRevision { name } => {
                self.revisions.retain(|revision| revision.metadata.name.as_ref() != Some(&name));
            }
            Request::CreateClaim(claim) => {
                let word = format!("claim {}", claim.metadata.name.as_ref().unwrap());
                self.claims.push(Arc::new(*claim));
                return Some(word);
            }
            Request::UpdateClaim(claim) => {
                self.claims.retain(|other| other.metadata.name != claim.metadata.name);
                let word = format!("reown {}", claim.metadata.name.as_ref().unwrap());
                self.claims.push(Arc::new(*claim));
                return Some(word);
            }
            Request::CreatePod(mut pod) => {
                let word = format!("create {}", pod.metadata.name.as_ref().unwrap());
                pod.metadata.uid = Some(format!("pod-{}", self.pods.len()));
                self.pods.push(Arc::new(*pod));
                return Some(word);
            }
            Request::UpdatePod(pod) => {
                let word = format!("update {}", pod.metadata.name.as_ref().unwrap());
                let name = pod.metadata.name.clone().unwrap();
                *self.pod(&name) = *pod;
                return Some(word);
            }
            Request::DeletePod { name, .. } => {
                let now = timestamp(self.now);
                self.pod(&name).metadata.deletion_timestamp = Some(now);
                return Some(format!("delete {name}"));
            }
            Request::UpdateStatus(status) => self.set.status = Some(*status),
        }
        None
    }

    pub(super) fn pod(&mut self, name: &str) -> &mut Pod {
        let pod = self.pods.iter_mut().find(|pod| pod.metadata.name.as_deref() == Some(name));
        Arc::make_mut(pod.unwrap_or_else(|| panic!("no pod {name}")))
    }

    pub(super) fn set_ready(&mut self, name: &str) {
        let since = timestamp(self.now);
        self.pod(name).status = Some(PodStatus {
            phase: Some("Running".into()),
            conditions: Some(vec![PodCondition {
                type_: "Ready".into(),
                status: "True".into(),
                last_transition_time: Some(since),
                ..Default::default()
            }]),
            ..Default::default()
        });
    }

    /// Asks for a pod to go, as somebody else does.
    pub(super) fn mark(&mut self, name: &str) {
        let now = timestamp(self.now);
        self.pod(name).metadata.deletion_timestamp.get_or_insert(now);
    }

    fn remove(&mut self, name: &str) {
        self.pods.retain(|pod| pod.metadata.name.as_deref() != Some(name));
    }

    /// Passes until nothing more happens, with every pod ready at once and every deletion done at once.
    fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let words = self.pass();
            if words.is_empty() {
                return all;
            }
            for word in &words {
                if let Some(name) = word.strip_prefix("create ") {
                    self.set_ready(name);
                } else if let Some(name) = word.strip_prefix("delete ") {
                    self.remove(name);
                }
            }
            all.extend(words);
            assert!(all.len() < 1_000, "the set does not settle: {all:?}");
        }
    }

    pub(super) fn set_image(&mut self, image: &str) {
        let template = &mut self.set.spec.as_mut().unwrap().template;
        template.spec.as_mut().unwrap().containers[0].image = Some(image.into());
    }

    fn image(&self, name: &str) -> &str {
        let pod = self.pods.iter().find(|pod| pod.metadata.name.as_deref() == Some(name)).unwrap();
        pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
    }
}

#[test]
fn claims_come_before_their_pod_and_pods_one_by_one() {
    let mut world = World::new(2, "OrderedReady");
    assert_eq!(world.pass(), ["claim data-db-0", "create db-0"]);
    assert!(world.pass().is_empty());
    world.set_ready("db-0");
    assert_eq!(world.pass(), ["claim data-db-1", "create db-1"]);
}

#[test]
fn a_pod_carries_its_identity() {
    let mut world = World::new(1, "OrderedReady");
    world.pass();
    let pod = world.pods[0].clone();
    let spec = pod.spec.as_ref().unwrap();
    assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-0"), Some("db-headless")));
    let labels = pod.metadata.labels.as_ref().unwrap();
    assert_eq!(labels[POD_NAME_LABEL], "db-0");
    assert_eq!(labels[POD_INDEX_LABEL], "0");
    assert_eq!(Some(&labels[REVISION_LABEL]), world.revisions[0].metadata.name.as_ref());
    let source = spec.volumes.as_ref().unwrap()[0].persistent_volume_claim.as_ref().unwrap();
    assert_eq!(source.claim_name, "data-db-0");
    assert_eq!(world.claims[0].metadata.labels.as_ref().unwrap()["app"], "db");
}

#[test]
fn a_removed_pod_returns_to_its_claim() {
    let mut world = World::new(3, "Parallel");
    world.settle();
    world.remove("db-1");
    assert_eq!(world.pass(), ["create db-1"]);
    assert_eq!(world.claims.len(), 3);
}

#[test]
fn scaling_down_waits_only_for_lower_ordinals() {
    let mut world = World::new(3, "OrderedReady");
    world.settle();
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    world.pod("db-2").status = None;
    assert_eq!(world.pass(), ["delete db-2"]);
    world.remove("db-2");
    world.pod("db-0").status = None;
    assert!(world.pass().is_empty());
    world.set_ready("db-0");
    assert_eq!(world.settle(), ["delete db-1"]);
}

#[test]
fn a_rollback_uses_the_earlier_revision_again() {
    let mut world = World::new(2, "OrderedReady");
    world.settle();
    world.set_image("two");
    assert_eq!(world.settle(), ["delete db-1", "create db-1", "delete db-0", "create db-0"]);
    assert_eq!((world.image("db-0"), world.revisions.len()), ("two", 2));
    world.set_image("one");
    world.settle();
    assert_eq!((world.image("db-0"), world.revisions.len()), ("one", 2));
    let newest = world.revisions.iter().max_by_key(|revision| revision.revision).unwrap();
    assert_eq!(newest.revision, 3);
    assert_eq!(world.set.status.as_ref().unwrap().current_revision, newest.metadata.name);
}

#[test]
fn the_history_is_bounded() {
    let mut world = World::new(1, "OrderedReady");
    world.set.spec.as_mut().unwrap().revision_history_limit = Some(2);
    for image in ["a", "b", "c", "d", "e"] {
        world.set_image(image);
        world.settle();
        // The pass after the update is complete no longer counts the earlier revision as live.
        world.pass();
    }
    assert_eq!(world.revisions.len(), 3);
}

#[test]
fn a_pod_held_back_by_the_partition_returns_at_its_old_template() {
    let mut world = World::new(2, "OrderedReady");
    world.settle();
    world.set.spec.as_mut().unwrap().update_strategy =
        serde_json::from_value(json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 1 } }))
            .unwrap();
    world.set_image("two");
    world.settle();
    world.remove("db-0");
    world.settle();
    assert_eq!((world.image("db-0"), world.image("db-1")), ("one", "two"));
}

#[test]
fn minimum_ready_time_holds_back_the_next_pod() {
    let mut world = World::new(2, "OrderedReady");
    world.set.spec.as_mut().unwrap().min_ready_seconds = Some(30);
    world.pass();
    world.set_ready("db-0");
    world.now += Span::from_secs(29);
    assert!(world.pass().is_empty());
    world.now += Span::from_secs(1);
    assert_eq!(world.pass(), ["claim data-db-1", "create db-1"]);
}

#[test]
fn orphans_are_adopted_and_strays_released() {
    let mut world = World::new(1, "OrderedReady");
    world.settle();
    world.pod("db-0").metadata.owner_references = None;
    assert_eq!(world.pass(), ["update db-0"]);
    assert!(world.pods[0].metadata.owner_references.is_some());
    let labels = world.pod("db-0").metadata.labels.take();
    // Released; the name stays taken, so the creation that follows is refused by the API.
    assert_eq!(world.pass()[0], "update db-0");
    world.pods.truncate(1);
    assert_eq!(world.pods[0].metadata.owner_references, Some(Vec::new()));
    world.pod("db-0").metadata.labels = labels;
    assert_eq!(world.pass(), ["update db-0"]);
}

#[test]
fn a_failed_request_ends_the_pass_but_the_status_is_written() {
    let world = World::new(1, "OrderedReady");
    let view = View {
        set: &world.set,
        pods: &[],
        claims: &[],
        revisions: &[],
        gates: Gates::default(),
        now: Time::ZERO,
    };
    let mut statuses = 0;
    let failed = reconcile_against(&view, &mut |request: Request| match request {
        Request::CreatePod(_) => Err(RequestFailed("no".into())),
        Request::UpdateStatus(status) => {
            statuses += 1;
            assert_eq!(status.replicas, 0);
            Ok(())
        }
        _ => Ok(()),
    });
    assert_eq!((failed, statuses), (Err(RequestFailed("no".into())), 1));
}

#[test]
fn claims_follow_the_retention_policy() {
    let mut world = World::new(2, "OrderedReady");
    world.settle();
    world.set.spec.as_mut().unwrap().persistent_volume_claim_retention_policy =
        serde_json::from_value(json!({ "whenScaled": "Delete", "whenDeleted": "Retain" })).unwrap();
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    assert_eq!(world.pass(), ["reown data-db-1", "delete db-1"]);
    let claim =
        world.claims.iter().find(|claim| claim.metadata.name.as_deref() == Some("data-db-1")).unwrap();
    assert_eq!(claim.metadata.owner_references.as_ref().unwrap()[0].kind, "Pod");
    // Scaled up again, the pod waits until the claim of the earlier pod is gone.
    world.remove("db-1");
    world.set.spec.as_mut().unwrap().replicas = Some(2);
    assert!(world.pass().is_empty());
    world.claims.retain(|claim| claim.metadata.name.as_deref() != Some("data-db-1"));
    assert_eq!(world.pass(), ["claim data-db-1", "create db-1"]);
}
