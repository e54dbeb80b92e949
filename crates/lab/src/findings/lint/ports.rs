//! Ports between listeners and Services: L1 to L4 and L14 of redpanda.md 1.7; rows 7, 8, 9, 27 and 39 of
//! section 5.

use std::collections::BTreeMap;

use super::super::facts::{Advertised, Broker, Cluster, Listener, Service, ServiceKind, ServicePort};
use super::super::{Code, Finding};
use super::{Group, groups, listed};
use crate::entry::entry;
use crate::report::check::Api;

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(out_of_range(cluster));
    findings.extend(used_twice(cluster));
    for group in groups(cluster).iter().filter(|group| group.is_external(cluster)) {
        findings.extend(not_opened(cluster, group));
    }
    for group in groups(cluster).iter().filter(|group| group.api == Api::Admin) {
        findings.extend(redirects(cluster, group));
    }
    findings.extend(cluster.services.iter().filter_map(|service| targets_internal(cluster, service)));
    findings.extend(cluster.services.iter().filter_map(|service| dns_record(cluster, service)));
    findings
}

/// L2, row 9. The range is the API server's (kubernetes.md 3).
fn out_of_range(cluster: &Cluster) -> Vec<Finding> {
    let (first, last) = cluster.node_ports;
    let mut findings = Vec::new();
    for (service, port, node_port) in node_ports(cluster) {
        if (first..=last).contains(&node_port) {
            continue;
        }
        let explanation = format!(
            "Port \"{}\" of {} asks for node port {node_port}. The API server allows {first} to {last} and rejects the \
             Service, so none of its ports is opened.",
            port.name,
            service.object(),
        );
        let fix = format!("Choose a nodePort from {first} to {last}; the advertised port has to follow it.");
        let finding = Finding::new(Code::NodePortOutOfRange, service.object(), explanation).fix(fix);
        findings.push(finding.field(field(port, "nodePort")).at(port.position.as_ref()));
    }
    findings
}

fn used_twice(cluster: &Cluster) -> Vec<Finding> {
    let mut users: BTreeMap<u16, (&Service, &ServicePort)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (service, port, node_port) in node_ports(cluster) {
        let Some((first, first_port)) = users.get(&node_port) else {
            users.insert(node_port, (service, port));
            continue;
        };
        let explanation = format!(
            "Node port {node_port} is asked for by port \"{}\" of {} and by port \"{}\" of {}. The API server rejects \
             the second.",
            first_port.name,
            first.object(),
            port.name,
            service.object(),
        );
        let finding = Finding::new(Code::NodePortUsedTwice, service.object(), explanation);
        findings.push(finding.field(field(port, "nodePort")).at(port.position.as_ref()));
    }
    findings
}

fn node_ports(cluster: &Cluster) -> impl Iterator<Item = (&Service, &ServicePort, u16)> {
    cluster
        .services
        .iter()
        .filter(|service| matches!(service.kind, ServiceKind::NodePort | ServiceKind::LoadBalancer))
        .flat_map(|service| {
            service.ports.iter().filter_map(move |port| Some((service, port, port.node_port?)))
        })
}

fn field(port: &ServicePort, field: &str) -> String {
    format!("spec.ports[{}].{field}", port.name)
}

/// L1, L3, L4, L14, row 7: something has to lead from the advertised port to the listener's port.
fn not_opened(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    let closed: Vec<(&Broker, &Listener, &Advertised)> = group
        .members
        .iter()
        .filter_map(|(broker, listener)| Some((*broker, *listener, listener.advertised.as_ref()?)))
        .filter(|(broker, listener, address)| !opens(cluster, broker, listener, address.port))
        .collect();
    let (broker, listener, address) = *closed.first()?;
    let ways = leading_to(cluster, broker, listener);
    let addresses: Vec<String> = closed.iter().map(|(_, _, address)| address.to_string()).collect();
    if ways.is_empty() {
        let explanation = format!(
            "{} advertises {} and listens on port {}. No NodePort or LoadBalancer Service that selects {} leads to \
             that port, so nothing outside reaches it.",
            group.title(),
            listed(&addresses),
            listener.port,
            broker.pod,
        );
        return Some(group.finding(Code::ListenerNotExposed, explanation));
    }
    let only_balancers = ways.iter().all(|(service, _)| service.kind == ServiceKind::LoadBalancer);
    let code = if only_balancers { Code::LoadBalancerPortMismatch } else { Code::PortNotOpened };
    let opened: Vec<String> = ways.iter().flat_map(|(service, port)| opened(service, port)).collect();
    let pods: Vec<String> = closed.iter().map(|(broker, _, _)| broker.pod.clone()).collect();
    let explanation = format!(
        "{} of {} advertises {}; what leads to its port {} is {}. Port {} is closed: a client that is told {address} \
         is refused or times out.",
        group.title(),
        listed(&pods),
        listed(&addresses),
        listener.port,
        listed(&opened),
        address.port,
    );
    Some(group.finding(code, explanation))
}

fn opens(cluster: &Cluster, broker: &Broker, listener: &Listener, advertised: u16) -> bool {
    leading_to(cluster, broker, listener).iter().any(|(service, port)| {
        port.node_port == Some(advertised)
            || (service.kind == ServiceKind::LoadBalancer && port.port == advertised)
    })
}

/// The ports of NodePort and LoadBalancer Services that lead to `listener` of `broker`.
fn leading_to<'a>(
    cluster: &'a Cluster,
    broker: &Broker,
    listener: &Listener,
) -> Vec<(&'a Service, &'a ServicePort)> {
    let pod = broker.pod_key();
    cluster
        .services
        .iter()
        .filter(|service| matches!(service.kind, ServiceKind::NodePort | ServiceKind::LoadBalancer))
        .filter(|service| service.selected.contains(&pod))
        .flat_map(|service| service.ports.iter().map(move |port| (service, port)))
        .filter(|(_, port)| port.target_port == listener.port)
        .collect()
}

fn opened(service: &Service, port: &ServicePort) -> Vec<String> {
    let mut opened = Vec::new();
    if service.kind == ServiceKind::LoadBalancer {
        opened.push(format!("port {} of {}", port.port, service.object()));
    }
    if let Some(node_port) = port.node_port {
        opened.push(format!("node port {node_port} of {}", service.object()));
    }
    opened
}

/// Row 8.
fn targets_internal(cluster: &Cluster, service: &Service) -> Option<Finding> {
    if !matches!(service.kind, ServiceKind::NodePort | ServiceKind::LoadBalancer) {
        return None;
    }
    let broker = cluster.brokers.iter().find(|broker| service.selected.contains(&broker.pod_key()))?;
    service.ports.iter().find_map(|port| {
        let mut at_port = broker.listeners.iter().filter(|listener| {
            listener.port == port.target_port && matches!(listener.api, Api::Kafka | Api::HttpProxy)
        });
        let internal = |listener: &&Listener| {
            listener.advertised.as_ref().is_some_and(|address| cluster.is_cluster_name(&address.host))
        };
        let listener = at_port.clone().find(internal)?;
        if !at_port.all(|listener| internal(&listener)) {
            return None;
        }
        let address = listener.advertised.as_ref()?;
        let explanation = format!(
            "Port \"{}\" of {} leads to port {} of {}, which is listener \"{}\". Clients that come in there are told \
             {address}, a name of the cluster's own DNS.",
            port.name,
            service.object(),
            port.target_port,
            broker.pod,
            listener.name,
        );
        let finding = Finding::new(Code::TargetsInternalListener, service.object(), explanation);
        Some(finding.field(field(port, "targetPort")).at(port.position.as_ref()))
    })
}

/// Row 27; redpanda.md 3.1.3: a write goes to the broker that has to do it by a redirect, to that broker's advertised
/// Kafka host if the request came in by one, and to its name inside otherwise.
fn redirects(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    if cluster.brokers.len() < 2 {
        return None;
    }
    let (broker, address) = group.members.iter().find_map(|(broker, listener)| {
        let address = entry(cluster, broker, listener, true)?;
        let dialled = cluster.external_addresses(&address.host);
        let outside = broker.listeners.iter().filter(|it| it.api == Api::Kafka && cluster.is_for_outside(it));
        let mut hosts = outside.filter_map(|it| Some(&it.advertised.as_ref()?.host));
        // A name that leads nowhere here may lead anywhere there.
        let known = hosts.any(|host| {
            let addresses = cluster.external_addresses(host);
            addresses.is_empty() || addresses.iter().any(|it| dialled.contains(it))
        });
        (!known).then_some((*broker, address))
    })?;
    let explanation = format!(
        "Clients outside reach the Admin API of {} at {address}, which is where none of its Kafka listeners is advertised. \
         A write that another broker has to do (a user, a cluster property) is redirected to that broker's name inside, \
         which clients outside cannot resolve.",
        broker.pod,
    );
    Some(group.finding(Code::AdminRedirectsInside, explanation))
}

/// Row 39.
fn dns_record(cluster: &Cluster, service: &Service) -> Option<Finding> {
    let hostname = service.dns_hostnames.first()?.trim_end_matches('.');
    let advertised: Vec<String> = cluster
        .brokers
        .iter()
        .filter(|broker| service.selected.contains(&broker.pod_key()))
        .flat_map(|broker| &broker.listeners)
        .filter(|listener| service.ports.iter().any(|port| port.target_port == listener.port))
        .filter_map(|listener| Some(listener.advertised.as_ref()?.host.trim_end_matches('.').to_owned()))
        .collect();
    let known = |name: &String| service.dns_hostnames.iter().any(|own| own.trim_end_matches('.') == name);
    if advertised.is_empty() || advertised.iter().any(known) {
        return None;
    }
    let explanation = format!(
        "{} asks external-dns for a record \"{hostname}\"; the brokers behind it advertise {}. Nobody asks for the \
         record, and the advertised name has none.",
        service.object(),
        listed(&advertised),
    );
    let finding = Finding::new(Code::DnsRecordMismatch, service.object(), explanation);
    Some(
        finding
            .field("metadata.annotations[external-dns.alpha.kubernetes.io/hostname]")
            .at(service.position.as_ref()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{advertise, codes, only, port, sound};
    use super::*;

    #[test]
    fn a_node_port_outside_the_range_is_found() {
        let mut cluster = sound();
        cluster.services[1].ports[0].node_port = Some(22220);
        advertise(&mut cluster, |_, index| (format!("10.0.0.1{index}"), 22220));
        let finding = only(&cluster, Code::NodePortOutOfRange);
        assert_eq!(finding.field.as_deref(), Some("spec.ports[kafka-default].nodePort"));
        insta::assert_snapshot!(finding.explanation, @r#"Port "kafka-default" of Service redpanda/redpanda-external asks for node port 22220. The API server allows 30000 to 32767 and rejects the Service, so none of its ports is opened."#);
    }

    #[test]
    fn a_node_port_used_twice_is_found() {
        let mut cluster = sound();
        let mut second = cluster.services[1].clone();
        second.name = "second".into();
        cluster.services.push(second);
        assert_eq!(only(&cluster, Code::NodePortUsedTwice).object, "Service redpanda/second");
    }

    #[test]
    fn a_port_per_ordinal_that_no_service_opens_is_found() {
        let mut cluster = sound();
        advertise(&mut cluster, |_, index| (format!("10.0.0.1{index}"), 31092 + index as u16));
        let finding = only(&cluster, Code::PortNotOpened);
        insta::assert_snapshot!(finding.explanation, @r#"Kafka listener "default" of redpanda-1 and redpanda-2 advertises 10.0.0.11:31093 and 10.0.0.12:31094; what leads to its port 9094 is node port 31092 of Service redpanda/redpanda-external. Port 31093 is closed: a client that is told 10.0.0.11:31093 is refused or times out."#);
    }

    #[test]
    fn a_load_balancer_on_another_port_is_found() {
        let mut cluster = sound();
        cluster.managed_load_balancers = true;
        cluster.services[1].kind = ServiceKind::LoadBalancer;
        cluster.services[1].ports = vec![port("kafka-default", 9093, 9094, None)];
        advertise(&mut cluster, |broker, _| (format!("{}.example.com", broker.pod), 9094));
        let finding = only(&cluster, Code::LoadBalancerPortMismatch);
        assert!(finding.explanation.contains("port 9093 of Service redpanda/redpanda-external"));
    }

    #[test]
    fn a_listener_for_outside_without_a_service_is_found() {
        let mut cluster = sound();
        cluster.services.remove(1);
        only(&cluster, Code::ListenerNotExposed);
    }

    #[test]
    fn a_service_for_outside_that_leads_inside_is_found() {
        let mut cluster = sound();
        cluster.services[1].ports.push(port("kafka-wrong", 9095, 9093, Some(31095)));
        let finding = only(&cluster, Code::TargetsInternalListener);
        assert_eq!(finding.field.as_deref(), Some("spec.ports[kafka-wrong].targetPort"));
    }

    #[test]
    fn an_admin_api_behind_another_address_than_kafka_redirects_inside() {
        let mut cluster = sound();
        for broker in &mut cluster.brokers {
            let mut admin = broker.listeners[1].clone();
            (admin.api, admin.port, admin.advertised) = (Api::Admin, 9645, None);
            broker.listeners.push(admin);
        }
        cluster.services[1].ports.push(port("admin-default", 9645, 9645, Some(31644)));
        assert_eq!(codes(&cluster), []);
        let mut balancer = cluster.services[1].clone();
        (balancer.name, balancer.kind) = ("admin".into(), ServiceKind::LoadBalancer);
        balancer.ports = vec![cluster.services[1].ports.pop().expect("it was pushed")];
        (balancer.ports[0].node_port, balancer.ingress) = (None, vec!["198.51.100.7".into()]);
        cluster.services.push(balancer);
        let finding = only(&cluster, Code::AdminRedirectsInside);
        assert_eq!(finding.field.as_deref(), Some("redpanda.admin[default]"));
        cluster.brokers.truncate(1);
        cluster.stateful_sets.clear();
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn a_dns_record_for_another_name_is_found() {
        let mut cluster = sound();
        cluster.services[1].dns_hostnames = vec!["redpanda-0.example.com".into()];
        only(&cluster, Code::DnsRecordMismatch);
        advertise(&mut cluster, |broker, _| (format!("{}.example.com", broker.pod), 31092));
        assert_eq!(codes(&cluster), []);
    }
}
