//! PodDisruptionBudgets and NetworkPolicies.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::Checker;
use super::names::Form;
use super::{metadata, workload};
use crate::source::FieldPath;

pub fn check_disruption_budget(checker: &mut Checker<'_>, budget: &PodDisruptionBudget) {
    metadata::check(checker, &budget.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    let Some(spec) = &budget.spec else { return };
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        let expected = "either minAvailable or maxUnavailable";
        checker.reject(
            &field.key("maxUnavailable"),
            "is set beside minAvailable",
            expected,
            "remove one of them",
        );
    }
    workload::check_share(checker, &field.key("minAvailable"), spec.min_available.as_ref(), 100);
    workload::check_share(checker, &field.key("maxUnavailable"), spec.max_unavailable.as_ref(), 100);
    if let Some(selector) = &spec.selector {
        metadata::check_selector(checker, &field.key("selector"), selector);
    }
}

pub fn check_network_policy(checker: &mut Checker<'_>, policy: &NetworkPolicy) {
    metadata::check(checker, &policy.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    let Some(spec) = &policy.spec else { return };
    if let Some(selector) = &spec.pod_selector {
        metadata::check_selector(checker, &field.key("podSelector"), selector);
    }
    for (index, direction) in spec.policy_types.iter().flatten().enumerate() {
        checker.one_of(&field.key("policyTypes").index(index), Some(direction), &["Ingress", "Egress"]);
    }
    for (index, rule) in spec.ingress.iter().flatten().enumerate() {
        let field = field.key("ingress").index(index);
        check_policy_ports(checker, &field.key("ports"), rule.ports.as_deref());
        check_peers(checker, &field.key("from"), rule.from.as_deref());
    }
    for (index, rule) in spec.egress.iter().flatten().enumerate() {
        let field = field.key("egress").index(index);
        check_policy_ports(checker, &field.key("ports"), rule.ports.as_deref());
        check_peers(checker, &field.key("to"), rule.to.as_deref());
    }
}

fn check_policy_ports(checker: &mut Checker<'_>, field: &FieldPath, ports: Option<&[NetworkPolicyPort]>) {
    for (index, port) in ports.unwrap_or_default().iter().enumerate() {
        let field = field.index(index);
        checker.one_of(&field.key("protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        let number = match &port.port {
            Some(IntOrString::Int(number)) => {
                checker.port_number(&field.key("port"), *number);
                Some(*number)
            }
            Some(IntOrString::String(name)) => {
                checker.name(&field.key("port"), name, Form::PortName);
                None
            }
            None => None,
        };
        let Some(end) = port.end_port else { continue };
        if number.is_none_or(|number| end < number) {
            let what = format!("{end} ends no range of ports");
            let expected = "a number not below port, which must be a number too";
            checker.reject(&field.key("endPort"), what, expected, "correct port and endPort");
        }
    }
}

fn check_peers(checker: &mut Checker<'_>, field: &FieldPath, peers: Option<&[NetworkPolicyPeer]>) {
    for (index, peer) in peers.unwrap_or_default().iter().enumerate() {
        let field = field.index(index);
        let has_selector = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
        if has_selector == peer.ip_block.is_some() {
            let expected = "either ipBlock, or podSelector and namespaceSelector";
            checker.reject(&field, "names no peer, or two kinds of peer", expected, "keep one");
        }
        for (name, selector) in
            [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)]
        {
            if let Some(selector) = selector {
                metadata::check_selector(checker, &field.key(name), selector);
            }
        }
        let Some(block) = &peer.ip_block else { continue };
        checker.network(&field.key("ipBlock").key("cidr"), &block.cidr);
        for (index, except) in block.except.iter().flatten().enumerate() {
            checker.network(&field.key("ipBlock").key("except").index(index), except);
        }
    }
}
