//! Services as such: selectors, pending load balancers, references; rows 16, 17, 23, 43 and 51 of redpanda.md
//! section 5.

use super::super::facts::{Cluster, Service, ServiceKind, UnmadePods};
use super::super::{Code, Finding, Severity};
use super::{Group, groups, listed};
use crate::report::check::Api;

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &cluster.services {
        findings.extend(selects_nothing(service));
        findings.extend(selects_others(cluster, service));
        findings.extend(hides_not_ready(cluster, service));
        findings.extend(pending(cluster, service));
    }
    findings.extend(inside_by_node_port(cluster));
    findings.extend(missing(cluster));
    findings
}

fn selects_nothing(service: &Service) -> Option<Finding> {
    if service.selector.is_empty()
        || !service.selected.is_empty()
        || service.kind == ServiceKind::ExternalName
    {
        return None;
    }
    let (namespace, selector, object) = (&service.namespace, &service.selector, service.object());
    let mut explanation = format!(
        "No pod in namespace {namespace} carries all labels of the selector {{{selector}}}. {object} has no endpoints: \
         connections to it are refused, and its name has no address."
    );
    let mut finding = Finding::new(Code::SelectorMatchesNothing, object, "");
    if let Some(unmade) = service.unmade.first() {
        let UnmadePods { owner, why } = unmade;
        explanation += &format!(" The selector fits the pods of {owner}, which has none: {why}.");
        finding = finding.fix(format!("Leave the selector as it is; see to it that {owner} has pods."));
    }
    finding.explanation = explanation;
    Some(finding.field("spec.selector").at(service.position.as_ref()))
}

/// Row 43. Only pods that could take a connection count.
fn selects_others(cluster: &Cluster, service: &Service) -> Option<Finding> {
    let selects_brokers = cluster.brokers.iter().any(|broker| service.selected.contains(&broker.pod_key()));
    if !selects_brokers {
        return None;
    }
    let others: Vec<String> = cluster
        .other_pods
        .iter()
        .filter(|other| service.selected.contains(&other.pod))
        .map(|other| format!("{} of {}", other.pod, other.owner))
        .chain(service.selected_templates.iter().map(|template| format!("the pods of {template}")))
        .collect();
    if others.is_empty() {
        return None;
    }
    let explanation = format!(
        "The selector {{{}}} of {} matches the brokers, and also {}. Connections are spread over all of them.",
        service.selector,
        service.object(),
        listed(&others),
    );
    let finding = Finding::new(Code::SelectorMatchesOthers, service.object(), explanation);
    Some(finding.field("spec.selector").at(service.position.as_ref()))
}

/// Rows 16 and 17.
fn hides_not_ready(cluster: &Cluster, service: &Service) -> Option<Finding> {
    let set = cluster
        .stateful_sets
        .iter()
        .find(|set| set.namespace == service.namespace && set.service_name == service.name)?;
    if !service.headless || service.publishes_not_ready {
        return None;
    }
    let explanation = format!(
        "{} names the pods of {} and publishes only those that are ready. A broker becomes ready when it has met the \
         others, and finds them by these names.",
        service.object(),
        set.object(),
    );
    let finding = Finding::new(Code::HeadlessHidesNotReady, service.object(), explanation);
    Some(finding.field("spec.publishNotReadyAddresses").at(service.position.as_ref()))
}

fn pending(cluster: &Cluster, service: &Service) -> Option<Finding> {
    if service.kind != ServiceKind::LoadBalancer
        || cluster.managed_load_balancers
        || !service.ingress.is_empty()
    {
        return None;
    }
    let for_brokers = cluster.brokers.iter().any(|broker| service.selected.contains(&broker.pod_key()));
    let explanation = format!(
        "{} waits for a load balancer. The profile {} has none of its own, and the cluster file declares none for it.",
        service.object(),
        cluster.profile,
    );
    let fix = format!(
        "Declare an instance for {}/{} under loadBalancers in the cluster file, choose a cloud by --profile, or use a \
         NodePort Service.",
        service.namespace, service.name
    );
    let finding = Finding::new(Code::LoadBalancerPending, service.object(), explanation).fix(fix);
    let severity = if for_brokers { Severity::Error } else { Severity::Warning };
    Some(finding.severity(severity).field("status.loadBalancer.ingress").at(service.position.as_ref()))
}

/// Row 51: without a listener for clients inside these use the one for outside, and are told a node's address.
fn inside_by_node_port(cluster: &Cluster) -> Option<Finding> {
    let kafka = |group: &&Group<'_>| group.api == Api::Kafka;
    let groups = groups(cluster);
    let has_inner = groups.iter().filter(kafka).any(|group| !group.is_external(cluster));
    if has_inner || cluster.brokers.len() < 2 {
        return None;
    }
    groups.iter().filter(kafka).find_map(|group| {
        let (broker, listener) = group.members.first()?;
        let address = listener.advertised.as_ref()?;
        let node = cluster.external_addresses(&address.host).iter().find_map(|own| cluster.node(own))?;
        let service = cluster.services.iter().find(|service| {
            service.local_policy
                && service.selected.contains(&broker.pod_key())
                && service.ports.iter().any(|port| port.node_port == Some(address.port))
        })?;
        let explanation = format!(
            "There is no listener for clients inside, so pods are told {address}, which is a node port of {} on {}. For \
             traffic that comes from pods the policy Local does not hold: kube-proxy gives the connection to any broker.",
            service.object(),
            node.name,
        );
        Some(group.finding(Code::InClusterByNodePort, explanation))
    })
}

/// Row 23.
fn missing(cluster: &Cluster) -> Vec<Finding> {
    let needed = cluster.missing.iter().filter(|reference| !reference.optional);
    needed
        .map(|reference| {
            let explanation = format!(
                "{} refers to {}, which is not in the manifests. Its pods stay in ContainerCreating.",
                reference.from, reference.to
            );
            let finding = Finding::new(Code::MissingReference, reference.from.clone(), explanation);
            finding
                .fix(format!("Add {} to the input, or mark the reference as optional.", reference.to))
                .field(reference.field.clone())
                .at(reference.position.as_ref())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::{MissingReference, OtherPod, Position};
    use super::super::fixture::{codes, only, sound};
    use super::*;

    #[test]
    fn a_selector_without_pods_is_found() {
        let mut cluster = sound();
        let mut service = cluster.services[0].clone();
        service.name = "lost".into();
        service.selected.clear();
        cluster.services.push(service);
        let finding = only(&cluster, Code::SelectorMatchesNothing);
        insta::assert_snapshot!(finding.explanation, @"No pod in namespace redpanda carries all labels of the selector {app=redpanda}. Service redpanda/lost has no endpoints: connections to it are refused, and its name has no address.");
    }

    #[test]
    fn a_selector_whose_pods_are_refused_is_not_to_blame() {
        let mut cluster = sound();
        let owner = "StatefulSet redpanda/redpanda".to_owned();
        let unmade = vec![UnmadePods { owner, why: "the API server refuses them".into() }];
        let lost =
            Service { name: "lost".into(), selected: Vec::new(), unmade, ..cluster.services[0].clone() };
        cluster.services.push(lost);
        let finding = only(&cluster, Code::SelectorMatchesNothing);
        assert!(
            finding
                .explanation
                .ends_with("StatefulSet redpanda/redpanda, which has none: the API server refuses them.")
        );
        assert!(finding.fix.starts_with("Leave the selector"), "{}", finding.fix);
    }

    #[test]
    fn a_selector_with_strangers_is_found() {
        let mut cluster = sound();
        let pod = "redpanda/redpanda-configuration-x7k2p".to_owned();
        cluster.services[1].selected.push(pod.clone());
        cluster.other_pods.push(OtherPod {
            pod,
            owner: "Job redpanda/redpanda-configuration".into(),
            ports: vec![],
        });
        assert!(
            only(&cluster, Code::SelectorMatchesOthers)
                .explanation
                .contains("Job redpanda/redpanda-configuration")
        );
    }

    #[test]
    fn a_headless_service_that_hides_brokers_is_found() {
        let mut cluster = sound();
        cluster.services[0].publishes_not_ready = false;
        only(&cluster, Code::HeadlessHidesNotReady);
    }

    #[test]
    fn a_pending_load_balancer_is_an_error_for_brokers_only() {
        let mut cluster = sound();
        cluster.services[1].kind = ServiceKind::LoadBalancer;
        assert_eq!(only(&cluster, Code::LoadBalancerPending).severity, Severity::Error);
        cluster.managed_load_balancers = true;
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn pods_that_have_to_use_a_node_port_are_warned() {
        let mut cluster = sound();
        for broker in &mut cluster.brokers {
            broker.listeners.remove(0);
            broker.advertised_names[0].1.remove(0);
        }
        assert_eq!(codes(&cluster), [Code::InClusterByNodePort, Code::InternalListenerMissing]);
        cluster.services[1].local_policy = false;
        assert_eq!(codes(&cluster), [Code::InternalListenerMissing]);
    }

    #[test]
    fn missing_objects_are_found_unless_optional() {
        let mut cluster = sound();
        cluster.missing.push(MissingReference {
            from: "StatefulSet redpanda/redpanda".into(),
            field: "spec.template.spec.volumes[config].configMap.name".into(),
            position: Some(Position { file: "a.yaml".into(), line: 7 }),
            to: "ConfigMap redpanda/redpanda".into(),
            optional: false,
        });
        assert_eq!(only(&cluster, Code::MissingReference).line, Some(7));
        cluster.missing[0].optional = true;
        assert_eq!(codes(&cluster), []);
    }
}
