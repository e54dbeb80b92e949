//! The objects that match a question (CoreDNS, plugin/kubernetes/kubernetes.go).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Reason;
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

/// What a question finds, and by which rule.
///
/// # Errors
/// Why the name does not exist.
pub(super) fn find(zone: &Zone, question: &Question) -> Result<(Vec<Found>, Reason), Reason> {
    match question {
        Question::Top => Ok((Vec::new(), Reason::EmptyNonTerminal)),
        Question::Namespace { namespace, pods } => {
            if *pods && zone.options.pods == PodMode::Disabled {
                return Err(Reason::PodNamesDisabled);
            }
            served(zone, namespace)?;
            Ok((Vec::new(), Reason::EmptyNonTerminal))
        }
        Question::Pod { namespace, name } => pod(zone, namespace, name),
        Question::Service { namespace, name, part } => {
            served(zone, namespace)?;
            let missing = || Reason::NoService { service: format!("{namespace}/{name}") };
            service(zone.service(namespace, name).ok_or_else(missing)?, part, &zone.options)
        }
    }
}

fn served(zone: &Zone, namespace: &str) -> Result<(), Reason> {
    if zone.exposes(namespace) {
        return Ok(());
    }
    let namespace = namespace.to_owned();
    Err(match zone.has_namespace(&namespace) {
        true => Reason::NamespaceNotServed { namespace },
        false => Reason::NoNamespace { namespace },
    })
}

fn pod(zone: &Zone, namespace: &str, name: &str) -> Result<(Vec<Found>, Reason), Reason> {
    if zone.options.pods == PodMode::Disabled {
        return Err(Reason::PodNamesDisabled);
    }
    served(zone, namespace)?;
    let ip = dashed_address(name).ok_or(Reason::NoPod)?;
    let verified = zone.options.pods == PodMode::Verified;
    if verified && !zone.has_pod(namespace, ip) {
        return Err(Reason::NoPod);
    }
    let target = format!("{name}.{namespace}.pod");
    Ok((vec![Found { host: Host::Address(ip), target, port: None }], Reason::PodAddress { verified }))
}

/// `10-0-0-1` or an IPv6 address with its colons as dashes.
fn dashed_address(name: &str) -> Option<IpAddr> {
    if name.matches('-').count() == 3 && !name.contains("--") {
        return name.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    name.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn service(service: &Service, part: &Part, options: &Options) -> Result<(Vec<Found>, Reason), Reason> {
    let own = format!("{}.{}.svc", service.name, service.namespace);
    match &service.kind {
        ServiceKind::ExternalName(target) => match part {
            Part::Whole => {
                let reason = Reason::Alias { service: service.key(), target: target.clone() };
                Ok((vec![Found { host: Host::Alias(target.clone()), target: own, port: Some(0) }], reason))
            }
            _ => Err(Reason::BelowAlias { service: service.key() }),
        },
        ServiceKind::ClusterIp(ips) => {
            if options.ignore_empty_service && service.ready().next().is_none() {
                return Err(Reason::EmptyServiceIgnored { service: service.key() });
            }
            match part {
                Part::Endpoint { .. } => return endpoints(service, part, options),
                Part::Zone { .. } => return Err(Reason::TooManyLabels),
                Part::Whole | Part::Port { .. } => {}
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
            match (found.is_empty(), port_of(part)) {
                (true, port) => Err(no_port(service, &service.ports, port)),
                (false, Some(port)) => Ok((found, Reason::NamedPort { service: service.key(), port })),
                (false, None) => {
                    let (ready, total) = (service.ready().count(), service.all().count());
                    Ok((found, Reason::ClusterAddress { service: service.key(), ready, total }))
                }
            }
        }
        ServiceKind::Headless => endpoints(service, part, options),
    }
}

fn endpoints(service: &Service, part: &Part, options: &Options) -> Result<(Vec<Found>, Reason), Reason> {
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
        return Err(no_endpoint(service, part, options));
    }
    if let Part::Zone { zone, prefer } = part {
        let here = |(endpoint, _): &(&Endpoint, Found)| endpoint.zone.as_deref() == Some(zone);
        if !*prefer || found.iter().any(here) {
            found.retain(here);
        }
    }
    let publishes_not_ready = service.publishes_not_ready;
    let reason = match part {
        Part::Endpoint { label, .. } => {
            Reason::Endpoint { service: service.key(), label: label.clone(), publishes_not_ready }
        }
        Part::Port { name, protocol } => {
            Reason::NamedPort { service: service.key(), port: format!("{name}/{protocol}") }
        }
        Part::Whole | Part::Zone { .. } => {
            let (ready, total) = (service.ready().count(), service.all().count());
            Reason::ReadyEndpoints { service: service.key(), ready, total, publishes_not_ready }
        }
    };
    Ok((found.into_iter().map(|(_, found)| found).collect(), reason))
}

/// Why no endpoint matches.
fn no_endpoint(service: &Service, part: &Part, options: &Options) -> Reason {
    let label_of = |endpoint: &Endpoint| label(endpoint, options.endpoint_pod_names);
    let not_ready = service.all().filter(|endpoint| !endpoint.ready);
    match part {
        Part::Endpoint { label, .. } => {
            if let Some(endpoint) = not_ready.clone().find(|endpoint| label_of(endpoint) == *label) {
                let terminating = endpoint.terminating;
                return Reason::EndpointNotReady {
                    service: service.key(),
                    label: label.clone(),
                    terminating,
                };
            }
            let labels = service.all().map(label_of).collect();
            Reason::NoEndpoint { service: service.key(), label: label.clone(), labels }
        }
        Part::Port { .. } if service.ready().next().is_some() => {
            let ports: Vec<Port> =
                service.slices.iter().flat_map(|slice| slice.ports.iter().cloned()).collect();
            no_port(service, &ports, port_of(part))
        }
        _ => {
            let mut not_ready: Vec<String> = not_ready.map(label_of).collect();
            not_ready.dedup();
            Reason::NoReadyEndpoint { service: service.key(), not_ready }
        }
    }
}

fn no_port(service: &Service, ports: &[Port], wanted: Option<String>) -> Reason {
    let mut ports: Vec<String> =
        ports.iter().map(|port| format!("{}/{}", port.name, port.protocol)).collect();
    ports.dedup();
    Reason::NoPort { service: service.key(), port: wanted.unwrap_or_else(|| "at all".to_owned()), ports }
}

fn port_of(part: &Part) -> Option<String> {
    match part {
        Part::Port { name, protocol } => Some(format!("{name}/{protocol}")),
        _ => None,
    }
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
