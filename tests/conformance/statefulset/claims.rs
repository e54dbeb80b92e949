//! Cases about who owns a claim, and when the garbage collector takes it along.

use std::sync::Arc;

use hopwise_engine::Time;
use hopwise_kube::controllers::stateful_set::{Gates, Request, View, reconcile_against};
use hopwise_kube::controllers::{RequestFailed, garbage_collector};
use hopwise_kube::store::{Change, Grace, Store, StoreError};
use hopwise_kube::volumes;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodCondition, PodStatus};
use serde_json::json;

use super::format::{Expect, Pvc};
use super::not_understood;
use crate::case::{Difference, equal};

const NOW: Time = Time::ZERO;

/// A set of one ready pod in a store of its own; out of range means scaled to none. Then the pod or the set goes.
pub fn run(pvc: &Pvc, expect: &Expect) -> Result<(), Difference> {
    let mut store = Store::default();
    build(&mut store, pvc).map_err(|error| Difference::new("a set with its claim", error.to_string()))?;
    let claim = store.get::<PersistentVolumeClaim>("ns", "datadir-set-0");
    let claim = claim.ok_or_else(|| Difference::new("a claim", "none"))?;
    let owners = claim.metadata.owner_references.iter().flatten().map(|owner| match owner.kind.as_str() {
        "StatefulSet" => "set".to_owned(),
        other => other.to_lowercase(),
    });
    equal(&expect.pvc_owners, &Some(owners.collect()))?;
    let after_pod =
        is_collected(&store, |store| store.delete::<Pod>("ns", "set-0", None, Grace::Forced, NOW).map(drop));
    let after_set = is_collected(&store, |store| {
        store.delete::<StatefulSet>("ns", "set", None, Grace::AsDeclared, NOW).map(drop)
    });
    // A set takes its pods along, so what goes with a pod goes with the set too.
    let expected = match expect.pvc_deleted_by_gc_after.as_deref() {
        None => (false, false),
        Some("set deletion") => (false, true),
        Some("pod deletion") => (true, true),
        Some(other) => return Err(not_understood("a deletion", other)),
    };
    equal(&expected, &(after_pod, after_set))
}

fn build(store: &mut Store, pvc: &Pvc) -> Result<(), StoreError> {
    let set: StatefulSet = serde_json::from_value(json!({
        "metadata": { "name": "set", "namespace": "ns" },
        "spec": {
            "replicas": 1, "serviceName": "set", "selector": { "matchLabels": { "app": "set" } },
            "template": { "metadata": { "labels": { "app": "set" } }, "spec": { "containers": [] } },
            "volumeClaimTemplates": [{ "metadata": { "name": "datadir" }, "spec": {} }],
            "persistentVolumeClaimRetentionPolicy":
                { "whenScaled": pvc.when_scaled, "whenDeleted": pvc.when_deleted }
        }
    }))
    .expect("a StatefulSet");
    store.create(set, NOW)?;
    reconcile(store);
    store.patch_status::<Pod>("ns", "set-0", NOW, |pod| {
        let ready = PodCondition { type_: "Ready".into(), status: "True".into(), ..PodCondition::default() };
        let phase = Some("Running".into());
        pod.status = Some(PodStatus { phase, conditions: Some(vec![ready]), ..PodStatus::default() });
        // A pod that runs somewhere is only marked when it is asked to go.
        pod.spec.get_or_insert_default().node_name = Some("node-0".into());
    })?;
    if !pvc.pod_in_range {
        store.patch::<StatefulSet>("ns", "set", NOW, |set| {
            set.spec.get_or_insert_default().replicas = Some(0);
        })?;
    }
    reconcile(store);
    Ok(())
}

/// One pass of the StatefulSet controller over the store.
fn reconcile(store: &mut Store) {
    let before = store.clone();
    let Some(set) = before.get::<StatefulSet>("ns", "set") else { return };
    let pods: Vec<Arc<Pod>> = before.list().cloned().collect();
    let claims: Vec<_> = before.list().cloned().collect();
    let revisions: Vec<_> = before.list().cloned().collect();
    let (gates, now) = (Gates::default(), NOW);
    let view = View { set, pods: &pods, claims: &claims, revisions: &revisions, gates, now };
    reconcile_against(&view, &mut |request: Request| {
        carry_out(store, request).map_err(|error| RequestFailed(error.to_string()))
    })
    .expect("requests that succeed");
}

fn carry_out(store: &mut Store, request: Request) -> Result<(), StoreError> {
    match request {
        Request::CreateRevision(revision) => store.create(*revision, NOW).map(drop),
        Request::CreateClaim(mut claim) => {
            volumes::admit_claim(store, &mut claim);
            store.create(*claim, NOW).map(drop)
        }
        Request::UpdateClaim(claim) => store.update(*claim, NOW).map(drop),
        Request::CreatePod(pod) => store.create(*pod, NOW).map(drop),
        Request::UpdatePod(pod) => store.update(*pod, NOW).map(drop),
        Request::DeletePod { name, .. } => {
            store.delete::<Pod>("ns", &name, None, Grace::AsDeclared, NOW).map(drop)
        }
        Request::UpdateStatus(status) => {
            store.patch_status::<StatefulSet>("ns", "set", NOW, |set| set.status = Some(*status)).map(drop)
        }
        other => panic!("not asked for by a set that does not change: {other:?}"),
    }
}

/// Whether the claim is gone once the garbage collector has followed a deletion, and the kubelet has stopped the pods.
fn is_collected(store: &Store, delete: impl FnOnce(&mut Store) -> Result<(), StoreError>) -> bool {
    let mut store = store.clone();
    let mut cursor = store.cursor();
    delete(&mut store).expect("the object is there");
    loop {
        let changes: Vec<Change> = store.changes_since(cursor).expect("few changes").cloned().collect();
        cursor = store.cursor();
        if changes.is_empty() {
            return store.get::<PersistentVolumeClaim>("ns", "datadir-set-0").is_none();
        }
        for change in changes {
            for request in garbage_collector::follow(&store, &change) {
                request.carry_out(&mut store, NOW).expect("nobody else changes anything");
            }
        }
        let stopped: Vec<String> = store
            .list::<Pod>()
            .filter(|pod| {
                pod.metadata.deletion_timestamp.is_some() && store.get::<StatefulSet>("ns", "set").is_none()
            })
            .filter_map(|pod| pod.metadata.name.clone())
            .collect();
        for name in stopped {
            store.remove::<Pod>("ns", &name, None, NOW).expect("the pod is there");
        }
        volumes::reclaim(&mut store, NOW).expect("nobody else changes anything");
    }
}
