//! The Deployment controller: interchangeable pods of one template.
//!
//! It keeps the pods itself; the ReplicaSets in between are left out (nothing a client can observe on the
//! network depends on them), so there is no rollback, pause or progress deadline. Pod names are
//! `NAME-HASH-SUFFIX` as with the real one.
//! Source: the Kubernetes page "Deployments" (strategies, rounding of maxSurge and maxUnavailable).

use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest, Sha256};

use super::{REPLICAS_MAX, controller_of, controller_reference};
use crate::store::pod_state::{available_at, is_available, is_finished, is_ready, is_terminating};

/// The label with the hash of the template that the pod was created from.
pub const TEMPLATE_HASH_LABEL: &str = "pod-template-hash";

/// The letters of generated names: no vowels, nothing that looks like another.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Something the controller asks of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Create a pod.
    CreatePod(Box<Pod>),
    /// Ask for a pod to go.
    DeletePod {
        /// Its name.
        name: String,
        /// Its UID.
        uid: Option<String>,
    },
    /// Write the status.
    UpdateStatus(Box<DeploymentStatus>),
}

/// One pass: `pods` are the pods of the Deployment's namespace. `now` decides availability and makes new
/// names differ from those of pods that are gone.
pub fn reconcile(deployment: &Deployment, pods: &[Arc<Pod>], now: Time) -> Vec<Request> {
    let mut requests = Vec::new();
    let hash = template_hash(deployment);
    let owned: Vec<&Pod> = pods.iter().map(Arc::as_ref).filter(|pod| is_owned(deployment, pod)).collect();
    let live: Vec<&Pod> =
        owned.iter().copied().filter(|pod| !is_terminating(pod) && !is_finished(pod)).collect();
    if deployment.metadata.deletion_timestamp.is_none() {
        let (new, old): (Vec<&Pod>, Vec<&Pod>) = live.iter().partition(|pod| hash_of(pod) == Some(&hash));
        let plan = Plan::of(deployment, &owned, &new, &old, now);
        let name = deployment.metadata.name.as_deref().unwrap_or("");
        let taken = |candidate: &str| pods.iter().any(|pod| pod.metadata.name.as_deref() == Some(candidate));
        let names = (0u64..).map(|n| format!("{name}-{hash}-{}", suffix(&hash, now, n)));
        for name in names.filter(|name| !taken(name)).take(plan.create) {
            requests.push(Request::CreatePod(Box::new(new_pod(deployment, &hash, name))));
        }
        let surplus = in_order_of_removal(new, now, deployment).into_iter().take(plan.delete_new);
        let replaced = in_order_of_removal(old, now, deployment).into_iter().take(plan.delete_old);
        requests.extend(surplus.chain(replaced).map(|pod| Request::DeletePod {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone(),
        }));
    }
    let status = status(deployment, &live, &hash, now);
    if deployment.status.as_ref() != Some(&status) {
        requests.push(Request::UpdateStatus(Box::new(status)));
    }
    requests
}

/// When the next of these pods becomes available, if that is a matter of time alone.
pub fn available_next(deployment: &Deployment, pods: &[Arc<Pod>], now: Time) -> Option<Time> {
    let min_ready = min_ready(deployment);
    pods.iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > now).min()
}

/// How many pods come and go in one pass.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    create: usize,
    delete_new: usize,
    delete_old: usize,
}

impl Plan {
    fn of(deployment: &Deployment, owned: &[&Pod], new: &[&Pod], old: &[&Pod], now: Time) -> Plan {
        let wanted = replicas(deployment);
        let delete_new = new.len().saturating_sub(wanted);
        let missing = wanted.saturating_sub(new.len());
        let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
            // All old pods have to be gone, terminating ones included, before the first new one comes.
            let hash = template_hash(deployment);
            let old_left = owned.iter().any(|pod| hash_of(pod) != Some(&hash) && !is_finished(pod));
            return Plan { create: if old_left { 0 } else { missing }, delete_new, delete_old: old.len() };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), wanted, true);
        let mut unavailable =
            share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), wanted, false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let room = (wanted + surge).saturating_sub(new.len() + old.len());
        let create = if old.is_empty() { missing } else { missing.min(room) };
        let min_ready = min_ready(deployment);
        let count = |pods: &[&Pod]| pods.iter().filter(|pod| is_available(pod, min_ready, now)).count();
        // Old pods that are not available cost nothing; of the others as many as the new ones make up for.
        let spare = (count(new) + count(old)).saturating_sub(wanted.saturating_sub(unavailable));
        Plan { create, delete_new, delete_old: old.len().min(old.len() - count(old) + spare) }
    }
}

/// The pods that go first: not available before available, then by name from the end.
fn in_order_of_removal<'a>(mut pods: Vec<&'a Pod>, now: Time, deployment: &Deployment) -> Vec<&'a Pod> {
    let min_ready = min_ready(deployment);
    pods.sort_by_key(|pod| (is_available(pod, min_ready, now), std::cmp::Reverse(pod.metadata.name.clone())));
    pods
}

fn replicas(deployment: &Deployment) -> usize {
    usize::try_from(deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1))
        .unwrap_or(0)
        .min(REPLICAS_MAX)
}

fn min_ready(deployment: &Deployment) -> Span {
    let seconds = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    Span::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// A number, or a share of the replicas (25 % by default), rounded up or down.
fn share(value: Option<&IntOrString>, replicas: usize, up: bool) -> usize {
    let percent = match value {
        Some(IntOrString::Int(count)) => return usize::try_from(*count).unwrap_or(0),
        Some(IntOrString::String(share)) => {
            share.strip_suffix('%').and_then(|share| share.parse().ok()).unwrap_or(0)
        }
        None => 25usize,
    };
    let hundredths = replicas.saturating_mul(percent);
    if up { hundredths.div_ceil(100) } else { hundredths / 100 }
}

fn is_owned(deployment: &Deployment, pod: &Pod) -> bool {
    controller_of(&pod.metadata).is_some_and(|owner| Some(&owner.uid) == deployment.metadata.uid.as_ref())
}

fn hash_of(pod: &Pod) -> Option<&String> {
    pod.metadata.labels.as_ref()?.get(TEMPLATE_HASH_LABEL)
}

fn template_hash(deployment: &Deployment) -> String {
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let text = serde_json::to_string(&template).unwrap_or_default();
    letters(&Sha256::digest(text.as_bytes()), 10)
}

fn suffix(hash: &str, now: Time, count: u64) -> String {
    let mut digest = Sha256::new();
    digest.update(hash.as_bytes());
    digest.update(now.as_nanos().to_be_bytes());
    digest.update(count.to_be_bytes());
    letters(&digest.finalize(), 5)
}

fn letters(bytes: &[u8], count: usize) -> String {
    bytes.iter().take(count).map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()])).collect()
}

fn new_pod(deployment: &Deployment, hash: &str, name: String) -> Pod {
    let template = deployment.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(TEMPLATE_HASH_LABEL.into(), hash.into());
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            owner_references: Some(vec![controller_reference("apps/v1", "Deployment", &deployment.metadata)]),
            ..Default::default()
        },
        spec: template.spec,
        status: None,
    }
}

fn status(deployment: &Deployment, live: &[&Pod], hash: &str, now: Time) -> DeploymentStatus {
    let count = |counts: &dyn Fn(&Pod) -> bool| {
        Some(i32::try_from(live.iter().filter(|pod| counts(pod)).count()).unwrap_or(i32::MAX))
    };
    let min_ready = min_ready(deployment);
    let available = count(&|pod| is_available(pod, min_ready, now));
    let wanted = i32::try_from(replicas(deployment)).unwrap_or(i32::MAX);
    DeploymentStatus {
        replicas: count(&|_| true),
        ready_replicas: count(&is_ready),
        available_replicas: available,
        unavailable_replicas: Some((wanted - available.unwrap_or(0)).max(0)),
        updated_replicas: count(&|pod| hash_of(pod).is_some_and(|of| of == hash)),
        observed_generation: deployment.metadata.generation,
        ..deployment.status.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

    fn deployment(replicas: i32, image: &str) -> Deployment {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "web", "namespace": "ns", "uid": "u-1" },
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": image }] }
                }
            }
        }))
        .unwrap()
    }

    /// Carries out the requests; new pods are Ready at once, deleted ones gone at once.
    fn settle(deployment: &Deployment, pods: &mut Vec<Arc<Pod>>, now: Time) -> (usize, usize) {
        let (mut created, mut deleted) = (0, 0);
        for request in reconcile(deployment, pods, now) {
            match request {
                Request::CreatePod(mut pod) => {
                    let ready =
                        PodCondition { type_: "Ready".into(), status: "True".into(), ..Default::default() };
                    pod.status = Some(PodStatus {
                        phase: Some("Running".into()),
                        conditions: Some(vec![ready]),
                        ..Default::default()
                    });
                    pods.push(Arc::new(*pod));
                    created += 1;
                }
                Request::DeletePod { name, .. } => {
                    pods.retain(|pod| pod.metadata.name.as_ref() != Some(&name));
                    deleted += 1;
                }
                Request::UpdateStatus(_) => {}
            }
        }
        (created, deleted)
    }

    #[test]
    fn pods_get_distinct_names_with_the_template_hash() {
        let (web, mut pods) = (deployment(3, "a"), Vec::new());
        assert_eq!(settle(&web, &mut pods, Time::ZERO), (3, 0));
        assert_eq!(settle(&web, &mut pods, Time::ZERO), (0, 0));
        let names: std::collections::BTreeSet<_> =
            pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
        assert_eq!(names.len(), 3);
        let prefix = format!("web-{}-", template_hash(&web));
        assert!(names.iter().all(|name| name.starts_with(&prefix) && name.len() == prefix.len() + 5));
    }

    #[test]
    fn a_deleted_pod_is_replaced_under_a_new_name() {
        let (web, mut pods) = (deployment(1, "a"), Vec::new());
        settle(&web, &mut pods, Time::ZERO);
        let first = pods.remove(0);
        assert_eq!(settle(&web, &mut pods, Time::from_nanos(7)), (1, 0));
        assert_ne!(first.metadata.name, pods[0].metadata.name);
    }

    #[test]
    fn scaling_down_removes_pods_that_are_not_ready_first() {
        let mut pods = Vec::new();
        settle(&deployment(3, "a"), &mut pods, Time::ZERO);
        Arc::make_mut(&mut pods[1]).status = None;
        let unready = pods[1].metadata.name.clone();
        assert_eq!(settle(&deployment(2, "a"), &mut pods, Time::ZERO), (0, 1));
        assert!(pods.iter().all(|pod| pod.metadata.name != unready));
    }

    #[test]
    fn a_template_change_rolls_within_surge_and_unavailability() {
        let mut pods = Vec::new();
        settle(&deployment(4, "a"), &mut pods, Time::ZERO);
        let changed = deployment(4, "b");
        let mut steps = 0;
        while settle(&changed, &mut pods, Time::from_nanos(steps)) != (0, 0) {
            assert!((3..=5).contains(&pods.len()), "{} pods", pods.len());
            steps += 1;
            assert!(steps < 20, "the update does not end");
        }
        assert_eq!(pods.len(), 4);
        assert!(pods.iter().all(|pod| hash_of(pod) == Some(&template_hash(&changed))));
    }

    #[test]
    fn recreate_waits_for_the_old_pods_to_be_gone() {
        let mut pods = Vec::new();
        settle(&deployment(2, "a"), &mut pods, Time::ZERO);
        let mut changed = deployment(2, "b");
        let strategy = changed.spec.as_mut().unwrap().strategy.get_or_insert_default();
        strategy.type_ = Some("Recreate".into());
        assert_eq!(settle(&changed, &mut pods, Time::ZERO), (0, 2));
        assert_eq!(settle(&changed, &mut pods, Time::ZERO), (2, 0));
    }
}
