//! One Service compiled into the rules of one node.
//!
//! IPVS differs where it cannot tell sources apart: a policy of Local means the local endpoints, or all if there are
//! none, for everybody; a virtual server without real servers refuses (ip_vs_leave); targets take turns.
//!
//! Source: kubernetes.md 6.2 (the verdict, step by step), 6.5 (health check ports), 6.6 (UDP), 6.7 (modes).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hopwise_engine::Span;
use hopwise_fabric::nat::rules::{
    Branch, Choice, Destination, DestinationRule, Protocol, SourceMatch, Translation, Verdict,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::endpoints::{Selection, UsedBy, candidates, select};
use super::facts::{Mode, NodeFacts};
use super::node_ports;
use super::stale_flows::UdpDestination;
use super::{HealthCheck, ServiceName};
use crate::controllers::service_defaults::{
    AFFINITY_TIMEOUT_SECONDS_DEFAULT, is_headless, needs_health_check_port, service_type,
};

/// What a Service comes to on a node.
#[derive(Default)]
pub(super) struct Outcome {
    /// The rules for its destinations.
    pub(super) rules: Vec<DestinationRule>,
    /// Its health check port.
    pub(super) health_check: Option<HealthCheck>,
    /// The addresses that kube-proxy answers for where no rule does: in nftables mode the cluster IPs, in IPVS mode
    /// all of the Service's.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Its UDP ports.
    pub(super) udp: Vec<UdpDestination>,
}

/// A Service on a node.
pub(super) fn compile(
    node: &NodeFacts,
    name: &ServiceName,
    service: &Service,
    slices: &[&EndpointSlice],
) -> Outcome {
    let Some(spec) = service.spec.as_ref() else { return Default::default() };
    // Headless Services have endpoints and DNS only, ExternalName only a CNAME (kubernetes.md 3).
    if is_headless(service) || service_type(service) == "ExternalName" {
        return Default::default();
    }
    let mut outcome = Outcome::default();
    for ipv4 in [true, false] {
        let addresses = Addresses::of(service, spec, ipv4);
        // Node ports go with a cluster IP, so without any address there is nothing to write in this family.
        if addresses.is_empty() {
            continue;
        }
        outcome.addresses.extend(addresses.answered_for(node.mode));
        for port in spec.ports.iter().flatten() {
            if let Some(port) = CompiledPort::of(node, name, spec, port, slices, &addresses) {
                port.rules(&mut outcome.rules);
                outcome.udp.extend(port.udp_destinations());
            }
        }
    }
    outcome.health_check = health_check(node, name, service, spec, slices);
    if let Some(check) = &outcome.health_check {
        // The port is a socket of kube-proxy's own; its rule only keeps it from being taken by something
        // else.
        outcome.rules.push(DestinationRule {
            destination: Destination::AnyLocal { loopback: true },
            protocol: Protocol::Tcp,
            port: check.port,
            branches: vec![Branch { source: SourceMatch::Any, verdict: Verdict::Accept }],
            label: Arc::from(format!("Service {name} health check")),
        });
    }
    outcome
}

/// The addresses of a Service in one family.
struct Addresses {
    ipv4: bool,
    cluster: Vec<IpAddr>,
    external: Vec<IpAddr>,
    balancer: Vec<IpAddr>,
}

impl Addresses {
    fn of(service: &Service, spec: &ServiceSpec, ipv4: bool) -> Self {
        let parsed = |texts: &mut dyn Iterator<Item = &String>| -> Vec<IpAddr> {
            texts
                .filter_map(|text| text.trim().parse::<IpAddr>().ok())
                .filter(|ip| ip.is_ipv4() == ipv4)
                .collect()
        };
        let mut cluster = parsed(&mut spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
        cluster.dedup();
        let ingress = service.status.iter().flat_map(|status| &status.load_balancer);
        let ingress = ingress.flat_map(|balancer| balancer.ingress.iter().flatten());
        // Mode Proxy: no rule, packets go to the real balancer. A hostname alone never has a rule
        // (kubernetes.md 3).
        let mut vips = ingress
            .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
            .filter_map(|ingress| ingress.ip.as_ref());
        let balancer = if service_type(service) == "LoadBalancer" { parsed(&mut vips) } else { Vec::new() };
        Addresses { ipv4, cluster, external: parsed(&mut spec.external_ips.iter().flatten()), balancer }
    }

    fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.external.is_empty() && self.balancer.is_empty()
    }

    fn answered_for(&self, mode: Mode) -> Vec<IpAddr> {
        match mode {
            Mode::Iptables => Vec::new(),
            Mode::Nftables => self.cluster.clone(),
            Mode::Ipvs => {
                [&self.cluster, &self.external, &self.balancer].into_iter().flatten().copied().collect()
            }
        }
    }
}

/// One port of a Service in one family, with everything its rules need.
struct CompiledPort<'a> {
    node: &'a NodeFacts,
    name: &'a ServiceName,
    spec: &'a ServiceSpec,
    addresses: &'a Addresses,
    protocol: Protocol,
    port: u16,
    node_port: Option<u16>,
    selection: Selection,
    /// The addresses of endpoints that serve, terminating or not, of a UDP port.
    serving: BTreeSet<IpAddr>,
    label: Arc<str>,
}

impl<'a> CompiledPort<'a> {
    fn of(
        node: &'a NodeFacts,
        name: &'a ServiceName,
        spec: &'a ServiceSpec,
        port: &ServicePort,
        slices: &[&EndpointSlice],
        addresses: &'a Addresses,
    ) -> Option<Self> {
        let protocol_text = port.protocol.as_deref().unwrap_or("TCP");
        let protocol = match protocol_text {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => return None,
        };
        let port_name = port.name.as_deref().unwrap_or("");
        // Node ports exist in the families the Service has a cluster IP of.
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let node_port = node_port.filter(|_| !addresses.cluster.is_empty());
        let external =
            node_port.is_some() || !addresses.external.is_empty() || !addresses.balancer.is_empty();
        let candidates = candidates(slices, port_name, protocol_text, &node.name, addresses.ipv4);
        let used_by = UsedBy {
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
            external,
        };
        let serving = candidates.iter().filter(|one| protocol == Protocol::Udp && one.serving);
        let node_hints = node.prefer_same_node.then_some(node.name.as_str());
        let named = if port_name.is_empty() { port.port.to_string() } else { port_name.to_owned() };
        Some(CompiledPort {
            node,
            name,
            spec,
            addresses,
            protocol,
            port: u16::try_from(port.port).ok()?,
            node_port,
            selection: select(&candidates, used_by, node_hints, node.zone.as_deref()),
            serving: serving.map(|one| one.address.ip()).collect(),
            label: Arc::from(format!("Service {name} port {named}")),
        })
    }

    fn rules(&self, rules: &mut Vec<DestinationRule>) {
        let internal = self.internal_branches();
        for address in &self.addresses.cluster {
            rules.push(self.rule(Destination::Address(*address), self.port, internal.clone()));
        }
        if self.node_port.is_none()
            && self.addresses.external.is_empty()
            && self.addresses.balancer.is_empty()
        {
            return;
        }
        let external = self.external_branches();
        for address in &self.addresses.external {
            let branches = self.own_branch(*address).into_iter().chain(external.iter().cloned());
            rules.push(self.rule(Destination::Address(*address), self.port, branches.collect()));
        }
        for address in &self.addresses.balancer {
            let mut branches: Vec<Branch> = self.source_range_branch(*address).into_iter().collect();
            branches.extend(self.own_branch(*address));
            branches.extend(external.iter().cloned());
            rules.push(self.rule(Destination::Address(*address), self.port, branches));
        }
        if let Some(port) = self.node_port {
            for destination in node_ports::destinations(self.node, self.addresses.ipv4) {
                rules.push(self.rule(destination, port, external.clone()));
            }
        }
    }

    fn rule(&self, destination: Destination, port: u16, branches: Vec<Branch>) -> DestinationRule {
        DestinationRule { destination, protocol: self.protocol, port, branches, label: self.label.clone() }
    }

    /// To the cluster IP (step 4): the source stays if it is a pod.
    fn internal_branches(&self) -> Vec<Branch> {
        if let Some(rejected) = self.rejected() {
            return rejected;
        }
        let targets = self.targets(self.spec.internal_traffic_policy.as_deref() == Some("Local"));
        let pods = self.node.detected_networks(self.addresses.ipv4);
        let detects = self.node.local_detector != super::LocalDetector::None;
        let any = |masquerade| Branch {
            source: SourceMatch::Any,
            verdict: self
                .translated(targets, masquerade)
                .unwrap_or_else(|| self.dropped("internalTrafficPolicy")),
        };
        // Without a detector everything counts as a pod.
        if self.node.masquerade_all || !detects || targets.is_empty() {
            return vec![any(self.node.masquerade_all)];
        }
        let kept = self.translated(targets, false);
        let pods = kept.map(|verdict| Branch { source: SourceMatch::In(pods), verdict });
        pods.into_iter().chain([any(true)]).collect()
    }

    /// To a node port, load balancer address or external IP (step 5).
    fn external_branches(&self) -> Vec<Branch> {
        if let Some(rejected) = self.rejected() {
            return rejected;
        }
        let cluster = self.targets(false);
        let policy = "externalTrafficPolicy";
        if self.spec.external_traffic_policy.as_deref() != Some("Local") {
            let verdict = self.translated(cluster, true).unwrap_or_else(|| self.dropped(policy));
            return vec![Branch { source: SourceMatch::Any, verdict }];
        }
        let local = self.targets(true);
        let mut branches = Vec::new();
        if self.node.mode == Mode::Ipvs {
            // What the node sends carries the virtual address as its source, which has to be rewritten.
            let own = self.translated(local, true);
            branches.extend(own.map(|verdict| Branch { source: SourceMatch::ThisDevice, verdict }));
            let verdict = self.translated(local, false).unwrap_or_else(|| self.dropped(policy));
            branches.push(Branch { source: SourceMatch::Any, verdict });
            return branches;
        }
        let pods = self.node.detected_networks(self.addresses.ipv4);
        if let Some(verdict) = self.translated(cluster, false).filter(|_| !pods.is_empty()) {
            branches.push(Branch { source: SourceMatch::In(pods), verdict });
        }
        if let Some(verdict) = self.translated(cluster, true) {
            branches.push(Branch { source: SourceMatch::ThisDevice, verdict });
        }
        let verdict = self.translated(local, false).unwrap_or_else(|| self.dropped(policy));
        branches.push(Branch { source: SourceMatch::Any, verdict });
        branches
    }

    /// Step 2: sources outside `loadBalancerSourceRanges` are dropped. The load balancer's own address is let
    /// through if one of the node's addresses is in the ranges.
    fn source_range_branch(&self, address: IpAddr) -> Option<Branch> {
        let texts = self.spec.load_balancer_source_ranges.as_deref().filter(|ranges| !ranges.is_empty())?;
        let parsed = texts.iter().filter_map(|text| text.trim().parse::<IpNet>().ok());
        let mut ranges: Vec<IpNet> =
            parsed.filter(|range| range.addr().is_ipv4() == self.addresses.ipv4).collect();
        if self.node.addresses.iter().any(|own| ranges.iter().any(|range| range.contains(own))) {
            ranges.push(IpNet::from(address));
        }
        let reason = format!("the source is not in loadBalancerSourceRanges of Service {}", self.name);
        Some(Branch { source: SourceMatch::NotIn(ranges), verdict: Verdict::Drop { reason: reason.into() } })
    }

    /// Step 3: nobody is usable anywhere.
    fn rejected(&self) -> Option<Vec<Branch>> {
        if self.selection.has_any {
            return None;
        }
        let reason = format!("Service {} has no endpoint that is ready", self.name);
        Some(vec![Branch { source: SourceMatch::Any, verdict: Verdict::Reject { reason: reason.into() } }])
    }

    /// The endpoints of a policy. IPVS takes all of them where there is no local one.
    fn targets(&self, local: bool) -> &[SocketAddr] {
        let cluster = self.selection.cluster.as_deref().unwrap_or(&[]);
        let local = local.then(|| self.selection.local.as_deref().unwrap_or(&[]));
        let fallback = if self.node.mode == Mode::Ipvs { cluster } else { &[] };
        match local {
            Some([]) => fallback,
            Some(local) => local,
            None => cluster,
        }
    }

    /// Step 6: somebody is usable, but not for this policy. IPVS has no such verdict: a virtual server without real
    /// servers refuses.
    fn dropped(&self, policy: &str) -> Verdict {
        let reason =
            format!("{policy} Local and no endpoint of Service {} on {}", self.name, self.node.name).into();
        match self.node.mode {
            Mode::Iptables | Mode::Nftables => Verdict::Drop { reason },
            Mode::Ipvs => Verdict::Reject { reason },
        }
    }

    /// In iptables mode the refusals of external IPs and load balancer addresses are in the chains INPUT and FORWARD
    /// only: what the node itself sends there leaves for the real load balancer (linux.md 3, K13).
    fn own_branch(&self, address: IpAddr) -> Option<Branch> {
        let leaves = self.node.mode == Mode::Iptables
            && !self.selection.has_any
            && !self.node.addresses.contains(&address);
        leaves.then_some(Branch { source: SourceMatch::ThisDevice, verdict: Verdict::Accept })
    }

    /// Where UDP flows to this port may have gone, and which endpoints may keep them.
    fn udp_destinations(&self) -> Vec<UdpDestination> {
        if self.protocol != Protocol::Udp {
            return Vec::new();
        }
        let addresses = &self.addresses;
        let named = [&addresses.cluster, &addresses.external, &addresses.balancer].into_iter().flatten();
        let named = named.map(|address| (Some(*address), self.port));
        let node_port = self.node_port.map(|port| (None, port));
        let destination = |(address, port)| UdpDestination {
            address,
            port,
            ipv4: addresses.ipv4,
            serving: self.serving.clone(),
        };
        named.chain(node_port).map(destination).collect()
    }

    /// Step 7; none if there is nobody to choose from.
    fn translated(&self, targets: &[SocketAddr], masquerade: bool) -> Option<Verdict> {
        if targets.is_empty() {
            return None;
        }
        let choice = if self.spec.session_affinity.as_deref() == Some("ClientIP") {
            let config =
                self.spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
            let seconds =
                config.and_then(|config| config.timeout_seconds).unwrap_or(AFFINITY_TIMEOUT_SECONDS_DEFAULT);
            Choice::SourceAffinity(Span::from_secs(u64::try_from(seconds).unwrap_or(0)))
        } else if self.node.mode == Mode::Ipvs {
            Choice::RoundRobin
        } else {
            Choice::Random
        };
        Some(Verdict::Translate(Translation { targets: targets.into(), masquerade, choice }))
    }
}

/// The health check port of a load balancer with the Local policy: it counts ready local endpoints of the
/// first port.
fn health_check(
    node: &NodeFacts,
    name: &ServiceName,
    service: &Service,
    spec: &ServiceSpec,
    slices: &[&EndpointSlice],
) -> Option<HealthCheck> {
    if !needs_health_check_port(service) {
        return None;
    }
    let port = u16::try_from(spec.health_check_node_port?).ok().filter(|port| *port != 0)?;
    let mut local: Vec<IpAddr> = [true, false]
        .into_iter()
        .flat_map(|ipv4| {
            spec.ports.iter().flatten().flat_map(move |port| {
                let (port_name, protocol) = (port.name.as_deref().unwrap_or(""), port.protocol.as_deref());
                candidates(slices, port_name, protocol.unwrap_or("TCP"), &node.name, ipv4)
            })
        })
        .filter(|candidate| candidate.local && candidate.ready)
        .map(|candidate| candidate.address.ip())
        .collect();
    local.sort_unstable();
    local.dedup();
    Some(HealthCheck { port, service: name.clone(), local_endpoints: local.len() })
}
