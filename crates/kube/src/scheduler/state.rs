//! What the scheduler knows of the cluster, kept up to date from the store's changes.
//!
//! Only a change of the set of nodes, or of a namespace's labels, makes it count everything anew.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use rustc_hash::FxHashMap;

use super::audience::Audience;
use super::fit::{self, Amounts, HostPort};
use super::tally::{Occupant, Tallies, Tally, Wishes};
use super::{HOSTNAME_LABEL, natural_key, pod_affinity};
use crate::store::pod_state::{is_finished, is_terminating, node_name};
use crate::store::{Action, Change, Cursor, Key, Object, Store};
use crate::volumes::{Available, claims_of_pod};

/// Something that may make room for a pod that has fitted nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A node has come, or its labels, taints, resources or cordon have changed.
    NodeChanged,
    /// A pod has come to a node.
    PodPlaced,
    /// A pod is going or gone, or its labels have changed.
    PodGone,
    /// A claim, a volume or a class has changed.
    VolumeChanged,
}

/// What [`ClusterState::sync`] has found.
#[derive(Debug, Default)]
pub struct News {
    /// Pods that need a node and are new or have changed.
    pub unplaced: Vec<Arc<Pod>>,
    /// Pods that need no node any more.
    pub settled: Vec<Key>,
    /// What may help pods that wait.
    pub causes: BTreeSet<Cause>,
}

/// What the scheduler knows of the cluster.
#[derive(Debug, Default)]
pub struct ClusterState {
    cursor: Cursor,
    /// The nodes in the order that breaks ties.
    pub(super) nodes: Vec<NodeState>,
    by_name: FxHashMap<String, usize>,
    /// Pods bound to a node that have not ended, terminating ones included (kubernetes.md 2).
    placed: BTreeMap<Key, Placed>,
    tallies: Tallies,
    pub(super) wishes: Wishes,
    /// Per controller, how many of its pods that are not terminating each node has.
    pub(super) siblings: FxHashMap<String, Vec<u32>>,
    /// How many pods use a claim, by namespace and name.
    claim_users: BTreeMap<(String, String), u32>,
    domains: FxHashMap<String, Domains>,
    pub(super) available: Available,
}

/// Per node, the number of its domain under some label; none without the label.
pub(super) type Domains = Rc<Vec<Option<usize>>>;

/// A node and how full it is.
#[derive(Debug)]
pub(super) struct NodeState {
    pub(super) node: Arc<Node>,
    pub(super) pods: u32,
    pub(super) allocatable: Amounts,
    pub(super) used: Amounts,
    pub(super) ports: Vec<HostPort>,
}

#[derive(Debug)]
struct Placed {
    pod: Arc<Pod>,
    node: usize,
    requests: Amounts,
    ports: Vec<HostPort>,
    wishes: Vec<usize>,
}

impl Placed {
    fn occupant(&self) -> Occupant<'_> {
        Occupant { pod: &self.pod, node: self.node, terminating: is_terminating(&self.pod) }
    }
}

impl NodeState {
    fn of(node: &Arc<Node>) -> NodeState {
        NodeState {
            node: node.clone(),
            pods: 0,
            allocatable: fit::allocatable(node),
            used: Amounts::new(),
            ports: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or("")
    }

    /// The value of a label; every node has its name as hostname even if nobody has labelled it.
    pub(super) fn label(&self, key: &str) -> Option<&str> {
        let labelled =
            self.node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        labelled.or_else(|| (key == HOSTNAME_LABEL).then(|| self.name()))
    }
}

impl ClusterState {
    /// The state that the store holds.
    pub fn of(store: &Store) -> Self {
        let mut state = ClusterState::default();
        state.rebuild(store);
        state
    }

    /// Takes up what has changed in the store since the last call.
    pub fn sync(&mut self, store: &Store) -> News {
        let mut news = News::default();
        let changes: Option<Vec<&Change>> = store.changes_since(self.cursor).ok().map(Iterator::collect);
        let Some(changes) = changes.filter(|changes| !changes.iter().any(|it| reorders(it))) else {
            self.rebuild(store);
            news.unplaced = store.list::<Pod>().filter(|pod| needs_node(pod)).cloned().collect();
            news.settled = self.placed.keys().cloned().collect();
            news.causes = [Cause::NodeChanged, Cause::PodPlaced, Cause::PodGone, Cause::VolumeChanged].into();
            return news;
        };
        for change in changes {
            self.apply(change, store, &mut news);
        }
        self.cursor = store.cursor();
        news
    }

    /// The volumes that claims could be bound to, for who binds one between two calls of [`ClusterState::sync`].
    pub fn available_mut(&mut self) -> &mut Available {
        &mut self.available
    }

    /// How many pods use a claim.
    pub(super) fn users_of(&self, namespace: &str, claim: &str) -> u32 {
        self.claim_users.get(&(namespace.to_owned(), claim.to_owned())).copied().unwrap_or(0)
    }

    /// The pods that all of `audiences` contain, per node.
    pub(super) fn tally(&mut self, audiences: Vec<Audience>, store: &Store) -> &Tally {
        let occupants = self.placed.values().map(Placed::occupant);
        self.tallies.of(audiences, self.nodes.len(), store, occupants)
    }

    /// The domains into which a label divides the nodes.
    pub(super) fn domains(&mut self, key: &str) -> Domains {
        if let Some(known) = self.domains.get(key) {
            return known.clone();
        }
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut domains = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let next = numbers.len();
            domains.push(node.label(key).map(|value| *numbers.entry(value).or_insert(next)));
        }
        let domains = Rc::new(domains);
        self.domains.insert(key.to_owned(), domains.clone());
        domains
    }

    fn rebuild(&mut self, store: &Store) {
        let mut nodes: Vec<NodeState> = store.list::<Node>().map(NodeState::of).collect();
        nodes.sort_by_cached_key(|node| natural_key(node.name()));
        let by_name = nodes.iter().enumerate().map(|(index, node)| (node.name().to_owned(), index)).collect();
        *self = ClusterState {
            cursor: store.cursor(),
            nodes,
            by_name,
            available: Available::of(store),
            ..ClusterState::default()
        };
        for pod in store.list::<Pod>() {
            self.place(pod, store);
        }
    }

    fn apply(&mut self, change: &Change, store: &Store, news: &mut News) {
        match &change.object {
            Object::Node(node) => news.causes.extend(self.node_changed(node)),
            Object::Pod(pod) => self.pod_changed(change, pod, store, news),
            Object::PersistentVolume(volume) => {
                self.available.apply(volume, change.action);
                news.causes.insert(Cause::VolumeChanged);
            }
            Object::PersistentVolumeClaim(_) | Object::StorageClass(_) => {
                news.causes.insert(Cause::VolumeChanged);
            }
            _ => {}
        }
    }

    /// Takes up a node; whether anything has changed that decides about pods.
    fn node_changed(&mut self, node: &Arc<Node>) -> Option<Cause> {
        let name = node.metadata.name.as_deref().unwrap_or("");
        let index = self.by_name.get(name)?;
        let state = self.nodes.get_mut(*index)?;
        let allocatable = fit::allocatable(node);
        let relabelled = state.node.metadata.labels != node.metadata.labels;
        let changed = relabelled || state.node.spec != node.spec || state.allocatable != allocatable;
        (state.node, state.allocatable) = (node.clone(), allocatable);
        if relabelled {
            self.domains.clear();
        }
        changed.then_some(Cause::NodeChanged)
    }

    fn pod_changed(&mut self, change: &Change, pod: &Arc<Pod>, store: &Store, news: &mut News) {
        let occupies = change.action != Action::Deleted && node_name(pod).is_some() && !is_finished(pod);
        match self.placed.get_mut(&change.key) {
            Some(placed) if occupies && same_for_scheduling(&placed.pod, pod) => placed.pod = pod.clone(),
            Some(_) => {
                self.displace(&change.key, store);
                news.causes.insert(Cause::PodGone);
            }
            None => {}
        }
        if occupies && !self.placed.contains_key(&change.key) {
            self.place(pod, store);
            news.causes.insert(Cause::PodPlaced);
        }
        if change.action != Action::Deleted && needs_node(pod) {
            let before = match &change.previous {
                Some(Object::Pod(before)) => Some(before),
                _ => None,
            };
            if before
                .is_none_or(|before| before.spec != pod.spec || before.metadata.labels != pod.metadata.labels)
            {
                news.unplaced.push(pod.clone());
            }
        } else {
            news.settled.push(change.key.clone());
        }
    }

    fn place(&mut self, pod: &Arc<Pod>, store: &Store) {
        let index = node_name(pod).and_then(|name| self.by_name.get(name)).copied();
        let Some(node) = index.filter(|_| !is_finished(pod)) else { return };
        let wishes: Vec<usize> = pod_affinity::wishes_of(pod)
            .into_iter()
            .map(|(term, weight)| {
                let audience = Audience::of_term(term, pod);
                self.wishes.intern(audience, &term.topology_key, weight, self.nodes.len())
            })
            .collect();
        wishes.iter().for_each(|wish| self.wishes.add(*wish, node));
        let (requests, ports) = (fit::requests(pod), fit::host_ports(pod));
        let placed = Placed { pod: pod.clone(), node, requests, ports, wishes };
        let state = &mut self.nodes[node];
        state.pods += 1;
        fit::add(&mut state.used, &placed.requests);
        state.ports.extend(placed.ports.iter().cloned());
        self.tallies.add(placed.occupant(), store);
        self.count_sibling(pod, node, 1);
        self.count_claims(pod, 1);
        self.placed.insert(Key::of(pod.as_ref()), placed);
    }

    fn displace(&mut self, key: &Key, store: &Store) {
        let Some(placed) = self.placed.remove(key) else { return };
        let state = &mut self.nodes[placed.node];
        state.pods -= 1;
        fit::subtract(&mut state.used, &placed.requests);
        for port in &placed.ports {
            if let Some(index) = state.ports.iter().position(|other| other == port) {
                state.ports.swap_remove(index);
            }
        }
        placed.wishes.iter().for_each(|wish| self.wishes.remove(*wish, placed.node));
        self.tallies.remove(placed.occupant(), store);
        self.count_sibling(&placed.pod, placed.node, -1);
        self.count_claims(&placed.pod, -1);
    }

    fn count_sibling(&mut self, pod: &Pod, node: usize, by: i32) {
        if let Some(controller) = controller_uid(pod).filter(|_| !is_terminating(pod)) {
            let nodes = self.nodes.len();
            let counts = self.siblings.entry(controller.to_owned()).or_insert_with(|| vec![0; nodes]);
            counts[node] = counts[node].saturating_add_signed(by);
            if by < 0 && counts.iter().all(|count| *count == 0) {
                self.siblings.remove(controller);
            }
        }
    }

    fn count_claims(&mut self, pod: &Pod, by: i32) {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        for claim in claims_of_pod(pod) {
            let key = (namespace.clone(), claim);
            let users = self.claim_users.entry(key.clone()).or_default();
            *users = users.saturating_add_signed(by);
            if *users == 0 {
                self.claim_users.remove(&key);
            }
        }
    }
}

/// The UID of the pod's controller.
pub(super) fn controller_uid(pod: &Pod) -> Option<&str> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

/// Whether the pod waits for the scheduler. One with scheduling gates does not yet.
pub fn needs_node(pod: &Pod) -> bool {
    let gated = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    node_name(pod).is_none()
        && !is_terminating(pod)
        && !is_finished(pod)
        && gated.is_none_or(|gates| gates.is_empty())
}

/// Whether the change moves nodes to other places in the order, or changes who belongs to an audience.
fn reorders(change: &Change) -> bool {
    match &change.object {
        Object::Node(_) => change.action != Action::Modified,
        Object::Namespace(namespace) => {
            let before = match &change.previous {
                Some(Object::Namespace(before)) => before.metadata.labels.as_ref(),
                _ => None,
            };
            before != namespace.metadata.labels.as_ref()
        }
        _ => false,
    }
}

fn same_for_scheduling(before: &Pod, after: &Pod) -> bool {
    before.metadata.labels == after.metadata.labels
        && before.metadata.uid == after.metadata.uid
        && before.metadata.owner_references == after.metadata.owner_references
        && is_terminating(before) == is_terminating(after)
        && before.spec == after.spec
}
