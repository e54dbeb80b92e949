//! The API server as the cluster's parts see it: one store, watches that wake when it changes, and the times when it
//! cannot be reached.
//!
//! An [`Api`] is a handle of one component: the control plane's own, or that of the components on a node
//! ([`Api::over`]), which may lose touch while others do not. While it is out of reach, its watches stand still, and
//! catch up afterwards. Reading and writing are not refused: whoever acts by a timer asks [`Api::is_reachable`] first,
//! or waits for [`Api::reachable`].
//! Source: kubernetes.md 9.8 and 9.10.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use hopwise_engine::Time;
use tokio::sync::watch;

use super::watches::{Subscriptions, Watch};
use crate::store::{Change, Kind, Store};

/// A handle on the API server; cloning it is cheap.
#[derive(Clone)]
pub struct Api {
    server: Rc<Server>,
    line: Option<Rc<Line>>,
}

struct Server {
    store: RefCell<Store>,
    subscriptions: RefCell<Subscriptions>,
    up: watch::Sender<bool>,
    /// When an object other than a Lease changed last.
    changed_at: Cell<Time>,
}

/// The way from one node to the API server.
pub struct Line {
    connected: watch::Sender<bool>,
}

impl Default for Line {
    fn default() -> Self {
        Line { connected: watch::Sender::new(true) }
    }
}

impl Line {
    /// Cuts the way or mends it.
    pub fn set_connected(&self, connected: bool) {
        self.connected.send_replace(connected);
    }
}

impl Api {
    /// An API server over `store`.
    pub fn new(store: Store) -> Self {
        let server = Server {
            store: RefCell::new(store),
            subscriptions: RefCell::default(),
            up: watch::Sender::new(true),
            changed_at: Cell::new(hopwise_engine::now()),
        };
        Api { server: Rc::new(server), line: None }
    }

    /// The same API server at the end of `line`.
    pub fn over(&self, line: Rc<Line>) -> Api {
        Api { server: self.server.clone(), line: Some(line) }
    }

    /// Stops the API server or starts it again; what it has stored stays.
    pub fn set_up(&self, up: bool) {
        self.server.up.send_replace(up);
    }

    /// Whether a request would be answered now.
    pub fn is_reachable(&self) -> bool {
        *self.server.up.borrow() && self.line.as_ref().is_none_or(|line| *line.connected.borrow())
    }

    /// Waits until a request would be answered.
    pub async fn reachable(&self) {
        self.become_reachable(true).await;
    }

    /// Waits until a request would not be answered.
    pub async fn unreachable(&self) {
        self.become_reachable(false).await;
    }

    async fn become_reachable(&self, wanted: bool) {
        let mut up = self.server.up.subscribe();
        let mut connected = self.line.as_ref().map(|line| line.connected.subscribe());
        while self.is_reachable() != wanted {
            let line_changed = async {
                match &mut connected {
                    Some(connected) => drop(connected.changed().await),
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = up.changed() => {}
                () = line_changed => {}
            }
        }
    }

    /// Reads the store.
    pub fn read<R>(&self, f: impl FnOnce(&Store) -> R) -> R {
        f(&self.server.store.borrow())
    }

    /// Changes the store; watches learn of it.
    pub fn write<R>(&self, f: impl FnOnce(&mut Store, Time) -> R) -> R {
        let now = hopwise_engine::now();
        let mut store = self.server.store.borrow_mut();
        let before = store.cursor();
        let result = f(&mut store, now);
        if store.cursor() == before {
            return result;
        }
        let mut subscriptions = self.server.subscriptions.borrow_mut();
        match store.changes_since(before) {
            Ok(changes) => {
                let mut steady = true;
                for change in changes {
                    steady &= change.key.kind == Kind::Lease;
                    subscriptions.tell(change);
                }
                if !steady {
                    self.server.changed_at.set(now);
                }
            }
            Err(_) => {
                subscriptions.tell_all();
                self.server.changed_at.set(now);
            }
        }
        result
    }

    /// When an object changed last. Leases do not count: they are renewed for ever.
    pub fn changed_at(&self) -> Time {
        self.server.changed_at.get()
    }

    /// A watch on objects of these kinds. Its first news is that everything may have changed: it lists first.
    pub fn watch(&self, kinds: &'static [Kind]) -> Watch {
        let feed = self.server.subscriptions.borrow_mut().subscribe(kinds);
        Watch::new(self.clone(), feed)
    }

    /// A watch on the pods that are bound to one node (field selector `spec.nodeName`), as a kubelet has it.
    pub fn watch_pods_of(&self, node: &str) -> Watch {
        let feed = self.server.subscriptions.borrow_mut().subscribe_to_node(node);
        Watch::new(self.clone(), feed)
    }

    /// Whether the log of changes still has the one that a watch waits to read.
    pub(super) fn keeps(&self, change: &Change) -> bool {
        self.read(|store| store.oldest_version().is_some_and(|oldest| oldest <= change.version))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hopwise_engine::{Simulation, Span};
    use k8s_openapi::api::coordination::v1::Lease;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    use super::super::watches::Changes;
    use super::*;

    const LAG: Duration = Duration::from_millis(10);

    fn add<T: crate::store::Resource + Default>(api: &Api, name: &str) {
        let mut object = T::default();
        object.meta_mut().name = Some(name.into());
        api.write(|store, now| store.create(object, now)).expect("a new object");
    }

    async fn names(watch: &mut Watch) -> Vec<String> {
        match watch.next(LAG).await {
            Changes::All => vec!["everything".into()],
            Changes::Some(changes) => changes.into_iter().map(|change| change.key.name).collect(),
        }
    }

    #[test]
    fn a_watch_stands_still_while_its_line_is_cut_and_catches_up() {
        let seen = Simulation::new(1).run((), || async {
            let api = Api::new(Store::default());
            let line = Rc::new(Line::default());
            let on_node = api.over(line.clone());
            let mut watch = on_node.watch(&[Kind::ConfigMap]);
            assert_eq!(names(&mut watch).await, ["everything"]);
            line.set_connected(false);
            add::<ConfigMap>(&api, "a");
            let stands_still = tokio::time::timeout(Duration::from_secs(60), watch.next(LAG)).await.is_err();
            assert!(stands_still && !on_node.is_reachable() && api.is_reachable());
            add::<ConfigMap>(&api, "b");
            line.set_connected(true);
            names(&mut watch).await
        });
        assert_eq!(seen.expect("it ends"), ["a", "b"]);
    }

    #[test]
    fn a_watch_that_fell_behind_the_log_lists_again() {
        let seen = Simulation::new(1).run((), || async {
            let api = Api::new(Store::with_changes_kept(2));
            let mut watch = api.watch(&[Kind::ConfigMap]);
            names(&mut watch).await;
            api.set_up(false);
            for name in ["a", "b", "c"] {
                add::<ConfigMap>(&api, name);
            }
            api.set_up(true);
            let behind = names(&mut watch).await;
            add::<ConfigMap>(&api, "d");
            // Changes of other kinds push nothing out that the watch has not read.
            (behind, names(&mut watch).await)
        });
        assert_eq!(seen.expect("it ends"), (vec!["everything".to_owned()], vec!["d".to_owned()]));
    }

    #[test]
    fn leases_are_no_change() {
        let changed = Simulation::new(1).run((), || async {
            let api = Api::new(Store::default());
            tokio::time::sleep(Duration::from_secs(1)).await;
            add::<Pod>(&api, "a");
            tokio::time::sleep(Duration::from_secs(1)).await;
            add::<Lease>(&api, "a");
            api.changed_at()
        });
        assert_eq!(changed.expect("it ends"), Time::ZERO + Span::from_secs(1));
    }

    #[test]
    fn a_node_hears_of_its_own_pods_only() {
        let seen = Simulation::new(1).run((), || async {
            let api = Api::new(Store::default());
            let mut watch = api.watch_pods_of("node-1");
            names(&mut watch).await;
            for (pod, node) in [("a", "node-1"), ("b", "node-2"), ("c", "node-1")] {
                add::<Pod>(&api, pod);
                let bind = |pod: &mut Pod| pod.spec.get_or_insert_default().node_name = Some(node.into());
                api.write(|store, now| store.patch::<Pod>("default", pod, now, bind)).expect("it is there");
            }
            names(&mut watch).await
        });
        assert_eq!(seen.expect("it ends"), ["a", "c"]);
    }
}
