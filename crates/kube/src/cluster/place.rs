//! Places where clients stand, and how a client gets there.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use hopwise_engine::{HostId, host};
use hopwise_fabric::DeviceId;
use hopwise_fabric::net::resolver::ResolverKind;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::names::{self, Answering, Names};
use super::operations::DnsServers;
use super::state::Shared;
use super::workloads;

/// The internet's resolver (TEST-NET-2, RFC 5737).
pub const INTERNET_DNS: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 53);
/// The first client on the internet (TEST-NET-2, RFC 5737).
const FIRST_CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 101);
/// The client pod that `in-cluster` means: its namespace and its name.
pub const CLIENT_POD: (&str, &str) = ("default", "hopwise-client");
/// How long a client pod may take to start.
const CLIENT_START: Duration = Duration::from_secs(60);

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(external(=.+)?|in-cluster|pod/[^/]+/[^/]+|node/[^/]+)$"))]
pub enum Place {
    /// On the internet, at an address that is chosen, or at the one given.
    External(Option<IpAddr>),
    /// In a pod of the manifests.
    Pod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
    },
    /// A process on a node, in the node's network namespace.
    Node(String),
    /// In a client pod that is added to the cluster.
    InCluster,
}

/// The text names no place.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no place; expected `external`, `external=IP`, `pod/NAMESPACE/NAME`, `node/NAME` or `in-cluster`"
)]
pub struct NoPlace(String);

impl Place {
    /// Whether the client stands outside the cluster's own network.
    pub fn is_external(&self) -> bool {
        matches!(self, Place::External(_))
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let error = || NoPlace(text.to_owned());
        match text {
            "external" => return Ok(Place::External(None)),
            "in-cluster" => return Ok(Place::InCluster),
            _ => {}
        }
        if let Some(address) = text.strip_prefix("external=") {
            return address.parse().map(|address| Place::External(Some(address))).map_err(|_| error());
        }
        if let Some(name) = text.strip_prefix("node/").filter(|name| is_name(name)) {
            return Ok(Place::Node(name.to_owned()));
        }
        match text.strip_prefix("pod/").and_then(|pod| pod.split_once('/')) {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Place::Pod { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(error()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::External(None) => f.write_str("external"),
            Place::External(Some(address)) => write!(f, "external={address}"),
            Place::Pod { namespace, name } => write!(f, "pod/{namespace}/{name}"),
            Place::Node(name) => write!(f, "node/{name}"),
            Place::InCluster => f.write_str("in-cluster"),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = NoPlace;
    fn try_from(text: String) -> Result<Self, NoPlace> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/')
}

/// Why a client cannot be put at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The pod is not there, or not on the network.
    #[error("pod {namespace}/{name} does not run: {reason}")]
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The node's machine is off.
    #[error("node {0} has no power")]
    NoPower(String),
    /// There is no such node.
    #[error("there is no node {name}; the nodes are {known}")]
    Node {
        /// The name asked for.
        name: String,
        /// The nodes there are.
        known: String,
    },
}

/// A client's place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSite {
    /// The host that the client's tasks are spawned on.
    pub host: HostId,
    /// The device whose sockets they use.
    pub device: DeviceId,
}

impl ClientSite {
    /// Sets whose resolver the client uses; glibc's if nothing is said.
    pub fn use_resolver(&self, kind: ResolverKind) {
        hopwise_fabric::with(|fabric| fabric.set_resolver_kind(self.host, kind));
    }
}

/// The clients on the internet so far.
#[derive(Default)]
pub struct Clients {
    external: BTreeMap<Place, DeviceId>,
    made: u32,
}

impl Cluster {
    /// Puts a client called `name` at `place`. Clients of one place share its device, each with a host of its own.
    ///
    /// # Errors
    /// A pod that does not run, a node that is not there.
    pub async fn place(&self, place: &Place, name: &str) -> Result<ClientSite, PlaceError> {
        let device = match place {
            Place::External(address) => self.external_device(place, *address),
            Place::InCluster => self.client_pod().await?,
            Place::Pod { namespace, name } => self.pod_device(namespace, name)?,
            Place::Node(name) => {
                if self.shared.machines.get(name).is_some_and(|machine| !machine.is_on()) {
                    return Err(PlaceError::NoPower(name.clone()));
                }
                self.shared.topology.borrow().node(name).ok_or_else(|| PlaceError::Node {
                    name: name.clone(),
                    known: self
                        .spec
                        .nodes
                        .iter()
                        .map(|node| node.name.as_str())
                        .collect::<Vec<_>>()
                        .join(", "),
                })?
            }
        };
        let host = host::create(name);
        hopwise_fabric::with(|fabric| {
            fabric.attach(host, device);
            fabric.trace_connections(host, true);
        });
        Ok(ClientSite { host, device })
    }

    fn external_device(&self, place: &Place, address: Option<IpAddr>) -> DeviceId {
        let mut clients = self.clients.borrow_mut();
        if let Some(device) = clients.external.get(place) {
            return *device;
        }
        let address = address.unwrap_or_else(|| IpAddr::V4((FIRST_CLIENT.to_bits() + clients.made).into()));
        clients.made += 1;
        let device = hopwise_fabric::with(|fabric| {
            let device = self.shared.topology.borrow_mut().add_client(fabric, &place.to_string(), address);
            fabric.set_resolver(device, self.shared.resolv_conf.of_node());
            device
        });
        clients.external.insert(place.clone(), device);
        device
    }

    fn pod_device(&self, namespace: &str, name: &str) -> Result<DeviceId, PlaceError> {
        // Another pod of that name may still run on a node that is cut off.
        let uid = self.shared.api.read(|store| store.get::<Pod>(namespace, name)?.metadata.uid.clone());
        let running = self.shared.running.borrow();
        let entry = uid.as_ref().and_then(|uid| running.get(uid));
        let site = entry.and_then(|entry| entry.site.as_ref()).map(|site| site.device);
        site.ok_or_else(|| {
            let reason = if uid.is_some() { "it is not on the network yet" } else { "there is no such pod" };
            PlaceError::Pod { namespace: namespace.into(), name: name.into(), reason: reason.into() }
        })
    }

    /// The client pod, started if it is not there.
    async fn client_pod(&self) -> Result<DeviceId, PlaceError> {
        let container =
            Container { name: "client".into(), image: Some("hopwise/client".into()), ..Container::default() };
        let pod = Pod {
            metadata: ObjectMeta {
                namespace: Some(CLIENT_POD.0.into()),
                name: Some(CLIENT_POD.1.into()),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
            status: None,
        };
        // It is there already when a second client asks for the same place.
        let _ = workloads::create_pod(&self.shared.api, pod);
        let started = hopwise_engine::now();
        loop {
            match self.pod_device(CLIENT_POD.0, CLIENT_POD.1) {
                Ok(device) => return Ok(device),
                Err(error) if Duration::from(hopwise_engine::now() - started) > CLIENT_START => {
                    return Err(error);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Whether the pod is one that hopwise has added.
pub fn is_client_pod(namespace: &str, name: &str) -> bool {
    (namespace, name) == CLIENT_POD
}

/// Starts the resolver that clients on the internet and nodes ask.
pub fn start_internet_dns(shared: &Rc<Shared>, names: &Names) {
    let address = IpAddr::V4(INTERNET_DNS);
    let host = host::create("internet-dns");
    hopwise_fabric::with(|fabric| {
        let device = shared.topology.borrow_mut().add_client(fabric, "internet-dns", address);
        fabric.attach(host, device);
        for machine in shared.machines.values() {
            fabric.set_resolver(machine.device, shared.resolv_conf.of_node());
        }
    });
    let trouble = names.trouble(DnsServers::Internet).clone();
    let answering = Answering::server(names.internet(), hopwise_engine::stream("dns/internet"), trouble);
    host::spawn_on(host, names::serve(vec![address], answering));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_alike() {
        for text in
            ["external", "external=203.0.113.7", "pod/redpanda/redpanda-0", "node/node-1", "in-cluster"]
        {
            assert_eq!(text.parse::<Place>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_forms_there_are() {
        for text in
            ["", "outside", "external=node-1", "pod/redpanda-0", "pod//redpanda-0", "node/", "pod/a/b/c"]
        {
            let error = text.parse::<Place>().expect_err(text);
            assert!(error.to_string().contains("`pod/NAMESPACE/NAME`"));
        }
    }
}
