//! Points 1, 6, 7 and 22: nodes that are lost, and what they keep; and the recipes of kubernetes.md 9.5 to 9.8.

use std::time::Duration;

use hopwise_kube::cluster::{Cluster, Settled};
use hopwise_kube::controllers::node_lifecycle::{NO_EXECUTE, NO_SCHEDULE, OUT_OF_SERVICE_TAINT, has_taint};
use hopwise_kube::controllers::pod_admission::UNREACHABLE_TAINT;
use hopwise_kube::store::{Grace, pod_state};
use hopwise_lab::simulate::{Start, Started, simulate};
use hopwise_tests::Given;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod, Taint};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// A set of three pods, a Service and a budget. `{spec}` is what a test adds to the pod's specification.
const DATABASE: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: db, namespace: ns}
spec:
  clusterIP: None
  selector: {app: db}
  ports: [{port: 80}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db, namespace: ns}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: db}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: ns}
spec:
  serviceName: db
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      {spec}
      containers:
        - name: db
          image: example/db:1
          ports: [{containerPort: 80}]
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        resources: {requests: {storage: 1Gi}}
"#;

/// One pod per node.
const APART: &str = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: \
                     kubernetes.io/hostname, labelSelector: {matchLabels: {app: db}}}]}}";

/// Evenly over the zones; `{policy}` is what a test adds to the constraint.
const SPREAD: &str = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, \
                      whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}{policy}}]";

/// A cluster of nodes `ZONE-0`, `ZONE-1`... in zones of these sizes, with disks of that kind.
fn given(spec: &str, disk: &str, zones: &[(&str, usize)]) -> Given {
    let mut cluster = format!("defaultDisk: {disk}\nnodes:\n");
    let nodes = zones.iter().flat_map(|(zone, size)| (0..*size).map(move |index| (zone, index)));
    for (number, (zone, index)) in nodes.enumerate() {
        let address = format!("10.0.0.{}", number + 10);
        cluster.push_str(&format!("  - {{name: {zone}-{index}, zone: {zone}, address: {address}}}\n"));
    }
    Given::default().with("db.yaml", DATABASE.replace("{spec}", spec)).cluster(cluster)
}

/// A started cluster and what a test asks of it.
struct World {
    cluster: Cluster,
    started_at: hopwise_engine::Time,
}

impl World {
    /// Runs `test` on a cluster that has settled.
    fn run<F: Future<Output = ()> + 'static>(given: &Given, test: impl FnOnce(World) -> F + 'static) {
        let main = |Started { cluster, settled, .. }: Started| {
            assert_eq!(settled, Settled::Ready);
            test(World { cluster, started_at: hopwise_engine::now() })
        };
        simulate(given.inputs(), Start::default(), main).expect("the simulation ends");
    }

    /// Waits until so many seconds after the test's start.
    async fn until(&self, seconds: u64) {
        let at = self.started_at + hopwise_engine::Span::from_secs(seconds);
        tokio::time::sleep((at - hopwise_engine::now()).into()).await;
    }

    /// Waits until something holds, at most so long; how long it took, in seconds.
    async fn wait_for(&self, what: &str, limit: u64, holds: impl Fn(&World) -> bool) -> u64 {
        let from = hopwise_engine::now();
        loop {
            let waited = Duration::from(hopwise_engine::now() - from).as_secs();
            if holds(self) {
                return waited;
            }
            assert!(waited < limit, "not within {limit} s: {what}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn pod(&self, name: &str) -> Option<Pod> {
        self.cluster.api().read(|store| store.get::<Pod>("ns", name).map(|pod| Pod::clone(pod)))
    }

    fn node_of(&self, pod: &str) -> Option<String> {
        self.pod(pod).and_then(|pod| pod_state::node_name(&pod).map(str::to_owned))
    }

    fn uid(&self, pod: &str) -> Option<String> {
        self.pod(pod).and_then(|pod| pod.metadata.uid)
    }

    /// The pod of the set that is on a node.
    fn pod_on(&self, node: &str) -> Option<String> {
        let names = (0..3).map(|ordinal| format!("db-{ordinal}"));
        names.into_iter().find(|name| self.node_of(name).as_deref() == Some(node))
    }

    fn is_terminating(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod_state::is_terminating(&pod))
    }

    fn is_healthy(&self, pod: &str) -> bool {
        self.pod(pod).is_some_and(|pod| pod_state::is_healthy(&pod))
    }

    /// Why the scheduler has no node for the pod.
    fn pending_because(&self, pod: &str) -> Option<String> {
        let pod = self.pod(pod).filter(|pod| pod_state::node_name(pod).is_none())?;
        pod_state::condition(&pod, "PodScheduled")?.message.clone()
    }

    fn node(&self, name: &str) -> Node {
        self.cluster.api().read(|store| Node::clone(store.get::<Node>("", name).expect("the node is there")))
    }

    fn is_evicted(&self, node: &str) -> bool {
        has_taint(&self.node(node), UNREACHABLE_TAINT, NO_EXECUTE)
    }

    /// The conditions ready, serving and terminating of the endpoint of a pod.
    fn endpoint(&self, pod: &str) -> Option<(bool, bool, bool)> {
        self.cluster.api().read(|store| {
            let slices = store.list_in::<EndpointSlice>("ns");
            let mut endpoints = slices.flat_map(|slice| slice.endpoints.clone().into_iter().flatten());
            let of_pod = |it: &k8s_openapi::api::discovery::v1::Endpoint| {
                it.target_ref.as_ref().and_then(|target| target.name.as_deref()) == Some(pod)
            };
            let conditions = endpoints.find(of_pod)?.conditions?;
            let is = |value: Option<bool>| value.unwrap_or(false);
            Some((is(conditions.ready), is(conditions.serving), is(conditions.terminating)))
        })
    }

    fn volume_of(&self, claim: &str) -> Option<String> {
        self.cluster
            .api()
            .read(|store| store.get::<PersistentVolumeClaim>("ns", claim)?.spec.as_ref()?.volume_name.clone())
    }

    /// Takes a node's power away and waits until its pod is marked for deletion; the pod.
    async fn lose(&self, node: &str) -> String {
        let pod = self.pod_on(node).expect("a pod is there");
        self.cluster.power_off_node(node).expect("it is on");
        let marked = self.wait_for("the pod is marked", 400, |world| world.is_terminating(&pod)).await;
        assert!((340..=356).contains(&marked), "{marked}");
        pod
    }
}

#[test]
fn point_01_a_dead_nodes_pod_is_marked_after_its_timers_and_never_replaced() {
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.pod_on("a-1").expect("a pod is there");
        let uid = world.uid(&pod);
        world.cluster.power_off_node("a-1").expect("it is on");
        world.until(39).await;
        assert_eq!(world.endpoint(&pod), Some((true, true, false)));
        let lost = world.wait_for("the node is tainted", 20, |it| it.is_evicted("a-1")).await + 39;
        assert!(has_taint(&world.node("a-1"), UNREACHABLE_TAINT, NO_SCHEDULE));
        let found = world.pod(&pod).expect("the pod is there");
        assert_eq!((pod_state::phase(&found), pod_state::is_ready(&found)), ("Running", false));
        world.until(lost + 2).await;
        assert_eq!(world.endpoint(&pod), Some((false, false, false)));
        world.until(lost + 298).await;
        assert!(!world.is_terminating(&pod));
        world.until(lost + 302).await;
        assert!(world.is_terminating(&pod));
        assert_eq!(world.endpoint(&pod), Some((false, false, true)));
        // Nothing follows by itself, in hours.
        world.until(20_000).await;
        assert!(world.is_terminating(&pod) && world.uid(&pod) == uid);
    });
}

/// What makes the set replace the pod of a dead node, and how long it may take.
async fn is_replaced(world: &World, pod: &str, within: std::ops::RangeInclusive<u64>) {
    let uid = world.uid(pod);
    let waited =
        world.wait_for("the pod is another one", 400, |it| it.uid(pod).is_some() && it.uid(pod) != uid).await;
    assert!(within.contains(&waited), "{waited}");
}

#[test]
fn point_01_ways_out_of_a_dead_node() {
    // The Node object is deleted: 20 s period, 40 s quarantine.
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        world.cluster.delete_node("a-1").expect("it is there");
        is_replaced(&world, &pod, 40..=61).await;
    });
    // Somebody deletes the pod by force.
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        world.cluster.delete_pod("ns", &pod, Grace::Forced).expect("it is there");
        is_replaced(&world, &pod, 0..=1).await;
    });
    // Somebody vouches that the machine is off: the pod and its disk go at once.
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        let taint = Taint { key: OUT_OF_SERVICE_TAINT.into(), effect: NO_EXECUTE.into(), ..Taint::default() };
        world.cluster.taint_node("a-1", taint).expect("it is there");
        is_replaced(&world, &pod, 0..=21).await;
        let waited = world.wait_for("the new pod runs", 60, |it| it.is_healthy(&pod)).await;
        assert!(waited <= 10, "{waited}");
    });
    // The node comes back: its kubelet finishes the deletion.
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        world.until(600).await;
        world.cluster.power_on_node("a-1").expect("it is off");
        is_replaced(&world, &pod, 0..=60).await;
        world.wait_for("the new pod runs", 60, |it| it.is_healthy(&pod)).await;
    });
}

#[test]
fn point_06_a_local_disk_strands_its_pod() {
    World::run(&given(APART, "local", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        let claim = format!("data-{pod}");
        let disk = world.volume_of(&claim);
        world.cluster.delete_node("a-1").expect("it is there");
        is_replaced(&world, &pod, 40..=61).await;
        world.until(20_000).await;
        let why = world.pending_because(&pod).expect("it is pending");
        assert!(why.contains("had volume node affinity conflict"), "{why}");
        assert_eq!(world.volume_of(&claim), disk);
        // Only the claim's deletion frees the broker, and the data is gone.
        world
            .cluster
            .api()
            .write(|store, now| {
                store.delete::<PersistentVolumeClaim>("ns", &claim, None, Grace::AsDeclared, now)
            })
            .expect("it is there");
        world.cluster.delete_pod("ns", &pod, Grace::AsDeclared).expect("it is there");
        world.wait_for("the pod runs elsewhere", 60, |it| it.is_healthy(&pod)).await;
        assert_ne!(world.volume_of(&claim), disk);
    });
}

/// What becomes of the pod of the only node of a lost zone.
fn after_a_lost_zone(policy: &str, test: impl FnOnce(World, String) + 'static) {
    let spec = SPREAD.replace("{policy}", policy);
    let zones = [("a", 2), ("b", 2), ("c", 1)];
    World::run(&given(&spec, "network", &zones), |world| async move {
        let pod = world.lose("c-0").await;
        world.cluster.delete_pod("ns", &pod, Grace::Forced).expect("it is there");
        tokio::time::sleep(Duration::from_secs(600)).await;
        test(world, pod);
    });
}

#[test]
fn point_07_a_dead_zone_is_an_empty_domain() {
    after_a_lost_zone("", |world, pod| {
        let why = world.pending_because(&pod).expect("it is pending");
        assert!(why.contains("4 node(s) didn't match pod topology spread constraints"), "{why}");
        assert!(why.contains("1 node(s) had untolerated taint {node.kubernetes.io/unreachable: }"), "{why}");
    });
    after_a_lost_zone(", nodeTaintsPolicy: Honor", |world, pod| {
        assert!(world.is_healthy(&pod), "{:?}", world.pending_because(&pod));
    });
}

/// Which of the nodes that lose power at once are evicted.
fn evicted_of(zones: &[(&str, usize)], dead: &'static [&'static str], expected: &'static [&'static str]) {
    World::run(&given("", "network", zones), move |world| async move {
        dead.iter().for_each(|node| world.cluster.power_off_node(node).expect("it is on"));
        world.until(600).await;
        for node in dead {
            assert!(has_taint(&world.node(node), UNREACHABLE_TAINT, NO_SCHEDULE), "{node}");
        }
        let evicted: Vec<&str> = dead.iter().copied().filter(|node| world.is_evicted(node)).collect();
        assert_eq!(evicted, expected);
    });
}

#[test]
fn point_22_evictions_stop_when_most_of_a_small_zone_is_lost() {
    evicted_of(&[("a", 5)], &["a-0", "a-1", "a-2"], &[]);
    evicted_of(&[("a", 3)], &["a-0", "a-1"], &["a-0", "a-1"]);
    evicted_of(&[("a", 6)], &["a-0", "a-1", "a-2"], &["a-0", "a-1", "a-2"]);
    // A zone that is lost as a whole is evicted, a cluster is not.
    evicted_of(&[("a", 3), ("b", 3)], &["a-0", "a-1", "a-2"], &["a-0", "a-1", "a-2"]);
    evicted_of(&[("a", 2), ("b", 1)], &["a-0", "a-1", "b-0"], &[]);
}

#[test]
fn recipe_9_5_a_node_that_is_back_in_time_keeps_its_pods() {
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.pod_on("a-1").expect("a pod is there");
        let uid = world.uid(&pod);
        world.cluster.reboot_node("a-1", Duration::from_secs(200)).expect("it is on");
        world.until(100).await;
        assert!(world.is_evicted("a-1") && !world.is_healthy(&pod));
        world.until(260).await;
        let node = world.node("a-1");
        assert!(!has_taint(&node, UNREACHABLE_TAINT, NO_EXECUTE));
        assert!(!has_taint(&node, UNREACHABLE_TAINT, NO_SCHEDULE));
        world.until(1000).await;
        assert!(world.is_healthy(&pod) && world.uid(&pod) == uid);
    });
}

#[test]
fn recipe_9_6_a_network_disk_leaves_a_dead_node_after_six_minutes() {
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.lose("a-1").await;
        let disk = world.volume_of(&format!("data-{pod}"));
        world.cluster.delete_pod("ns", &pod, Grace::Forced).expect("it is there");
        world.wait_for("the new pod has a node", 10, |it| it.node_of(&pod).is_some()).await;
        tokio::time::sleep(Duration::from_secs(340)).await;
        assert!(!world.is_healthy(&pod));
        let waited = world.wait_for("the new pod runs", 60, |it| it.is_healthy(&pod)).await;
        assert!((15..=40).contains(&waited), "{waited}");
        assert_eq!(world.volume_of(&format!("data-{pod}")), disk);
        assert_ne!(world.node_of(&pod).as_deref(), Some("a-1"));
    });
}

#[test]
fn recipe_9_7_a_zonal_disk_keeps_its_pod_in_the_lost_zone() {
    World::run(&given(APART, "zonal", &[("a", 2), ("b", 2), ("c", 1)]), |world| async move {
        // The pods take the zones in turn.
        let pod = world.lose("c-0").await;
        world.cluster.delete_pod("ns", &pod, Grace::Forced).expect("it is there");
        tokio::time::sleep(Duration::from_secs(1000)).await;
        let why = world.pending_because(&pod).expect("it is pending");
        assert!(why.contains("node(s) had volume node affinity conflict"), "{why}");
    });
}

#[test]
fn recipe_9_8_a_node_that_is_cut_off_keeps_its_containers_until_it_learns_better() {
    World::run(&given(APART, "network", &[("a", 5)]), |world| async move {
        let pod = world.pod_on("a-1").expect("a pod is there");
        let uid = world.uid(&pod);
        world.cluster.cut_node_from_control_plane("a-1").expect("it is there");
        let marked = world.wait_for("the pod is marked", 400, |it| it.is_terminating(&pod)).await;
        assert!((340..=356).contains(&marked), "{marked}");
        world.until(5000).await;
        assert!(world.uid(&pod) == uid && world.is_terminating(&pod));
        world.cluster.reconnect_node_to_control_plane("a-1").expect("it is there");
        is_replaced(&world, &pod, 0..=60).await;
        world.wait_for("the new pod runs", 60, |it| it.is_healthy(&pod)).await;
    });
}

#[test]
fn a_drain_takes_one_pod_at_a_time_as_the_budget_allows() {
    World::run(&given("", "network", &[("a", 2)]), |world| async move {
        // Whatever runs on one node has to fit on the other.
        let on = |world: &World| -> Vec<String> {
            let names = (0..3).map(|ordinal| format!("db-{ordinal}"));
            names.filter(|name| world.node_of(name).as_deref() == Some("a-0")).collect()
        };
        assert!(!on(&world).is_empty());
        world.cluster.drain_node("a-0").await.expect("it ends");
        assert_eq!(on(&world), [""; 0]);
        let evicted = hopwise_engine::notable_events();
        let evictions = evicted.iter().filter(|event| event.kind == "pod.evicted").count();
        assert!(evictions >= 1);
        assert!(world.node("a-0").spec.expect("a specification").unschedulable == Some(true));
        world
            .wait_for("all pods run again", 120, |it| {
                (0..3).all(|ordinal| it.is_healthy(&format!("db-{ordinal}")))
            })
            .await;
        assert_eq!(on(&world), [""; 0]);
        world.cluster.uncordon_node("a-0").expect("it is there");
        let refused = world.cluster.drain_node("a-9").await.expect_err("there is no such node");
        assert_eq!(refused.to_string(), "there is no node a-9; the nodes are a-0, a-1");
    });
}

#[test]
fn a_budget_refuses_what_it_cannot_afford() {
    World::run(&given(APART, "network", &[("a", 4)]), |world| async move {
        world.cluster.evict_pod("ns", "db-0").expect("the first one may go");
        let refused = world.cluster.evict_pod("ns", "db-1").expect_err("the second one may not");
        assert!(refused.to_string().contains("disruption budget"), "{refused}");
        world.wait_for("the first one is back", 60, |it| it.is_healthy("db-0")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.cluster.evict_pod("ns", "db-1").expect("now it may");
    });
}
