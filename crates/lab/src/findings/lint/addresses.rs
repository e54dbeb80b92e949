//! Advertised hosts: L5, L6, L8, L10 of redpanda.md 1.7; rows 1, 3, 4, 5, 30 and 46 of section 5.

use std::collections::BTreeMap;

use super::super::facts::{Advertised, Broker, Cluster, Listener, address_with_domain};
use super::super::{Code, Finding};
use super::{Group, groups, listed};

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in groups(cluster) {
        findings.extend(bare_pod_names(cluster, &group));
        findings.extend(domain_on_address(cluster, &group));
        findings.extend(empty(&group));
        findings.extend(shared(&group));
        findings.extend(other_brokers(cluster, &group));
    }
    findings
}

/// The members with an advertised address for which `predicate` holds, as `broker -> address`.
fn advertising<'a>(
    group: &'a Group<'_>,
    predicate: impl Fn(&Broker, &Advertised) -> bool,
) -> Vec<(&'a Broker, &'a Advertised)> {
    group
        .members
        .iter()
        .filter_map(|(broker, listener)| Some((*broker, listener.advertised.as_ref()?)))
        .filter(|(broker, address)| predicate(broker, address))
        .collect()
}

fn hosts(members: &[(&Broker, &Advertised)]) -> String {
    listed(&members.iter().map(|(_, address)| address.to_string()).collect::<Vec<_>>())
}

/// L5, row 1.
fn bare_pod_names(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    let bare = advertising(group, |broker, address| {
        address.host == broker.pod && cluster.external_addresses(&address.host).is_empty()
    });
    let (broker, address) = bare.first()?;
    let explanation = format!(
        "{} advertises {}: the bare pod names. A client outside bootstraps, is told {}, asks its resolver for \"{}\" \
         and gets no answer. The chart writes ${{SERVICE_NAME}}, the pod's name, when neither external.domain nor \
         external.addresses is set.",
        group.title(),
        hosts(&bare),
        address,
        address.host,
    );
    let fix = format!(
        "Set external.domain and create DNS records ({}.DOMAIN with the address of its node, and so on), or set \
         external.addresses to one address per broker. If clients resolve \"{}\" by other means, list it under \
         externalNames in the cluster file.",
        broker.pod, address.host
    );
    Some(group.finding(Code::BarePodNameAdvertised, explanation).fix(fix))
}

/// L10, row 46.
fn domain_on_address(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    let appended = advertising(group, |_, address| {
        address_with_domain(&address.host).is_some() && cluster.external_addresses(&address.host).is_empty()
    });
    let (_, address) = appended.first()?;
    let (ip, domain) = address_with_domain(&address.host)?;
    let explanation = format!(
        "{} advertises {}: an IP address with a domain behind it. The chart appends external.domain (\"{domain}\") to \
         every entry of external.addresses, also to the IP address {ip}. \"{}\" is a name that no DNS server knows.",
        group.title(),
        hosts(&appended),
        address.host,
    );
    let fix = format!(
        "Remove external.domain so that {ip} itself is advertised, or replace the addresses by host names within \
         {domain}."
    );
    Some(group.finding(Code::DomainAppendedToAddress, explanation).fix(fix))
}

/// L7 as it ends in the configuration, row 3.
fn empty(group: &Group<'_>) -> Option<Finding> {
    let empty = advertising(group, |_, address| address.host.is_empty());
    let (_, address) = empty.first()?;
    let pods: Vec<String> = empty.iter().map(|(broker, _)| broker.pod.clone()).collect();
    let explanation = format!(
        "{} of {} advertises an empty host with port {}. Clients are told an address that they cannot use.",
        group.title(),
        listed(&pods),
        address.port,
    );
    Some(group.finding(Code::EmptyAdvertisedAddress, explanation))
}

/// L6, rows 5 and 30.
fn shared(group: &Group<'_>) -> Option<Finding> {
    let mut brokers: BTreeMap<&Advertised, Vec<String>> = BTreeMap::new();
    for (broker, address) in advertising(group, |_, address| !address.host.is_empty()) {
        brokers.entry(address).or_default().push(broker.pod.clone());
    }
    let (address, pods) = brokers.into_iter().find(|(_, pods)| pods.len() > 1)?;
    let explanation = format!(
        "{} of {} advertises the same address {address}. A client that is told to ask one of them dials {address} and \
         reaches whichever of them is behind it; the others' partitions answer NOT_LEADER_OR_FOLLOWER for ever.",
        group.title(),
        listed(&pods),
    );
    let fix = format!(
        "Advertise one address per broker: an entry of external.addresses for each of the {} brokers, or a variable of \
         the pod in the address (such as $POD_ORDINAL or $HOST_IP_ADDRESS), or different ports.",
        pods.len()
    );
    Some(group.finding(Code::SharedAdvertisedAddress, explanation).fix(fix))
}

/// L8, row 4: the address is that of a node, or of a load balancer, behind which another broker stands.
fn other_brokers(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    for (broker, address) in advertising(group, |broker, address| is_own(group, broker, address)) {
        let addresses = cluster.external_addresses(&address.host);
        if let Some(finding) = other_balancer(cluster, group, broker, address, &addresses) {
            return Some(finding);
        }
        let node = addresses.iter().find_map(|own| cluster.node(own)).or_else(|| cluster.node(&address.host));
        let (Some(node), Some(own)) = (node, &broker.node) else { continue };
        if node.name == *own {
            continue;
        }
        let others =
            group.members.iter().find(|(other, _)| other.node.as_deref() == Some(node.name.as_str()));
        let Some((other, _)) = others else { continue };
        let explanation = format!(
            "{} of {} advertises {address}, which is node {}. That node runs {}; {} itself runs on {own}. With the \
             policy Local a client that wants {} reaches {}.",
            group.title(),
            broker.pod,
            node.name,
            other.pod,
            broker.pod,
            broker.pod,
            other.pod,
        );
        return Some(group.finding(Code::AddressOfAnotherBroker, explanation));
    }
    None
}

/// Whether the broker alone advertises the address. One that several advertise is another finding.
fn is_own(group: &Group<'_>, broker: &Broker, address: &Advertised) -> bool {
    let same = |(other, listener): &(&Broker, &Listener)| {
        other.pod != broker.pod && listener.advertised.as_ref() == Some(address)
    };
    !address.host.is_empty() && !group.members.iter().any(same)
}

/// The load balancer at the address leads to other brokers, and not to this one.
fn other_balancer(
    cluster: &Cluster,
    group: &Group<'_>,
    broker: &Broker,
    address: &Advertised,
    addresses: &[String],
) -> Option<Finding> {
    let at_address = |ingress: &String| {
        addresses.contains(ingress) || ingress.as_str() == address.host.trim_end_matches('.')
    };
    let service = cluster.services.iter().find(|service| service.ingress.iter().any(at_address))?;
    if service.selected.contains(&broker.pod_key()) {
        return None;
    }
    let (other, _) = group.members.iter().find(|(other, _)| service.selected.contains(&other.pod_key()))?;
    let explanation = format!(
        "{} of {} advertises {address}, which is the load balancer of {}. That Service leads to {}.",
        group.title(),
        broker.pod,
        service.object(),
        other.pod,
    );
    Some(group.finding(Code::AddressOfAnotherBroker, explanation))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{advertise, codes, only, sound};
    use super::*;

    #[test]
    fn a_sound_cluster_gives_no_finding() {
        assert_eq!(codes(&sound()), []);
    }

    #[test]
    fn bare_pod_names_are_found_unless_they_resolve_outside() {
        let mut cluster = sound();
        advertise(&mut cluster, |broker, _| (broker.pod.clone(), 31092));
        let finding = only(&cluster, Code::BarePodNameAdvertised);
        assert_eq!(finding.object, "StatefulSet redpanda/redpanda");
        assert_eq!(finding.field.as_deref(), Some("redpanda.advertised_kafka_api[default]"));
        assert_eq!((finding.file.as_deref(), finding.line), (Some("redpanda.yaml"), Some(12)));
        insta::assert_snapshot!(finding.explanation, @r#"Kafka listener "default" advertises redpanda-0:31092, redpanda-1:31092 and redpanda-2:31092: the bare pod names. A client outside bootstraps, is told redpanda-0:31092, asks its resolver for "redpanda-0" and gets no answer. The chart writes ${SERVICE_NAME}, the pod's name, when neither external.domain nor external.addresses is set."#);
        for broker in 0..3 {
            cluster.external_names.insert(format!("redpanda-{broker}"), vec![format!("10.0.0.1{broker}")]);
        }
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn a_domain_on_an_address_is_found() {
        let mut cluster = sound();
        advertise(&mut cluster, |_, index| (format!("10.0.0.1{index}.example.com"), 31092));
        let finding = only(&cluster, Code::DomainAppendedToAddress);
        insta::assert_snapshot!(finding.explanation, @r#"Kafka listener "default" advertises 10.0.0.10.example.com:31092, 10.0.0.11.example.com:31092 and 10.0.0.12.example.com:31092: an IP address with a domain behind it. The chart appends external.domain ("example.com") to every entry of external.addresses, also to the IP address 10.0.0.10. "10.0.0.10.example.com" is a name that no DNS server knows."#);
    }

    #[test]
    fn an_empty_host_is_found() {
        let mut cluster = sound();
        advertise(&mut cluster, |_, index| {
            (if index == 2 { String::new() } else { format!("10.0.0.1{index}") }, 31092)
        });
        let finding = only(&cluster, Code::EmptyAdvertisedAddress);
        assert!(finding.explanation.contains("of redpanda-2 advertises an empty host with port 31092"));
    }

    #[test]
    fn one_address_for_all_is_found() {
        let mut cluster = sound();
        advertise(&mut cluster, |_, _| ("kafka.example.com".to_owned(), 31092));
        let finding = only(&cluster, Code::SharedAdvertisedAddress);
        assert!(
            finding.explanation.contains("redpanda-0, redpanda-1 and redpanda-2"),
            "{}",
            finding.explanation
        );
    }

    #[test]
    fn addresses_in_another_order_than_the_brokers_are_found() {
        let mut cluster = sound();
        advertise(&mut cluster, |_, index| (format!("10.0.0.1{}", [1, 0, 2][index]), 31092));
        let finding = only(&cluster, Code::AddressOfAnotherBroker);
        insta::assert_snapshot!(finding.explanation, @r#"Kafka listener "default" of redpanda-0 advertises 10.0.0.11:31092, which is node node-1. That node runs redpanda-1; redpanda-0 itself runs on node-0. With the policy Local a client that wants redpanda-0 reaches redpanda-1."#);
    }

    #[test]
    fn load_balancers_of_other_brokers_are_found() {
        let mut cluster = sound();
        cluster.managed_load_balancers = true;
        let mut balancers: Vec<_> = (0..3).map(|_| cluster.services[1].clone()).collect();
        for (id, service) in balancers.iter_mut().enumerate() {
            service.name = format!("lb-redpanda-{id}");
            service.kind = super::super::super::facts::ServiceKind::LoadBalancer;
            service.ports = vec![super::super::fixture::port("kafka", 31092, 9094, None)];
            service.selected = vec![format!("redpanda/redpanda-{id}")];
            service.ingress = vec![format!("198.51.100.{id}")];
        }
        cluster.services.truncate(1);
        cluster.services.extend(balancers);
        advertise(&mut cluster, |_, index| (format!("198.51.100.{index}"), 31092));
        assert_eq!(codes(&cluster), []);
        advertise(&mut cluster, |_, index| (format!("198.51.100.{}", [1, 0, 2][index]), 31092));
        let finding = only(&cluster, Code::AddressOfAnotherBroker);
        assert!(finding.explanation.contains("load balancer of Service redpanda/lb-redpanda-1"));
    }
}
