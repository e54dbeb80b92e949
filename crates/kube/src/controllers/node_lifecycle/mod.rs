//! The node lifecycle controller: a node whose kubelet is silent becomes Unknown, is tainted, and its pods are marked
//! not ready.
//!
//! Health is judged at ticks of the monitor's period from the nodes' leases. NoSchedule taints follow the node's
//! conditions at once; NoExecute taints, which evict, are handed out zone by zone at a limited rate (the module `zones`).
//! Left out: the conditions of pressure are taken from the node but nothing simulated sets them; cloud providers that
//! delete the Nodes of machines that are gone.
//! Source: kubernetes.md 1.6, 8; the Kubernetes page "Nodes" (node controller, rate limits).

mod desired_taints;
mod health;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};

pub use desired_taints::{NO_EXECUTE, NO_SCHEDULE, OUT_OF_SERVICE_TAINT};
pub use health::{is_ready, ready_status};

use super::pod_admission::{NOT_READY_TAINT, UNREACHABLE_TAINT};
use health::Health;
use zones::Zones;

/// How often the monitor looks (kubernetes.md 8).
pub const MONITOR_PERIOD: Span = Span::from_secs(5);
/// How long a kubelet may be silent (kubernetes.md 8: 50 s from 1.32; docs/decisions/004).
pub const GRACE_PERIOD_DEFAULT: Span = Span::from_secs(50);
/// How long a new node may take to report for the first time (the flag `--node-startup-grace-period`).
pub const STARTUP_GRACE_PERIOD: Span = Span::from_secs(60);

/// Something the controller asks of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Replace these conditions of a node.
    SetConditions {
        /// The node.
        node: String,
        /// The conditions.
        conditions: Vec<NodeCondition>,
    },
    /// Change a node's taints.
    Taint {
        /// The node.
        node: String,
        /// Taints to add (a taint of that key and effect is there only once).
        add: Vec<Taint>,
        /// Keys and effects of the taints to remove.
        remove: Vec<(String, String)>,
    },
    /// Set the condition Ready of the node's pods to False.
    MarkPodsNotReady {
        /// The node.
        node: String,
    },
}

/// What the controller sees at a tick.
pub struct View<'a> {
    /// All nodes, by name.
    pub nodes: &'a [Arc<Node>],
    /// When a node's lease was renewed last.
    pub renewed: &'a dyn Fn(&str) -> Option<Time>,
}

/// The controller's memory.
#[derive(Debug)]
pub struct NodeLifecycle {
    grace_period: Span,
    health: BTreeMap<String, Health>,
    zones: Zones,
    /// Nodes have changed since the last tick.
    is_dirty: bool,
}

impl NodeLifecycle {
    /// A controller that has seen nothing yet.
    pub fn new(grace_period: Span) -> Self {
        NodeLifecycle { grace_period, health: BTreeMap::new(), zones: Zones::default(), is_dirty: true }
    }

    /// A node has changed, come or gone. What follows from its conditions at once is returned.
    pub fn node_changed(&mut self, node: &Node) -> Vec<Request> {
        self.is_dirty = true;
        let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
        desired_taints::reconcile(node, conditions).into_iter().collect()
    }

    /// When [`NodeLifecycle::tick`] has something to do next.
    pub fn next_tick(&self, now: Time) -> Option<Time> {
        let next = next_multiple(now, MONITOR_PERIOD);
        if self.is_dirty {
            return Some(next);
        }
        let due = self.health.values().filter_map(|health| health.due(self.grace_period)).min();
        due.map(|due| multiple_from(due, MONITOR_PERIOD).max(next))
    }

    /// One look of the monitor.
    pub fn tick(&mut self, view: &View<'_>, now: Time) -> Vec<Request> {
        self.is_dirty = false;
        let mut requests = Vec::new();
        let mut statuses: BTreeMap<&str, (&Arc<Node>, &'static str)> = BTreeMap::new();
        for node in view.nodes {
            let name = node.metadata.name.as_deref().unwrap_or("");
            let health = self.health.entry(name.to_owned()).or_insert_with(|| Health::new(node, now));
            let before = health.status;
            health.observe(node, (view.renewed)(name), now);
            let judged = health.judge(node, self.grace_period, now);
            statuses.insert(name, (node, health.status));
            if let Some(conditions) = judged {
                requests.extend(desired_taints::reconcile(node, &conditions));
                requests.push(Request::SetConditions { node: name.to_owned(), conditions });
            }
            if before == "True" && health.status != "True" {
                requests.push(Request::MarkPodsNotReady { node: name.to_owned() });
            }
        }
        let is_gone = |name: &&String| !statuses.contains_key(name.as_str());
        let gone: Vec<String> = self.health.keys().filter(is_gone).cloned().collect();
        for name in gone {
            self.health.remove(&name);
            self.zones.forget(&name);
        }
        for (name, (node, status)) in &statuses {
            requests.extend(self.consider_eviction(name, node, status, now));
        }
        requests.extend(self.judge_zones(&statuses, now));
        requests
    }

    /// When [`NodeLifecycle::evict`] has something to do next.
    pub fn next_eviction(&self) -> Option<Time> {
        self.zones.next_at()
    }

    /// Hands out the NoExecute taints whose turn has come. `node` finds a node by name.
    pub fn evict(&mut self, node: impl Fn(&str) -> Option<Arc<Node>>, now: Time) -> Vec<Request> {
        let mut requests = Vec::new();
        for name in self.zones.take_due(now) {
            // One that is ready again, or gone, keeps its place but gets no taint.
            if let Some(found) = node(&name) {
                requests.extend(no_execute_taint(&name, &found, ready_status(&found), now));
            }
        }
        requests
    }

    /// Queues a node that is not ready for its NoExecute taint; a ready one loses it at once.
    fn consider_eviction(&mut self, name: &str, node: &Node, status: &str, now: Time) -> Option<Request> {
        let (wanted, other) = match status {
            "True" => {
                self.zones.forget(name);
                return remove_no_execute(name, node);
            }
            "False" => (NOT_READY_TAINT, UNREACHABLE_TAINT),
            _ => (UNREACHABLE_TAINT, NOT_READY_TAINT),
        };
        if has_taint(node, other, NO_EXECUTE) {
            // It is being evicted already; only the reason changes.
            return no_execute_taint(name, node, status, now);
        }
        if !has_taint(node, wanted, NO_EXECUTE) {
            self.zones.enqueue(&zones::zone_of(node), name, now);
        }
        None
    }

    fn judge_zones(
        &mut self,
        statuses: &BTreeMap<&str, (&Arc<Node>, &'static str)>,
        now: Time,
    ) -> Vec<Request> {
        let mut readiness: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for (node, status) in statuses.values() {
            readiness.entry(zones::zone_of(node)).or_default().push(*status == "True");
        }
        match self.zones.judge(&readiness, now) {
            zones::Turn::Usual => Vec::new(),
            zones::Turn::AllDisrupted => {
                let remove = statuses.iter().filter_map(|(name, (node, _))| remove_no_execute(name, node));
                remove.collect()
            }
            zones::Turn::NoLongerAll => {
                self.health.values_mut().for_each(|health| health.heard_at = now);
                Vec::new()
            }
        }
    }
}

fn no_execute_taint(name: &str, node: &Node, status: &str, now: Time) -> Option<Request> {
    let (key, other) = match status {
        "True" => return None,
        "False" => (NOT_READY_TAINT, UNREACHABLE_TAINT),
        _ => (UNREACHABLE_TAINT, NOT_READY_TAINT),
    };
    if has_taint(node, key, NO_EXECUTE) && !has_taint(node, other, NO_EXECUTE) {
        return None;
    }
    let time_added = Some(crate::store::timestamp(now));
    let add = vec![Taint { key: key.into(), effect: NO_EXECUTE.into(), value: None, time_added }];
    Some(Request::Taint { node: name.to_owned(), add, remove: vec![(other.into(), NO_EXECUTE.into())] })
}

fn remove_no_execute(name: &str, node: &Node) -> Option<Request> {
    let present =
        [NOT_READY_TAINT, UNREACHABLE_TAINT].into_iter().filter(|key| has_taint(node, key, NO_EXECUTE));
    let remove: Vec<_> = present.map(|key| (key.to_owned(), NO_EXECUTE.to_owned())).collect();
    (!remove.is_empty()).then(|| Request::Taint { node: name.to_owned(), add: Vec::new(), remove })
}

/// Whether the node has a taint of that key and effect.
pub fn has_taint(node: &Node, key: &str, effect: &str) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.any(|taint| taint.key == key && taint.effect == effect)
}

/// Applies [`Request::Taint`] to a node.
pub fn change_taints(node: &mut Node, add: &[Taint], remove: &[(String, String)]) {
    let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
    let is_removed =
        |taint: &Taint| remove.iter().any(|(key, effect)| *key == taint.key && *effect == taint.effect);
    taints.retain(|taint| !is_removed(taint));
    for taint in add {
        if !taints.iter().any(|other| (&other.key, &other.effect) == (&taint.key, &taint.effect)) {
            taints.push(taint.clone());
        }
    }
}

/// Applies [`Request::SetConditions`] to a node.
pub fn change_conditions(node: &mut Node, conditions: &[NodeCondition]) {
    let all = node.status.get_or_insert_default().conditions.get_or_insert_default();
    let replaced: BTreeSet<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
    all.retain(|condition| !replaced.contains(condition.type_.as_str()));
    all.extend(conditions.iter().cloned());
}

/// The first multiple of `period` after `now`.
pub(crate) fn next_multiple(now: Time, period: Span) -> Time {
    let period = period.as_nanos().max(1);
    Time::from_nanos((now.as_nanos() / period).saturating_add(1).saturating_mul(period))
}

/// The first multiple of `period` that is not before `at`.
pub(crate) fn multiple_from(at: Time, period: Span) -> Time {
    let period = period.as_nanos().max(1);
    Time::from_nanos(at.as_nanos().div_ceil(period).saturating_mul(period))
}
