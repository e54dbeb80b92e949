//! All kinds of fault: where each breaks something, what undoes it, and how it is written.

use super::FaultKind;

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Pods and their containers.
    Pods,
    /// Machines, and what runs on them.
    Nodes,
    /// What operators do to StatefulSets, Deployments and claims.
    Workloads,
    /// The API server.
    ControlPlane,
    /// The ways between places.
    Links,
    /// Firewalls of nodes.
    Firewalls,
    /// Connection tracking on nodes.
    Conntrack,
    /// Load balancers.
    Balancers,
    /// Name servers.
    Dns,
    /// Disks.
    Disks,
    /// Certificates.
    Certificates,
    /// Brokers, through their Admin API.
    Brokers,
}

/// A kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The field that says what happens.
    pub field: &'static str,
    /// Where it breaks something.
    pub layer: Layer,
    /// The field of what undoes it.
    pub undo: Option<&'static str>,
    /// One of the kind, about objects that need not exist.
    pub example: FaultKind,
}

/// Every kind of fault, by layer.
pub fn entries() -> impl Iterator<Item = Entry> {
    EXAMPLES.iter().filter_map(|(layer, example)| {
        let example: FaultKind = serde_json::from_str(example).ok()?;
        let undo = example.undo().map(|undo| undo.field());
        Some(Entry { field: example.field(), layer: *layer, undo, example })
    })
}

const EXAMPLES: &[(Layer, &str)] = &[
    (Layer::Pods, r#"{"deletePod": "ns/pod-0"}"#),
    (Layer::Pods, r#"{"evictPod": "ns/pod-0"}"#),
    (Layer::Pods, r#"{"exitContainer": {"pod": "ns/pod-0", "container": "main", "reason": "OOMKilled"}}"#),
    (Layer::Pods, r#"{"hangContainer": {"pod": "ns/pod-0", "container": "main"}}"#),
    (Layer::Pods, r#"{"resumeContainer": {"pod": "ns/pod-0", "container": "main"}}"#),
    (Layer::Pods, r#"{"slowContainer": {"pod": "ns/pod-0", "container": "main", "times": 20}}"#),
    (Layer::Nodes, r#"{"powerOffNode": "node-0"}"#),
    (Layer::Nodes, r#"{"powerOnNode": "node-0"}"#),
    (Layer::Nodes, r#"{"rebootNode": {"node": "node-0", "downFor": "30s"}}"#),
    (Layer::Nodes, r#"{"shutDownNode": "node-0"}"#),
    (Layer::Nodes, r#"{"cutNodeFromControlPlane": "node-0"}"#),
    (Layer::Nodes, r#"{"reconnectNodeToControlPlane": "node-0"}"#),
    (Layer::Nodes, r#"{"cutNodeFromNetwork": "node-0"}"#),
    (Layer::Nodes, r#"{"reconnectNodeToNetwork": "node-0"}"#),
    (Layer::Nodes, r#"{"powerOffZone": "a"}"#),
    (Layer::Nodes, r#"{"powerOnZone": "a"}"#),
    (Layer::Nodes, r#"{"cutZoneFromControlPlane": "a"}"#),
    (Layer::Nodes, r#"{"reconnectZoneToControlPlane": "a"}"#),
    (Layer::Nodes, r#"{"cutZoneFromNetwork": "a"}"#),
    (Layer::Nodes, r#"{"reconnectZoneToNetwork": "a"}"#),
    (Layer::Nodes, r#"{"stopKubelet": "node-0"}"#),
    (Layer::Nodes, r#"{"startKubelet": "node-0"}"#),
    (Layer::Nodes, r#"{"stopKubeProxy": "node-0"}"#),
    (Layer::Nodes, r#"{"startKubeProxy": "node-0"}"#),
    (Layer::Nodes, r#"{"lagKubeProxy": {"node": "node-0", "by": "10s"}}"#),
    (Layer::Nodes, r#"{"skewClock": {"node": "node-0", "ahead": "5s"}}"#),
    (Layer::Nodes, r#"{"setClock": "node-0"}"#),
    (Layer::Nodes, r#"{"cordonNode": "node-0"}"#),
    (Layer::Nodes, r#"{"uncordonNode": "node-0"}"#),
    (Layer::Nodes, r#"{"drainNode": "node-0"}"#),
    (Layer::Nodes, r#"{"taintNode": {"node": "node-0", "key": "k", "effect": "NoSchedule"}}"#),
    (Layer::Nodes, r#"{"removeTaint": {"node": "node-0", "key": "k"}}"#),
    (Layer::Nodes, r#"{"deleteNode": "node-0"}"#),
    (Layer::Workloads, r#"{"scale": {"object": "statefulSet ns/set", "replicas": 5}}"#),
    (Layer::Workloads, r#"{"restartRollout": "statefulSet ns/set"}"#),
    (Layer::Workloads, r#"{"rollBack": "statefulSet ns/set"}"#),
    (
        Layer::Workloads,
        r#"{"setImage": {"object": "statefulSet ns/set", "container": "main", "image": "repository/image:tag"}}"#,
    ),
    (Layer::Workloads, r#"{"deleteWorkload": {"object": "statefulSet ns/set", "cascade": "orphan"}}"#),
    (Layer::Workloads, r#"{"createStatefulSet": "set.yaml"}"#),
    (Layer::Workloads, r#"{"apply": "changed.yaml"}"#),
    (Layer::Workloads, r#"{"deleteClaim": "persistentVolumeClaim ns/data-pod-0"}"#),
    (Layer::ControlPlane, r#"{"stopApiServer": true}"#),
    (Layer::ControlPlane, r#"{"startApiServer": true}"#),
    (Layer::Links, r#"{"delayLink": {"link": "zone/a <-> zone/b", "by": "50ms", "jitter": "10ms"}}"#),
    (Layer::Links, r#"{"loseOnLink": {"link": "node/node-0 <-> node/node-1", "share": 0.05}}"#),
    (Layer::Links, r#"{"duplicateOnLink": {"link": "node/node-0 <-> node/node-1", "share": 0.05}}"#),
    (
        Layer::Links,
        r#"{"reorderOnLink": {"link": "node/node-0 <-> node/node-1", "share": 0.05, "by": "5ms"}}"#,
    ),
    (Layer::Links, r#"{"limitLink": {"link": "external <-> zone/a", "perSecond": "1 MB"}}"#),
    (Layer::Links, r#"{"cutLink": "node/node-0 -> node/node-1"}"#),
    (Layer::Links, r#"{"blackHoleLink": {"link": "external -> node/node-0", "above": 1400}}"#),
    (Layer::Links, r#"{"mendLink": {"link": "node/node-0 -> node/node-1", "of": "cut"}}"#),
    (Layer::Firewalls, r#"{"blockPort": {"node": "node-0", "port": 33145}}"#),
    (Layer::Firewalls, r#"{"unblockPort": {"node": "node-0", "port": 33145}}"#),
    (Layer::Conntrack, r#"{"fillConntrack": "node-0"}"#),
    (Layer::Conntrack, r#"{"freeConntrack": "node-0"}"#),
    (Layer::Conntrack, r#"{"flushConntrack": "node-0"}"#),
    (Layer::Conntrack, r#"{"expireConntrack": {"node": "node-0", "to": "10.96.0.10:53"}}"#),
    (Layer::Balancers, r#"{"stopLoadBalancer": "service ns/lb"}"#),
    (Layer::Balancers, r#"{"startLoadBalancer": "service ns/lb"}"#),
    (Layer::Balancers, r#"{"flapLoadBalancer": {"service": "service ns/lb", "down": "5s", "up": "10s"}}"#),
    (Layer::Balancers, r#"{"slowRegistration": {"service": "service ns/lb", "by": "1m"}}"#),
    (Layer::Balancers, r#"{"expireLoadBalancerFlows": "service ns/lb"}"#),
    (Layer::Dns, r#"{"stopDns": "cluster"}"#),
    (Layer::Dns, r#"{"startDns": "cluster"}"#),
    (Layer::Dns, r#"{"slowDns": {"servers": "internet", "by": "2s"}}"#),
    (Layer::Dns, r#"{"freezeDns": "cluster"}"#),
    (Layer::Dns, r#"{"thawDns": "cluster"}"#),
    (Layer::Dns, r#"{"keepDnsAnswers": "nodeCaches"}"#),
    (Layer::Dns, r#"{"forgetDnsAnswers": "nodeCaches"}"#),
    (Layer::Disks, r#"{"fillDisk": "persistentVolumeClaim ns/data-pod-0"}"#),
    (Layer::Disks, r#"{"slowDisk": {"claim": "persistentVolumeClaim ns/data-pod-0", "by": "50ms"}}"#),
    (Layer::Disks, r#"{"failDisk": {"claim": "persistentVolumeClaim ns/data-pod-0", "share": 0.1}}"#),
    (Layer::Disks, r#"{"corruptDisk": {"claim": "persistentVolumeClaim ns/data-pod-0", "share": 0.1}}"#),
    (Layer::Disks, r#"{"mendDisk": {"claim": "persistentVolumeClaim ns/data-pod-0", "of": "slow"}}"#),
    (Layer::Certificates, r#"{"expireCertificate": "secret ns/certificate"}"#),
    (Layer::Certificates, r#"{"renewCertificate": "secret ns/certificate"}"#),
    (Layer::Brokers, r#"{"decommissionBroker": "ns/pod-0"}"#),
    (Layer::Brokers, r#"{"recommissionBroker": "ns/pod-0"}"#),
    (Layer::Brokers, r#"{"startMaintenance": "ns/pod-0"}"#),
    (Layer::Brokers, r#"{"endMaintenance": "ns/pod-0"}"#),
];
