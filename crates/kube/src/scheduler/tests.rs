//! Small clusters and where their pods go.

use hopwise_engine::Time;
use serde_json::{Value, json};

use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::store::Resource;

const NOW: Time = Time::ZERO;

struct Cluster(Store);

impl Cluster {
    /// Nodes `node-0`, `node-1`, ... in these zones.
    fn new(zones: &[&str]) -> Cluster {
        let mut cluster = Cluster(Store::default());
        for (index, zone) in zones.iter().enumerate() {
            let labels = json!({ "topology.kubernetes.io/zone": zone });
            cluster.put::<Node>(json!({ "metadata": { "name": format!("node-{index}"), "labels": labels } }));
        }
        cluster
    }

    fn put<T: Resource + serde::de::DeserializeOwned>(&mut self, object: Value) {
        self.0.create(serde_json::from_value::<T>(object).unwrap(), NOW).unwrap();
    }

    fn change(&mut self, node: &str, change: Value) {
        let mut value = serde_json::to_value(self.0.get::<Node>("", node).unwrap().as_ref()).unwrap();
        for (key, part) in change.as_object().unwrap() {
            value[key] = part.clone();
        }
        let changed: Node = serde_json::from_value(value).unwrap();
        self.0.update(changed, NOW).unwrap();
    }

    /// Schedules a pod and binds it.
    fn place(&mut self, name: &str, spec: Value) -> Placement {
        let mut pod = pod(name, spec);
        let placement = schedule(&pod, &mut ClusterState::of(&self.0), &self.0);
        if let Placement::Bound(node) = &placement {
            pod.spec.as_mut().unwrap().node_name = Some(node.clone());
            self.0.create(pod, NOW).unwrap();
        }
        placement
    }

    /// The node a pod lands on, or the message.
    fn outcome(&mut self, name: &str, spec: Value) -> String {
        match self.place(name, spec) {
            Placement::Bound(node) => node,
            Placement::Unschedulable { message, .. } => message,
        }
    }
}

/// A pod with the label `app: db`.
fn pod(name: &str, mut spec: Value) -> Pod {
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{ "name": "c" }]);
    }
    let metadata = json!({ "name": name, "namespace": "ns", "labels": { "app": "db" } });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

fn term(key: &str) -> Value {
    json!({ "labelSelector": { "matchLabels": { "app": "db" } }, "topologyKey": key })
}

fn anti_affinity(key: &str) -> Value {
    json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term(key)] } } })
}

fn spread(when: &str) -> Value {
    let mut constraint = term(crate::controllers::endpoint_slices::ZONE_LABEL);
    constraint["maxSkew"] = json!(1);
    constraint["whenUnsatisfiable"] = json!(when);
    json!({ "topologySpreadConstraints": [constraint] })
}

fn requests(cpu: &str) -> Value {
    json!({ "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }] })
}

#[test]
fn pods_that_keep_apart_land_on_the_nodes_in_their_order() {
    let mut cluster = Cluster::new(&["a"; 12]);
    for index in 0..12 {
        let node = cluster.outcome(&format!("db-{index}"), anti_affinity(HOSTNAME_LABEL));
        assert_eq!(node, format!("node-{index}"));
    }
}

#[test]
fn a_pod_too_many_is_told_why() {
    let mut cluster = Cluster::new(&["a", "b"]);
    cluster.place("db-0", anti_affinity(HOSTNAME_LABEL));
    cluster.place("db-1", anti_affinity(HOSTNAME_LABEL));
    let Placement::Unschedulable { message, reasons } = cluster.place("db-2", anti_affinity(HOSTNAME_LABEL))
    else {
        panic!("it fits");
    };
    assert_eq!(message, "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules");
    assert_eq!(reasons, [(Reason::PodAntiAffinity, 2)]);
}

#[test]
fn anti_affinity_repels_pods_that_do_not_ask_for_it() {
    let mut cluster = Cluster::new(&["a", "a"]);
    cluster.place("db-0", anti_affinity(HOSTNAME_LABEL));
    assert_eq!(cluster.outcome("plain", json!({})), "node-1");
    let mut zoned = Cluster::new(&["a", "a"]);
    zoned.place("db-0", anti_affinity("topology.kubernetes.io/zone"));
    assert_eq!(
        zoned.outcome("plain", json!({})),
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules"
    );
}

#[test]
fn affinity_joins_the_group_and_the_first_may_start_it() {
    let affinity = json!({ "affinity": { "podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [term("topology.kubernetes.io/zone")]
    } } });
    let mut cluster = Cluster::new(&["a", "b", "b"]);
    cluster.change("node-0", json!({ "spec": { "unschedulable": true } }));
    assert_eq!(cluster.outcome("db-0", affinity.clone()), "node-1");
    cluster.change("node-0", json!({ "spec": {} }));
    assert_eq!(cluster.outcome("db-1", affinity), "node-1");
}

#[test]
fn selectors_and_taints_name_their_reason() {
    let mut cluster = Cluster::new(&["a", "b", "b"]);
    let taint = |effect: &str| json!({ "spec": { "taints": [{ "key": "dedicated", "value": "web", "effect": effect }] } });
    cluster.change("node-0", taint("NoSchedule"));
    cluster.change("node-1", json!({ "spec": { "unschedulable": true } }));
    assert_eq!(
        cluster.outcome("x", json!({ "nodeSelector": { "topology.kubernetes.io/zone": "a" } })),
        "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, \
         1 node(s) had untolerated taint {dedicated: web}, 1 node(s) were unschedulable"
    );
    let tolerant = json!({ "tolerations": [{ "key": "dedicated", "operator": "Exists" }] });
    assert_eq!(cluster.outcome("y", tolerant), "node-0");
    let expression = json!({ "key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["a"] });
    let affinity = json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{ "matchExpressions": [expression] }]
    } } } });
    assert_eq!(cluster.outcome("z", affinity), "node-2");
}

#[test]
fn requests_have_to_fit_and_the_emptier_node_is_better() {
    let mut cluster = Cluster::new(&["a", "a"]);
    for node in ["node-0", "node-1"] {
        cluster.change(node, json!({ "status": { "allocatable": { "cpu": "2", "pods": "3" } } }));
    }
    assert_eq!(cluster.outcome("a", requests("500m")), "node-0");
    assert_eq!(cluster.outcome("b", requests("1")), "node-1");
    assert_eq!(cluster.outcome("c", requests("1500m")), "node-0");
    assert_eq!(cluster.outcome("d", requests("1500m")), "0/2 nodes are available: 2 Insufficient cpu");
    for name in ["e", "f", "g"] {
        cluster.place(name, json!({}));
    }
    assert_eq!(cluster.outcome("h", json!({})), "0/2 nodes are available: 2 Too many pods");
}

#[test]
fn init_containers_and_sidecars_count_as_they_run() {
    let container = |cpu: &str, restart: Value| json!({ "name": "c", "resources": { "requests": { "cpu": cpu } }, "restartPolicy": restart });
    let requested = |init: Value, containers: Value| {
        let pod = pod("p", json!({ "initContainers": init, "containers": containers }));
        fit::requests(&pod).get("cpu").copied()
    };
    let plain = |cpu: &str| container(cpu, Value::Null);
    assert_eq!(requested(json!([plain("3")]), json!([plain("1"), plain("1")])), Some(3_000));
    assert_eq!(requested(json!([plain("1")]), json!([plain("1"), plain("1")])), Some(2_000));
    assert_eq!(
        requested(json!([container("1", json!("Always")), plain("3")]), json!([plain("1")])),
        Some(4_000)
    );
}

#[test]
fn host_ports_are_exclusive() {
    let spec =
        json!({ "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 8080 }] }] });
    let mut cluster = Cluster::new(&["a", "a"]);
    assert_eq!(cluster.outcome("a", spec.clone()), "node-0");
    assert_eq!(cluster.outcome("b", spec.clone()), "node-1");
    assert_eq!(
        cluster.outcome("c", spec),
        "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports"
    );
}

#[test]
fn hard_spread_counts_dead_zones_but_not_terminating_pods() {
    let mut cluster = Cluster::new(&["a", "a", "b"]);
    assert_eq!(cluster.outcome("db-0", spread("DoNotSchedule")), "node-0");
    assert_eq!(cluster.outcome("db-1", spread("DoNotSchedule")), "node-2");
    cluster.change("node-2", json!({ "spec": { "taints": [{ "key": "dead", "effect": "NoExecute" }] } }));
    assert_eq!(cluster.outcome("db-2", spread("DoNotSchedule")), "node-0");
    // Zone b is full of taints but still a domain with one pod: a third pod in zone a is one too many.
    assert_eq!(
        cluster.outcome("db-3", spread("DoNotSchedule")),
        "0/3 nodes are available: 1 node(s) had untolerated taint {dead: }, \
         2 node(s) didn't match pod topology spread constraints"
    );
    cluster.0.delete::<Pod>("ns", "db-0", None, crate::store::Grace::AsDeclared, NOW).unwrap();
    assert_eq!(cluster.outcome("db-3", spread("DoNotSchedule")), "node-0");
}

#[test]
fn soft_spread_and_preferred_anti_affinity_are_preferences() {
    let mut cluster = Cluster::new(&["a", "a", "b"]);
    cluster.place("db-0", spread("ScheduleAnyway"));
    assert_eq!(cluster.outcome("db-1", spread("ScheduleAnyway")), "node-2");
    let preferred = json!({ "affinity": { "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": term(HOSTNAME_LABEL) }]
    } } });
    assert_eq!(cluster.outcome("db-2", preferred.clone()), "node-1");
    assert_eq!(cluster.outcome("db-3", preferred), "node-0");
}

#[test]
fn pods_of_one_controller_spread_by_themselves() {
    let mut cluster = Cluster::new(&["a", "b"]);
    let mut nodes = Vec::new();
    for name in ["web-x", "web-y"] {
        let mut web = pod(name, json!({}));
        let owner = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": true });
        web.metadata.owner_references = Some(vec![serde_json::from_value(owner).unwrap()]);
        let Placement::Bound(node) = schedule(&web, &mut ClusterState::of(&cluster.0), &cluster.0) else {
            panic!("it does not fit")
        };
        web.spec.as_mut().unwrap().node_name = Some(node.clone());
        cluster.0.create(web, NOW).unwrap();
        nodes.push(node);
    }
    assert_eq!(nodes, ["node-0", "node-1"]);
}

#[test]
fn a_bound_volume_pins_its_pod() {
    let volumes = json!({ "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }] });
    let mut cluster = Cluster::new(&["a", "b"]);
    assert_eq!(
        cluster.outcome("db-0", volumes.clone()),
        "0/2 nodes are available: persistentvolumeclaim \"data\" not found"
    );
    let expression = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"] });
    let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } });
    cluster.put::<k8s_openapi::api::core::v1::PersistentVolume>(
        json!({ "metadata": { "name": "pv" }, "spec": { "nodeAffinity": affinity } }),
    );
    cluster.put::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(
        json!({ "metadata": { "name": "data", "namespace": "ns" }, "spec": { "volumeName": "pv" } }),
    );
    assert_eq!(cluster.outcome("db-0", volumes.clone()), "node-1");
    cluster.change("node-1", json!({ "spec": { "unschedulable": true } }));
    assert_eq!(
        cluster.outcome("db-1", volumes),
        "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) were unschedulable"
    );
}

#[test]
fn a_cluster_without_nodes_takes_nothing() {
    assert_eq!(Cluster::new(&[]).outcome("p", json!({})), "0/0 nodes are available");
}

#[test]
fn a_kept_state_is_the_state_of_the_store() {
    let mut cluster = Cluster::new(&["a", "b", "c"]);
    cluster.change("node-0", json!({ "status": { "allocatable": { "cpu": "8" } } }));
    let mut kept = ClusterState::of(&cluster.0);
    let mut both = |cluster: &mut Cluster, name: &str, spec: Value| {
        let mut pod = pod(name, spec);
        kept.sync(&cluster.0);
        let placement = schedule(&pod, &mut kept, &cluster.0);
        assert_eq!(placement, schedule(&pod, &mut ClusterState::of(&cluster.0), &cluster.0));
        if let Placement::Bound(node) = &placement {
            pod.spec.as_mut().unwrap().node_name = Some(node.clone());
            cluster.0.create(pod, NOW).unwrap();
        }
        placement
    };
    let soft = json!({ "affinity": { "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 100, "podAffinityTerm": term(HOSTNAME_LABEL) }]
    } } });
    let specs = [anti_affinity(HOSTNAME_LABEL), spread("DoNotSchedule"), soft, requests("3")];
    for round in 0..6 {
        for (index, spec) in specs.iter().enumerate() {
            both(&mut cluster, &format!("db-{round}-{index}"), spec.clone());
        }
        let marked = format!("db-{round}-1");
        if cluster.0.get::<Pod>("ns", &marked).is_some() {
            cluster.0.delete::<Pod>("ns", &marked, None, crate::store::Grace::AsDeclared, NOW).unwrap();
        }
        let _ = cluster.0.remove::<Pod>("ns", &format!("db-{}-0", round / 2), None, NOW);
        match round {
            1 => cluster.put::<Node>(json!({ "metadata": { "name": "node-10" } })),
            2 => cluster.change("node-10", json!({ "metadata": { "name": "node-10", "labels": { "topology.kubernetes.io/zone": "d" } } })),
            4 => drop(cluster.0.remove::<Node>("", "node-1", None, NOW).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn many_pods_cost_by_what_changes() {
    let mut cluster = Cluster::new(&["a"; 100]);
    for index in 0..100 {
        cluster.change(
            &format!("node-{index}"),
            json!({ "status": { "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "110" } } }),
        );
    }
    let mut state = ClusterState::of(&cluster.0);
    for set in 0..20 {
        for index in 0..50 {
            let mut spec = anti_affinity(HOSTNAME_LABEL);
            spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"]
                ["matchLabels"]["app"] = json!(format!("set-{set}"));
            spec["containers"] = requests("500m")["containers"].clone();
            let mut pod = pod(&format!("set-{set}-{index}"), spec);
            pod.metadata.labels.as_mut().unwrap().insert("app".into(), format!("set-{set}"));
            let Placement::Bound(node) = schedule(&pod, &mut state, &cluster.0) else { panic!("it fits") };
            pod.spec.as_mut().unwrap().node_name = Some(node);
            cluster.0.create(pod, NOW).unwrap();
            state.sync(&cluster.0);
        }
    }
    let per_node: Vec<usize> = (0..100)
        .map(|index| {
            let name = format!("node-{index}");
            cluster
                .0
                .list::<Pod>()
                .filter(|pod| crate::store::pod_state::node_name(pod) == Some(&name))
                .count()
        })
        .collect();
    assert_eq!(per_node, vec![10; 100], "the emptier nodes are taken first");
}

#[test]
fn a_claim_for_one_pod_is_for_one_pod() {
    let mut cluster = Cluster::new(&["a", "a"]);
    cluster.put::<k8s_openapi::api::core::v1::PersistentVolume>(
        json!({ "metadata": { "name": "pv" }, "spec": {} }),
    );
    let spec = json!({ "volumeName": "pv", "accessModes": ["ReadWriteOncePod"] });
    cluster.put::<k8s_openapi::api::core::v1::PersistentVolumeClaim>(
        json!({ "metadata": { "name": "data", "namespace": "ns" }, "spec": spec }),
    );
    let volumes = json!({ "volumes": [{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }] });
    assert_eq!(cluster.outcome("a", volumes.clone()), "node-0");
    assert_eq!(
        cluster.outcome("b", volumes.clone()),
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and \
         ReadWriteOncePod access mode"
    );
    cluster.0.remove::<Pod>("ns", "a", None, NOW).unwrap();
    assert_eq!(cluster.outcome("b", volumes), "node-0");
}

#[test]
fn spread_honours_its_policies() {
    let policy = |field: &str, value: Value| {
        let mut spec = spread("DoNotSchedule");
        spec["topologySpreadConstraints"][0][field] = value;
        spec
    };
    // A tainted zone without pods holds the minimum at 0, unless taints are honoured.
    let mut cluster = Cluster::new(&["a", "b"]);
    cluster.change("node-1", json!({ "spec": { "taints": [{ "key": "dead", "effect": "NoSchedule" }] } }));
    assert_eq!(cluster.outcome("db-0", spread("DoNotSchedule")), "node-0");
    assert!(cluster.outcome("db-1", spread("DoNotSchedule")).starts_with("0/2 nodes"));
    assert_eq!(cluster.outcome("db-1", policy("nodeTaintsPolicy", json!("Honor"))), "node-0");
    // One zone of two that are asked for: the missing one counts as empty.
    let mut cluster = Cluster::new(&["a", "a"]);
    assert_eq!(cluster.outcome("db-0", policy("minDomains", json!(2))), "node-0");
    assert!(cluster.outcome("db-1", policy("minDomains", json!(2))).starts_with("0/2 nodes"));
    assert_eq!(cluster.outcome("db-1", spread("DoNotSchedule")), "node-0");
    // A zone that the pod's selector rules out counts only if affinity is ignored.
    let mut cluster = Cluster::new(&["a", "b"]);
    let pinned = |mut spec: Value| {
        spec["nodeSelector"] = json!({ HOSTNAME_LABEL: "node-0" });
        spec
    };
    assert_eq!(cluster.outcome("db-0", pinned(spread("DoNotSchedule"))), "node-0");
    assert_eq!(cluster.outcome("db-1", pinned(spread("DoNotSchedule"))), "node-0");
    let ignoring = pinned(policy("nodeAffinityPolicy", json!("Ignore")));
    assert!(cluster.outcome("db-2", ignoring).starts_with("0/2 nodes"));
}

#[test]
fn a_pod_prefers_nodes_without_soft_taints() {
    let mut cluster = Cluster::new(&["a", "a"]);
    cluster
        .change("node-0", json!({ "spec": { "taints": [{ "key": "slow", "effect": "PreferNoSchedule" }] } }));
    assert_eq!(cluster.outcome("db-0", json!({})), "node-1");
    cluster.change("node-1", json!({ "spec": { "unschedulable": true } }));
    assert_eq!(cluster.outcome("db-1", json!({})), "node-0");
}
