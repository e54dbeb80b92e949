//! Silent nodes in zones of several sizes.

use serde_json::{Value, json};

use super::*;
use crate::store::Store;

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// Nodes whose kubelets renew their leases every 10 s until they fall silent.
struct World {
    store: Store,
    controller: NodeLifecycle,
    /// From when to when each node is silent.
    silent: BTreeMap<String, (u64, u64)>,
    log: Vec<String>,
}

impl World {
    /// Nodes `ZONE-0`, `ZONE-1`... in zones of these sizes.
    fn new(zones: &[(&str, usize)]) -> World {
        let mut store = Store::default();
        for (zone, size) in zones {
            for index in 0..*size {
                let labels = json!({ "topology.kubernetes.io/zone": zone });
                let metadata = json!({ "name": format!("{zone}-{index}"), "labels": labels });
                let conditions: Value = json!([{ "type": "Ready", "status": "True" }]);
                let node = json!({ "metadata": metadata, "status": { "conditions": conditions } });
                store.create(serde_json::from_value::<Node>(node).unwrap(), Time::ZERO).unwrap();
            }
        }
        let controller = NodeLifecycle::new(GRACE_PERIOD_DEFAULT);
        World { store, controller, silent: BTreeMap::new(), log: Vec::new() }
    }

    fn silence(mut self, nodes: &[&str], from: u64, until: u64) -> World {
        self.silent.extend(nodes.iter().map(|node| ((*node).to_owned(), (from, until))));
        self
    }

    /// Runs until an instant, in steps of a second; what happened when.
    fn run(mut self, until: u64) -> Vec<String> {
        for second in 0..=until {
            let now = at(second);
            self.kubelets(second);
            if second % 5 == 0 {
                let nodes: Vec<Arc<Node>> = self.store.list::<Node>().cloned().collect();
                let silent = &self.silent;
                let renewed = |name: &str| {
                    let (from, until) = silent.get(name).copied().unwrap_or((u64::MAX, u64::MAX));
                    let last = if second >= until || second < from { second } else { from.saturating_sub(1) };
                    Some(at(last / 10 * 10))
                };
                let requests = self.controller.tick(&View { nodes: &nodes, renewed: &renewed }, now);
                self.carry_out(second, requests);
            }
            let store = &self.store;
            let requests = self.controller.evict(|name| store.get::<Node>("", name).cloned(), now);
            self.carry_out(second, requests);
        }
        self.log
    }

    /// A kubelet that is back posts that it is ready.
    fn kubelets(&mut self, second: u64) {
        let back: Vec<String> = self
            .silent
            .iter()
            .filter(|(_, (_, until))| *until == second)
            .map(|(name, _)| name.clone())
            .collect();
        for name in back {
            let ready =
                NodeCondition { type_: "Ready".into(), status: "True".into(), ..NodeCondition::default() };
            let node = self
                .store
                .patch_status::<Node>("", &name, at(second), |node| change_conditions(node, &[ready]))
                .unwrap();
            let requests = self.controller.node_changed(&node);
            self.carry_out(second, requests);
        }
    }

    fn carry_out(&mut self, second: u64, requests: Vec<Request>) {
        for request in requests {
            match request {
                Request::SetConditions { node, conditions } => {
                    self.log.push(format!("{second} {node} {}", conditions[0].status));
                    self.store
                        .patch_status::<Node>("", &node, at(second), |it| change_conditions(it, &conditions))
                        .unwrap();
                }
                Request::Taint { node, add, remove } => {
                    let sign = |sign: &str, key: &str, effect: &str| {
                        format!("{second} {node} {sign}{}:{effect}", key.rsplit('/').next().unwrap())
                    };
                    let before = self.store.get::<Node>("", &node).unwrap().clone();
                    self.log.extend(add.iter().map(|it| sign("+", &it.key, &it.effect)));
                    let removed = remove.iter().filter(|(key, effect)| has_taint(&before, key, effect));
                    self.log.extend(removed.map(|(key, effect)| sign("-", key, effect)));
                    self.store
                        .patch::<Node>("", &node, at(second), |it| change_taints(it, &add, &remove))
                        .unwrap();
                }
                Request::MarkPodsNotReady { node } => {
                    self.log.push(format!("{second} {node} pods not ready"))
                }
            }
        }
    }
}

/// Which nodes got a NoExecute taint, and when.
fn evicted(log: &[String]) -> Vec<String> {
    let taints = log.iter().filter(|line| line.contains("+unreachable:NoExecute"));
    taints.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
}

#[test]
fn a_silent_node_is_unknown_after_its_grace_period_and_recovers_at_once() {
    // The last lease is of 100 s; the kubelet falls silent at 103 s.
    let log = World::new(&[("a", 3)]).silence(&["a-1"], 103, 200).run(300);
    assert_eq!(
        log,
        [
            "150 a-1 +unreachable:NoSchedule",
            "150 a-1 Unknown",
            "150 a-1 pods not ready",
            "150 a-1 +unreachable:NoExecute",
            "200 a-1 -unreachable:NoSchedule",
            "200 a-1 -unreachable:NoExecute",
        ]
    );
}

#[test]
fn a_short_reboot_is_not_noticed() {
    assert_eq!(World::new(&[("a", 3)]).silence(&["a-1"], 100, 140).run(300), Vec::<String>::new());
}

#[test]
fn nodes_of_a_zone_are_evicted_one_in_ten_seconds() {
    let log = World::new(&[("a", 3), ("b", 3)]).silence(&["a-0", "a-1", "b-2"], 100, 9999).run(400);
    assert_eq!(evicted(&log), ["140 a-0", "140 b-2", "150 a-1"]);
}

#[test]
fn a_small_zone_that_is_partially_disrupted_is_not_evicted() {
    let dead = ["a-0", "a-1", "a-2"];
    let log = World::new(&[("a", 5)]).silence(&dead, 100, 9999).run(1000);
    assert_eq!(evicted(&log), Vec::<String>::new());
    assert_eq!(log.iter().filter(|line| line.ends_with("pods not ready")).count(), 3);
    // Three of six are less than 55 %, two of three are not more than two.
    assert_eq!(evicted(&World::new(&[("a", 6)]).silence(&dead, 100, 9999).run(1000)).len(), 3);
    assert_eq!(evicted(&World::new(&[("a", 3)]).silence(&dead[..2], 100, 9999).run(1000)).len(), 2);
}

#[test]
fn a_large_zone_that_is_partially_disrupted_is_evicted_slowly() {
    let dead: Vec<String> = (0..30).map(|index| format!("a-{index}")).collect();
    let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
    let log = World::new(&[("a", 51)]).silence(&dead, 100, 9999).run(350);
    let times: Vec<String> =
        evicted(&log).iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(times, ["140", "240", "340"]);
}

#[test]
fn a_lost_zone_is_evicted_but_a_lost_cluster_is_not() {
    let log = World::new(&[("a", 2), ("b", 2)]).silence(&["a-0", "a-1"], 100, 9999).run(400);
    assert_eq!(evicted(&log), ["140 a-0", "150 a-1"]);
    let all = ["a-0", "a-1", "b-0", "b-1"];
    let log = World::new(&[("a", 2), ("b", 2)]).silence(&all, 100, 9999).run(400);
    assert_eq!(evicted(&log), Vec::<String>::new());
}

#[test]
fn when_the_last_zone_falls_evictions_end_and_when_one_is_back_the_others_get_new_grace() {
    let world = World::new(&[("a", 1), ("b", 1)]).silence(&["a-0"], 100, 9999).silence(&["b-0"], 200, 300);
    let log = world.run(500);
    let about_a: Vec<&str> = log.iter().map(String::as_str).filter(|line| line.contains("a-0")).collect();
    assert_eq!(
        about_a,
        [
            "140 a-0 +unreachable:NoSchedule",
            "140 a-0 Unknown",
            "140 a-0 pods not ready",
            "140 a-0 +unreachable:NoExecute",
            "240 a-0 -unreachable:NoExecute",
            // The limiter starts empty.
            "310 a-0 +unreachable:NoExecute",
        ]
    );
}

#[test]
fn a_kubelet_that_says_it_is_not_ready_gets_the_other_taint() {
    let mut world = World::new(&[("a", 2)]);
    let not_ready =
        NodeCondition { type_: "Ready".into(), status: "False".into(), ..NodeCondition::default() };
    world.store.patch_status::<Node>("", "a-0", at(0), |node| change_conditions(node, &[not_ready])).unwrap();
    let node = world.store.get::<Node>("", "a-0").unwrap().clone();
    let requests = world.controller.node_changed(&node);
    world.carry_out(0, requests);
    assert_eq!(
        world.run(60),
        ["0 a-0 +not-ready:NoSchedule", "0 a-0 pods not ready", "0 a-0 +not-ready:NoExecute"]
    );
}

#[test]
fn a_cordon_is_a_taint_too() {
    let mut world = World::new(&[("a", 2)]);
    let cordon = |it: bool| move |node: &mut Node| node.spec.get_or_insert_default().unschedulable = Some(it);
    let node = world.store.patch::<Node>("", "a-0", at(0), cordon(true)).unwrap();
    let requests = world.controller.node_changed(&node);
    world.carry_out(1, requests);
    let node = world.store.patch::<Node>("", "a-0", at(0), cordon(false)).unwrap();
    let requests = world.controller.node_changed(&node);
    world.carry_out(2, requests);
    assert_eq!(world.log, ["1 a-0 +unschedulable:NoSchedule", "2 a-0 -unschedulable:NoSchedule"]);
}

#[test]
fn ticks_are_needed_only_when_a_lease_may_have_run_out() {
    let mut world = World::new(&[("a", 2)]);
    let nodes: Vec<Arc<Node>> = world.store.list::<Node>().cloned().collect();
    assert_eq!(world.controller.next_tick(at(2)), Some(at(5)));
    let renewed = |_: &str| Some(at(3));
    assert_eq!(world.controller.tick(&View { nodes: &nodes, renewed: &renewed }, at(5)), []);
    assert_eq!(world.controller.next_tick(at(5)), Some(at(55)));
    world.controller.node_changed(&nodes[0]);
    assert_eq!(world.controller.next_tick(at(6)), Some(at(10)));
}
