//! Services.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::check::Checker;
use super::names::Form;
use super::{metadata, service_ports};
use crate::manifest::ObjectRef;
use crate::source::FieldPath;

/// What Services have taken so far; the first in the order of the files gets it.
pub struct Allocations {
    /// The ports that may be taken.
    pub range: RangeInclusive<u16>,
    /// Node ports by protocol and number.
    pub node_ports: BTreeMap<(String, i32), ObjectRef>,
    /// Cluster IPs.
    pub cluster_ips: BTreeMap<IpAddr, ObjectRef>,
}

impl Allocations {
    pub fn new(range: RangeInclusive<u16>) -> Allocations {
        Allocations { range, node_ports: BTreeMap::new(), cluster_ips: BTreeMap::new() }
    }
}

pub fn check(checker: &mut Checker<'_>, service: &Service, allocations: &mut Allocations) {
    metadata::check(checker, &service.metadata, Form::Label1035);
    let field = FieldPath::from("spec");
    let Some(spec) = &service.spec else {
        let what = "is missing";
        checker.reject(&field, what, "at least one port", "add spec.ports and spec.selector");
        return;
    };
    checker.one_of(
        &field.key("type"),
        spec.type_.as_deref(),
        &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"],
    );
    check_cluster_ip(checker, spec);
    check_policies(checker, spec);
    check_session_affinity(checker, spec);
    check_outside(checker, spec);
    service_ports::check(checker, spec);
    service_ports::check_types(checker, spec);
    // A Service that is rejected takes no node port and no address.
    if checker.is_sound() {
        service_ports::allocate(checker, spec, allocations);
    }
    if checker.is_sound() {
        allocate_cluster_ip(checker, spec, allocations);
    }
}

/// `spec.type`, which is ClusterIP if it is not set.
pub fn type_of(spec: &ServiceSpec) -> &str {
    spec.type_.as_deref().filter(|name| !name.is_empty()).unwrap_or("ClusterIP")
}

/// Whether the Service has no cluster IP on purpose.
pub fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

fn check_cluster_ip(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let field = FieldPath::from("spec.clusterIP");
    let cluster_ip = spec.cluster_ip.as_deref().unwrap_or_default();
    match (type_of(spec), cluster_ip) {
        ("ExternalName", "") => {
            let name = spec.external_name.as_deref().unwrap_or_default();
            let name = name.strip_suffix('.').unwrap_or(name);
            checker.name(&FieldPath::from("spec.externalName"), name, Form::Subdomain);
        }
        ("ExternalName", _) => {
            checker.reject(&field, "is set", "no cluster IP for the type ExternalName", "remove it");
        }
        (type_name @ ("NodePort" | "LoadBalancer"), "None") => {
            let what = format!("a headless Service cannot be of the type {type_name}");
            checker.reject(&field, what, "an address, or none given", "remove clusterIP: None, or the type");
        }
        (_, "" | "None") => {}
        (_, address) => {
            checker.address(&field, address);
        }
    }
    checker.one_of(
        &FieldPath::from("spec.ipFamilyPolicy"),
        spec.ip_family_policy.as_deref(),
        &["SingleStack", "PreferDualStack", "RequireDualStack"],
    );
    for (index, family) in spec.ip_families.iter().flatten().enumerate() {
        let field = FieldPath::from("spec.ipFamilies").index(index);
        checker.one_of(&field, Some(family), &["IPv4", "IPv6"]);
    }
}

fn check_policies(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let policies = ["Cluster", "Local"];
    let external = FieldPath::from("spec.externalTrafficPolicy");
    checker.one_of(&external, spec.external_traffic_policy.as_deref(), &policies);
    checker.one_of(
        &FieldPath::from("spec.internalTrafficPolicy"),
        spec.internal_traffic_policy.as_deref(),
        &policies,
    );
    let is_outside = matches!(type_of(spec), "NodePort" | "LoadBalancer")
        || spec.external_ips.as_ref().is_some_and(|addresses| !addresses.is_empty());
    let is_set = spec.external_traffic_policy.as_deref().is_some_and(|policy| !policy.is_empty());
    if is_set && !is_outside {
        let what = format!("is set on a Service of the type {}", type_of(spec));
        checker.reject(
            &external,
            what,
            "the type NodePort or LoadBalancer, or externalIPs",
            "remove it, or change the type",
        );
    }
}

fn check_session_affinity(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let affinity = spec.session_affinity.as_deref();
    checker.one_of(&FieldPath::from("spec.sessionAffinity"), affinity, &["None", "ClientIP"]);
    let timeout_s = spec
        .session_affinity_config
        .as_ref()
        .and_then(|config| config.client_ip.as_ref())
        .and_then(|client_ip| client_ip.timeout_seconds);
    if let Some(timeout_s) = timeout_s.filter(|timeout_s| !(1..=86400).contains(timeout_s)) {
        checker.reject(
            &FieldPath::from("spec.sessionAffinityConfig.clientIP.timeoutSeconds"),
            format!("{timeout_s} s is out of range"),
            "1 to 86400 seconds",
            "change the number",
        );
    }
}

/// The fields that concern clients outside of the cluster.
fn check_outside(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let external_ips = FieldPath::from("spec.externalIPs");
    for (index, text) in spec.external_ips.iter().flatten().enumerate() {
        let field = external_ips.index(index);
        let Some(address) = checker.address(&field, text) else { continue };
        if address.is_loopback() || address.is_unspecified() || address.is_multicast() {
            let what = format!("`{text}` cannot be reached from another machine");
            checker.reject(&field, what, "a unicast address that is not the loopback", "change the address");
        }
    }
    let ranges = FieldPath::from("spec.loadBalancerSourceRanges");
    for (index, text) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
        checker.network(&ranges.index(index), text);
    }
    if type_of(spec) == "LoadBalancer" {
        return;
    }
    let set = [
        ("loadBalancerClass", spec.load_balancer_class.is_some()),
        ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
        (
            "loadBalancerSourceRanges",
            spec.load_balancer_source_ranges.as_ref().is_some_and(|ranges| !ranges.is_empty()),
        ),
    ];
    for (name, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        let what = format!("is set on a Service of the type {}", type_of(spec));
        checker.reject(
            &FieldPath::from("spec").key(name),
            what,
            "the type LoadBalancer",
            "remove it, or change the type",
        );
    }
}

fn allocate_cluster_ip(checker: &mut Checker<'_>, spec: &ServiceSpec, allocations: &mut Allocations) {
    let address = spec.cluster_ip.as_deref().and_then(|text| text.parse::<IpAddr>().ok());
    let Some(address) = address else { return };
    match allocations.cluster_ips.get(&address) {
        Some(owner) => {
            let what = format!("{address} is already the address of {owner}");
            checker.reject(
                &FieldPath::from("spec.clusterIP"),
                what,
                "an address of its own",
                "remove clusterIP, so that the cluster chooses one",
            );
        }
        None => {
            allocations.cluster_ips.insert(address, checker.object().clone());
        }
    }
}
