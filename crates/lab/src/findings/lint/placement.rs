//! Where brokers can run, who they are, and how they stop: L12 and L13 of redpanda.md 1.7; rows 32, 33, 35 and 38 of
//! section 5.

use std::collections::BTreeMap;

use super::super::facts::{AntiAffinity, Cluster, ServiceKind, StatefulSet};
use super::super::{Code, Finding, Severity};
use super::listed;

pub(super) fn rules(cluster: &Cluster) -> Vec<Finding> {
    let mut findings = Vec::new();
    for set in &cluster.stateful_sets {
        findings.extend(too_few_nodes(cluster, set));
        findings.extend(shared_node(cluster, set));
        findings.extend(no_drain(set));
        findings.extend(short_grace(set));
        findings.extend(ids_differ(cluster, set));
    }
    findings
}

/// Row 32.
fn too_few_nodes(cluster: &Cluster, set: &StatefulSet) -> Option<Finding> {
    let nodes = cluster.nodes.len() as u64;
    if set.anti_affinity != AntiAffinity::Required || nodes >= u64::from(set.replicas) {
        return None;
    }
    let explanation = format!(
        "{} wants {} replicas on nodes of their own and there are {nodes} nodes. {}-{nodes} and those after it stay \
         Pending.",
        set.object(),
        set.replicas,
        set.name,
    );
    let fix = format!("Use {} nodes (--nodes {0}, or the cluster file), or {nodes} replicas.", set.replicas);
    let finding = Finding::new(Code::FewerNodesThanReplicas, set.object(), explanation).fix(fix);
    Some(finding.field("spec.replicas").at(set.position.as_ref()))
}

/// L12, row 33: an error where two brokers do share a node, a warning where they could.
fn shared_node(cluster: &Cluster, set: &StatefulSet) -> Option<Finding> {
    if set.anti_affinity == AntiAffinity::Required || set.replicas < 2 {
        return None;
    }
    let prefix = format!("{}-", set.name);
    let brokers: Vec<_> = cluster
        .brokers
        .iter()
        .filter(|broker| broker.namespace == set.namespace && broker.pod.starts_with(&prefix))
        .collect();
    let service = cluster.services.iter().find(|service| {
        service.kind == ServiceKind::NodePort
            && service.local_policy
            && brokers.iter().filter(|broker| service.selected.contains(&broker.pod_key())).count() > 1
    })?;
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for broker in &brokers {
        if let Some(node) = broker.node.as_deref() {
            nodes.entry(node).or_default().push(&broker.pod);
        }
    }
    let shared = nodes.iter().find(|(_, pods)| pods.len() > 1);
    let (severity, what) = match shared {
        Some((node, pods)) => (Severity::Error, format!("{} run on {node}", pods.join(" and "))),
        None => (Severity::Warning, format!("nothing keeps pods of {} off each other's nodes", set.object())),
    };
    let explanation = format!(
        "{what}, and {} has one node port for all brokers with the policy Local: a connection to a node with two \
         brokers reaches one of them at random.",
        service.object(),
    );
    let finding = Finding::new(Code::BrokersShareNode, set.object(), explanation).severity(severity);
    Some(finding.field("spec.template.spec.affinity.podAntiAffinity").at(set.position.as_ref()))
}

/// L13.
fn no_drain(set: &StatefulSet) -> Option<Finding> {
    if set.replicas == 0 || set.replicas > 2 {
        return None;
    }
    let explanation = format!(
        "{} has {} replicas. The preStop hook drains leaderships only with three or more: when a pod stops, its \
         partitions wait for an election, or for the pod.",
        set.object(),
        set.replicas,
    );
    let finding = Finding::new(Code::NoDrainBeforeStop, set.object(), explanation);
    Some(finding.field("spec.replicas").at(set.position.as_ref()))
}

/// Row 38: the time of the preStop hook counts towards the grace period (kubernetes.md 8).
fn short_grace(set: &StatefulSet) -> Option<Finding> {
    let hook_s = set.pre_stop_s.filter(|hook_s| *hook_s >= set.grace_period_s)?;
    let explanation = format!(
        "The preStop hook of {} may take {hook_s} s, and its pods have {} s in all. When they are over the broker is \
         killed, in the middle of its drain and without having closed its log.",
        set.object(),
        set.grace_period_s,
    );
    let fix = format!("Set terminationGracePeriodSeconds to twice the hook's time ({} s).", hook_s * 2);
    let finding = Finding::new(Code::GraceTooShort, set.object(), explanation).fix(fix);
    Some(finding.field("spec.template.spec.terminationGracePeriodSeconds").at(set.position.as_ref()))
}

/// Row 35.
fn ids_differ(cluster: &Cluster, set: &StatefulSet) -> Option<Finding> {
    let ordinal = |pod: &str| pod.strip_prefix(&set.name)?.strip_prefix('-')?.parse::<i32>().ok();
    let brokers = cluster.brokers.iter().filter(|broker| broker.namespace == set.namespace && broker.running);
    let differ: Vec<String> = brokers
        .filter(|broker| ordinal(&broker.pod).is_some_and(|ordinal| ordinal != broker.id))
        .map(|broker| format!("{} has id {}", broker.pod, broker.id))
        .collect();
    if differ.is_empty() {
        return None;
    }
    let explanation = format!(
        "{}. Whoever takes the ordinal for the id decommissions, drains or moves another broker.",
        listed(&differ)
    );
    let finding = Finding::new(Code::IdIsNotOrdinal, set.object(), explanation);
    Some(finding.at(set.position.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{codes, only, sound};
    use super::*;

    #[test]
    fn fewer_nodes_than_replicas_are_found() {
        let mut cluster = sound();
        cluster.nodes.pop();
        cluster.brokers.pop();
        let finding = only(&cluster, Code::FewerNodesThanReplicas);
        insta::assert_snapshot!(finding.explanation, @"StatefulSet redpanda/redpanda wants 3 replicas on nodes of their own and there are 2 nodes. redpanda-2 and those after it stay Pending.");
        insta::assert_snapshot!(finding.fix, @"Use 3 nodes (--nodes 3, or the cluster file), or 2 replicas.");
    }

    #[test]
    fn a_shared_node_is_an_error_once_it_happens() {
        let mut cluster = sound();
        cluster.stateful_sets[0].anti_affinity = AntiAffinity::Preferred;
        assert_eq!(only(&cluster, Code::BrokersShareNode).severity, Severity::Warning);
        cluster.brokers[1].node = Some("node-0".into());
        if let Some(address) = &mut cluster.brokers[1].listeners[1].advertised {
            address.host = "redpanda-1.example.com".into();
        }
        let finding = only(&cluster, Code::BrokersShareNode);
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.explanation.starts_with("redpanda-0 and redpanda-1 run on node-0"));
    }

    #[test]
    fn a_hook_that_outlasts_the_grace_period_is_found() {
        let mut cluster = sound();
        cluster.stateful_sets[0].pre_stop_s = Some(45);
        assert_eq!(codes(&cluster), []);
        cluster.stateful_sets[0].grace_period_s = 45;
        let finding = only(&cluster, Code::GraceTooShort);
        assert!(
            finding.explanation.contains("may take 45 s, and its pods have 45 s"),
            "{}",
            finding.explanation
        );
    }

    #[test]
    fn ids_that_are_no_ordinals_are_noted_for_brokers_that_run() {
        let mut cluster = sound();
        cluster.brokers[1].id = 3;
        let finding = only(&cluster, Code::IdIsNotOrdinal);
        assert!(finding.explanation.starts_with("redpanda-1 has id 3."), "{}", finding.explanation);
        cluster.brokers[1].running = false;
        assert_eq!(codes(&cluster), []);
    }

    #[test]
    fn two_replicas_do_not_drain() {
        let mut cluster = sound();
        cluster.stateful_sets[0].replicas = 2;
        cluster.brokers.pop();
        only(&cluster, Code::NoDrainBeforeStop);
        cluster.stateful_sets[0].replicas = 3;
        assert_eq!(codes(&cluster), []);
    }
}
