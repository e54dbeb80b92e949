//! The attach and detach controller: which disks are attached to which machines.
//!
//! A disk that can be attached to one machine only is attached to a second one when it has left the first. It leaves
//! when no pod there uses it and the kubelet has shown since then that it lives (it reports the volumes that are in use
//! as often as it renews its lease); or, by force, after 6 min if the node is not ready; or at once if the node is
//! tainted out of service. Left out: limits of disks per node.
//! Source: kubernetes.md 1.6 d and 1.7.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::{Span, Time};

use crate::store::Key;

/// After so long a disk is taken from a node that is not ready (kubernetes.md 8).
pub const FORCED_DETACH_AFTER: Span = Span::from_secs(360);

/// How long it takes to attach and to detach a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// From the request until the machine has the disk.
    pub attach: Span,
    /// From the request until another machine may have it.
    pub detach: Span,
}

/// What a pod on a node uses: volumes that need attaching, and whether several machines may have them at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// The node.
    pub node: String,
    /// The volumes.
    pub volumes: BTreeMap<String, bool>,
}

/// What decides whether a node lets go of its disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node exists and its condition Ready is True.
    pub is_ready: bool,
    /// It is tainted out of service.
    pub is_out_of_service: bool,
    /// When its kubelet has shown last that it lives.
    pub heard_at: Option<Time>,
}

/// Something that is to be shown in the VolumeAttachment of a volume and a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Create it: the disk is being attached.
    Attach(String, String),
    /// The disk is attached.
    Attached(String, String),
    /// Mark it for deletion: the disk is being detached.
    Detach(String, String),
    /// Remove it: the disk is detached.
    Detached(String, String),
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Attaching { until: Time },
    Attached { unused_since: Option<Time> },
    Detaching { until: Time },
}

/// The controller's memory.
#[derive(Debug, Default)]
pub struct AttachDetach {
    delays: Delays,
    uses: BTreeMap<Key, Use>,
    volumes: BTreeMap<String, Volume>,
    /// The volumes that each node has, or is getting or losing.
    by_node: BTreeMap<String, BTreeSet<String>>,
    timers: BTreeSet<(Time, String)>,
    /// Volumes to look at.
    dirty: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Volume {
    /// Whether several machines may have it at a time.
    is_shared: bool,
    /// The pods that use it, per node.
    wanted: BTreeMap<String, BTreeSet<Key>>,
    attached: BTreeMap<String, Phase>,
}

impl AttachDetach {
    /// A controller that has seen nothing yet.
    pub fn new(delays: Delays) -> Self {
        AttachDetach { delays, ..AttachDetach::default() }
    }

    /// A pod uses other volumes than before; none: it is gone or has ended.
    pub fn pod_changed(&mut self, pod: &Key, now_uses: Option<Use>) {
        if self.uses.get(pod) == now_uses.as_ref() {
            return;
        }
        if let Some(before) = self.uses.remove(pod) {
            for name in before.volumes.keys() {
                let Some(volume) = self.volumes.get_mut(name) else { continue };
                if let Some(pods) = volume.wanted.get_mut(&before.node) {
                    pods.remove(pod);
                    if pods.is_empty() {
                        volume.wanted.remove(&before.node);
                    }
                }
                self.dirty.insert(name.clone());
            }
        }
        if let Some(uses) = now_uses {
            for (name, is_shared) in &uses.volumes {
                let volume = self.volumes.entry(name.clone()).or_default();
                volume.is_shared = *is_shared;
                volume.wanted.entry(uses.node.clone()).or_default().insert(pod.clone());
                self.dirty.insert(name.clone());
            }
            self.uses.insert(pod.clone(), uses);
        }
    }

    /// The pods that use disks.
    pub fn pods(&self) -> Vec<Key> {
        self.uses.keys().cloned().collect()
    }

    /// A node's facts have changed.
    pub fn node_changed(&mut self, node: &str) {
        self.dirty.extend(self.by_node.get(node).into_iter().flatten().cloned());
    }

    /// When [`AttachDetach::advance`] has something to do next, changes aside.
    pub fn next_at(&self) -> Option<Time> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does what is to be done now. `facts` tells of a node; one that does not exist has the default facts.
    pub fn advance(&mut self, facts: impl Fn(&str) -> NodeFacts, now: Time) -> Vec<Request> {
        while let Some((at, name)) = self.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, name.clone()));
            self.dirty.insert(name);
        }
        let mut requests = Vec::new();
        for name in std::mem::take(&mut self.dirty) {
            self.settle(&name, &facts, now, &mut requests);
        }
        requests
    }

    fn settle(
        &mut self,
        name: &str,
        facts: &impl Fn(&str) -> NodeFacts,
        now: Time,
        requests: &mut Vec<Request>,
    ) {
        let Some(mut volume) = self.volumes.remove(name) else { return };
        let nodes: Vec<String> = volume.attached.keys().cloned().collect();
        for node in nodes {
            self.step(name, &node, &mut volume, facts(&node), now, requests);
        }
        let wanting: Vec<String> = volume.wanted.keys().cloned().collect();
        for node in wanting {
            let is_free = volume.is_shared || volume.attached.is_empty();
            if is_free && !volume.attached.contains_key(&node) {
                let until = now + self.delays.attach;
                volume.attached.insert(node.clone(), Phase::Attaching { until });
                self.by_node.entry(node.clone()).or_default().insert(name.to_owned());
                self.timers.insert((until, name.to_owned()));
                requests.push(Request::Attach(name.to_owned(), node));
            }
        }
        if !(volume.wanted.is_empty() && volume.attached.is_empty()) {
            self.volumes.insert(name.to_owned(), volume);
        }
    }

    /// Moves one attachment on.
    fn step(
        &mut self,
        name: &str,
        node: &str,
        volume: &mut Volume,
        facts: NodeFacts,
        now: Time,
        requests: &mut Vec<Request>,
    ) {
        let is_wanted = volume.wanted.contains_key(node);
        let Some(phase) = volume.attached.get_mut(node) else { return };
        if let Phase::Attaching { until } = *phase
            && until <= now
        {
            *phase = Phase::Attached { unused_since: None };
            requests.push(Request::Attached(name.to_owned(), node.to_owned()));
        }
        if let Phase::Attached { unused_since } = phase {
            if is_wanted {
                *unused_since = None;
                return;
            }
            let since = *unused_since.get_or_insert(now);
            let forced_at = since + FORCED_DETACH_AFTER;
            let is_unmounted = facts.heard_at.is_some_and(|heard_at| heard_at > since);
            if is_unmounted || facts.is_out_of_service || (now >= forced_at && !facts.is_ready) {
                let until = now + self.delays.detach;
                *phase = Phase::Detaching { until };
                self.timers.insert((until, name.to_owned()));
                requests.push(Request::Detach(name.to_owned(), node.to_owned()));
            } else if now < forced_at {
                self.timers.insert((forced_at, name.to_owned()));
            }
        }
        if let Phase::Detaching { until } = *phase
            && until <= now
        {
            volume.attached.remove(node);
            if let Some(volumes) = self.by_node.get_mut(node) {
                volumes.remove(name);
                if volumes.is_empty() {
                    self.by_node.remove(node);
                }
            }
            requests.push(Request::Detached(name.to_owned(), node.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Kind;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    /// One disk, and pods that use it.
    struct World {
        controller: AttachDetach,
        facts: BTreeMap<String, NodeFacts>,
    }

    impl World {
        fn new() -> World {
            let delays = Delays { attach: Span::from_secs(3), detach: Span::from_secs(2) };
            World { controller: AttachDetach::new(delays), facts: BTreeMap::new() }
        }

        fn node(&mut self, name: &str, facts: NodeFacts) {
            self.facts.insert(name.into(), facts);
            self.controller.node_changed(name);
        }

        fn pod(&mut self, name: &str, node: Option<&str>, is_shared: bool) {
            let uses =
                node.map(|node| Use { node: node.into(), volumes: [("disk".to_owned(), is_shared)].into() });
            self.controller.pod_changed(&Key::new(Kind::Pod, "ns", name), uses);
        }

        /// What happens until an instant, at the controller's own times.
        fn run(&mut self, from: u64, until: u64) -> Vec<String> {
            let mut log = Vec::new();
            let mut now = at(from);
            loop {
                let facts = |name: &str| self.facts.get(name).copied().unwrap_or_default();
                for request in self.controller.advance(facts, now) {
                    let seconds = now.as_nanos() / 1_000_000_000;
                    log.push(match request {
                        Request::Attach(_, node) => format!("{seconds} attach {node}"),
                        Request::Attached(_, node) => format!("{seconds} attached {node}"),
                        Request::Detach(_, node) => format!("{seconds} detach {node}"),
                        Request::Detached(_, node) => format!("{seconds} detached {node}"),
                    });
                }
                match self.controller.next_at().filter(|next| *next <= at(until)) {
                    Some(next) => now = next,
                    None => return log,
                }
            }
        }
    }

    fn heard(seconds: u64) -> NodeFacts {
        NodeFacts { is_ready: true, heard_at: Some(at(seconds)), ..NodeFacts::default() }
    }

    #[test]
    fn a_disk_moves_when_its_pod_has_gone_and_the_kubelet_says_so() {
        let mut world = World::new();
        world.node("a", heard(0));
        world.pod("p", Some("a"), false);
        assert_eq!(world.run(0, 100), ["0 attach a", "3 attached a"]);
        world.pod("p", None, false);
        world.pod("q", Some("b"), false);
        assert_eq!(world.run(100, 105), [""; 0]);
        world.node("a", heard(107));
        assert_eq!(world.run(107, 200), ["107 detach a", "109 detached a", "109 attach b", "112 attached b"]);
    }

    #[test]
    fn a_dead_node_loses_its_disk_after_six_minutes() {
        let mut world = World::new();
        world.pod("p", Some("a"), false);
        world.run(0, 100);
        world.pod("q", Some("b"), false);
        // As long as the pod object is there nothing moves.
        assert_eq!(world.run(100, 2000), [""; 0]);
        world.pod("p", None, false);
        let log = world.run(2000, 3000);
        assert_eq!(log, ["2360 detach a", "2362 detached a", "2362 attach b", "2365 attached b"]);
    }

    #[test]
    fn a_node_that_is_ready_keeps_a_disk_until_its_kubelet_speaks() {
        let mut world = World::new();
        world.node("a", heard(0));
        world.pod("p", Some("a"), false);
        world.run(0, 100);
        world.pod("p", None, false);
        assert_eq!(world.run(100, 1000), [""; 0]);
        world.node("a", NodeFacts { is_ready: false, ..heard(0) });
        assert_eq!(world.run(1000, 1001), ["1000 detach a"]);
    }

    #[test]
    fn out_of_service_takes_the_disk_at_once() {
        let mut world = World::new();
        world.pod("p", Some("a"), false);
        world.run(0, 100);
        world.pod("p", None, false);
        world.node("a", NodeFacts { is_out_of_service: true, ..NodeFacts::default() });
        assert_eq!(world.run(200, 300), ["200 detach a", "202 detached a"]);
    }

    #[test]
    fn a_shared_disk_is_attached_everywhere_and_one_node_serves_two_pods() {
        let mut world = World::new();
        world.pod("p", Some("a"), true);
        world.pod("q", Some("b"), true);
        assert_eq!(world.run(0, 100), ["0 attach a", "0 attach b", "3 attached a", "3 attached b"]);
        let mut world = World::new();
        world.node("a", heard(500));
        world.pod("p", Some("a"), false);
        world.pod("q", Some("a"), false);
        world.run(0, 100);
        world.pod("p", None, false);
        assert_eq!(world.run(100, 200), [""; 0]);
    }

    #[test]
    fn a_pod_that_returns_to_the_node_finds_its_disk_there() {
        let mut world = World::new();
        world.node("a", heard(0));
        world.pod("p", Some("a"), false);
        world.run(0, 100);
        world.pod("p", None, false);
        world.run(100, 101);
        world.pod("p", Some("a"), false);
        world.node("a", heard(110));
        assert_eq!(world.run(110, 1000), [""; 0]);
    }
}
