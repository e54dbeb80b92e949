//! A node's kubelet: looks after the pods that are bound to its node, and says how its node is.
//!
//! It acts on the pods that have changed; each has a worker of its own ([`super::pod_worker`]). A kubelet that starts
//! first lists its pods: those that are to go, or whose objects are gone, are ended and not started again
//! (kubernetes.md 9.5). While the API server is out of reach it goes on by what it knows (9.8, 9.10).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use hopwise_engine::{Span, host};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

use super::machine::{Machine, Program};
use super::pod_worker::{self, Order, PodContext};
use super::state::Shared;
use super::watches::Changes;
use super::{node_status, timing};
use crate::store::{Action, Object, pod_state};

/// A pod's namespace and name.
pub type PodName = (String, String);

/// The kubelet of one machine, while it runs.
pub struct Kubelet {
    shared: Rc<Shared>,
    machine: Rc<Machine>,
    workers: RefCell<BTreeMap<String, Worker>>,
    shuts_down: Cell<bool>,
}

struct Worker {
    pod: Rc<PodContext>,
    orders: watch::Sender<Order>,
}

/// Runs the kubelet of one machine.
pub async fn run(shared: Rc<Shared>, machine: Rc<Machine>) {
    let (workers, shuts_down) = Default::default();
    let kubelet = Rc::new(Kubelet { shared, machine: machine.clone(), workers, shuts_down });
    machine.kubelet.replace(Rc::downgrade(&kubelet));
    host::spawn(node_status::run(machine.clone()));
    let mut watch = machine.api.watch_pods_of(machine.name());
    loop {
        match watch.next(timing::CONTROLLER_LAG).await {
            Changes::Some(changes) => {
                for change in changes {
                    match (change.action, &change.object) {
                        (Action::Deleted, Object::Pod(pod)) => kubelet.object_is_gone(uid_of(pod)),
                        (_, Object::Pod(pod)) => kubelet.look_at(pod),
                        _ => {}
                    }
                }
            }
            Changes::All => kubelet.look_at_all(),
        }
    }
}

/// A pod's namespace and name.
pub fn name_of(pod: &Pod) -> PodName {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

fn uid_of(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or("")
}

impl Kubelet {
    fn look_at_all(&self) {
        let here = |pod: &&Arc<Pod>| pod_state::node_name(pod) == Some(self.machine.name());
        let pods: Vec<Arc<Pod>> =
            self.shared.api.read(|store| store.list::<Pod>().filter(here).cloned().collect());
        let known: BTreeSet<&str> = pods.iter().map(|pod| uid_of(pod)).collect();
        let forgotten: Vec<(String, PodName)> = {
            let running = self.shared.running.borrow();
            let here = running
                .iter()
                .filter(|(uid, pod)| pod.node == self.machine.name() && !known.contains(uid.as_str()));
            here.map(|(uid, pod)| (uid.clone(), pod.name.clone())).collect()
        };
        for (uid, name) in forgotten {
            if !self.workers.borrow().contains_key(&uid) {
                self.start_worker(Arc::new(stand_in(&uid, name)), Order::Kill);
            }
            self.object_is_gone(&uid);
        }
        pods.iter().for_each(|pod| self.look_at(pod));
    }

    /// A pod has changed.
    fn look_at(&self, pod: &Arc<Pod>) {
        let uid = uid_of(pod);
        let terminating = pod_state::is_terminating(pod);
        if !self.workers.borrow().contains_key(uid) {
            // A node that shuts down takes no pods. (The kubelet would mark them Failed; here they wait.)
            if !terminating && (pod_state::is_finished(pod) || self.shuts_down.get()) {
                return;
            }
            self.start_worker(pod.clone(), Order::Run);
        }
        let workers = self.workers.borrow();
        let Some(worker) = workers.get(uid) else { return };
        if terminating {
            let grace_s = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
            let order = Order::Terminate(Span::from_secs(u64::try_from(grace_s).unwrap_or(0)));
            worker.order(order);
        }
        worker.pod.post_again();
    }

    fn object_is_gone(&self, uid: &str) {
        if let Some(worker) = self.workers.borrow().get(uid) {
            worker.order(Order::Kill);
        }
    }

    fn start_worker(&self, pod: Arc<Pod>, order: Order) {
        let uid = uid_of(&pod).to_owned();
        let pod = Rc::new(PodContext::new(self.shared.clone(), self.machine.clone(), pod));
        let (orders, heard) = watch::channel(order);
        host::spawn(pod_worker::run(pod.clone(), heard));
        self.workers.borrow_mut().insert(uid, Worker { pod, orders });
    }

    /// A pod's worker has done its work.
    pub fn forget(&self, uid: &str) {
        self.workers.borrow_mut().remove(uid);
    }

    /// Ends all pods because the node shuts down, and waits until they have ended (kubernetes.md 1.6).
    pub async fn shut_down(&self) {
        self.shuts_down.set(true);
        let limit = Span::from(timing::SHUTDOWN_GRACE);
        for worker in self.workers.borrow().values() {
            let spec = worker.pod.pod.spec.as_ref();
            let grace_s = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
            let grace = Span::from_secs(u64::try_from(grace_s).unwrap_or(0)).min(limit);
            if *worker.orders.borrow() == Order::Run {
                worker.order(Order::ShutDown(grace));
            }
        }
        let (node, host) = (self.machine.name(), self.machine.host_of(Program::Kubelet));
        let runs = || self.shared.running.borrow().values().any(|pod| pod.node == node);
        while self.machine.host_of(Program::Kubelet) == host && runs() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        // The last statuses are on their way.
        tokio::time::sleep(timing::CONTROLLER_LAG).await;
    }
}

impl Worker {
    fn order(&self, order: Order) {
        self.orders.send_if_modified(|last| {
            let news = *last != order && *last != Order::Kill;
            if news {
                *last = order;
            }
            news
        });
    }
}

/// What is left to know of a pod whose object went while the kubelet was away: its containers are killed.
fn stand_in(uid: &str, (namespace, name): PodName) -> Pod {
    let metadata = ObjectMeta {
        uid: Some(uid.into()),
        namespace: Some(namespace),
        name: Some(name),
        ..ObjectMeta::default()
    };
    Pod { metadata, ..Pod::default() }
}
