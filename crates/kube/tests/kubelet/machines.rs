//! Machines that lose power or touch, kubelets that stop, an API server that is down.

use std::time::Duration;

use hopwise_kube::cluster::{Cluster, ExitReason, OperationError, Place, Settled};
use hopwise_kube::store::{Grace, pod_state};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;

use super::fixture::*;

const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
    - name: web
      image: web
      ports: [{name: http, containerPort: 80}]
      readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
";

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s}
spec:
  serviceName: s
  selector: {matchLabels: {app: s}}
  template:
    metadata: {labels: {app: s}}
    spec:
      containers:
        - name: web
          image: web
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

fn lease_renewed_at(cluster: &Cluster, node: &str) -> Option<String> {
    cluster.api().read(|store| {
        let lease = store.get::<Lease>("kube-node-lease", node)?;
        Some(lease.spec.as_ref()?.renew_time.as_ref()?.0.to_string())
    })
}

#[test]
fn leases_are_renewed_and_a_cluster_still_comes_to_rest() {
    on_cluster(WEB, |cluster, _| async move {
        assert_eq!(cluster.settle(Duration::from_secs(60), Duration::from_secs(120)).await, Settled::Ready);
        let before = lease_renewed_at(&cluster, "node-0").expect("a lease");
        seconds(10).await;
        assert!(lease_renewed_at(&cluster, "node-0").expect("a lease") > before);
        cluster.cut_node_from_control_plane("node-0").expect("a node");
        let before = lease_renewed_at(&cluster, "node-0");
        seconds(30).await;
        assert_eq!(lease_renewed_at(&cluster, "node-0"), before);
        cluster.reconnect_node_to_control_plane("node-0").expect("a node");
        seconds(1).await;
        assert_ne!(lease_renewed_at(&cluster, "node-0"), before, "renewed as soon as it can be");
    });
}

#[test]
fn a_reboot_keeps_the_pod_and_gives_it_a_new_sandbox() {
    on_cluster(SET, |cluster, _| async move {
        seconds(10).await;
        let (uid, address, restarts) = identity(&cluster, "s-0");
        assert_eq!(restarts, 0);
        let node = node_of(&cluster, "s-0");
        let pod_place = Place::Pod { namespace: "default".into(), name: "s-0".into() };
        assert!(cluster.place(&pod_place, "client").await.is_ok());
        cluster.reboot_node(&node, Duration::from_secs(20)).expect("it is on");
        assert!(cluster.place(&pod_place, "client").await.is_err(), "it has no network");
        assert!(cluster.place(&Place::Node(node.clone()), "client").await.is_err());
        assert!(matches!(cluster.power_off_node(&node), Err(OperationError::AlreadySo(_))));
        seconds(19).await;
        assert_eq!(identity(&cluster, "s-0"), (uid.clone(), address.clone(), 0), "nobody has said otherwise");
        seconds(5).await;
        let (same, new, restarts) = identity(&cluster, "s-0");
        assert_eq!((same, restarts), (uid, 1));
        assert_ne!(new, address);
        assert!(is_ready(&cluster, "s-0"));
    });
}

#[test]
fn what_was_not_synced_is_lost_with_the_power() {
    on_cluster(SET, |cluster, world| async move {
        seconds(10).await;
        let node = node_of(&cluster, "s-0");
        let files = || world.files("s-0");
        assert_eq!(files(), ["synced", "unsynced"]);
        cluster.exit_container("default", "s-0", "web", ExitReason::Crash).expect("it runs");
        seconds(5).await;
        assert_eq!(files(), ["synced", "unsynced"], "a process that dies loses nothing");
        cluster.power_off_node(&node).expect("it is on");
        assert_eq!(files(), ["synced"]);
        cluster.power_on_node(&node).expect("it is off");
        seconds(5).await;
        assert_eq!(starts_s(&world, "s-0/web").len(), 3);
    });
}

#[test]
fn a_pod_marked_for_deletion_is_finished_when_its_node_is_back() {
    on_cluster(SET, |cluster, world| async move {
        seconds(10).await;
        let (uid, node) = (identity(&cluster, "s-0").0, node_of(&cluster, "s-0"));
        cluster.power_off_node(&node).expect("it is on");
        cluster.delete_pod("default", "s-0", Grace::AsDeclared).expect("it is there");
        seconds(600).await;
        let waiting = the_pod(&cluster, "s-0");
        assert!(pod_state::is_terminating(&waiting) && waiting.metadata.uid == Some(uid.clone()));
        assert_eq!(starts_s(&world, "s-0/web").len(), 1);
        cluster.power_on_node(&node).expect("it is off");
        seconds(10).await;
        assert_ne!(identity(&cluster, "s-0").0, uid, "finished, and made anew by its set");
        assert_eq!(starts_s(&world, "s-0/web").len(), 2, "the old one was not started again");
    });
}

#[test]
fn a_cut_off_node_may_run_a_second_pod_of_one_name() {
    // Its disk would hold the pod to its node, or to the wait for its detachment.
    let set = SET.split("  volumeClaimTemplates:").next().expect("a beginning");
    let set = set.replace("          volumeMounts: [{name: data, mountPath: /data}]\n", "");
    on_cluster(&set, |cluster, world| async move {
        seconds(10).await;
        let (uid, address, _) = identity(&cluster, "s-0");
        let node = node_of(&cluster, "s-0");
        cluster.cut_node_from_control_plane(&node).expect("a node");
        let cordoned = |node: &mut k8s_openapi::api::core::v1::Node| {
            node.spec.get_or_insert_default().unschedulable = Some(true);
        };
        cluster.api().write(|store, now| store.patch("", &node, now, cordoned)).expect("it is there");
        cluster.delete_pod("default", "s-0", Grace::Forced).expect("it is there");
        seconds(60).await;
        let (new_uid, new_address, _) = identity(&cluster, "s-0");
        assert!(is_ready(&cluster, "s-0"));
        assert_ne!((&new_uid, &new_address), (&uid, &address));
        assert_ne!(node_of(&cluster, "s-0"), node);
        assert_eq!(
            running(&cluster),
            [("s-0", node.as_str()), ("s-0", &node_of(&cluster, "s-0"))].map(owned)
        );
        assert_eq!(starts_s(&world, "s-0/web").len(), 2);
        cluster.reconnect_node_to_control_plane(&node).expect("a node");
        seconds(5).await;
        assert_eq!(running(&cluster), [("s-0", node_of(&cluster, "s-0").as_str())].map(owned));
        assert_eq!(identity(&cluster, "s-0").0, new_uid);
    });
}

/// The pods of the test that run, by node, in order.
fn running(cluster: &Cluster) -> Vec<(String, String)> {
    cluster.running_pods().into_iter().filter(|(pod, _)| pod.starts_with("default/")).collect()
}

fn owned((pod, node): (&str, &str)) -> (String, String) {
    (format!("default/{pod}"), node.to_owned())
}

#[test]
fn without_the_api_server_containers_are_restarted_and_the_truth_is_posted_later() {
    on_cluster(WEB, |cluster, world| async move {
        seconds(10).await;
        assert!(is_ready(&cluster, "a"));
        cluster.stop_api_server().expect("it runs");
        assert!(cluster.delete_pod("default", "a", Grace::AsDeclared).is_err());
        cluster.exit_container("default", "a", "web", ExitReason::Crash).expect("it runs");
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(60).await;
        assert_eq!(starts_s(&world, "a/web").len(), 2);
        assert!(is_ready(&cluster, "a") && container(&cluster, "a").restart_count == 0, "nothing is written");
        cluster.start_api_server().expect("it is down");
        seconds(1).await;
        assert!(!is_ready(&cluster, "a"));
        assert_eq!(container(&cluster, "a").restart_count, 1);
    });
}

#[test]
fn a_kubelet_that_is_back_takes_over_what_runs_and_starts_what_has_ended() {
    on_cluster(WEB, |cluster, world| async move {
        seconds(10).await;
        let node = node_of(&cluster, "a");
        let before = (identity(&cluster, "a"), ready_since_s(&cluster, "a"));
        cluster.stop_kubelet(&node).expect("it runs");
        assert!(cluster.stop_kubelet(&node).is_err());
        seconds(5).await;
        cluster.start_kubelet(&node).expect("it is stopped");
        seconds(10).await;
        assert_eq!((identity(&cluster, "a"), ready_since_s(&cluster, "a")), before, "no flap");
        assert_eq!(starts_s(&world, "a/web").len(), 1);
        cluster.stop_kubelet(&node).expect("it runs");
        cluster.exit_container("default", "a", "web", ExitReason::Crash).expect("it runs");
        seconds(30).await;
        assert!(is_ready(&cluster, "a"), "nobody looks");
        seconds(30).await;
        assert!(!is_ready(&cluster, "a"), "the kubelet's silence was noticed");
        assert_eq!(starts_s(&world, "a/web").len(), 1);
        cluster.start_kubelet(&node).expect("it is stopped");
        seconds(5).await;
        assert_eq!(identity(&cluster, "a"), (before.0.0, before.0.1, 1));
    });
}

#[test]
fn the_kubelets_word_replaces_that_of_others() {
    on_cluster(WEB, |cluster, _| async move {
        seconds(10).await;
        let node = node_of(&cluster, "a");
        cluster.cut_node_from_control_plane(&node).expect("a node");
        let not_ready = |pod: &mut Pod| {
            let conditions = pod.status.as_mut().and_then(|status| status.conditions.as_mut());
            conditions.into_iter().flatten().filter(|it| it.type_ == "Ready").for_each(|it| {
                it.status = "False".into();
            });
        };
        cluster
            .api()
            .write(|store, now| store.patch_status("default", "a", now, not_ready))
            .expect("it is there");
        seconds(30).await;
        assert!(!is_ready(&cluster, "a"));
        cluster.reconnect_node_to_control_plane(&node).expect("a node");
        seconds(1).await;
        assert!(is_ready(&cluster, "a"));
    });
}

#[test]
fn without_its_links_a_node_still_probes_its_pods() {
    on_cluster(WEB, |cluster, world| async move {
        seconds(10).await;
        let node = node_of(&cluster, "a");
        cluster.cut_node_from_network(&node).expect("a node");
        seconds(60).await;
        assert!(is_ready(&cluster, "a"));
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(5).await;
        assert!(!is_ready(&cluster, "a"), "the probes are really made");
        cluster.reconnect_node_to_network(&node).expect("a node");
    });
}

#[test]
fn pods_of_a_node_that_shuts_down_end_as_terminated() {
    on_cluster(WEB, |cluster, _| async move {
        seconds(10).await;
        let node = node_of(&cluster, "a");
        cluster.shut_down_node(&node).expect("it is on");
        seconds(5).await;
        let status = the_pod(&cluster, "a").status.expect("a status");
        assert_eq!((status.phase.as_deref(), status.reason.as_deref()), (Some("Failed"), Some("Terminated")));
        assert!(cluster.shut_down_node(&node).is_err(), "it is off");
        cluster.power_on_node(&node).expect("it is off");
        seconds(5).await;
        assert!(the_pod(&cluster, "a").status.expect("a status").phase.as_deref() == Some("Failed"));
        cluster.delete_pod("default", "a", Grace::AsDeclared).expect("it is there");
        assert!(pod(&cluster, "a").is_none());
    });
}

#[test]
fn unknown_nodes_are_told_with_the_nodes_there_are() {
    on_cluster(WEB, |cluster, _| async move {
        let error = cluster.power_off_node("node-9").expect_err("there is none");
        assert_eq!(error.to_string(), "there is no node node-9; the nodes are node-0, node-1");
    });
}
