//! The controllers that look after nodes and after pods that are to leave them: node lifecycle, taint eviction, pod
//! garbage collection and disruption.

use std::collections::BTreeSet;
use std::sync::Arc;

use hopwise_engine::{Span, Time};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time as Timestamp;

use super::api::Api;
use super::node_status::LEASE_NAMESPACE;
use super::watches::Changes;
use super::{pod_status, timing};
use crate::controllers::disruption;
use crate::controllers::node_lifecycle::{self, NodeLifecycle, Request, View};
use crate::controllers::pod_gc::{self, PodGc};
use crate::controllers::taint_eviction::{TaintEviction, no_execute_taints};
use crate::store::{Action, Change, Grace, Key, Kind, Object, Resource, Store, pod_state, time_of};

/// How long the controller manager may be without the API server until it gives up (the default of its flag
/// `--leader-elect-renew-deadline`).
const LEADER_RENEW_DEADLINE: Span = Span::from_secs(10);

/// Marks, taints and evicts as nodes fall silent and come back, until the end of the simulation. A kubelet may be
/// silent for `grace_period`.
pub async fn run(api: Api, grace_period: Span) {
    let mut watch = api.watch(&[Kind::Node, Kind::Pod]);
    let mut controllers = Controllers::new(api.clone(), grace_period);
    loop {
        let timer = controllers.next_at(hopwise_engine::now());
        tokio::select! {
            biased;
            () = api.unreachable() => controllers.wait_for_api().await,
            changes = watch.next(timing::CONTROLLER_LAG) => controllers.take_up(changes),
            () = timing::at(timer) => {}
        }
        controllers.advance(hopwise_engine::now());
    }
}

struct Controllers {
    api: Api,
    grace_period: Span,
    lifecycle: NodeLifecycle,
    eviction: TaintEviction,
    gc: PodGc,
    /// When the monitor and the collector look next.
    next_tick: Option<Time>,
    next_sweep: Option<Time>,
}

impl Controllers {
    fn new(api: Api, grace_period: Span) -> Self {
        Controllers {
            api,
            grace_period,
            lifecycle: NodeLifecycle::new(grace_period),
            eviction: TaintEviction::default(),
            gc: PodGc::default(),
            next_tick: None,
            next_sweep: None,
        }
    }

    /// Waits until the API server is back. A controller manager that was without it for long has lost its lease and
    /// starts anew: it knows nothing of how long kubelets were silent, and neither could they have spoken.
    async fn wait_for_api(&mut self) {
        let lost_at = hopwise_engine::now();
        self.api.reachable().await;
        if hopwise_engine::now() - lost_at > LEADER_RENEW_DEADLINE {
            self.take_up(Changes::All);
        }
    }

    fn next_at(&mut self, now: Time) -> Option<Time> {
        self.next_tick = earliest([self.next_tick.filter(|at| *at > now), self.lifecycle.next_tick(now)]);
        let sweep = || node_lifecycle::next_multiple(now, pod_gc::PERIOD);
        self.next_sweep = self.gc.is_needed().then(sweep);
        earliest([self.next_tick, self.next_sweep, self.lifecycle.next_eviction(), self.eviction.next_at()])
    }

    fn take_up(&mut self, changes: Changes) {
        let changes = match changes {
            Changes::Some(changes) => changes,
            Changes::All => {
                *self = Controllers::new(self.api.clone(), self.grace_period);
                self.api.read(|store| [all_as_changes::<Node>(store), all_as_changes::<Pod>(store)].concat())
            }
        };
        let now = hopwise_engine::now();
        for change in &changes {
            self.api.read(|store| self.gc.observe(change, store));
            match &change.object {
                Object::Node(node) => self.node_changed(change, node, now),
                Object::Pod(_) if change.action == Action::Deleted => self.eviction.forget(&change.key),
                Object::Pod(pod) => self.consider(&change.key, pod, now),
                _ => {}
            }
        }
    }

    fn node_changed(&mut self, change: &Change, node: &Node, now: Time) {
        let requests = self.lifecycle.node_changed(node);
        if change.action != Action::Deleted {
            self.carry_out(requests);
        }
        let before = match &change.previous {
            Some(Object::Node(before)) => no_execute_taints(before),
            _ => Vec::new(),
        };
        if before != no_execute_taints(node) || change.action == Action::Deleted {
            for pod in self.pods_on(&change.key.name) {
                self.consider(&Key::of(pod.as_ref()), &pod, now);
            }
        }
    }

    fn pods_on(&self, node: &str) -> Vec<Arc<Pod>> {
        self.api.read(|store| store.pods_on(node).cloned().collect())
    }

    fn consider(&mut self, key: &Key, pod: &Pod, now: Time) {
        let node = self.api.read(|store| store.get::<Node>("", pod_state::node_name(pod)?).cloned());
        self.eviction.consider(key, pod, node.as_deref(), now);
    }

    fn advance(&mut self, now: Time) {
        if self.next_tick.is_some_and(|at| at <= now) {
            let requests = self.api.read(|store| {
                let nodes: Vec<Arc<Node>> = store.list::<Node>().cloned().collect();
                let renewed = |node: &str| lease_renewed(store, node);
                self.lifecycle.tick(&View { nodes: &nodes, renewed: &renewed }, now)
            });
            self.carry_out(requests);
        }
        let requests =
            self.api.read(|store| self.lifecycle.evict(|name| store.get::<Node>("", name).cloned(), now));
        self.carry_out(requests);
        for key in self.eviction.take_due(now) {
            evict(&self.api, &key);
        }
        if self.next_sweep.is_some_and(|at| at <= now) {
            let collected = self.api.read(|store| self.gc.sweep(store, now));
            collected.iter().for_each(|key| collect(&self.api, key));
        }
    }

    fn carry_out(&self, requests: Vec<Request>) {
        for request in requests {
            // A node that is gone in the meantime needs nothing.
            match request {
                Request::SetConditions { node, conditions } => {
                    let done = self.api.write(|store, now| {
                        store.patch_status::<Node>("", &node, now, |node| {
                            node_lifecycle::change_conditions(node, &conditions);
                        })
                    });
                    if done.is_ok() {
                        hopwise_engine::notable(
                            "node.not_ready",
                            format!("node {node}"),
                            "its kubelet is silent",
                        );
                    }
                }
                Request::Taint { node, add, remove } => {
                    let _ = self.api.write(|store, now| {
                        store.patch::<Node>("", &node, now, |node| {
                            node_lifecycle::change_taints(node, &add, &remove);
                        })
                    });
                }
                Request::MarkPodsNotReady { node } => {
                    for pod in self.pods_on(&node) {
                        mark_not_ready(&self.api, &Key::of(pod.as_ref()));
                    }
                }
            }
        }
    }
}

/// When a node's kubelet renewed its lease last.
pub fn lease_renewed(store: &Store, node: &str) -> Option<Time> {
    let lease = store.get::<Lease>(LEASE_NAMESPACE, node)?;
    let renewed = lease.spec.as_ref()?.renew_time.as_ref()?;
    Some(time_of(&Timestamp(renewed.0)))
}

fn earliest<const N: usize>(instants: [Option<Time>; N]) -> Option<Time> {
    instants.into_iter().flatten().min()
}

/// Everything of a kind, as if it had just been created.
fn all_as_changes<T: Resource>(store: &Store) -> Vec<Change> {
    let objects = store.list::<T>().cloned();
    let change = |object: Arc<T>| Change {
        key: Key::of(object.as_ref()),
        action: Action::Added,
        object: T::wrap(object),
        previous: None,
        version: 0,
        at: hopwise_engine::now(),
    };
    objects.map(change).collect()
}

/// The pods of a node that is not ready are not ready (kubernetes.md 1.6); their phase stays.
fn mark_not_ready(api: &Api, key: &Key) {
    let is_ready = |store: &Store| {
        store.get::<Pod>(&key.namespace, &key.name).is_some_and(|pod| pod_state::is_ready(pod))
    };
    if api.read(is_ready) {
        let _ = api.write(|store, now| {
            store.patch_status::<Pod>(&key.namespace, &key.name, now, |pod| {
                pod_status::set_not_ready(pod, now);
            })
        });
        hopwise_engine::notable(
            "pod.not_ready",
            format!("pod {}/{}", key.namespace, key.name),
            "its node is not ready",
        );
    }
}

fn evict(api: &Api, key: &Key) {
    let done = api.write(|store, now| {
        store.patch_status::<Pod>(&key.namespace, &key.name, now, |pod| {
            disruption::disrupted(pod, "DeletionByTaintManager", now);
        })?;
        store.delete::<Pod>(&key.namespace, &key.name, None, Grace::AsDeclared, now)
    });
    if done.is_ok() {
        let object = format!("pod {}/{}", key.namespace, key.name);
        hopwise_engine::notable("pod.evicted", object, "it does not tolerate its node's taints any longer");
    }
}

fn collect(api: &Api, key: &Key) {
    let done =
        api.write(|store, now| store.delete::<Pod>(&key.namespace, &key.name, None, Grace::Forced, now));
    if done.is_ok() {
        let object = format!("pod {}/{}", key.namespace, key.name);
        hopwise_engine::notable("pod.collected", object, "no kubelet will finish it");
    }
}

/// Keeps the statuses of PodDisruptionBudgets up to date.
pub async fn run_disruption_controller(api: Api) {
    let kinds = &[Kind::Pod, Kind::PodDisruptionBudget, Kind::StatefulSet, Kind::Deployment];
    let mut watch = api.watch(kinds);
    let mut look_again: BTreeSet<(Time, String)> = BTreeSet::new();
    loop {
        let mut namespaces = tokio::select! {
            biased;
            changes = watch.next(timing::CONTROLLER_LAG) => match changes {
                Changes::Some(changes) => changes.into_iter().map(|change| change.key.namespace).collect(),
                Changes::All => api.read(|store| {
                    store.list::<PodDisruptionBudget>().filter_map(|it| it.metadata.namespace.clone()).collect()
                }),
            },
            () = timing::at(look_again.first().map(|(at, _)| *at)) => BTreeSet::new(),
        };
        api.reachable().await;
        let now = hopwise_engine::now();
        while let Some((at, namespace)) = look_again.first().cloned().filter(|(at, _)| *at <= now) {
            look_again.remove(&(at, namespace.clone()));
            namespaces.insert(namespace);
        }
        for namespace in namespaces {
            let again = reconcile_budgets(&api, &namespace);
            look_again.extend(again.map(|at| (at, namespace)));
        }
    }
}

/// Writes the statuses of a namespace's budgets; when to look again.
fn reconcile_budgets(api: &Api, namespace: &str) -> Option<Time> {
    let budgets: Vec<Arc<PodDisruptionBudget>> =
        api.read(|store| store.list_in(namespace).cloned().collect());
    if budgets.is_empty() {
        return None;
    }
    let pods: Vec<Arc<Pod>> = api.read(|store| store.list_in(namespace).cloned().collect());
    let replicas = |kind: &str, name: &str| {
        api.read(|store| match kind {
            "StatefulSet" => store.get::<StatefulSet>(namespace, name)?.spec.as_ref()?.replicas.or(Some(1)),
            "Deployment" => store.get::<Deployment>(namespace, name)?.spec.as_ref()?.replicas.or(Some(1)),
            _ => None,
        })
    };
    let mut look_again = None;
    for budget in budgets {
        let view = disruption::View {
            budget: &budget,
            pods: &pods,
            replicas: &replicas,
            now: hopwise_engine::now(),
        };
        let (status, again) = disruption::reconcile(&view);
        let name = budget.metadata.name.as_deref().unwrap_or("");
        // Equal statuses change nothing.
        let _ = api.write(|store, now| {
            store.patch_status::<PodDisruptionBudget>(namespace, name, now, |it| it.status = Some(status))
        });
        look_again = earliest([look_again, again]);
    }
    look_again
}
