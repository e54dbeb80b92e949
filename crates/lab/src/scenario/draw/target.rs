//! What drawn faults may hit: the objects of a cluster, as the scenario's inputs declare them.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde::{Deserialize, Serialize};

use crate::inputs::Inputs;
use crate::scenario::{ObjectKind, ObjectName, PodName};

/// An object that a drawn fault hits, as `draw.on` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// `node NAME`.
    Node(String),
    /// `zone NAME`: all its nodes.
    Zone(String),
    /// `pod NAMESPACE/NAME`.
    Pod(PodName),
    /// `container NAMESPACE/POD/NAME`.
    Container(PodName, String),
    /// `statefulSet NAMESPACE/NAME`.
    StatefulSet(ObjectName),
    /// `apiServer`.
    ApiServer,
}

/// The objects of a cluster that faults can be drawn for.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// Each node with its zone.
    nodes: Vec<(String, Option<String>)>,
    /// The zones, if there are several: all of the only one is the whole cluster.
    zones: BTreeSet<String>,
    /// Pods of StatefulSets, each with its containers.
    pods: Vec<(PodName, Vec<String>)>,
    stateful_sets: Vec<ObjectName>,
}

impl Stock {
    /// The objects in `inputs`.
    pub fn of(inputs: &Inputs) -> Stock {
        let nodes: Vec<_> =
            inputs.cluster.nodes.iter().map(|node| (node.name.clone(), node.zone.clone())).collect();
        let mut zones: BTreeSet<String> = nodes.iter().filter_map(|(_, zone)| zone.clone()).collect();
        if zones.len() < 2 {
            zones.clear();
        }
        let mut stock = Stock { nodes, zones, ..Stock::default() };
        for set in &inputs.manifests.stateful_sets {
            let namespace = set.namespace.as_deref().unwrap_or("default");
            stock.stateful_sets.push(ObjectName::new(ObjectKind::StatefulSet, namespace, &set.name));
            stock.pods.extend(pods_of(namespace, &set.name, &set.value));
        }
        stock
    }

    pub(super) fn nodes(&self) -> Vec<Target> {
        self.nodes.iter().map(|(name, _)| Target::Node(name.clone())).collect()
    }

    pub(super) fn zones(&self) -> Vec<Target> {
        self.zones.iter().cloned().map(Target::Zone).collect()
    }

    pub(super) fn pods(&self) -> Vec<Target> {
        self.pods.iter().map(|(pod, _)| Target::Pod(pod.clone())).collect()
    }

    pub(super) fn containers(&self) -> Vec<Target> {
        let of = |(pod, containers): &(PodName, Vec<String>)| {
            let pod = pod.clone();
            containers.clone().into_iter().map(move |container| Target::Container(pod.clone(), container))
        };
        self.pods.iter().flat_map(of).collect()
    }

    pub(super) fn stateful_sets(&self) -> Vec<Target> {
        self.stateful_sets.iter().cloned().map(Target::StatefulSet).collect()
    }

    pub(super) fn api_server(&self) -> Vec<Target> {
        vec![Target::ApiServer]
    }

    /// All that can be named in `draw.on`.
    pub(super) fn all(&self) -> Vec<Target> {
        [self.nodes(), self.zones(), self.pods(), self.containers(), self.stateful_sets(), self.api_server()]
            .concat()
    }

    /// Whether faults of the two get into each other's way: one would undo what the other has done.
    pub(super) fn overlap(&self, first: &Target, second: &Target) -> bool {
        use Target as T;
        match (first, second) {
            (T::Zone(zone), T::Node(node)) | (T::Node(node), T::Zone(zone)) => {
                self.nodes.iter().any(|(name, of)| name == node && of.as_ref() == Some(zone))
            }
            (T::Container(pod, _), T::Pod(other)) | (T::Pod(other), T::Container(pod, _)) => pod == other,
            (T::Container(pod, _), T::Container(other, _)) => pod == other,
            _ => first == second,
        }
    }
}

/// The pods of a StatefulSet that have every ordinal up to its replicas.
fn pods_of(namespace: &str, name: &str, set: &StatefulSet) -> Vec<(PodName, Vec<String>)> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let containers: Vec<String> = spec
        .template
        .spec
        .iter()
        .flat_map(|pod| &pod.containers)
        .map(|container| container.name.clone())
        .collect();
    let pod = |ordinal| PodName { namespace: namespace.to_owned(), name: format!("{name}-{ordinal}") };
    let replicas = spec.replicas.unwrap_or(1);
    (first..first.saturating_add(replicas)).map(|ordinal| (pod(ordinal), containers.clone())).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(node) => write!(f, "node {node}"),
            Target::Zone(zone) => write!(f, "zone {zone}"),
            Target::Pod(pod) => write!(f, "pod {pod}"),
            Target::Container(pod, container) => write!(f, "container {pod}/{container}"),
            Target::StatefulSet(set) => write!(f, "{set}"),
            Target::ApiServer => f.write_str("apiServer"),
        }
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "apiServer" {
            return Ok(Target::ApiServer);
        }
        if let Some(("zone", zone)) = text.split_once(' ') {
            return Ok(Target::Zone(zone.to_owned()));
        }
        let object: ObjectName = text.parse()?;
        let pod = |name: &str| PodName { namespace: object.namespace.clone(), name: name.to_owned() };
        match (object.kind, object.name.split_once('/')) {
            (ObjectKind::Node, None) => Ok(Target::Node(object.name)),
            (ObjectKind::Pod, None) => Ok(Target::Pod(pod(&object.name))),
            (ObjectKind::Container, Some((name, container))) => {
                Ok(Target::Container(pod(name), container.to_owned()))
            }
            (ObjectKind::StatefulSet, None) => Ok(Target::StatefulSet(object)),
            _ => Err(format!(
                "no fault is drawn for `{text}`; expected `node NAME`, `zone NAME`, `pod NAMESPACE/NAME`, \
                 `container NAMESPACE/POD/NAME`, `statefulSet NAMESPACE/NAME` or `apiServer`"
            )),
        }
    }
}
