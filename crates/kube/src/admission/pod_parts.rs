//! Parts of a pod: ports, environment, probes, volumes, placement.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, PodAffinityTerm, PodSpec, Probe, Volume};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::check::Checker;
use super::metadata;
use super::names::Form;
use crate::source::FieldPath;

pub fn check_ports(checker: &mut Checker<'_>, field: &FieldPath, container: &Container, host_network: bool) {
    let mut names = BTreeSet::new();
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let field = field.index(index);
        checker.port_number(&field.key("containerPort"), port.container_port);
        checker.one_of(&field.key("protocol"), port.protocol.as_deref(), &["TCP", "UDP", "SCTP"]);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            checker.name(&field.key("name"), name, Form::PortName);
            if !names.insert(name) {
                let what = format!("`{name}` is the name of two ports");
                checker.reject(&field.key("name"), what, "a name of its own", "rename one of them");
            }
        }
        let Some(host_port) = port.host_port.filter(|number| *number != 0) else { continue };
        checker.port_number(&field.key("hostPort"), host_port);
        if host_network && host_port != port.container_port {
            let what = format!("{host_port} differs from the container port {}", port.container_port);
            let expected = "the same number with hostNetwork";
            checker.reject(&field.key("hostPort"), what, expected, "make them equal, or remove hostPort");
        }
    }
}

/// A port of the node can be given to one container of a pod only.
pub fn check_host_ports<'s>(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    container: &'s Container,
    taken: &mut BTreeSet<(&'s str, &'s str, i32)>,
) {
    for (index, port) in container.ports.iter().flatten().enumerate() {
        let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
        let address = port.host_ip.as_deref().unwrap_or_default();
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        if !taken.insert((address, protocol, number)) {
            let what = format!("{protocol} port {number} of the node is used twice");
            checker.reject(
                &field.index(index).key("hostPort"),
                what,
                "a port of its own",
                "change one of them",
            );
        }
    }
}

pub fn check_env(checker: &mut Checker<'_>, field: &FieldPath, container: &Container) {
    for (index, variable) in container.env.iter().flatten().enumerate() {
        let field = field.index(index);
        let is_name = |c: char| (' '..='~').contains(&c) && c != '=';
        if variable.name.is_empty() || !variable.name.chars().all(is_name) {
            let what = format!("`{}` is not a valid name", variable.name);
            let expected = "printable ASCII characters without `=`";
            checker.reject(&field.key("name"), what, expected, "change the name");
        }
        let Some(from) = &variable.value_from else { continue };
        if variable.value.as_deref().is_some_and(|value| !value.is_empty()) {
            let expected = "either value or valueFrom";
            checker.reject(&field.key("valueFrom"), "is set beside value", expected, "remove one of them");
        }
        check_env_source(checker, &field.key("valueFrom"), from);
    }
}

fn check_env_source(checker: &mut Checker<'_>, field: &FieldPath, from: &EnvVarSource) {
    let sources = [
        from.field_ref.is_some(),
        from.resource_field_ref.is_some(),
        from.config_map_key_ref.is_some(),
        from.secret_key_ref.is_some(),
        from.file_key_ref.is_some(),
    ];
    let given = sources.into_iter().filter(|given| *given).count();
    if given != 1 {
        let what = format!("{given} sources are given");
        let expected = "one of fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef";
        checker.reject(field, what, expected, "keep one");
    }
    let Some(reference) = &from.field_ref else { return };
    let path = reference.field_path.as_str();
    let is_subscript = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .any(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.ends_with("']")));
    if !FIELD_REFS.contains(&path) && !is_subscript {
        let what = format!("`{path}` is not available to containers");
        let expected = format!("one of {}, or metadata.labels['KEY']", FIELD_REFS.join(", "));
        checker.reject(&field.key("fieldRef").key("fieldPath"), what, expected, "correct the path");
    }
}

/// Source: Kubernetes documentation, "Downward API", fields available through environment variables.
const FIELD_REFS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Checks a probe. `is_one_success` says that it is one of those that a single success ends.
pub fn check_probe(checker: &mut Checker<'_>, field: &FieldPath, probe: &Probe, is_one_success: bool) {
    let handlers =
        [probe.exec.is_some(), probe.http_get.is_some(), probe.tcp_socket.is_some(), probe.grpc.is_some()];
    let given = handlers.into_iter().filter(|given| *given).count();
    if given != 1 {
        let expected = "one of exec, httpGet, tcpSocket, grpc";
        checker.reject(field, format!("{given} handlers are given"), expected, "keep one");
    }
    let ports = [
        ("httpGet", probe.http_get.as_ref().map(|action| &action.port)),
        ("tcpSocket", probe.tcp_socket.as_ref().map(|action| &action.port)),
    ];
    for (handler, port) in ports {
        let field = field.key(handler).key("port");
        match port {
            Some(IntOrString::Int(number)) => {
                checker.port_number(&field, *number);
            }
            Some(IntOrString::String(name)) => checker.name(&field, name, Form::PortName),
            None => {}
        }
    }
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        checker.at_least(&field.key(name), value.map(i64::from), 0);
    }
    if is_one_success && let Some(successes) = probe.success_threshold.filter(|successes| *successes > 1) {
        let what = format!("{successes} successes are asked for");
        checker.reject(&field.key("successThreshold"), what, "1 for this probe", "remove it");
    }
}

/// Checks the pod's volumes; their names.
pub fn check_volumes<'s>(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    spec: &'s PodSpec,
) -> BTreeSet<&'s str> {
    let mut names = BTreeSet::new();
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        let field = field.index(index);
        checker.name(&field.key("name"), &volume.name, Form::Label);
        if !names.insert(volume.name.as_str()) {
            let what = format!("`{}` is the name of two volumes", volume.name);
            checker.reject(&field.key("name"), what, "a name of its own", "rename one of them");
        }
        let sources = count_sources(volume);
        if sources != 1 {
            let what = format!("{sources} kinds of volume are given");
            let expected = "one kind, such as emptyDir, configMap, secret or persistentVolumeClaim";
            checker.reject(&field, what, expected, "keep one");
        }
    }
    names
}

/// Every field of a volume but its name is a kind of volume.
fn count_sources(volume: &Volume) -> usize {
    match serde_json::to_value(volume) {
        Ok(Value::Object(fields)) => fields.keys().filter(|key| *key != "name").count(),
        _ => 0,
    }
}

pub fn check_placement(checker: &mut Checker<'_>, field: &FieldPath, spec: &PodSpec) {
    let spread_field = field.key("topologySpreadConstraints");
    for (index, spread) in spec.topology_spread_constraints.iter().flatten().enumerate() {
        let field = spread_field.index(index);
        checker.at_least(&field.key("maxSkew"), Some(i64::from(spread.max_skew)), 1);
        if spread.topology_key.is_empty() {
            checker.reject(&field.key("topologyKey"), "is empty", "the label of a node", "add the label");
        }
        let choices = ["DoNotSchedule", "ScheduleAnyway"];
        checker.one_of(&field.key("whenUnsatisfiable"), Some(&spread.when_unsatisfiable), &choices);
        if let Some(selector) = &spread.label_selector {
            metadata::check_selector(checker, &field.key("labelSelector"), selector);
        }
    }
    let Some(affinity) = &spec.affinity else { return };
    let pod = affinity.pod_affinity.as_ref().map(|affinity| {
        let (required, preferred) = (
            &affinity.required_during_scheduling_ignored_during_execution,
            &affinity.preferred_during_scheduling_ignored_during_execution,
        );
        ("podAffinity", required, preferred)
    });
    let anti = affinity.pod_anti_affinity.as_ref().map(|affinity| {
        let (required, preferred) = (
            &affinity.required_during_scheduling_ignored_during_execution,
            &affinity.preferred_during_scheduling_ignored_during_execution,
        );
        ("podAntiAffinity", required, preferred)
    });
    for (name, required, preferred) in [pod, anti].into_iter().flatten() {
        let field = field.key("affinity").key(name);
        let required_field = field.key("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in required.iter().flatten().enumerate() {
            check_affinity_term(checker, &required_field.index(index), term);
        }
        let preferred_field = field.key("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, weighted) in preferred.iter().flatten().enumerate() {
            let field = preferred_field.index(index);
            if !(1..=100).contains(&weighted.weight) {
                let what = format!("{} is out of range", weighted.weight);
                checker.reject(&field.key("weight"), what, "1 to 100", "change the weight");
            }
            check_affinity_term(checker, &field.key("podAffinityTerm"), &weighted.pod_affinity_term);
        }
    }
}

fn check_affinity_term(checker: &mut Checker<'_>, field: &FieldPath, term: &PodAffinityTerm) {
    if term.topology_key.is_empty() {
        checker.reject(&field.key("topologyKey"), "is empty", "the label of a node", "add the label");
    }
    if let Some(selector) = &term.label_selector {
        metadata::check_selector(checker, &field.key("labelSelector"), selector);
    }
}
