//! What drawn faults may hit: the objects of a cluster, as the scenario's inputs declare them.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Container;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use hopwise_kube::cluster::LinkEnd;

use crate::inputs::Inputs;
use crate::programs::is_broker;
use crate::scenario::{DnsServers, ObjectKind, ObjectName, PodName, Way};

/// In a cluster of more nodes, links between single nodes are not drawn: there would be more of them than of all else.
const PAIRED_NODES_MAX: usize = 32;

/// An object that a drawn fault hits, as `draw.on` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
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
    /// `persistentVolumeClaim NAMESPACE/NAME`.
    Claim(ObjectName),
    /// `service NAMESPACE/NAME`: its load balancer.
    Balancer(ObjectName),
    /// `link A <-> B`: the way between two places.
    Link(Way),
    /// `secret NAMESPACE/NAME`: the certificate in it.
    Certificate(ObjectName),
    /// `dns cluster`, `dns nodeCaches` or `dns internet`.
    Dns(DnsServers),
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
    /// Pods of StatefulSets.
    pods: Vec<StockedPod>,
    /// StatefulSets, each with its first container that has an image: the container and the image.
    stateful_sets: Vec<(ObjectName, Option<(String, String)>)>,
    /// The TCP ports that brokers' containers declare.
    ports: BTreeSet<NonZeroU16>,
    /// Services with a load balancer.
    balancers: Vec<ObjectName>,
    /// Secrets with certificates that are issued here, those of authorities left out.
    certificates: Vec<ObjectName>,
    dns: Vec<DnsServers>,
}

/// A pod of a StatefulSet.
#[derive(Clone, Debug)]
struct StockedPod {
    name: PodName,
    containers: Vec<String>,
    claims: Vec<ObjectName>,
    has_broker: bool,
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
            let name = ObjectName::new(ObjectKind::StatefulSet, namespace, &set.name);
            stock.stateful_sets.push((name, first_image(&set.value)));
            if has_broker(&set.value) {
                stock.ports.extend(ports_of(&set.value));
            }
            stock.pods.extend(pods_of(namespace, &set.name, &set.value));
        }
        let balanced = inputs.manifests.services.iter().filter(|service| {
            service.value.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
        });
        stock.balancers.extend(balanced.map(|service| {
            let namespace = service.namespace.as_deref().unwrap_or("default");
            ObjectName::new(ObjectKind::Service, namespace, &service.name)
        }));
        let given = |namespace: &str, name: &str| {
            let mut secrets = inputs.manifests.secrets.iter();
            secrets.any(|it| it.namespace.as_deref() == Some(namespace) && it.name == name)
        };
        let issued = inputs.manifests.certificates.iter().filter(|certificate| {
            !certificate.is_authority && !given(&certificate.namespace, &certificate.secret)
        });
        stock.certificates.extend(issued.map(|certificate| {
            ObjectName::new(ObjectKind::Secret, &certificate.namespace, &certificate.secret)
        }));
        stock.dns = vec![DnsServers::Cluster, DnsServers::Internet];
        stock.dns.extend(inputs.cluster.node_local_dns.then_some(DnsServers::NodeCaches));
        stock
    }

    pub(super) fn nodes(&self) -> Vec<Target> {
        self.nodes.iter().map(|(name, _)| Target::Node(name.clone())).collect()
    }

    /// The nodes, if it is known which ports brokers listen on.
    pub(super) fn nodes_with_ports(&self) -> Vec<Target> {
        if self.ports.is_empty() { Vec::new() } else { self.nodes() }
    }

    /// The ports that brokers listen on.
    pub(super) fn ports(&self) -> Vec<NonZeroU16> {
        self.ports.iter().copied().collect()
    }

    pub(super) fn zones(&self) -> Vec<Target> {
        self.zones.iter().cloned().map(Target::Zone).collect()
    }

    pub(super) fn pods(&self) -> Vec<Target> {
        self.pods.iter().map(|pod| Target::Pod(pod.name.clone())).collect()
    }

    /// Pods with a broker.
    pub(super) fn brokers(&self) -> Vec<Target> {
        let brokers = self.pods.iter().filter(|pod| pod.has_broker);
        brokers.map(|pod| Target::Pod(pod.name.clone())).collect()
    }

    pub(super) fn containers(&self) -> Vec<Target> {
        let of = |pod: &StockedPod| {
            let name = pod.name.clone();
            pod.containers
                .clone()
                .into_iter()
                .map(move |container| Target::Container(name.clone(), container))
        };
        self.pods.iter().flat_map(of).collect()
    }

    pub(super) fn claims(&self) -> Vec<Target> {
        self.pods.iter().flat_map(|pod| &pod.claims).cloned().map(Target::Claim).collect()
    }

    pub(super) fn stateful_sets(&self) -> Vec<Target> {
        self.stateful_sets.iter().map(|(set, _)| Target::StatefulSet(set.clone())).collect()
    }

    pub(super) fn stateful_sets_with_images(&self) -> Vec<Target> {
        let with = self.stateful_sets.iter().filter(|(_, image)| image.is_some());
        with.map(|(set, _)| Target::StatefulSet(set.clone())).collect()
    }

    /// The first container of a StatefulSet that has an image, and the image.
    pub(super) fn image_of(&self, set: &ObjectName) -> Option<(String, String)> {
        self.stateful_sets.iter().find(|(name, _)| name == set)?.1.clone()
    }

    pub(super) fn balancers(&self) -> Vec<Target> {
        self.balancers.iter().cloned().map(Target::Balancer).collect()
    }

    pub(super) fn certificates(&self) -> Vec<Target> {
        self.certificates.iter().cloned().map(Target::Certificate).collect()
    }

    pub(super) fn dns(&self) -> Vec<Target> {
        self.dns.iter().copied().map(Target::Dns).collect()
    }

    /// Name servers that learn by themselves; caches learn by asking.
    pub(super) fn dns_that_learns(&self) -> Vec<Target> {
        let learns = self.dns.iter().copied().filter(|servers| *servers != DnsServers::NodeCaches);
        learns.map(Target::Dns).collect()
    }

    /// The ways between outside, zones and nodes: each pair once.
    pub(super) fn links(&self) -> Vec<Target> {
        let nodes: Vec<LinkEnd> = self.nodes.iter().map(|(name, _)| LinkEnd::Node(name.clone())).collect();
        let zones: Vec<LinkEnd> = self.zones.iter().cloned().map(LinkEnd::Zone).collect();
        let outside = zones.iter().chain(&nodes).map(|end| (LinkEnd::External, end.clone()));
        let paired = if nodes.len() <= PAIRED_NODES_MAX { &nodes[..] } else { &[] };
        let all = outside.chain(pairs(&zones)).chain(pairs(paired));
        all.map(|(from, to)| Target::Link(Way { from, to, both: true })).collect()
    }

    pub(super) fn api_server(&self) -> Vec<Target> {
        vec![Target::ApiServer]
    }

    /// All that can be named in `draw.on`.
    pub(super) fn all(&self) -> Vec<Target> {
        [
            self.nodes(),
            self.zones(),
            self.pods(),
            self.containers(),
            self.stateful_sets(),
            self.claims(),
            self.balancers(),
            self.certificates(),
            self.links(),
            self.dns(),
            self.api_server(),
        ]
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
            (T::Link(way), T::Link(other)) => {
                (&way.from, &way.to) == (&other.from, &other.to)
                    || (&way.from, &way.to) == (&other.to, &other.from)
            }
            _ => first == second,
        }
    }
}

/// Each two of them once.
fn pairs(ends: &[LinkEnd]) -> impl Iterator<Item = (LinkEnd, LinkEnd)> {
    let from = ends.iter().enumerate();
    from.flat_map(|(index, from)| ends[index + 1..].iter().map(|to| (from.clone(), to.clone())))
}

fn containers(set: &StatefulSet) -> impl Iterator<Item = &Container> {
    let pod = set.spec.iter().filter_map(|spec| spec.template.spec.as_ref());
    pod.flat_map(|pod| &pod.containers)
}

fn first_image(set: &StatefulSet) -> Option<(String, String)> {
    containers(set).find_map(|container| Some((container.name.clone(), container.image.clone()?)))
}

fn has_broker(set: &StatefulSet) -> bool {
    containers(set).any(|container| {
        let words = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let command = [words(&container.command), words(&container.args)].concat();
        is_broker(container.image.as_deref().unwrap_or_default(), &command)
    })
}

/// The TCP ports that the containers of a StatefulSet declare.
fn ports_of(set: &StatefulSet) -> impl Iterator<Item = NonZeroU16> {
    let ports = containers(set).flat_map(|container| container.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"));
    tcp.filter_map(|port| NonZeroU16::new(u16::try_from(port.container_port).ok()?))
}

/// The pods of a StatefulSet that have every ordinal up to its replicas.
fn pods_of(namespace: &str, name: &str, set: &StatefulSet) -> Vec<StockedPod> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let first = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let named: Vec<String> = containers(set).map(|container| container.name.clone()).collect();
    let has_broker = has_broker(set);
    let templates = spec.volume_claim_templates.iter().flatten();
    let templates: Vec<&String> = templates.filter_map(|template| template.metadata.name.as_ref()).collect();
    let pod = |ordinal| {
        let claim = |template: &&String| {
            let claim = format!("{template}-{name}-{ordinal}");
            ObjectName::new(ObjectKind::PersistentVolumeClaim, namespace, &claim)
        };
        StockedPod {
            name: PodName { namespace: namespace.to_owned(), name: format!("{name}-{ordinal}") },
            containers: named.clone(),
            claims: templates.iter().map(claim).collect(),
            has_broker,
        }
    };
    let replicas = spec.replicas.unwrap_or(1);
    (first..first.saturating_add(replicas)).map(pod).collect()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Node(node) => write!(f, "node {node}"),
            Target::Zone(zone) => write!(f, "zone {zone}"),
            Target::Pod(pod) => write!(f, "pod {pod}"),
            Target::Container(pod, container) => write!(f, "container {pod}/{container}"),
            Target::StatefulSet(object)
            | Target::Claim(object)
            | Target::Balancer(object)
            | Target::Certificate(object) => write!(f, "{object}"),
            Target::Link(way) => write!(f, "link {way}"),
            Target::Dns(servers) => write!(f, "dns {}", servers.of_cluster().as_str()),
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
        if let Some(("link", way)) = text.split_once(' ') {
            return way.to_owned().try_into().map(Target::Link);
        }
        if let Some(("dns", servers)) = text.split_once(' ') {
            let servers = serde_json::from_value(servers.into());
            return servers.map(Target::Dns).map_err(|error| error.to_string());
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
            (ObjectKind::PersistentVolumeClaim, None) => Ok(Target::Claim(object)),
            (ObjectKind::Service, None) => Ok(Target::Balancer(object)),
            (ObjectKind::Secret, None) => Ok(Target::Certificate(object)),
            _ => Err(format!(
                "no fault is drawn for `{text}`; expected `node NAME`, `zone NAME`, `pod NAMESPACE/NAME`, \
                 `container NAMESPACE/POD/NAME`, `statefulSet NAMESPACE/NAME`, `persistentVolumeClaim NAMESPACE/NAME`, \
                 `service NAMESPACE/NAME`, `secret NAMESPACE/NAME`, `link A <-> B`, `dns SERVERS` or `apiServer`"
            )),
        }
    }
}
