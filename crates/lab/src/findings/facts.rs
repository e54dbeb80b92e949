//! What the linter and the diagnosis are told about a cluster.
//!
//! Plain data, filled from the loaded manifests and, for addresses and placement, from the started cluster. The rules
//! then need neither Kubernetes objects nor a simulation.

use std::collections::BTreeMap;

use crate::report::check::Api;

/// A place in an input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file's name as the user gave it.
    pub file: String,
    /// The line, counted from one.
    pub line: u32,
}

/// Everything about a cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The profile's name.
    pub profile: String,
    /// Whether LoadBalancer Services get an instance by themselves.
    pub managed_load_balancers: bool,
    /// Seconds of silence after which a load balancer forgets a flow, and whether it resets late packets.
    pub idle_timeout: Option<(u32, bool)>,
    /// The cluster domain without a trailing dot, e.g. `cluster.local`.
    pub domain: String,
    /// The node port range of the API server, both ends included.
    pub node_ports: (u16, u16),
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The Services.
    pub services: Vec<Service>,
    /// The StatefulSets that run brokers.
    pub stateful_sets: Vec<StatefulSet>,
    /// The brokers.
    pub brokers: Vec<Broker>,
    /// The pods that are not brokers.
    pub other_pods: Vec<OtherPod>,
    /// References to objects that do not exist.
    pub missing: Vec<MissingReference>,
    /// Names that clients outside can resolve, in lower case without a trailing dot, with their addresses;
    /// `*.example.com` stands for every name below `example.com` without an entry of its own.
    pub external_names: BTreeMap<String, Vec<String>>,
}

/// A node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its addresses: internal, external.
    pub addresses: Vec<String>,
}

/// A Service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub position: Option<Position>,
    /// Its type.
    pub kind: ServiceKind,
    /// Whether `clusterIP` is None.
    pub headless: bool,
    /// `publishNotReadyAddresses`.
    pub publishes_not_ready: bool,
    /// Whether `externalTrafficPolicy` is Local.
    pub local_policy: bool,
    /// `spec.selector` as `key=value, key=value`; empty if there is none.
    pub selector: String,
    /// `namespace/name` of the pods that it selects.
    pub selected: Vec<String>,
    /// Objects that are not simulated and whose pods it selects, as `Job namespace/name`.
    pub selected_templates: Vec<String>,
    /// Objects whose pods it would select if there were any.
    pub unmade: Vec<UnmadePods>,
    /// Of those, the pods that receive connections.
    pub endpoints: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Addresses and host names that load balancers published.
    pub ingress: Vec<String>,
    /// The external-dns host names of its annotations.
    pub dns_hostnames: Vec<String>,
}

/// An object that should make pods and has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmadePods {
    /// The object, `Kind namespace/name`.
    pub owner: String,
    /// Why it has none.
    pub why: String,
}

/// `spec.type` of a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// ClusterIP.
    #[default]
    ClusterIp,
    /// NodePort.
    NodePort,
    /// LoadBalancer.
    LoadBalancer,
    /// ExternalName.
    ExternalName,
}

/// One port of a Service.
#[derive(Clone, Debug, Default)]
pub struct ServicePort {
    /// Its name.
    pub name: String,
    /// The Service's port.
    pub port: u16,
    /// The pods' port, resolved.
    pub target_port: u16,
    /// The node port: as written, or as allocated.
    pub node_port: Option<u16>,
    /// Where it is written.
    pub position: Option<Position>,
}

/// A StatefulSet that runs brokers.
#[derive(Clone, Debug, Default)]
pub struct StatefulSet {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it is written.
    pub position: Option<Position>,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.serviceName`.
    pub service_name: String,
    /// How strictly its pods keep off each other's nodes.
    pub anti_affinity: AntiAffinity,
    /// Whether a container has a preStop hook.
    pub pre_stop: bool,
    /// Seconds that a preStop hook takes, or is given by its own `timeout`, where its command says so.
    pub pre_stop_s: Option<u32>,
    /// `terminationGracePeriodSeconds`, in seconds.
    pub grace_period_s: u32,
    /// What its configurator script says, if it has one that was read.
    pub configurator: Option<Configurator>,
}

/// How strictly pods keep off each other's nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AntiAffinity {
    /// At most one pod per node.
    Required,
    /// One pod per node while nodes last.
    Preferred,
    /// No rule.
    #[default]
    None,
}

/// What a configurator script says beyond its result.
#[derive(Clone, Debug, Default)]
pub struct Configurator {
    /// Where it is written.
    pub position: Option<Position>,
    /// The values given to PREFIX_TEMPLATE.
    pub prefix_templates: Vec<String>,
    /// Whether an address mentions PREFIX_TEMPLATE.
    pub uses_prefix_template: bool,
    /// Elements per list of advertised addresses, by listener.
    pub addresses: Vec<AddressList>,
}

/// One list of advertised addresses in a configurator script, an element per ordinal.
#[derive(Clone, Debug, Default)]
pub struct AddressList {
    /// The listener's name.
    pub listener: String,
    /// How many elements it has.
    pub elements: u32,
}

/// A broker.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    /// Its node id.
    pub id: i32,
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod's name.
    pub pod: String,
    /// Whether the pod runs.
    pub running: bool,
    /// Why it does not run or is not ready.
    pub reason: Option<String>,
    /// The name of its node.
    pub node: Option<String>,
    /// Where its configuration is written.
    pub position: Option<Position>,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// The names in its advertised lists, per API, in order.
    pub advertised_names: Vec<(Api, Vec<String>)>,
    /// The hosts of its seed servers.
    pub seed_hosts: Vec<String>,
}

/// A listener of a broker.
#[derive(Clone, Debug)]
pub struct Listener {
    /// What it speaks.
    pub api: Api,
    /// Its name.
    pub name: String,
    /// The port that it is bound to.
    pub port: u16,
    /// The address that clients are told.
    pub advertised: Option<Advertised>,
    /// TLS, if it is configured.
    pub tls: Option<Tls>,
    /// Whether clients have to prove who they are.
    pub authentication: bool,
}

/// An advertised address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Advertised {
    /// Host name or address; empty if the configuration leaves it empty.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The names in its certificate, wildcards included, if they are known.
    pub names: Option<Vec<String>>,
}

/// A pod that runs no broker.
#[derive(Clone, Debug, Default)]
pub struct OtherPod {
    /// `namespace/name`.
    pub pod: String,
    /// The object that makes it, `Kind namespace/name`.
    pub owner: String,
    /// The container ports that it declares.
    pub ports: Vec<u16>,
}

/// A reference to an object that does not exist.
#[derive(Clone, Debug)]
pub struct MissingReference {
    /// The object that refers, `Kind namespace/name`.
    pub from: String,
    /// The field that refers.
    pub field: String,
    /// Where it is written.
    pub position: Option<Position>,
    /// What is missing, `Kind namespace/name`.
    pub to: String,
    /// Whether the reference is marked as optional.
    pub optional: bool,
}

impl Cluster {
    /// The node called `name` or having that address.
    pub fn node(&self, name_or_address: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| {
            node.name == name_or_address || node.addresses.iter().any(|own| own == name_or_address)
        })
    }

    /// The addresses of `host`: itself if it is an address, what outside clients resolve otherwise.
    pub fn external_addresses(&self, host: &str) -> Vec<String> {
        if is_address(host) {
            return vec![host.to_owned()];
        }
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if let Some(addresses) = self.external_names.get(&name) {
            return addresses.clone();
        }
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            if let Some(addresses) = self.external_names.get(&format!("*.{parent}")) {
                return addresses.clone();
            }
            rest = parent;
        }
        Vec::new()
    }

    /// Whether a listener is meant for clients outside: it advertises something that is no name of a cluster.
    pub fn is_for_outside(&self, listener: &Listener) -> bool {
        listener
            .advertised
            .as_ref()
            .is_some_and(|it| !self.is_cluster_name(&it.host) && !self.is_of_other_domain(&it.host))
    }

    /// Whether `host` is the name of a Service or pod in a cluster with another domain.
    pub fn is_of_other_domain(&self, host: &str) -> bool {
        host.contains(".svc.") && !self.is_cluster_name(host)
    }

    /// Whether clients outside come to `service` by `address`: a load balancer published it, or a name for it.
    pub fn is_reached_at(&self, service: &Service, address: &str) -> bool {
        let by_name =
            |own: &String| !is_address(own) && self.external_addresses(own).iter().any(|it| it == address);
        service.ingress.iter().any(|own| own == address || by_name(own))
    }

    /// Whether `host` is a name of the cluster's own DNS.
    pub fn is_cluster_name(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.');
        host.ends_with(&format!(".svc.{}", self.domain)) || host.ends_with(".svc")
    }
}

impl Service {
    /// `Service namespace/name`.
    pub fn object(&self) -> String {
        format!("Service {}/{}", self.namespace, self.name)
    }
}

impl StatefulSet {
    /// `StatefulSet namespace/name`.
    pub fn object(&self) -> String {
        format!("StatefulSet {}/{}", self.namespace, self.name)
    }
}

impl Broker {
    /// `namespace/name` of the pod.
    pub fn pod_key(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }

    /// `Pod namespace/name`.
    pub fn object(&self) -> String {
        format!("Pod {}", self.pod_key())
    }

    /// The listener of `api` with that name.
    pub fn listener(&self, api: Api, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.api == api && listener.name == name)
    }
}

/// Whether a certificate's name covers a host; a wildcard stands for exactly one label (RFC 6125 section 6.4.3).
pub fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
        None => name.eq_ignore_ascii_case(host),
    }
}

/// Whether `host` is an IPv4 or IPv6 address.
pub fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

/// The IPv4 address that `host` starts with, if labels follow it: `10.0.0.1.example.com` gives `10.0.0.1`.
pub fn address_with_domain(host: &str) -> Option<(&str, &str)> {
    let (end, _) = host.match_indices('.').nth(3)?;
    let (address, domain) = (&host[..end], &host[end + 1..]);
    (address.parse::<std::net::Ipv4Addr>().is_ok() && !domain.is_empty()).then_some((address, domain))
}

impl std::fmt::Display for Advertised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_names_below_without_an_entry() {
        let names = [("*.example.com", "198.51.100.1"), ("a.example.com", "198.51.100.2")];
        let external_names = names.map(|(name, address)| (name.to_owned(), vec![address.to_owned()]));
        let cluster = Cluster { external_names: external_names.into(), ..Cluster::default() };
        assert_eq!(cluster.external_addresses("a.example.com."), ["198.51.100.2"]);
        assert_eq!(cluster.external_addresses("B.c.example.com"), ["198.51.100.1"]);
        assert_eq!(cluster.external_addresses("example.com"), [""; 0]);
        assert_eq!(cluster.external_addresses("10.0.0.1"), ["10.0.0.1"]);
    }

    #[test]
    fn an_address_followed_by_labels_is_recognised() {
        assert_eq!(address_with_domain("127.0.0.1.my-domain"), Some(("127.0.0.1", "my-domain")));
        assert_eq!(address_with_domain("10.0.0.1.example.com."), Some(("10.0.0.1", "example.com.")));
        for host in
            ["10.0.0.1", "10.0.0.1.", "redpanda-0.redpanda.redpanda.svc.cluster.local.", "", "300.0.0.1.x"]
        {
            assert_eq!(address_with_domain(host), None, "{host}");
        }
    }
}
