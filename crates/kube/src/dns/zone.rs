//! The objects DNS knows, and their indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use super::SharedUpstream;

/// How names of pods (`10-0-0-1.ns.pod.ZONE`) are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodMode {
    /// They do not exist.
    #[default]
    Disabled,
    /// The address in the name, unchecked (kubeadm's setting).
    Insecure,
    /// Only if such a pod exists in the namespace.
    Verified,
}

/// The settings of the `kubernetes` plugin.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's domain, e.g. `cluster.local.`.
    pub domain: String,
    /// Reverse zones served, e.g. `in-addr.arpa.`.
    pub reverse_zones: Vec<String>,
    /// A name of these zones that does not exist is asked of the next plugin; `.` means every name (`fallthrough`).
    pub fallthrough: Vec<String>,
    /// Time to live of all records, in seconds.
    pub ttl_s: u32,
    /// How names of pods are answered.
    pub pods: PodMode,
    /// Only these namespaces are answered for; empty means all.
    pub namespaces: BTreeSet<String>,
    /// A ClusterIP Service without ready endpoints does not exist (`ignore empty_service`).
    pub ignore_empty_service: bool,
    /// Endpoints without a hostname are named after their pod.
    pub endpoint_pod_names: bool,
    /// `ZONE.pin._zone.SERVICE` and `ZONE.prefer._zone.SERVICE` select endpoints by zone.
    pub zonal: bool,
    /// The domain is a multicluster one, and endpoints carry this cluster's name.
    pub multicluster: Option<String>,
    /// The first list of objects has arrived; until then a missing name is SERVFAIL.
    pub synced: bool,
    /// The DNS Service, which the `NS` record names: namespace and name.
    pub dns_service: (String, String),
    /// Addresses of the server itself, for `ns.dns.ZONE`.
    pub server_ips: Vec<IpAddr>,
    /// Serial of the SOA record.
    pub serial: u32,
}

impl Default for Options {
    /// kubeadm's Corefile: `ttl 30`, `pods insecure`, reverse zones with fallthrough (kubernetes.md 5.3).
    fn default() -> Options {
        Options {
            domain: "cluster.local.".to_owned(),
            reverse_zones: vec!["in-addr.arpa.".to_owned(), "ip6.arpa.".to_owned()],
            fallthrough: vec!["in-addr.arpa.".to_owned(), "ip6.arpa.".to_owned()],
            ttl_s: 30,
            pods: PodMode::Insecure,
            namespaces: BTreeSet::new(),
            ignore_empty_service: false,
            endpoint_pod_names: false,
            zonal: false,
            multicluster: None,
            synced: true,
            dns_service: ("kube-system".to_owned(), "kube-dns".to_owned()),
            server_ips: Vec::new(),
            serial: 1,
        }
    }
}

/// A port of a Service or of its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name; empty if it has none.
    pub name: String,
    /// `tcp`, `udp` or `sctp`, in lower case.
    pub protocol: String,
    /// Number: the Service's port, or the endpoints' own.
    pub number: u16,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address.
    pub ip: IpAddr,
    /// `hostname`, set for pods of a StatefulSet below its governing Service.
    pub hostname: Option<String>,
    /// The pod's name.
    pub pod: Option<String>,
    /// Its topology zone.
    pub zone: Option<String>,
    /// Whether it is ready; only ready endpoints have records (kubernetes.md 5.1).
    pub ready: bool,
    /// Whether its pod is being deleted; for explanations alone.
    pub terminating: bool,
}

/// Endpoints that share their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The ports, with the endpoints' numbers.
    pub ports: Vec<Port>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// What kind of Service it is to DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// With cluster addresses (ClusterIP, NodePort, LoadBalancer).
    ClusterIp(Vec<IpAddr>),
    /// `clusterIP: None`.
    Headless,
    /// An alias of this name.
    ExternalName(String),
}

/// A Service with its endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Kind and addresses.
    pub kind: ServiceKind,
    /// The Service's ports.
    pub ports: Vec<Port>,
    /// Its EndpointSlices.
    pub slices: Vec<Slice>,
    /// `publishNotReadyAddresses`, by which every endpoint counts as ready; for explanations alone.
    pub publishes_not_ready: bool,
}

impl Service {
    /// `namespace/name`.
    pub(super) fn key(&self) -> String {
        key(&self.namespace, &self.name)
    }

    /// All endpoints.
    pub(super) fn all(&self) -> impl Iterator<Item = &Endpoint> + Clone {
        self.slices.iter().flat_map(|slice| slice.endpoints.iter())
    }

    /// Its ready endpoints, each with the ports of its slice.
    pub(super) fn ready(&self) -> impl Iterator<Item = (&Endpoint, &[Port])> {
        let pairs =
            self.slices.iter().flat_map(|slice| slice.endpoints.iter().map(|e| (e, slice.ports.as_slice())));
        pairs.filter(|(endpoint, _)| endpoint.ready)
    }

    pub(super) fn cluster_ips(&self) -> &[IpAddr] {
        match &self.kind {
            ServiceKind::ClusterIp(ips) => ips,
            _ => &[],
        }
    }
}

/// Everything cluster DNS knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// Settings.
    pub options: Options,
    /// Names outside the cluster, which all servers know alike.
    pub upstream: SharedUpstream,
    namespaces: BTreeSet<String>,
    /// By `namespace/name`; never iterated.
    services: FxHashMap<String, Service>,
    /// Services by cluster address; never iterated.
    by_cluster_ip: FxHashMap<IpAddr, BTreeSet<String>>,
    /// Services by endpoint address; never iterated.
    by_endpoint: FxHashMap<IpAddr, BTreeSet<String>>,
    /// Pods by `namespace/name`, and the other way round.
    pods: BTreeMap<String, Vec<IpAddr>>,
    pod_addresses: BTreeMap<(IpAddr, String), usize>,
}

fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

impl Zone {
    /// A zone without objects.
    pub fn new(options: Options) -> Zone {
        Zone { options, ..Zone::default() }
    }

    /// Forgets all objects; settings and names outside stay.
    pub fn clear(&mut self) {
        let (options, upstream) = (self.options.clone(), self.upstream.clone());
        *self = Zone { options, upstream, ..Zone::default() };
    }

    /// Adds a namespace.
    pub fn put_namespace(&mut self, name: &str) {
        self.namespaces.insert(name.to_owned());
    }

    /// Removes a namespace; its Services and pods are removed one by one.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// Adds or replaces a Service with its endpoints.
    pub fn put_service(&mut self, service: Service) {
        self.remove_service(&service.namespace, &service.name);
        let key = key(&service.namespace, &service.name);
        for ip in service.cluster_ips() {
            self.by_cluster_ip.entry(*ip).or_default().insert(key.clone());
        }
        for (endpoint, _) in service.ready() {
            self.by_endpoint.entry(endpoint.ip).or_default().insert(key.clone());
        }
        self.services.insert(key, service);
    }

    /// Removes a Service with its endpoints.
    pub fn remove_service(&mut self, namespace: &str, name: &str) {
        let key = key(namespace, name);
        let Some(service) = self.services.remove(&key) else { return };
        for ip in service.cluster_ips() {
            unindex(&mut self.by_cluster_ip, ip, &key);
        }
        for (endpoint, _) in service.ready() {
            unindex(&mut self.by_endpoint, &endpoint.ip, &key);
        }
    }

    /// Adds a pod or changes its addresses; needed for [`PodMode::Verified`] and `autopath` alone.
    pub fn put_pod(&mut self, namespace: &str, name: &str, ips: &[IpAddr]) {
        self.remove_pod(namespace, name);
        for ip in ips {
            *self.pod_addresses.entry((*ip, namespace.to_owned())).or_default() += 1;
        }
        self.pods.insert(key(namespace, name), ips.to_vec());
    }

    /// Removes a pod.
    pub fn remove_pod(&mut self, namespace: &str, name: &str) {
        for ip in self.pods.remove(&key(namespace, name)).unwrap_or_default() {
            let address = (ip, namespace.to_owned());
            match self.pod_addresses.get_mut(&address) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.pod_addresses.remove(&address)),
            }
        }
    }

    /// A Service by namespace and name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.services.get(&key(namespace, name))
    }

    /// Whether the namespace exists and is answered for.
    pub(super) fn exposes(&self, namespace: &str) -> bool {
        let exposed = &self.options.namespaces;
        self.namespaces.contains(namespace) && (exposed.is_empty() || exposed.contains(namespace))
    }

    pub(super) fn has_pod(&self, namespace: &str, ip: IpAddr) -> bool {
        self.pod_addresses.contains_key(&(ip, namespace.to_owned()))
    }

    /// The namespace of the pod that has this address.
    pub(super) fn namespace_of_pod(&self, ip: IpAddr) -> Option<&str> {
        let mut at = self.pod_addresses.range((ip, String::new())..);
        at.next().filter(|((address, _), _)| *address == ip).map(|((_, namespace), _)| namespace.as_str())
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub(super) fn services_at(&self, ip: IpAddr) -> impl Iterator<Item = &Service> {
        self.by_cluster_ip.get(&ip).into_iter().flatten().filter_map(|key| self.services.get(key))
    }

    pub(super) fn services_with_endpoint(&self, ip: IpAddr) -> impl Iterator<Item = &Service> {
        self.by_endpoint.get(&ip).into_iter().flatten().filter_map(|key| self.services.get(key))
    }
}

fn unindex(index: &mut FxHashMap<IpAddr, BTreeSet<String>>, ip: &IpAddr, key: &str) {
    if let Some(keys) = index.get_mut(ip) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(ip);
        }
    }
}
