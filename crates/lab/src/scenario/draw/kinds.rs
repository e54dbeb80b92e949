//! The kinds of fault that can be drawn.
//!
//! Another kind is another row: for which objects there is one, and how it is made. What takes it back is the fault's
//! own business ([`FaultKind::undo`]). Left out is what would not be whole again at the end: deleted nodes, workloads
//! and claims, and pods deleted by force (Kubernetes then promises no longer that there is at most one pod of a name,
//! kubernetes.md 1.6).

use super::target::{Stock, Target};
use crate::scenario::{
    Duration, ExitContainer, ExitReason, FaultKind, LagKubeProxy, RebootNode, TaintEffect, TaintNode,
};

/// The key of drawn taints.
const TAINT_KEY: &str = "hopwise/drawn";

/// A kind of fault that can be drawn.
pub struct DrawnKind {
    /// The field that says what happens.
    pub name: &'static str,
    /// The objects that it can hit.
    pub(super) targets: fn(&Stock) -> Vec<Target>,
    /// The fault that hits one of them, for a time.
    pub(super) make: fn(&Target, Duration) -> FaultKind,
    /// Whether it, or what undoes it, is asked of the API server.
    pub(super) needs_api_server: bool,
}

macro_rules! kinds {
    ($($name:literal on $targets:ident, $api:ident: |$target:pat_param, $lasts:pat_param| $make:expr;)*) => {
        /// Every kind.
        pub const KINDS: &[DrawnKind] = &[$(DrawnKind {
            name: $name,
            targets: Stock::$targets,
            make: |target, lasts| match (target.clone(), lasts) {
                ($target, $lasts) => $make,
                _ => unreachable!("{} on {target}", $name),
            },
            needs_api_server: kinds!(@$api),
        },)*];
    };
    (@asked) => { true };
    (@itself) => { false };
}

kinds! {
    "deletePod" on pods, asked: |Target::Pod(pod), _| FaultKind::DeletePod(pod);
    "exitContainer" on containers, itself: |Target::Container(pod, container), _| {
        FaultKind::ExitContainer(ExitContainer { pod, container, reason: ExitReason::OomKilled })
    };
    "powerOffNode" on nodes, itself: |Target::Node(node), _| FaultKind::PowerOffNode(node);
    "rebootNode" on nodes, itself: |Target::Node(node), down_for| {
        FaultKind::RebootNode(RebootNode { node, down_for })
    };
    "cutNodeFromControlPlane" on nodes, itself: |Target::Node(node), _| FaultKind::CutNodeFromControlPlane(node);
    "cutNodeFromNetwork" on nodes, itself: |Target::Node(node), _| FaultKind::CutNodeFromNetwork(node);
    "stopKubelet" on nodes, itself: |Target::Node(node), _| FaultKind::StopKubelet(node);
    "stopKubeProxy" on nodes, itself: |Target::Node(node), _| FaultKind::StopKubeProxy(node);
    "lagKubeProxy" on nodes, itself: |Target::Node(node), by| FaultKind::LagKubeProxy(LagKubeProxy { node, by });
    "drainNode" on nodes, asked: |Target::Node(node), _| FaultKind::DrainNode(node);
    "cordonNode" on nodes, asked: |Target::Node(node), _| FaultKind::CordonNode(node);
    "taintNode" on nodes, asked: |Target::Node(node), _| {
        FaultKind::TaintNode(TaintNode { node, key: TAINT_KEY.into(), value: None, effect: TaintEffect::NoExecute })
    };
    "powerOffZone" on zones, itself: |Target::Zone(zone), _| FaultKind::PowerOffZone(zone);
    "cutZoneFromControlPlane" on zones, itself: |Target::Zone(zone), _| FaultKind::CutZoneFromControlPlane(zone);
    "cutZoneFromNetwork" on zones, itself: |Target::Zone(zone), _| FaultKind::CutZoneFromNetwork(zone);
    "stopApiServer" on api_server, itself: |Target::ApiServer, _| FaultKind::StopApiServer(crate::scenario::Yes);
    "restartRollout" on stateful_sets, asked: |Target::StatefulSet(set), _| FaultKind::RestartRollout(set);
}

/// The kind called `name`.
pub fn kind_called(name: &str) -> Option<&'static DrawnKind> {
    KINDS.iter().find(|kind| kind.name == name)
}
