//! The objects that match a question (CoreDNS, plugin/kubernetes/kubernetes.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::question::{Part, Question};
use super::zone::{Endpoint, Options, PodMode, Port, Service, ServiceKind, Zone};

/// An object found: something with an address, or an alias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub host: Host,
    /// The name SRV records point to, without the domain.
    pub target: String,
    /// The port; `None` for an endpoint without ports and for pods, which have no SRV record.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Alias(String),
}

/// What a question finds: `None` is a name that does not exist, an empty list one that exists without records.
pub(super) fn find(zone: &Zone, question: &Question) -> Option<Vec<Found>> {
    match question {
        Question::Top => Some(Vec::new()),
        Question::Namespace { namespace, pods } => {
            let exists = zone.exposes(namespace) && !(*pods && zone.options.pods == PodMode::Disabled);
            exists.then(Vec::new)
        }
        Question::Pod { namespace, name } => pod(zone, namespace, name),
        Question::Service { namespace, name, part } => {
            if !zone.exposes(namespace) {
                return None;
            }
            service(zone.service(namespace, name)?, part, &zone.options)
        }
    }
}

fn pod(zone: &Zone, namespace: &str, name: &str) -> Option<Vec<Found>> {
    if zone.options.pods == PodMode::Disabled || !zone.exposes(namespace) {
        return None;
    }
    let ip = dashed_address(name)?;
    if zone.options.pods == PodMode::Verified && !zone.has_pod(namespace, ip) {
        return None;
    }
    let target = format!("{name}.{namespace}.pod");
    Some(vec![Found { host: Host::Address(ip), target, port: None }])
}

/// `10-0-0-1` or an IPv6 address with its colons as dashes.
fn dashed_address(name: &str) -> Option<IpAddr> {
    if name.matches('-').count() == 3 && !name.contains("--") {
        return name.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    name.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn service(service: &Service, part: &Part, options: &Options) -> Option<Vec<Found>> {
    let own = format!("{}.{}.svc", service.name, service.namespace);
    match &service.kind {
        ServiceKind::ExternalName(name) => match part {
            Part::Whole => Some(vec![Found { host: Host::Alias(name.clone()), target: own, port: Some(0) }]),
            _ => None,
        },
        ServiceKind::ClusterIp(ips) => {
            if options.ignore_empty_service && service.ready().next().is_none() {
                return None;
            }
            if matches!(part, Part::Endpoint { .. }) {
                return endpoints(service, part, options);
            }
            if matches!(part, Part::Zone { .. }) {
                return None;
            }
            let ports = service.ports.iter().filter(|port| matches_port(part, port));
            let found: Vec<Found> = ports
                .flat_map(|port| {
                    ips.iter().map(|ip| Found {
                        host: Host::Address(*ip),
                        target: own.clone(),
                        port: Some(port.number),
                    })
                })
                .collect();
            (!found.is_empty()).then_some(found)
        }
        ServiceKind::Headless => endpoints(service, part, options),
    }
}

fn endpoints(service: &Service, part: &Part, options: &Options) -> Option<Vec<Found>> {
    let mut found = Vec::new();
    for (endpoint, ports) in service.ready() {
        let label = label(endpoint, options.endpoint_pod_names);
        if let Part::Endpoint { label: wanted, cluster } = part
            && (*wanted != label || *cluster != options.multicluster)
        {
            continue;
        }
        let cluster = options.multicluster.as_ref().map(|cluster| format!("{cluster}.")).unwrap_or_default();
        let target = format!("{label}.{cluster}{}.{}.svc", service.name, service.namespace);
        let host = Host::Address(endpoint.ip);
        if ports.is_empty() && !matches!(part, Part::Port { .. }) {
            found.push((endpoint, Found { host, target, port: None }));
            continue;
        }
        for port in ports.iter().filter(|port| matches_port(part, port)) {
            let found_here = Found { host: host.clone(), target: target.clone(), port: Some(port.number) };
            found.push((endpoint, found_here));
        }
    }
    if found.is_empty() {
        return None;
    }
    if let Part::Zone { zone, prefer } = part {
        let here = |(endpoint, _): &(&Endpoint, Found)| endpoint.zone.as_deref() == Some(zone);
        if !*prefer || found.iter().any(here) {
            found.retain(here);
        }
    }
    Some(found.into_iter().map(|(_, found)| found).collect())
}

fn matches_port(part: &Part, port: &Port) -> bool {
    match part {
        Part::Port { name, protocol } => {
            port.name.eq_ignore_ascii_case(name) && port.protocol.eq_ignore_ascii_case(protocol)
        }
        _ => true,
    }
}

/// The endpoint's label: its hostname, else its pod (if so set), else its address with dashes.
pub(super) fn label(endpoint: &Endpoint, pod_names: bool) -> String {
    if let Some(hostname) = endpoint.hostname.as_ref().filter(|hostname| !hostname.is_empty()) {
        return hostname.to_ascii_lowercase();
    }
    if let Some(pod) = endpoint.pod.as_ref().filter(|pod| pod_names && pod.len() <= 63) {
        return pod.clone();
    }
    let dashed = endpoint.ip.to_string().replace(['.', ':'], "-");
    if dashed.ends_with('-') { format!("{dashed}0") } else { dashed }
}

/// The names of an address: of the first Service that has it, else one for each Service with such an endpoint.
pub(super) fn names_of(zone: &Zone, ip: IpAddr) -> Vec<String> {
    if let Some(service) = zone.services_at(ip).find(|service| zone.exposes(&service.namespace)) {
        return vec![format!("{}.{}.svc", service.name, service.namespace)];
    }
    let mut names = Vec::new();
    for service in zone.services_with_endpoint(ip).filter(|service| zone.exposes(&service.namespace)) {
        for (endpoint, _) in service.ready().filter(|(endpoint, _)| endpoint.ip == ip) {
            let label = label(endpoint, zone.options.endpoint_pod_names);
            let name = format!("{label}.{}.{}.svc", service.name, service.namespace);
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The address a reverse name stands for; `None` if it is not complete.
pub(super) fn reverse_address(name: &str) -> Option<IpAddr> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    if let Some(octets) = name.strip_suffix(".in-addr.arpa") {
        let reversed: Vec<&str> = octets.rsplit('.').collect();
        return reversed.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let nibbles: String = name.strip_suffix(".ip6.arpa")?.rsplit('.').collect();
    if nibbles.len() != 32 || name.len() != 32 * 2 + "ip6.arpa".len() {
        return None;
    }
    u128::from_str_radix(&nibbles, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from(bits)))
}
