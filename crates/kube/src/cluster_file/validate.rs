//! What serde cannot see: values that do not fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::ClusterFile;
use super::Node;
use super::names::OutsideTarget;
use super::network::{family, overlap};
use crate::admission::{is_dns_label, is_dns_subdomain};
use crate::source::{Document, FieldPath, SourceError};

/// Everything that is wrong with `cluster`, which was read from `document`.
pub fn validate(cluster: &ClusterFile, document: &Document) -> Vec<SourceError> {
    let mut validator = Validator { cluster, document, errors: Vec::new() };
    validator.nodes();
    validator.networks();
    cluster.pod_network.validate(&mut validator);
    validator.names();
    validator.load_balancers();
    validator.overrides();
    validator.grace_period();
    validator.errors
}

fn families(addresses: &[IpAddr]) -> Vec<&'static str> {
    addresses.iter().map(family).collect()
}

pub(super) struct Validator<'a> {
    cluster: &'a ClusterFile,
    document: &'a Document,
    errors: Vec<SourceError>,
}

impl Validator<'_> {
    pub(super) fn error(&mut self, field: &FieldPath, what: impl Into<String>, help: impl Into<String>) {
        self.errors.push(self.document.error(field, what, help));
    }

    fn nodes(&mut self) {
        let cluster = self.cluster;
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        let mut addresses: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for (index, node) in cluster.nodes.iter().enumerate() {
            let field = FieldPath::from("nodes").index(index);
            if !is_dns_subdomain(&node.name) {
                let what = format!("expected a DNS name, got {:?}", node.name);
                let help = "use lower-case letters, digits, `-` and `.`, with a letter or digit at both ends";
                self.error(&field.key("name"), what, help);
            }
            if let Some(first) = names.insert(&node.name, index) {
                let what = format!("nodes[{first}] has the name {} already", node.name);
                self.error(&field.key("name"), what, "give each node a name of its own");
            }
            for address in &node.addresses {
                if let Some(other) = addresses.insert(*address, &node.name) {
                    let what = format!("{other} has the address {address} already");
                    self.error(&field.key("address"), what, "give each node an address of its own");
                }
                self.node_address(&field.key("address"), *address);
            }
            self.node_families(&field.key("address"), node);
        }
    }

    fn node_address(&mut self, field: &FieldPath, address: IpAddr) {
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            let what = format!("expected the address of a machine, got {address}");
            self.error(field, what, "use an address that other machines can reach");
        }
        self.not_inside_cluster_networks(field, address);
    }

    fn node_families(&mut self, field: &FieldPath, node: &Node) {
        if self.cluster.nodes.iter().all(|other| families(&other.addresses) == families(&node.addresses)) {
            return;
        }
        match node.addresses[..] {
            [address] => {
                let what = format!("{address} is {}, and other nodes are not", family(&address));
                self.error(field, what, "use one address family for all nodes");
            }
            _ => {
                let what = "the addresses are of two families, and not those of all nodes are";
                self.error(field, what, "give all nodes the same families, in the same order");
            }
        }
    }

    fn not_inside_cluster_networks(&mut self, field: &FieldPath, address: IpAddr) {
        let (pods, services) = (self.cluster.pod_networks(), self.cluster.service_networks());
        let named = pods
            .into_iter()
            .map(|it| ("podCIDR", it))
            .chain(services.into_iter().map(|it| ("serviceCIDR", it)));
        for (name, network) in named.filter(|(_, network)| network.contains(&address)) {
            let what = format!("{address} is inside of the {name} {network}");
            self.error(field, what, format!("use an address outside of it, or change {name}"));
        }
    }

    fn networks(&mut self) {
        let cluster = self.cluster;
        let (pods, services) = (cluster.pod_networks(), cluster.service_networks());
        for (pods, services) in pods.iter().flat_map(|pods| services.iter().map(move |it| (pods, it))) {
            if overlap(pods, services) {
                let what = format!("the podCIDR {pods} and the serviceCIDR {services} overlap");
                let field = if cluster.service_cidr.is_empty() { "podCIDR" } else { "serviceCIDR" };
                self.error(&FieldPath::from(field), what, "choose networks without a common address");
            }
        }
        if let Some(node) = cluster.nodes.first() {
            let named =
                pods.iter().map(|it| ("podCIDR", it)).chain(services.iter().map(|it| ("serviceCIDR", it)));
            for (name, network) in named {
                if node.addresses.iter().all(|address| address.is_ipv4() != network.addr().is_ipv4()) {
                    let what = format!(
                        "{network} is {}, and the nodes are {}",
                        family(&network.addr()),
                        families(&node.addresses).join(" and ")
                    );
                    self.error(&FieldPath::from(name), what, "use the address family of the nodes");
                }
            }
        }
        self.node_networks(&pods);
        if !is_dns_subdomain(&cluster.cluster_domain) {
            let what = format!("expected a DNS name, got {:?}", cluster.cluster_domain);
            self.error(&FieldPath::from("clusterDomain"), what, "write a domain such as cluster.local");
        }
    }

    fn node_networks(&mut self, pods: &[IpNet]) {
        let mut taken: Vec<(&str, IpNet)> = Vec::new();
        for (index, node) in self.cluster.nodes.iter().enumerate() {
            let field = FieldPath::from("nodes").index(index).key("podCIDR");
            for network in &node.pod_cidr {
                if !pods.iter().any(|pods| pods.contains(network)) {
                    let whole = pods.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ");
                    let what = format!("{network} is outside of the cluster's podCIDR {whole}");
                    self.error(&field, what, "use a part of it, or change podCIDR");
                }
                if let Some((other, taken)) = taken.iter().find(|(_, taken)| overlap(taken, network)) {
                    let what = format!("{network} overlaps with {taken} of {other}");
                    self.error(&field, what, "give each node a network of its own");
                }
                taken.push((&node.name, *network));
            }
        }
    }

    fn names(&mut self) {
        let cluster = self.cluster;
        let nodes: BTreeSet<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        for (pattern, targets) in &cluster.external_names {
            let field = FieldPath::from("externalNames").key(pattern.to_string());
            for target in &targets.0 {
                // Without nodes in the file they come from the command line, with names of their own.
                if let OutsideTarget::Node(node) = target
                    && !nodes.is_empty()
                    && !nodes.contains(node.as_str())
                {
                    let help = match crate::source::nearest(node, nodes.iter().copied()) {
                        Some(near) => format!("did you mean node/{near}?"),
                        None => "name one of the nodes of this file".to_owned(),
                    };
                    self.error(&field, format!("there is no node {node}"), help);
                }
            }
        }
    }

    fn load_balancers(&mut self) {
        let cluster = self.cluster;
        let mut services = BTreeSet::new();
        let mut addresses: BTreeSet<IpAddr> =
            cluster.nodes.iter().flat_map(|node| node.addresses.iter().copied()).collect();
        for (index, balancer) in cluster.load_balancers.iter().enumerate() {
            let field = FieldPath::from("loadBalancers").index(index);
            let service = &balancer.service;
            if !is_dns_label(&service.namespace) || !is_dns_label(&service.name) {
                let what = format!("expected a Service as NAMESPACE/NAME, got \"{service}\"");
                self.error(&field.key("service"), what, "use the Service's namespace and name");
            }
            if !services.insert(service) {
                let what = format!("the Service {service} has a load balancer already");
                self.error(&field.key("service"), what, "declare one load balancer per Service");
            }
            if !addresses.insert(balancer.address) {
                let what = format!("{} is the address of a node or another load balancer", balancer.address);
                self.error(&field.key("address"), what, "give each load balancer an address of its own");
            }
            self.not_inside_cluster_networks(&field.key("address"), balancer.address);
            for (name, what, help) in balancer.faults() {
                self.error(&field.key(name), what, help);
            }
            for name in balancer.zeros() {
                let path = name.split('.').fold(field.clone(), |path, key| path.key(key));
                self.error(&path, "expected a number of at least 1, got 0", "leave it out for the profile's");
            }
        }
    }

    /// Kubelets renew their leases every 10 s (kubernetes.md 8): a shorter grace period loses nodes that live.
    fn grace_period(&mut self) {
        if let Some(seconds) = self.cluster.node_monitor_grace_period_s.filter(|seconds| *seconds < 20) {
            let what = format!("expected at least 20 s, got {seconds}");
            let help = "kubelets renew their leases every 10 s; leave room for two renewals";
            self.error(&FieldPath::from("nodeMonitorGracePeriodS"), what, help);
        }
    }

    fn overrides(&mut self) {
        for (path, value) in &self.cluster.overrides {
            // The load balancers of a profile have switches and words beside numbers; the profile knows their types.
            let is_word = value.is_boolean() || value.is_string();
            let fits =
                value.is_number() || value.is_object() || (is_word && path.starts_with("loadBalancer."));
            if !fits {
                let what = format!("expected a number, got {value}");
                let help = "write the number in the unit that the profile uses";
                self.error(&FieldPath::from("overrides").key(path.as_str()), what, help);
            }
        }
    }
}
