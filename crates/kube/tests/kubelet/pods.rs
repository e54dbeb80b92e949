//! Probes, restarts and termination.

use std::time::Duration;

use hopwise_kube::cluster::{Assumption, ExitReason, Settled};
use hopwise_kube::store::{Grace, pod_state};
use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::fixture::*;

fn web(name: &str, container: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{{spec} containers: [{{name: web, image: web, \
         ports: [{{name: http, containerPort: 80}}], {container}}}]}}\n"
    )
}

fn ends(policy: &str, command: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{restartPolicy: {policy}, containers: [{{name: it, \
         image: ends, command: {command}}}]}}\n"
    )
}

#[test]
fn readiness_follows_an_http_probe() {
    let probe =
        "readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 5, failureThreshold: 2}";
    on_cluster(&web("a", probe, ""), |cluster, world| async move {
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(30).await;
        assert!(!is_ready(&cluster, "a"));
        assert_eq!(pod_state::phase(&the_pod(&cluster, "a")), "Running");
        world.health.borrow_mut().clear();
        seconds(6).await;
        assert!(is_ready(&cluster, "a"));
        world.health.borrow_mut().insert("a".into(), 500);
        seconds(4).await;
        assert!(is_ready(&cluster, "a"), "one failure of two");
        seconds(7).await;
        assert!(!is_ready(&cluster, "a"));
        assert_eq!(container(&cluster, "a").restart_count, 0);
    });
}

#[test]
fn a_container_that_fails_its_liveness_probe_is_restarted_in_place() {
    let probe = "livenessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1}";
    on_cluster(&web("a", probe, ""), |cluster, world| async move {
        seconds(10).await;
        let (uid, address, restarts) = identity(&cluster, "a");
        assert!(is_ready(&cluster, "a"), "it has no readiness probe");
        assert_eq!(restarts, 0);
        world.health.borrow_mut().insert("a".into(), 500);
        // Three failures, the end of the process, and the kubelet's notice.
        seconds(5).await;
        world.health.borrow_mut().clear();
        seconds(2).await;
        assert_eq!(identity(&cluster, "a"), (uid, address, 1));
        assert!(is_ready(&cluster, "a"));
    });
}

#[test]
fn a_startup_probe_holds_the_others_back() {
    let probes = "startupProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 10, failureThreshold: 30}, \
                  readinessProbe: {tcpSocket: {port: 80}}, \
                  livenessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1, failureThreshold: 1}";
    on_cluster(&web("a", probes, ""), |cluster, world| async move {
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(60).await;
        assert_eq!(container(&cluster, "a").started, Some(false));
        assert!(!is_ready(&cluster, "a"), "the port is open, but readiness is not asked yet");
        world.health.borrow_mut().clear();
        seconds(11).await;
        assert_eq!((container(&cluster, "a").started, is_ready(&cluster, "a")), (Some(true), true));
        assert_eq!(container(&cluster, "a").restart_count, 0);
    });
}

#[test]
fn exec_probes_really_ask() {
    let script = r#"readinessProbe: {exec: {command: [sh, -c, "RESULT=$(curl -sf http://localhost:80/healthz) && echo $RESULT | grep 200"]}, periodSeconds: 1}"#;
    let script = script.replace("localhost", "$ADDRESS");
    let env = "env: [{name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], ";
    on_cluster(&web("a", &format!("{env}{script}"), ""), |cluster, world| async move {
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(20).await;
        assert!(!is_ready(&cluster, "a"));
        world.health.borrow_mut().clear();
        seconds(2).await;
        assert!(is_ready(&cluster, "a"));
        let assumed = |it: &Assumption| matches!(it, Assumption::Probe { .. });
        assert!(!cluster.assumptions().iter().any(assumed), "{:?}", cluster.assumptions());
    });
}

#[test]
fn https_probes_fail_where_nobody_speaks_tls() {
    let exec = r#"readinessProbe: {exec: {command: [sh, -c, "curl -sf -k https://$ADDRESS:80/healthz"]}, periodSeconds: 1}"#;
    let env = "env: [{name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}], ";
    let get = "readinessProbe: {httpGet: {path: /healthz, port: 80, scheme: HTTPS}, periodSeconds: 1}";
    for probe in [format!("{env}{exec}"), get.to_owned()] {
        on_cluster(&web("a", &probe, ""), |cluster, _| async move {
            seconds(20).await;
            assert!(!is_ready(&cluster, "a"));
        });
    }
}

#[test]
fn an_exec_probe_that_is_not_understood_is_an_assumption() {
    let probe = "readinessProbe: {exec: {command: [pg_isready]}, periodSeconds: 1}";
    on_cluster(&web("a", probe, ""), |cluster, _| async move {
        assert_eq!(cluster.settle(Duration::from_secs(60), Duration::from_secs(120)).await, Settled::Ready);
        let taken = cluster.assumptions().into_iter().find_map(|it| match it {
            Assumption::Probe { taken, probe: "readiness", .. } => Some(taken),
            _ => None,
        });
        let taken = taken.expect("it is told");
        assert!(
            taken.contains("pg_isready") && taken.ends_with("it succeeds while the program serves"),
            "{taken}"
        );
    });
}

#[test]
fn restarts_wait_0_10_20_seconds() {
    on_cluster(&ends("Always", r#"["1", "it crashed"]"#), |cluster, world| async move {
        seconds(50).await;
        // 1 s of running and half a second of notice, which the later waits include.
        let starts = world.starts.borrow()["a/it"].clone();
        let waits = starts.windows(2).map(|pair| (pair[1] - pair[0]).as_nanos() / 100_000_000);
        assert_eq!(waits.take(3).collect::<Vec<_>>(), [15, 110, 210], "tenths of a second: {starts:?}");
        let status = container(&cluster, "a");
        assert_eq!(status.restart_count, 3);
        let waiting = status.state.and_then(|state| state.waiting).expect("it waits");
        assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
        let last = status.last_state.and_then(|state| state.terminated).expect("it has ended before");
        assert_eq!((last.exit_code, last.message.as_deref()), (1, Some("it crashed")));
        assert_eq!(pod_state::phase(&the_pod(&cluster, "a")), "Running");
    });
}

#[test]
fn pods_end_as_their_restart_policy_says() {
    for (policy, command, phase, starts) in [
        ("Never", r#"["1"]"#, "Succeeded", 1),
        ("Never", r#"["1", "it crashed"]"#, "Failed", 1),
        ("OnFailure", r#"["1"]"#, "Succeeded", 1),
        ("OnFailure", r#"["1", "it crashed"]"#, "Running", 2),
    ] {
        on_cluster(&ends(policy, command), move |cluster, world| async move {
            seconds(8).await;
            assert_eq!(pod_state::phase(&the_pod(&cluster, "a")), phase, "{policy} {command}");
            assert_eq!(starts_s(&world, "a/it").len(), starts);
            cluster.delete_pod("default", "a", Grace::AsDeclared).expect("it is there");
            seconds(5).await;
            assert!(pod(&cluster, "a").is_none());
        });
    }
}

#[test]
fn out_of_memory_is_told() {
    on_cluster(&web("a", "", ""), |cluster, _| async move {
        seconds(5).await;
        let before = identity(&cluster, "a");
        cluster.exit_container("default", "a", "web", ExitReason::OutOfMemory).expect("it runs");
        seconds(2).await;
        assert_eq!(identity(&cluster, "a"), (before.0, before.1, 1));
        let last = container(&cluster, "a").last_state.and_then(|state| state.terminated).expect("it ended");
        assert_eq!((last.reason.as_deref(), last.exit_code), (Some("OOMKilled"), 137));
        assert!(cluster.exit_container("default", "a", "other", ExitReason::Crash).is_err());
    });
}

#[test]
fn the_hook_runs_before_the_end_and_readiness_goes_on() {
    let container = "lifecycle: {preStop: {sleep: {seconds: 10}}}, \
                     readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1, failureThreshold: 1}";
    on_cluster(&web("a", container, "terminationGracePeriodSeconds: 20,"), |cluster, world| async move {
        seconds(5).await;
        cluster.delete_pod("default", "a", Grace::AsDeclared).expect("it is there");
        seconds(4).await;
        assert!(is_ready(&cluster, "a"), "it still serves");
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(2).await;
        assert!(pod_state::is_terminating(&the_pod(&cluster, "a")) && !is_ready(&cluster, "a"));
        seconds(4).await;
        assert!(pod(&cluster, "a").is_some(), "10 s of hook and 1 s of shutdown");
        seconds(2).await;
        assert!(pod(&cluster, "a").is_none());
    });
}

#[test]
fn a_hook_that_takes_too_long_is_cut_short() {
    let container = r#"lifecycle: {preStop: {exec: {command: [sh, -c, "while true; do sleep 1; done"]}}}"#;
    on_cluster(&web("a", container, "terminationGracePeriodSeconds: 5,"), |cluster, _| async move {
        seconds(5).await;
        cluster.delete_pod("default", "a", Grace::AsDeclared).expect("it is there");
        seconds(5).await;
        assert!(pod(&cluster, "a").is_some());
        seconds(2).await;
        assert!(pod(&cluster, "a").is_none(), "5 s of hook, 1 s of shutdown");
    });
}

#[test]
fn a_sidecar_starts_first_and_readiness_gates_count() {
    let spec = "readinessGates: [{conditionType: example.com/gate}], initContainers: [{name: side, image: web, \
                restartPolicy: Always, startupProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1}}],";
    let manifest =
        web("a", "", spec).replace("{name: web, image: web", "{name: web, image: ends, command: ['99']");
    on_cluster(&manifest, |cluster, world| async move {
        world.health.borrow_mut().insert("a".into(), 503);
        seconds(2).await;
        assert_eq!((starts_s(&world, "a/side").len(), starts_s(&world, "a/web").len()), (1, 0));
        world.health.borrow_mut().clear();
        seconds(3).await;
        assert_eq!(starts_s(&world, "a/web").len(), 1);
        assert!(!is_ready(&cluster, "a"), "its gate is closed");
        let gate = PodCondition {
            type_: "example.com/gate".into(),
            status: "True".into(),
            ..PodCondition::default()
        };
        cluster.api().write(|store, now| {
            let open = |pod: &mut Pod| {
                pod.status.get_or_insert_default().conditions.get_or_insert_default().push(gate);
            };
            store.patch_status::<Pod>("default", "a", now, open).expect("it is there");
        });
        seconds(1).await;
        assert!(is_ready(&cluster, "a"));
    });
}
