//! The ports of Services.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::Checker;
use super::names::{self, Form};
use super::service::{Allocations, is_headless, type_of};
use crate::source::FieldPath;

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];

/// Checks the ports of one Service by themselves.
pub fn check(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let field = FieldPath::from("spec.ports");
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() && !is_headless(spec) && type_of(spec) != "ExternalName" {
        let expected = "at least one port, unless the Service is headless";
        checker.reject(&field, "is empty", expected, "add the port that clients connect to");
    }
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let field = field.index(index);
        check_port(checker, &field, port, ports.len());
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() && !names.insert(name) {
            let what = format!("`{name}` is the name of two ports");
            checker.reject(&field.key("name"), what, "a name of its own for each port", "rename one of them");
        }
        if !numbers.insert((protocol(port), port.port)) {
            let what = format!("{} port {} is listed twice", protocol(port), port.port);
            checker.reject(&field.key("port"), what, "each port once per protocol", "remove one of them");
        }
    }
}

/// Takes the node ports of a Service that is sound by itself.
pub fn allocate(checker: &mut Checker<'_>, spec: &ServiceSpec, allocations: &mut Allocations) {
    let ports = spec.ports.as_deref().unwrap_or_default();
    let field = FieldPath::from("spec.ports");
    let mut wanted: Vec<(FieldPath, String, i32)> = ports
        .iter()
        .enumerate()
        .filter_map(|(index, port)| {
            let number = node_port(port)?;
            Some((field.index(index).key("nodePort"), protocol(port).to_owned(), number))
        })
        .collect();
    let health_check = spec.health_check_node_port.filter(|number| *number != 0);
    wanted.extend(
        health_check.map(|number| (FieldPath::from("spec.healthCheckNodePort"), "TCP".to_owned(), number)),
    );
    let mut taken = Vec::new();
    for (field, protocol, number) in wanted {
        let is_in_range = u16::try_from(number).is_ok_and(|number| allocations.range.contains(&number));
        let key = (protocol, number);
        if !is_in_range {
            let (first, last) = (allocations.range.start(), allocations.range.end());
            checker.reject(
                &field,
                format!("{number} is outside of the cluster's node ports"),
                format!("a number from {first} to {last}"),
                "change it, or remove it so that the cluster chooses one",
            );
        } else if let Some(owner) = allocations.node_ports.get(&key) {
            let what = format!("{} node port {number} is already taken by {owner}", key.0);
            let fix = "change it, or remove it so that the cluster chooses one";
            checker.reject(&field, what, "a node port of its own", fix);
        } else if taken.contains(&key) {
            let what = format!("{} node port {number} is used twice in this Service", key.0);
            let fix = "change it, or remove it so that the cluster chooses one";
            checker.reject(&field, what, "a node port of its own for each port", fix);
        } else {
            taken.push(key);
        }
    }
    if checker.is_sound() {
        let owner = checker.object().clone();
        allocations.node_ports.extend(taken.into_iter().map(|key| (key, owner.clone())));
    }
}

fn protocol(port: &ServicePort) -> &str {
    port.protocol.as_deref().filter(|protocol| !protocol.is_empty()).unwrap_or("TCP")
}

fn node_port(port: &ServicePort) -> Option<i32> {
    port.node_port.filter(|number| *number != 0)
}

fn check_port(checker: &mut Checker<'_>, field: &FieldPath, port: &ServicePort, ports: usize) {
    checker.port_number(&field.key("port"), port.port);
    checker.one_of(&field.key("protocol"), port.protocol.as_deref(), &PROTOCOLS);
    match port.name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => checker.name(&field.key("name"), name, Form::Label),
        None if ports > 1 => {
            let expected = "a name for each port of a Service with several";
            checker.reject(&field.key("name"), "is missing", expected, "add a name");
        }
        None => {}
    }
    check_target_port(checker, &field.key("targetPort"), port);
}

fn check_target_port(checker: &mut Checker<'_>, field: &FieldPath, port: &ServicePort) {
    match &port.target_port {
        // Absent in the manifest: the same as `port`, which is checked already.
        Some(IntOrString::Int(number)) if *number == port.port => {}
        Some(IntOrString::Int(number)) => {
            checker.port_number(field, *number);
        }
        Some(IntOrString::String(name)) if !names::has_form(name, Form::PortName) => {
            let what = format!("`{name}` is not the name of a container's port");
            let fix = if name.bytes().all(|byte| byte.is_ascii_digit()) {
                "remove the quotes, so that it is a number"
            } else {
                "change the name here and at the container"
            };
            checker.reject(field, what, Form::PortName.in_words(), fix);
        }
        Some(IntOrString::String(_)) | None => {}
    }
}

/// Checks that node ports and the health check port are only given where the type has them.
pub fn check_types(checker: &mut Checker<'_>, spec: &ServiceSpec) {
    let type_name = type_of(spec);
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        if let Some(number) = node_port(port).filter(|_| !matches!(type_name, "NodePort" | "LoadBalancer")) {
            let what = format!("{number} is given for a Service of the type {type_name}");
            checker.reject(
                &FieldPath::from("spec.ports").index(index).key("nodePort"),
                what,
                "the type NodePort or LoadBalancer",
                "set the type, or remove the node port",
            );
        }
    }
    let has_health_check =
        type_name == "LoadBalancer" && spec.external_traffic_policy.as_deref() == Some("Local");
    if spec.health_check_node_port.is_some_and(|number| number != 0) && !has_health_check {
        checker.reject(
            &FieldPath::from("spec.healthCheckNodePort"),
            "is given for a Service that has no health check of its own",
            "the type LoadBalancer with externalTrafficPolicy Local",
            "remove it",
        );
    }
}
