//! What every cluster has beside the user's manifests: nodes, system namespaces, a default StorageClass, the API
//! server's Service, and CoreDNS behind kube-dns.
//!
//! Source: kubeadm's defaults (Service names and addresses, CoreDNS as a Deployment of two).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use hopwise_engine::Time;
use ipnet::IpNet;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::{
    Container as PodContainer, ContainerPort, Namespace, Node, NodeAddress, NodeSpec, NodeStatus, PodSpec,
    PodTemplateSpec, Service, ServicePort, ServiceSpec, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::api::Api;
use super::names::{self, COREDNS_IMAGE, NODE_CACHE_ADDRESS, Names, ResolvConf};
use super::place::INTERNET_DNS;
use super::programs::{Container, Process, Programs};
use super::topology::NodeSite;
use crate::cluster_file::{self, ClusterFile, DetectLocalMode, ProxyMode, TaintEffect};
use crate::controllers::endpoint_slice_mirroring;
use crate::manifest::Manifests;
use crate::proxy::{LocalDetector, Mode, NodeFacts, NodePortAddresses};
use crate::store::{Resource, Store};
use crate::volumes;

/// The namespace of the cluster's own pods.
pub const SYSTEM_NAMESPACE: &str = "kube-system";

/// The addresses and names that the cluster's own parts have.
pub struct System {
    /// The cluster's domain, without a final dot.
    pub domain: String,
    /// The address of kube-dns: the tenth of the service network.
    pub dns_address: IpAddr,
    /// The address of the API server's Service: the first of the service network.
    pub api_address: IpAddr,
}

impl System {
    /// The system of a cluster.
    pub fn of(cluster: &ClusterFile) -> System {
        let network = cluster.service_networks()[0];
        let nth = |number: u8| nth_address(&network, number);
        System {
            domain: cluster.cluster_domain.trim_end_matches('.').to_owned(),
            dns_address: nth(10),
            api_address: nth(1),
        }
    }

    /// What pods and nodes look names up with.
    pub fn resolv_conf(&self, cluster: &ClusterFile) -> ResolvConf {
        let cluster_dns = if cluster.node_local_dns { NODE_CACHE_ADDRESS.into() } else { self.dns_address };
        ResolvConf { domain: self.domain.clone(), cluster_dns, node_dns: INTERNET_DNS.into() }
    }

    /// The cluster's own Services.
    pub fn services(&self) -> Vec<Service> {
        let port = |name: &str, protocol: &str, number: i32| ServicePort {
            name: Some(name.into()),
            protocol: Some(protocol.into()),
            port: number,
            target_port: Some(IntOrString::Int(number)),
            ..ServicePort::default()
        };
        let dns_ports = vec![port("dns", "UDP", 53), port("dns-tcp", "TCP", 53)];
        let dns = service(SYSTEM_NAMESPACE, "kube-dns", self.dns_address, dns_ports, true);
        let api = service("default", "kubernetes", self.api_address, vec![port("https", "TCP", 443)], false);
        vec![dns, api]
    }

    /// Creates the cluster's own objects.
    pub fn install(&self, store: &mut Store, cluster: &ClusterFile, now: Time) {
        for name in ["default", SYSTEM_NAMESPACE] {
            create(store, Namespace { metadata: meta("", name), ..Namespace::default() }, now);
        }
        for node in &cluster.nodes {
            create(store, node_object(node), now);
        }
        for mut service in self.services() {
            crate::controllers::service_defaults::admit(&mut service, &[family(self.dns_address)]);
            create(store, service, now);
        }
        create(store, core_dns(), now);
    }
}

/// Creates the objects of the manifests, and the namespaces they are in. The default StorageClass, unless the manifests
/// have one, makes `default_disk`s.
pub fn create_all(store: &mut Store, manifests: Manifests, default_disk: volumes::Disk, now: Time) {
    let Manifests {
        pods,
        stateful_sets,
        deployments,
        services,
        config_maps,
        secrets,
        persistent_volume_claims,
        persistent_volumes,
        storage_classes,
        namespaces,
        pod_disruption_budgets,
        network_policies,
        endpoint_slices,
        endpoints,
        ..
    } = manifests;
    namespaces.into_iter().for_each(|object| create(store, object.value, now));
    storage_classes.into_iter().for_each(|object| create(store, object.value, now));
    // A class that the manifests bring is the only one.
    let _ = volumes::install_default_class(store, default_disk, now);
    for object in persistent_volumes {
        let mut volume = object.value;
        volumes::admit_volume(&mut volume);
        create(store, volume, now);
    }
    for object in persistent_volume_claims {
        let mut claim = object.value;
        volumes::admit_claim(store, &mut claim);
        create(store, claim, now);
    }
    config_maps.into_iter().for_each(|object| create(store, object.value, now));
    secrets.into_iter().for_each(|object| create(store, object.value, now));
    services.into_iter().for_each(|object| create(store, object.value, now));
    endpoint_slices.into_iter().for_each(|object| create(store, object.value, now));
    for object in endpoints {
        let service = store.get::<Service>(object.namespace.as_deref().unwrap_or(""), &object.name);
        let mirrored = endpoint_slice_mirroring::mirror(&object.value, service.map(|service| &**service));
        mirrored.into_iter().for_each(|slice| create(store, slice, now));
    }
    pod_disruption_budgets.into_iter().for_each(|object| create(store, object.value, now));
    network_policies.into_iter().for_each(|object| create(store, object.value, now));
    stateful_sets.into_iter().for_each(|object| create(store, object.value, now));
    deployments.into_iter().for_each(|object| create(store, object.value, now));
    for object in pods {
        let mut pod = object.value;
        crate::controllers::pod_admission::admit(&mut pod);
        create(store, pod, now);
    }
}

/// Creates an object, and its namespace if need be. An object that is there already stays.
fn create<T: Resource>(store: &mut Store, object: T, now: Time) {
    if let Some(namespace) = object.meta().namespace.clone()
        && store.get::<Namespace>("", &namespace).is_none()
    {
        create(store, Namespace { metadata: meta("", &namespace), ..Namespace::default() }, now);
    }
    let _ = store.create(object, now);
}

/// Where the nodes stand, with a /24 (or /64) of the pod network each unless the file says otherwise.
pub fn sites_of(cluster: &ClusterFile) -> Vec<NodeSite> {
    let zone = |node: &cluster_file::Node| node.zone.clone().unwrap_or_else(|| "default".into());
    let networks = pod_networks(cluster);
    let sites = cluster.nodes.iter().zip(networks).map(|(node, pod_networks)| NodeSite {
        name: node.name.clone(),
        zone: zone(node),
        addresses: node.addresses.clone(),
        pod_networks,
        pod_network: cluster.pod_network.clone(),
    });
    sites.collect()
}

/// What each node's kube-proxy knows.
pub fn node_facts(cluster: &ClusterFile) -> Vec<NodeFacts> {
    let flags = &cluster.kube_proxy;
    let facts = cluster.nodes.iter().zip(pod_networks(cluster)).map(|(node, pod_networks)| NodeFacts {
        zone: node.zone.clone(),
        pod_networks,
        cluster_pod_networks: cluster.pod_networks(),
        service_networks: cluster.service_networks(),
        mode: match cluster.proxy_mode {
            ProxyMode::Nftables => Mode::Nftables,
            ProxyMode::Iptables => Mode::Iptables,
            ProxyMode::Ipvs => Mode::Ipvs,
        },
        local_detector: match flags.detect_local_mode {
            DetectLocalMode::ClusterCIDR => LocalDetector::ClusterNetworks,
            DetectLocalMode::NodeCIDR
            | DetectLocalMode::BridgeInterface
            | DetectLocalMode::InterfaceNamePrefix => LocalDetector::NodeNetworks,
        },
        masquerade_all: flags.masquerade_all,
        masquerade_pods: cluster.pod_network.masquerades(),
        unmasqueraded_networks: cluster.pod_network.unmasqueraded_networks(),
        node_port_addresses: match &flags.node_port_addresses {
            None => NodePortAddresses::ModeDefault,
            Some(cluster_file::NodePortAddresses::Primary) => NodePortAddresses::Primary,
            Some(cluster_file::NodePortAddresses::In(networks)) => NodePortAddresses::In(networks.clone()),
        },
        localhost_node_ports: flags.localhost_node_ports,
        tcp_be_liberal: flags.tcp_be_liberal,
        ..NodeFacts::new(node.name.as_str(), node.addresses.clone())
    });
    facts.collect()
}

/// The pod networks of each node: those that the file gives it, else the next free ones, one per family.
fn pod_networks(cluster: &ClusterFile) -> Vec<Vec<IpNet>> {
    let mut all = vec![Vec::new(); cluster.nodes.len()];
    for whole in cluster.pod_networks() {
        let ipv4 = whole.addr().is_ipv4();
        let length = if ipv4 { whole.prefix_len().max(24) } else { whole.prefix_len().max(64) };
        let given = |node: &cluster_file::Node| {
            node.pod_cidr.iter().copied().find(|network| network.addr().is_ipv4() == ipv4)
        };
        let taken: Vec<IpNet> = cluster.nodes.iter().filter_map(given).collect();
        let overlaps =
            |network: &IpNet| taken.iter().any(|other| other.contains(network) || network.contains(other));
        let mut free = whole.subnets(length).into_iter().flatten().filter(|network| !overlaps(network));
        for (node, networks) in cluster.nodes.iter().zip(&mut all) {
            networks.push(given(node).or_else(|| free.next()).unwrap_or(whole));
        }
    }
    all
}

/// The user's programs, and those of the cluster itself.
pub struct WithSystemPrograms {
    /// The user's.
    pub programs: Rc<dyn Programs>,
    /// What CoreDNS pods are a part of.
    pub names: Rc<Names>,
    /// The API server as the pods of each node reach it.
    pub apis: BTreeMap<String, Api>,
}

impl Programs for WithSystemPrograms {
    fn interprets(&self, image: &str) -> bool {
        self.programs.interprets(image)
    }

    fn start(&self, container: &Container) -> Option<Result<Process, String>> {
        if container.namespace == SYSTEM_NAMESPACE && container.image == COREDNS_IMAGE {
            let api = self.apis.get(&container.node)?.clone();
            return Some(Ok(names::core_dns(&self.names, api, container)));
        }
        self.programs.start(container)
    }
}

fn meta(namespace: &str, name: &str) -> ObjectMeta {
    let namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    ObjectMeta { namespace, name: Some(name.into()), ..ObjectMeta::default() }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn nth_address(network: &IpNet, number: u8) -> IpAddr {
    match network.network() {
        IpAddr::V4(base) => IpAddr::V4(base.to_bits().saturating_add(u32::from(number)).into()),
        IpAddr::V6(base) => IpAddr::V6(base.to_bits().saturating_add(u128::from(number)).into()),
    }
}

fn service(namespace: &str, name: &str, address: IpAddr, ports: Vec<ServicePort>, selects: bool) -> Service {
    let selector = selects.then(|| [("k8s-app".to_owned(), name.to_owned())].into());
    Service {
        metadata: meta(namespace, name),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".into()),
            cluster_ip: Some(address.to_string()),
            cluster_ips: Some(vec![address.to_string()]),
            ports: Some(ports),
            selector,
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn core_dns() -> Deployment {
    let labels = [("k8s-app".to_owned(), "kube-dns".to_owned())];
    let port = |name: &str, protocol: &str| ContainerPort {
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        container_port: 53,
        ..ContainerPort::default()
    };
    let container = PodContainer {
        name: "coredns".into(),
        image: Some(COREDNS_IMAGE.into()),
        ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
        ..PodContainer::default()
    };
    Deployment {
        metadata: meta(SYSTEM_NAMESPACE, "coredns"),
        spec: Some(DeploymentSpec {
            replicas: Some(2),
            selector: LabelSelector { match_labels: Some(labels.clone().into()), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() }),
                spec: Some(PodSpec { containers: vec![container], ..PodSpec::default() }),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn internal_ip(address: &IpAddr) -> NodeAddress {
    NodeAddress { address: address.to_string(), type_: "InternalIP".into() }
}

fn node_object(node: &cluster_file::Node) -> Node {
    let mut labels = node.labels.clone();
    labels.insert("kubernetes.io/hostname".into(), node.name.clone());
    labels.insert("kubernetes.io/os".into(), "linux".into());
    if let Some(zone) = &node.zone {
        labels.insert("topology.kubernetes.io/zone".into(), zone.clone());
    }
    if let Some(region) = &node.region {
        labels.insert("topology.kubernetes.io/region".into(), region.clone());
    }
    let taints = node.taints.iter().map(|taint| Taint {
        key: taint.key.clone(),
        value: Some(taint.value.clone()),
        effect: match taint.effect {
            TaintEffect::NoSchedule => "NoSchedule",
            TaintEffect::PreferNoSchedule => "PreferNoSchedule",
            TaintEffect::NoExecute => "NoExecute",
        }
        .into(),
        time_added: None,
    });
    let allocatable = node.allocatable.as_ref().map(|allocatable| {
        let amounts = [("cpu", &allocatable.cpu), ("memory", &allocatable.memory)];
        amounts
            .into_iter()
            .filter_map(|(name, amount)| Some((name.to_owned(), Quantity(amount.clone()?))))
            .collect()
    });
    Node {
        metadata: ObjectMeta { labels: Some(labels), ..meta("", &node.name) },
        spec: Some(NodeSpec { taints: Some(taints.collect()), ..NodeSpec::default() }),
        status: Some(NodeStatus {
            addresses: Some(node.addresses.iter().map(internal_ip).collect()),
            allocatable,
            ..NodeStatus::default()
        }),
    }
}
