//! Points 2 to 5 and 23: StatefulSets.

use hopwise_engine::Time;
use hopwise_kube::controllers::stateful_set::{Gates, Request, View, reconcile};
use hopwise_kube::store::{Grace, Key, Kind, pod_state};
use hopwise_tests::sets::{self, SET, SetOf, events_so_far, history, pods, seconds};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use std::sync::Arc;

/// A pod that repels the set's pods from its node.
const REPELLED: &str = "apiVersion: v1\nkind: Pod\nmetadata: { name: loner, namespace: data }\nspec:\n  \
    containers: [{ name: c, image: example/loner:1 }]\n  affinity:\n    podAntiAffinity:\n      \
    requiredDuringSchedulingIgnoredDuringExecution:\n      - topologyKey: kubernetes.io/hostname\n        \
    labelSelector: { matchLabels: { app: db } }\n";

/// Keeps a pod's object after its containers have stopped, as a kubelet that cannot be reached does.
fn hold(cluster: &hopwise_kube::cluster::Cluster, ordinal: u32, held: bool) {
    let key = Key::new(Kind::Pod, SET.0, &format!("db-{ordinal}"));
    let finalizers = held.then(|| vec!["example.com/hold".to_owned()]);
    let patched =
        cluster.api().write(|store, now| store.patch_meta(&key, now, |meta| meta.finalizers = finalizers));
    patched.expect("the pod is there");
}

#[test]
fn point_02_a_terminating_pod_keeps_its_ordinal_and_blocks_scaling_and_updates() {
    SetOf::ordered(2).run(&[], |cluster| async move {
        let before = sets::pod(&cluster, 0).and_then(|pod| pod.metadata.uid);
        hold(&cluster, 0, true);
        cluster.delete_pod(SET.0, "db-0", Grace::AsDeclared).expect("the pod is there");
        cluster.scale(Kind::StatefulSet, SET.0, SET.1, 3).expect("the set is there");
        cluster.restart_rollout(Kind::StatefulSet, SET.0, SET.1).expect("the set is there");
        let from = events_so_far();
        seconds(900).await;
        // No second object for ordinal 0, no pod 2, and pod 1 is not rolled.
        assert_eq!(pods(&cluster), [(0, false), (1, true)]);
        assert_eq!(sets::pod(&cluster, 0).and_then(|pod| pod.metadata.uid), before);
        assert!(!history(from).iter().any(|event| event.starts_with("created") || event == "deleted 1"));

        hold(&cluster, 0, false);
        seconds(300).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, true)]);
        assert_ne!(sets::pod(&cluster, 0).and_then(|pod| pod.metadata.uid), before);
    });
}

#[test]
fn point_02_a_terminating_pod_keeps_its_anti_affinity_slot() {
    let more = ", persistentVolumeClaimRetentionPolicy: { whenScaled: Retain }".to_owned();
    SetOf { more, ..SetOf::ordered(2) }.run(&[], |cluster| async move {
        let spread = |pod: &Pod| pod_state::node_name(pod).map(str::to_owned);
        let nodes: std::collections::BTreeSet<_> =
            (0..2).filter_map(|ordinal| spread(&sets::pod(&cluster, ordinal)?)).collect();
        let busy: Vec<String> = nodes.into_iter().collect();
        // Only the nodes of the set's pods are left for others.
        let all: Vec<String> = cluster.nodes().into_keys().collect();
        for node in all.iter().filter(|node| !busy.contains(node)) {
            cluster
                .api()
                .write(|store, now| {
                    store.patch::<k8s_openapi::api::core::v1::Node>("", node, now, |node| {
                        node.spec.get_or_insert_default().unschedulable = Some(true);
                    })
                })
                .expect("the node is there");
        }
        let loner: Pod = serde_saphyr::from_str(REPELLED).expect("a pod");
        cluster.api().write(|store, now| store.create(loner, now)).expect("a new pod");
        for ordinal in 0..2 {
            hold(&cluster, ordinal, true);
        }
        cluster.scale(Kind::StatefulSet, SET.0, SET.1, 0).expect("the set is there");
        seconds(120).await;
        let loner = |cluster: &hopwise_kube::cluster::Cluster| {
            cluster.api().read(|store| store.get::<Pod>("data", "loner").and_then(|pod| spread(pod)))
        };
        assert_eq!(loner(&cluster), None, "a terminating pod still repels");
        hold(&cluster, 0, false);
        hold(&cluster, 1, false);
        seconds(120).await;
        assert!(loner(&cluster).is_some());
    });
}

#[test]
fn point_03_a_pod_that_is_not_ready_blocks_updates_and_rollbacks() {
    SetOf::ordered(3).run(&[], |cluster| async move {
        sets::set_startable(&cluster, false);
        seconds(600).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, false)]);
        // The template is sound again, but nobody replaces the broken pod.
        cluster.roll_back(Kind::StatefulSet, SET.0, SET.1).expect("there was an earlier template");
        seconds(600).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, false)]);
        cluster.delete_pod(SET.0, "db-2", Grace::AsDeclared).expect("the pod is there");
        seconds(60).await;
        assert_eq!(pods(&cluster), [(0, true), (1, true), (2, true)]);
    });
}

#[test]
fn point_03_parallel_does_not_parallelise_updates() {
    SetOf { policy: "Parallel", ..SetOf::ordered(3) }.run(&[], |cluster| async move {
        let from = events_so_far();
        cluster.restart_rollout(Kind::StatefulSet, SET.0, SET.1).expect("the set is there");
        seconds(300).await;
        let one_by_one = [2, 1, 0].map(|ordinal| {
            ["deleted", "stopped", "created", "ready"].map(|what| format!("{what} {ordinal}"))
        });
        assert_eq!(history(from), one_by_one.concat());
    });
}

#[test]
fn point_04_scaling_down_waits_only_for_lower_ordinals() {
    SetOf { more: ", updateStrategy: { type: OnDelete }".into(), ..SetOf::ordered(3) }.run(
        &[],
        |cluster| async move {
            sets::set_startable(&cluster, false);
            cluster.delete_pod(SET.0, "db-0", Grace::AsDeclared).expect("the pod is there");
            seconds(60).await;
            assert_eq!(pods(&cluster), [(0, false), (1, true), (2, true)]);
            cluster.scale(Kind::StatefulSet, SET.0, SET.1, 2).expect("the set is there");
            seconds(600).await;
            assert_eq!(pods(&cluster), [(0, false), (1, true), (2, true)], "a lower pod is not ready");

            sets::set_startable(&cluster, true);
            cluster.delete_pod(SET.0, "db-0", Grace::AsDeclared).expect("the pod is there");
            seconds(60).await;
            assert_eq!(pods(&cluster), [(0, true), (1, true)]);

            // The highest pod goes although it is not ready itself.
            sets::set_startable(&cluster, false);
            cluster.delete_pod(SET.0, "db-1", Grace::AsDeclared).expect("the pod is there");
            seconds(60).await;
            assert_eq!(pods(&cluster), [(0, true), (1, false)]);
            cluster.scale(Kind::StatefulSet, SET.0, SET.1, 1).expect("the set is there");
            seconds(60).await;
            assert_eq!(pods(&cluster), [(0, true)]);
        },
    );
}

#[test]
fn point_05_failed_and_succeeded_pods_are_replaced_in_a_second_pass() {
    for phase in ["Failed", "Succeeded"] {
        SetOf::ordered(2).run(&[], move |cluster| async move {
            let before = sets::pod(&cluster, 1).and_then(|pod| pod.metadata.uid);
            let from = events_so_far();
            cluster
                .api()
                .write(|store, now| {
                    store.patch_status::<Pod>(SET.0, "db-1", now, |pod| {
                        pod.status.get_or_insert_default().phase = Some(phase.into());
                    })
                })
                .expect("the pod is there");
            seconds(120).await;
            let after = sets::pod(&cluster, 1).and_then(|pod| pod.metadata.uid);
            assert!(after.is_some() && after != before, "{phase}");
            let events = history(from);
            let at = |what: &str| events.iter().position(|event| event == what);
            assert!(at("deleted 1") < at("created 1") && at("deleted 1").is_some(), "{phase}: {events:?}");
        });
    }
}

/// The pods that one pass over six stale, ready pods deletes.
fn deleted_at_once(policy: &str, gates: Gates) -> usize {
    let set: StatefulSet = serde_json::from_value(serde_json::json!({
        "metadata": { "name": "db", "namespace": "data", "uid": "u" },
        "spec": {
            "replicas": 6, "serviceName": "db", "podManagementPolicy": policy,
            "selector": { "matchLabels": { "app": "db" } },
            "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "50%" } },
            "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [] } }
        }
    }))
    .expect("a StatefulSet");
    let ready = serde_json::json!({
        "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }]
    });
    let pods: Vec<Arc<Pod>> = (0..6)
        .map(|ordinal| {
            let mut pod = hopwise_kube::controllers::stateful_set::pods_wanted(&set)[ordinal].clone();
            pod.status = serde_json::from_value(ready.clone()).ok();
            Arc::new(pod)
        })
        .collect();
    let (claims, revisions): (Vec<Arc<PersistentVolumeClaim>>, Vec<Arc<ControllerRevision>>) =
        Default::default();
    let view =
        View { set: &set, pods: &pods, claims: &claims, revisions: &revisions, gates, now: Time::ZERO };
    reconcile(&view).iter().filter(|request| matches!(request, Request::DeletePod { .. })).count()
}

#[test]
fn point_23_max_unavailable_is_ignored_without_its_gate() {
    for policy in ["OrderedReady", "Parallel"] {
        assert_eq!(deleted_at_once(policy, Gates::default()), 1, "{policy}");
        assert_eq!(deleted_at_once(policy, Gates { max_unavailable: true }), 3, "{policy}");
    }
}
