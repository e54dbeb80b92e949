//! Names and configurator scripts: L7, L9, L11, L15, L16 of redpanda.md 1.7; rows 6, 18, 19, 20, 21, 41, 42 and 47 of
//! section 5; redpanda.md 4.1 on listener names.

use std::collections::BTreeMap;

use super::super::facts::{Cluster, Tls, covers, is_address};
use super::super::{Code, Finding, Severity};
use super::{Group, api_title, field, groups, listed, owner};
use crate::report::check::Api;

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in groups(cluster) {
        findings.extend(certificate(cluster, &group));
        findings.extend(trailing_dot(&group));
        findings.extend(other_domain(cluster, &group));
    }
    findings.extend(short_lists(cluster));
    findings.extend(prefix_templates(cluster));
    findings.extend(advertised_names(cluster));
    findings.extend(shared_ports(cluster));
    findings.extend(seed_servers(cluster));
    findings.extend(internal_listener(cluster));
    findings
}

/// L11, rows 20 and 21.
fn certificate(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    if !group.is_external(cluster) {
        return None;
    }
    let told = group.members.iter().find_map(|(_, listener)| {
        let host = listener.advertised.as_ref()?.host.trim_end_matches('.');
        let Some(Tls { names: Some(names) }) = &listener.tls else { return None };
        let covered = host.is_empty() || names.iter().any(|name| covers(name, host));
        (!covered).then_some((host, names))
    });
    let Some((host, names)) = told else { return one_label_wildcard(group) };
    let reason =
        if is_address(host) { "an IP address, and the certificate holds no IP addresses" } else { "a name" };
    let explanation = format!(
        "{} advertises \"{host}\", {reason}; its certificate names {}. A client that checks the certificate ends the \
         handshake.",
        group.title(),
        listed(names),
    );
    Some(group.finding(Code::CertificateNameMismatch, explanation))
}

/// A wildcard directly below a domain of one label: RFC 6125 has nothing against it, and Go and Java take it, while OpenSSL
/// (librdkafka, Python) and webpki want two labels behind the star.
fn one_label_wildcard(group: &Group<'_>) -> Option<Finding> {
    let (host, name) = group.members.iter().find_map(|(_, listener)| {
        let host = listener.advertised.as_ref()?.host.trim_end_matches('.');
        let names = listener.tls.as_ref()?.names.as_ref()?;
        let mut covering = names.iter().filter(|name| covers(name, host));
        let is_weak = |name: &&String| name.strip_prefix("*.").is_some_and(|domain| !domain.contains('.'));
        let first = covering.next()?;
        (is_weak(&first) && covering.all(|name| is_weak(&name))).then_some((host, first))
    })?;
    let explanation = format!(
        "{} advertises \"{host}\", which its certificate holds as \"{name}\" alone. Clients with OpenSSL (librdkafka, Python) \
         take no wildcard directly below a domain of one label; Go and Java do.",
        group.title(),
    );
    Some(group.finding(Code::CertificateNameMismatch, explanation))
}

/// Row 18.
fn trailing_dot(group: &Group<'_>) -> Option<Finding> {
    let host = group.members.iter().find_map(|(_, listener)| {
        let host = &listener.advertised.as_ref()?.host;
        (listener.tls.is_some() && host.ends_with('.')).then_some(host)
    })?;
    let explanation = format!(
        "{} has TLS and advertises \"{host}\". The name in the certificate has no dot at its end; some clients (Java, \
         Istio) compare the two as they stand.",
        group.title(),
    );
    Some(group.finding(Code::TrailingDotWithTls, explanation))
}

/// Row 19.
fn other_domain(cluster: &Cluster, group: &Group<'_>) -> Option<Finding> {
    let host = group.members.iter().find_map(|(_, listener)| {
        let host = &listener.advertised.as_ref()?.host;
        cluster.is_of_other_domain(host).then_some(host)
    })?;
    let explanation = format!(
        "{} advertises \"{host}\"; the domain of this cluster is \"{}\". Its DNS answers that there is no such name.",
        group.title(),
        cluster.domain,
    );
    Some(group.finding(Code::OtherClusterDomain, explanation))
}

/// L7, row 6.
fn short_lists(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for set in &cluster.stateful_sets {
        let Some(script) = &set.configurator else { continue };
        for list in script.addresses.iter().filter(|list| list.elements < set.replicas) {
            let explanation = format!(
                "The configurator has {} addresses for listener \"{}\" and {} has {} replicas. {}-{} finds nothing at \
                 its ordinal and advertises an empty address.",
                list.elements,
                list.listener,
                set.object(),
                set.replicas,
                set.name,
                list.elements,
            );
            let finding = Finding::new(Code::FewerAddressesThanReplicas, set.object(), explanation);
            findings.push(finding.field("external.addresses").at(script.position.as_ref()));
        }
    }
    findings
}

/// L9, row 47.
fn prefix_templates(cluster: &Cluster) -> Vec<Finding> {
    let unused = cluster.stateful_sets.iter().filter_map(|set| {
        let script = set.configurator.as_ref()?;
        let template = script.prefix_templates.iter().find(|template| !template.is_empty())?;
        if script.uses_prefix_template {
            return None;
        }
        let explanation = format!(
            "The configurator sets PREFIX_TEMPLATE to \"{template}\" and no advertised address mentions \
             $PREFIX_TEMPLATE, so that the template changes nothing."
        );
        let finding = Finding::new(Code::PrefixTemplateUnused, set.object(), explanation);
        Some(finding.field("external.prefixTemplate").at(script.position.as_ref()))
    });
    unused.collect()
}

/// L15, row 48; redpanda.md 4.1: metadata answers by listener name.
fn advertised_names(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: BTreeMap<(String, String), Finding> = BTreeMap::new();
    for broker in &cluster.brokers {
        for (api, advertised) in &broker.advertised_names {
            let own: Vec<&str> =
                broker.listeners.iter().filter(|l| l.api == *api).map(|l| l.name.as_str()).collect();
            let missing = own.iter().find(|name| !advertised.iter().any(|other| other == *name));
            let surplus = advertised.iter().find(|name| !own.contains(&name.as_str()));
            let twice = advertised.iter().enumerate().find(|(at, name)| advertised[..*at].contains(name));
            let (name, severity, what) = match (missing, surplus, twice) {
                (Some(name), ..) => (
                    (*name).to_owned(),
                    Severity::Error,
                    "has the listener and advertises nothing under its name. Metadata guesses another entry, and \
                     FindCoordinator answers COORDINATOR_NOT_AVAILABLE: producers work, consumer groups hang.",
                ),
                (None, Some(name), _) => (
                    name.clone(),
                    Severity::Warning,
                    "advertises an address under that name and has no such listener. Nobody is ever told the address.",
                ),
                (None, None, Some((_, name))) => (
                    name.clone(),
                    Severity::Warning,
                    "advertises two addresses under that name. Clients are told the first; another address needs a \
                     listener of its own.",
                ),
                (None, None, None) => continue,
            };
            let object = owner(cluster, broker);
            let explanation = format!("{} \"{name}\": {} {what}", api_title(*api), broker.pod);
            let field = field(*api, &name);
            findings.entry((object.clone(), field.clone())).or_insert_with(|| {
                Finding::new(Code::AdvertisedListenersDiffer, object, explanation)
                    .field(field)
                    .severity(severity)
                    .at(broker.position.as_ref())
            });
        }
    }
    findings.into_values().collect()
}

/// Row 42.
fn shared_ports(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: BTreeMap<(String, u16), Finding> = BTreeMap::new();
    for broker in &cluster.brokers {
        let mut ports: BTreeMap<u16, &super::Listener> = BTreeMap::new();
        for listener in &broker.listeners {
            let Some(first) = ports.insert(listener.port, listener) else { continue };
            let object = owner(cluster, broker);
            let explanation = format!(
                "{} \"{}\" and {} \"{}\" both listen on port {}. The second cannot bind it, and the broker stops at \
                 its start.",
                api_title(first.api),
                first.name,
                api_title(listener.api),
                listener.name,
                listener.port,
            );
            findings.entry((object.clone(), listener.port)).or_insert_with(|| {
                Finding::new(Code::ListenersShareNumber, object, explanation)
                    .field(field(listener.api, &listener.name))
                    .at(broker.position.as_ref())
            });
        }
    }
    findings.into_values().collect()
}

/// L16, row 19: POD.SERVICE.NAMESPACE.svc.DOMAIN must name an existing headless Service and the cluster's own domain.
fn seed_servers(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
    for broker in &cluster.brokers {
        for host in &broker.seed_hosts {
            let Some(why) = seed_fault(cluster, host) else { continue };
            findings.entry(host.clone()).or_insert_with(|| {
                let explanation = format!(
                    "Brokers ask the seed server \"{host}\" to form a cluster; {why}. They wait for ever."
                );
                Finding::new(Code::SeedServerUnknown, owner(cluster, broker), explanation)
                    .field("redpanda.seed_servers")
                    .at(broker.position.as_ref())
            });
        }
    }
    // One wrong template gives as many wrong names as replicas: the first says it all.
    findings.into_values().take(1).collect()
}

fn seed_fault(cluster: &Cluster, host: &str) -> Option<String> {
    let name = host.trim_end_matches('.');
    let (path, domain) = name.split_once(".svc.")?;
    if domain != cluster.domain {
        return Some(format!("its domain is \"{domain}\" and the cluster's is \"{}\"", cluster.domain));
    }
    let mut labels = path.rsplit('.');
    let (namespace, service) = (labels.next()?, labels.next()?);
    let found = cluster.services.iter().find(|own| own.namespace == namespace && own.name == service);
    match found {
        None => Some(format!("there is no Service {namespace}/{service}")),
        Some(own) if !own.headless => {
            Some(format!("{} is not headless, so pods have no names in it", own.object()))
        }
        Some(_) => None,
    }
}

/// Row 41.
fn internal_listener(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: BTreeMap<String, Finding> = BTreeMap::new();
    for broker in &cluster.brokers {
        let mut hosts = broker
            .listeners
            .iter()
            .filter(|listener| listener.api == Api::Kafka)
            .filter_map(|listener| listener.advertised.as_ref());
        let Some(first) = hosts.clone().next() else { continue };
        let is_inner = |host: &str| cluster.is_cluster_name(host) || cluster.is_of_other_domain(host);
        if hosts.any(|address| is_inner(&address.host)) {
            continue;
        }
        let object = owner(cluster, broker);
        let explanation = format!(
            "Every Kafka listener of {} advertises an address for outside; the first is {first}. HTTP Proxy, Schema \
             Registry and clients inside leave the cluster and come back in by it.",
            broker.pod
        );
        findings.entry(object.clone()).or_insert_with(|| {
            Finding::new(Code::InternalListenerMissing, object, explanation)
                .field("redpanda.advertised_kafka_api")
                .at(broker.position.as_ref())
        });
    }
    findings.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::AddressList;
    use super::super::fixture::{codes, only, sound};
    use super::*;

    #[test]
    fn certificates_are_compared_with_advertised_hosts() {
        let mut cluster = sound();
        for broker in &mut cluster.brokers {
            broker.listeners[1].tls =
                Some(Tls { names: Some(vec!["example.com".into(), "*.example.com".into()]) });
        }
        assert_eq!(codes(&cluster), [Code::CertificateNameMismatch]);
        for (id, broker) in cluster.brokers.iter_mut().enumerate() {
            if let Some(address) = &mut broker.listeners[1].advertised {
                address.host = format!("redpanda-{id}.example.com");
            }
        }
        assert_eq!(codes(&cluster), []);
        for (id, broker) in cluster.brokers.iter_mut().enumerate() {
            let listener = &mut broker.listeners[1];
            listener.tls = Some(Tls { names: Some(vec!["*.my-domain".into()]) });
            if let Some(address) = &mut listener.advertised {
                address.host = format!("redpanda-{id}.my-domain");
            }
        }
        let finding = only(&cluster, Code::CertificateNameMismatch);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.explanation.contains("OpenSSL"), "{}", finding.explanation);
        assert!(!covers("*.example.com", "a.b.example.com"));
        assert!(!covers("*.example.com", "example.com"));
    }

    #[test]
    fn a_trailing_dot_with_tls_is_noted() {
        let mut cluster = sound();
        for broker in &mut cluster.brokers {
            broker.listeners[0].tls = Some(Tls::default());
        }
        assert_eq!(codes(&cluster), [Code::TrailingDotWithTls]);
    }

    #[test]
    fn a_list_shorter_than_the_replicas_is_found() {
        let mut cluster = sound();
        if let Some(script) = &mut cluster.stateful_sets[0].configurator {
            script.addresses = vec![AddressList { listener: "default".into(), elements: 2 }];
        }
        let finding = only(&cluster, Code::FewerAddressesThanReplicas);
        assert_eq!(finding.line, Some(70));
        insta::assert_snapshot!(finding.explanation, @r#"The configurator has 2 addresses for listener "default" and StatefulSet redpanda/redpanda has 3 replicas. redpanda-2 finds nothing at its ordinal and advertises an empty address."#);
    }

    #[test]
    fn an_unused_prefix_template_is_found() {
        let mut cluster = sound();
        if let Some(script) = &mut cluster.stateful_sets[0].configurator {
            script.prefix_templates = vec!["broker-$POD_ORDINAL".into()];
        }
        only(&cluster, Code::PrefixTemplateUnused);
        if let Some(script) = &mut cluster.stateful_sets[0].configurator {
            script.uses_prefix_template = true;
        }
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn listeners_without_an_advertised_name_are_found() {
        let mut cluster = sound();
        cluster.brokers[1].advertised_names[0].1 =
            vec!["internal".into(), "default".into(), "default".into()];
        let finding = only(&cluster, Code::AdvertisedListenersDiffer);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.explanation.contains("two addresses"), "{}", finding.explanation);
        cluster.brokers[1].advertised_names[0].1 = vec!["internal".into(), "default".into()];
        cluster.brokers[1].advertised_names[0].1[1] = "renamed".into();
        let finding = only(&cluster, Code::AdvertisedListenersDiffer);
        assert_eq!(finding.severity, Severity::Error);
        assert_eq!(finding.field.as_deref(), Some("redpanda.advertised_kafka_api[default]"));
        cluster.brokers[1].advertised_names[0].1 = vec!["internal".into(), "default".into(), "old".into()];
        assert_eq!(only(&cluster, Code::AdvertisedListenersDiffer).severity, Severity::Warning);
    }

    #[test]
    fn two_listeners_on_one_port_are_found() {
        let mut cluster = sound();
        for broker in &mut cluster.brokers {
            broker.listeners[0].port = 9094;
        }
        let finding = only(&cluster, Code::ListenersShareNumber);
        assert!(
            finding.explanation.contains("Kafka \"internal\" and Kafka \"default\" both listen on port 9094")
        );
    }

    #[test]
    fn an_advertised_name_of_another_domain_is_found() {
        let mut cluster = sound();
        cluster.domain = "example.org".into();
        assert_eq!(codes(&cluster), [Code::SeedServerUnknown, Code::OtherClusterDomain]);
    }

    #[test]
    fn seed_servers_that_cannot_exist_are_found() {
        let mut cluster = sound();
        cluster.brokers[0].seed_hosts = vec!["redpanda-0.brokers.redpanda.svc.cluster.local.".into()];
        assert!(
            only(&cluster, Code::SeedServerUnknown)
                .explanation
                .contains("there is no Service redpanda/brokers")
        );
        cluster.brokers[0].seed_hosts = vec!["redpanda-0.redpanda.redpanda.svc.example.org".into()];
        assert!(
            only(&cluster, Code::SeedServerUnknown)
                .explanation
                .contains("the cluster's is \"cluster.local\"")
        );
        cluster.brokers[0].seed_hosts =
            vec!["redpanda-0.redpanda-external.redpanda.svc.cluster.local".into()];
        assert!(only(&cluster, Code::SeedServerUnknown).explanation.contains("is not headless"));
        cluster.brokers[0].seed_hosts = vec!["10.1.2.3".into(), "seed.example.com".into()];
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn a_cluster_with_external_listeners_only_is_found() {
        let mut cluster = sound();
        cluster.services[1].local_policy = false;
        for broker in &mut cluster.brokers {
            broker.listeners.remove(0);
            broker.advertised_names[0].1.remove(0);
        }
        only(&cluster, Code::InternalListenerMissing);
    }
}
