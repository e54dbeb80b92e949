//! The taint eviction controller: deletes pods that do not tolerate their node's NoExecute taints, once the time that
//! they tolerate them for is over.
//!
//! Source: kubernetes.md 1.6 (300 s by default, cancelled when the taint goes), the Kubernetes page "Taints and
//! Tolerations" (several taints; the shortest `tolerationSeconds` counts).

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use super::node_lifecycle::NO_EXECUTE;
use crate::scheduler::tolerations_of;
use crate::store::Key;
use crate::store::pod_state::is_terminating;

/// The pods that are to go, and when.
#[derive(Debug, Default)]
pub struct TaintEviction {
    planned: BTreeMap<Key, Planned>,
    timers: BTreeSet<(Time, Key)>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    /// Since when the pod has taints that it does not tolerate for ever.
    since: Time,
    due: Time,
}

/// How long a pod tolerates a set of taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tolerates {
    For(Span),
    Always,
}

impl TaintEviction {
    /// A pod, or its node's taints, have changed; `node` is none if the pod is not bound, or its node is gone.
    pub fn consider(&mut self, key: &Key, pod: &Pod, node: Option<&Node>, now: Time) {
        let taints = node.map(no_execute_taints).unwrap_or_default();
        match tolerated(pod, &taints) {
            Tolerates::For(span) if !is_terminating(pod) => {
                let since = self.planned.get(key).map_or(now, |planned| planned.since);
                self.plan(key, Planned { since, due: since + span });
            }
            _ => self.forget(key),
        }
    }

    /// The pod is gone.
    pub fn forget(&mut self, key: &Key) {
        if let Some(planned) = self.planned.remove(key) {
            self.timers.remove(&(planned.due, key.clone()));
        }
    }

    /// When [`TaintEviction::take_due`] has something next.
    pub fn next_at(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The pods to delete now.
    pub fn take_due(&mut self, now: Time) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some((_, key)) = self.timers.first().filter(|(at, _)| *at <= now) {
            let key = key.clone();
            self.forget(&key);
            due.push(key);
        }
        due
    }

    fn plan(&mut self, key: &Key, planned: Planned) {
        if let Some(before) = self.planned.insert(key.clone(), planned) {
            self.timers.remove(&(before.due, key.clone()));
        }
        self.timers.insert((planned.due, key.clone()));
    }
}

/// The node's NoExecute taints.
pub fn no_execute_taints(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == NO_EXECUTE).collect()
}

/// One taint that is not tolerated at all makes the pod go at once; else the shortest time counts.
fn tolerated(pod: &Pod, taints: &[&Taint]) -> Tolerates {
    let mut shortest: Option<Span> = None;
    for taint in taints {
        let mut tolerations = tolerations_of(pod, taint).peekable();
        if tolerations.peek().is_none() {
            return Tolerates::For(Span::ZERO);
        }
        // The first toleration that covers a taint is the one that is used for it.
        if let Some(seconds) = tolerations.next().and_then(|toleration| toleration.toleration_seconds) {
            let span = Span::from_secs(u64::try_from(seconds).unwrap_or(0));
            shortest = Some(shortest.map_or(span, |known| known.min(span)));
        }
    }
    shortest.map_or(Tolerates::Always, Tolerates::For)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::pod_admission::{self, UNREACHABLE_TAINT};
    use crate::store::Kind;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn node(keys: &[&str]) -> Node {
        let taints: Vec<Value> =
            keys.iter().map(|key| json!({ "key": key, "effect": "NoExecute" })).collect();
        serde_json::from_value(json!({ "metadata": { "name": "n" }, "spec": { "taints": taints } })).unwrap()
    }

    fn pod(tolerations: Value) -> Pod {
        let spec = json!({ "containers": [], "nodeName": "n", "tolerations": tolerations });
        let mut pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
        pod_admission::admit(&mut pod);
        pod
    }

    fn key() -> Key {
        Key::new(Kind::Pod, "ns", "p")
    }

    /// When a pod is deleted whose node gets these taints at 10 s.
    fn deleted_at(tolerations: Value, taints: &[&str]) -> Option<Time> {
        let mut eviction = TaintEviction::default();
        eviction.consider(&key(), &pod(tolerations), Some(&node(taints)), at(10));
        eviction.next_at()
    }

    #[test]
    fn a_pod_goes_when_it_tolerates_no_longer() {
        let own = |seconds: Value| json!([{ "key": UNREACHABLE_TAINT, "operator": "Exists", "tolerationSeconds": seconds }]);
        assert_eq!(deleted_at(json!([]), &[UNREACHABLE_TAINT]), Some(at(310)));
        assert_eq!(deleted_at(own(json!(5)), &[UNREACHABLE_TAINT]), Some(at(15)));
        assert_eq!(deleted_at(own(json!(0)), &[UNREACHABLE_TAINT]), Some(at(10)));
        assert_eq!(deleted_at(own(json!(-3)), &[UNREACHABLE_TAINT]), Some(at(10)));
        assert_eq!(deleted_at(own(Value::Null), &[UNREACHABLE_TAINT]), None);
        assert_eq!(deleted_at(json!([{ "operator": "Exists" }]), &[UNREACHABLE_TAINT, "mine"]), None);
        assert_eq!(deleted_at(json!([]), &["mine"]), Some(at(10)));
        assert_eq!(deleted_at(json!([]), &[UNREACHABLE_TAINT, "mine"]), Some(at(10)));
        assert_eq!(deleted_at(json!([]), &[]), None);
    }

    #[test]
    fn eviction_is_cancelled_when_the_taint_goes_and_starts_over_when_it_returns() {
        let mut eviction = TaintEviction::default();
        let (pod, tainted, sound) = (pod(json!([])), node(&[UNREACHABLE_TAINT]), node(&[]));
        eviction.consider(&key(), &pod, Some(&tainted), at(0));
        eviction.consider(&key(), &pod, Some(&tainted), at(100));
        assert_eq!(eviction.next_at(), Some(at(300)));
        eviction.consider(&key(), &pod, Some(&sound), at(200));
        assert_eq!(eviction.next_at(), None);
        eviction.consider(&key(), &pod, Some(&tainted), at(250));
        assert_eq!(eviction.take_due(at(549)), []);
        assert_eq!(eviction.take_due(at(550)), [key()]);
    }

    #[test]
    fn a_terminating_pod_and_one_without_its_node_are_left_alone() {
        let mut eviction = TaintEviction::default();
        let mut marked = pod(json!([]));
        marked.metadata.deletion_timestamp = Some(crate::store::timestamp(at(1)));
        eviction.consider(&key(), &marked, Some(&node(&["mine"])), at(0));
        eviction.consider(&key(), &pod(json!([])), None, at(0));
        assert_eq!(eviction.next_at(), None);
    }
}
