//! Budgets over small sets of pods.

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::{Value, json};

use super::*;
use crate::store::{Deletion, Store};

fn at(seconds: u64) -> Time {
    Time::ZERO + Span::from_secs(seconds)
}

/// A set of pods and a budget, in a store.
struct World(Store);

impl World {
    fn new(pods: u32, spec: Value) -> World {
        let mut world = World(Store::default());
        for index in 0..pods {
            world.pod(&format!("db-{index}"), true);
        }
        world.budget("db", spec);
        world
    }

    fn budget(&mut self, name: &str, mut spec: Value) {
        spec["selector"] = json!({ "matchLabels": { "app": "db" } });
        let budget = json!({ "metadata": { "name": name, "namespace": "ns" }, "spec": spec });
        self.0.create(serde_json::from_value::<PodDisruptionBudget>(budget).unwrap(), at(0)).unwrap();
        self.sync(at(0));
    }

    fn pod(&mut self, name: &str, ready: bool) {
        let owner = json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u", "controller": true });
        let metadata =
            json!({ "name": name, "namespace": "ns", "labels": { "app": "db" }, "ownerReferences": [owner] });
        let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] });
        let pod =
            json!({ "metadata": metadata, "spec": { "containers": [], "nodeName": "n" }, "status": status });
        self.0.create(serde_json::from_value::<Pod>(pod).unwrap(), at(0)).unwrap();
    }

    fn sync(&mut self, now: Time) -> Option<Time> {
        let pods: Vec<Arc<Pod>> = self.0.list::<Pod>().cloned().collect();
        let replicas = |_: &str, _: &str| Some(5);
        let budgets: Vec<_> = self.0.list::<PodDisruptionBudget>().cloned().collect();
        let mut again = None;
        for budget in budgets {
            let view = View { budget: &budget, pods: &pods, replicas: &replicas, now };
            let (status, look_again) = reconcile(&view);
            let name = budget.metadata.name.as_deref().unwrap();
            self.0
                .patch_status::<PodDisruptionBudget>("ns", name, now, |it| it.status = Some(status))
                .unwrap();
            again = again.or(look_again);
        }
        again
    }

    fn evict(&mut self, name: &str) -> Result<Deletion, EvictionError> {
        evict(&mut self.0, "ns", name, at(0))
    }

    /// Expected, desired and allowed.
    fn numbers(&self) -> (i32, i32, i32) {
        let status =
            self.0.get::<PodDisruptionBudget>("ns", "db").unwrap().status.clone().unwrap_or_default();
        (status.expected_pods.unwrap(), status.desired_healthy.unwrap(), status.disruptions_allowed.unwrap())
    }
}

#[test]
fn numbers_and_shares_are_counted_as_the_api_does() {
    for (spec, numbers) in [
        (json!({ "maxUnavailable": 1 }), (5, 4, 1)),
        (json!({ "maxUnavailable": 0 }), (5, 5, 0)),
        (json!({ "maxUnavailable": "30%" }), (5, 3, 2)),
        (json!({ "minAvailable": 3 }), (5, 3, 2)),
        (json!({ "minAvailable": 9 }), (5, 9, 0)),
        (json!({ "minAvailable": "50%" }), (5, 3, 2)),
        (json!({ "minAvailable": "100%" }), (5, 5, 0)),
        (json!({}), (5, 1, 4)),
    ] {
        assert_eq!(World::new(5, spec.clone()).numbers(), numbers, "{spec}");
    }
}

#[test]
fn a_spent_budget_refuses_until_the_pod_is_back() {
    let mut world = World::new(5, json!({ "maxUnavailable": 1 }));
    assert_eq!(world.evict("db-4"), Ok(Deletion::Marked));
    let refused = world.evict("db-3").unwrap_err();
    assert!(refused.is_temporary());
    assert_eq!(
        refused.to_string(),
        "cannot evict pod ns/db-3 as it would violate the pod's disruption budget: db needs 4 healthy pods and has 5 \
         currently"
    );
    world.sync(at(1));
    assert_eq!(world.numbers(), (5, 4, 0));
    world.0.remove::<Pod>("ns", "db-4", None, at(2)).unwrap();
    world.pod("db-4", true);
    world.sync(at(3));
    assert_eq!(world.evict("db-3"), Ok(Deletion::Marked));
}

#[test]
fn a_pod_that_is_not_ready_goes_by_its_policy() {
    let unready = |policy: Option<&str>, unready: u32| {
        let mut world = World(Store::default());
        for index in 0..5 {
            world.pod(&format!("db-{index}"), index >= unready);
        }
        world.budget("db", json!({ "maxUnavailable": 1, "unhealthyPodEvictionPolicy": policy }));
        world.evict("db-0").is_ok()
    };
    // With one pod down the budget still has its healthy pods; with two it has not.
    assert!(unready(None, 1));
    assert!(!unready(None, 2));
    assert!(!unready(Some("IfHealthyBudget"), 2));
    assert!(unready(Some("AlwaysAllow"), 2));
}

#[test]
fn two_budgets_are_one_too_many_and_a_new_one_has_to_be_observed() {
    let mut world = World::new(5, json!({ "maxUnavailable": 1 }));
    world
        .0
        .patch::<PodDisruptionBudget>("ns", "db", at(0), |budget| {
            budget.spec.get_or_insert_default().max_unavailable = Some(IntOrString::Int(2));
        })
        .unwrap();
    assert_eq!(world.evict("db-0"), Err(EvictionError::BudgetNotObserved { budget: "db".into() }));
    world.budget("other", json!({ "minAvailable": 0 }));
    assert!(matches!(world.evict("db-0"), Err(EvictionError::SeveralBudgets { .. })));
}

#[test]
fn an_evicted_pod_counts_as_gone_for_two_minutes() {
    let mut world = World::new(5, json!({ "minAvailable": 3 }));
    let mark = |budget: &mut PodDisruptionBudget| {
        let status = budget.status.get_or_insert_default();
        status.disrupted_pods = Some([("db-0".to_owned(), timestamp(at(10)))].into());
    };
    world.0.patch_status::<PodDisruptionBudget>("ns", "db", at(10), mark).unwrap();
    assert_eq!(world.sync(at(11)), Some(at(130)));
    assert_eq!(world.numbers(), (5, 3, 1));
    assert_eq!(world.sync(at(130)), None);
    assert_eq!(world.numbers(), (5, 3, 2));
}

#[test]
fn pods_that_have_not_started_or_are_going_need_no_budget() {
    let mut world = World::new(2, json!({ "maxUnavailable": 0 }));
    assert!(world.evict("db-0").is_err());
    world
        .0
        .patch_status::<Pod>("ns", "db-0", at(0), |pod| {
            pod.status.get_or_insert_default().phase = Some("Pending".into())
        })
        .unwrap();
    assert_eq!(world.evict("db-0"), Ok(Deletion::Marked));
    assert_eq!(world.evict("db-0"), Ok(Deletion::AlreadyMarked));
    assert!(matches!(world.evict("nobody"), Err(EvictionError::Store(_))));
}
