//! Network policies on the nodes: each node's agent follows the API and writes the node's filter in its own time.
//!
//! What policies come to is compiled once for all nodes, and only when something that they look at has changed.
//! Source: [`crate::network_policy`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hopwise_fabric::{DeviceId, Isolation};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use rand::RngExt;

use super::api::Api;
use super::timing;
use super::topology::linux_node;
use crate::network_policy::World;
use crate::store::{Action, Change, Cursor, Kind, Object, Store, pod_state};

/// What policies come to on each node, as of a moment.
#[derive(Default)]
pub struct Compiled {
    cursor: Option<Cursor>,
    nodes: BTreeMap<String, Rc<BTreeMap<IpAddr, Isolation>>>,
}

/// Runs the agent of one node.
pub async fn run(api: Api, node: String, device: DeviceId, compiled: Rc<RefCell<Compiled>>) {
    let lag_max = timing::POLICY_LAG_MAX.as_nanos() as u64;
    let lag = hopwise_engine::stream(&format!("network-policy/{node}")).random_range(0..lag_max);
    let lag = Duration::from_nanos(lag);
    // What an agent before this one has left may be of pods that are no more.
    hopwise_fabric::with(|fabric| linux_node(fabric, device).filter_mut().clear_isolation());
    let mut applied: Rc<BTreeMap<IpAddr, Isolation>> = Rc::default();
    let mut policies = api.watch(&[Kind::NetworkPolicy]);
    while api.read(|store| store.list::<NetworkPolicy>().next().is_none()) {
        policies.next(lag).await;
    }
    let mut watch = api.watch(&[Kind::NetworkPolicy, Kind::Namespace, Kind::Pod]);
    loop {
        watch.next(lag).await;
        let wanted = api.read(|store| compiled.borrow_mut().of(&node, store));
        if !Rc::ptr_eq(&applied, &wanted) {
            apply(device, &applied, &wanted);
            applied = wanted;
        }
    }
}

fn apply(device: DeviceId, before: &BTreeMap<IpAddr, Isolation>, after: &BTreeMap<IpAddr, Isolation>) {
    hopwise_fabric::with(|fabric| {
        let filter = linux_node(fabric, device).filter_mut();
        for address in before.keys().filter(|address| !after.contains_key(*address)) {
            filter.isolate(*address, Isolation::default());
        }
        for (address, isolation) in after.iter().filter(|(address, new)| before.get(*address) != Some(*new)) {
            filter.isolate(*address, isolation.clone());
        }
    });
}

impl Compiled {
    fn of(&mut self, node: &str, store: &Store) -> Rc<BTreeMap<IpAddr, Isolation>> {
        let news = match self.cursor.map(|cursor| store.changes_since(cursor)) {
            Some(Ok(mut changes)) => changes.any(matters),
            Some(Err(_)) | None => true,
        };
        self.cursor = Some(store.cursor());
        if news {
            self.compile(store);
        }
        self.nodes.get(node).cloned().unwrap_or_default()
    }

    /// Nodes for which nothing has changed keep what they have.
    fn compile(&mut self, store: &Store) {
        let labelled = |it: &std::sync::Arc<Namespace>| {
            (it.metadata.name.clone().unwrap_or_default(), World::labels_of(it))
        };
        let world = World {
            policies: store.list().cloned().collect(),
            pods: store.list().cloned().collect(),
            namespaces: store.list::<Namespace>().map(labelled).collect(),
        };
        let mut before = std::mem::take(&mut self.nodes);
        let unchanged =
            |node: &String, new: &BTreeMap<IpAddr, Isolation>, before: &mut BTreeMap<String, Rc<_>>| {
                before.remove(node).filter(|old: &Rc<BTreeMap<IpAddr, Isolation>>| **old == *new)
            };
        for (node, new) in world.compile() {
            let kept = unchanged(&node, &new, &mut before);
            self.nodes.insert(node, kept.unwrap_or_else(|| Rc::new(new)));
        }
    }
}

/// Whether a change can change what policies come to: of pods only their labels, addresses, node and end can.
fn matters(change: &Change) -> bool {
    match (change.key.kind, &change.object, &change.previous) {
        (Kind::NetworkPolicy | Kind::Namespace, _, _) => true,
        (Kind::Pod, Object::Pod(new), Some(Object::Pod(old))) => {
            change.action == Action::Deleted || seen_of(new) != seen_of(old)
        }
        (Kind::Pod, _, _) => true,
        _ => false,
    }
}

fn seen_of(pod: &Pod) -> impl PartialEq + '_ {
    (&pod.metadata.labels, pod_state::addresses(pod), pod_state::node_name(pod), pod_state::is_finished(pod))
}
