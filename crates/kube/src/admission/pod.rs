//! Pods and the pod part of templates.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};

use super::check::Checker;
use super::names::Form;
use super::{metadata, pod_parts};
use crate::source::FieldPath;

pub fn check(checker: &mut Checker<'_>, pod: &Pod) {
    metadata::check(checker, &pod.metadata, Form::Subdomain);
    let field = FieldPath::from("spec");
    match &pod.spec {
        Some(spec) => check_spec(checker, &field, spec, &BTreeSet::new()),
        None => checker.reject(&field, "is missing", "at least one container", "add the pod's spec"),
    }
}

/// Checks the pod at `field`. `claims` names the volumes that its controller adds.
pub fn check_spec(checker: &mut Checker<'_>, field: &FieldPath, spec: &PodSpec, claims: &BTreeSet<&str>) {
    if spec.containers.is_empty() {
        checker.reject(&field.key("containers"), "is empty", "at least one container", "add a container");
    }
    checker.one_of(
        &field.key("restartPolicy"),
        spec.restart_policy.as_deref(),
        &["Always", "OnFailure", "Never"],
    );
    let grace = spec.termination_grace_period_seconds;
    checker.at_least(&field.key("terminationGracePeriodSeconds"), grace, 0);
    for (name, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            checker.name(&field.key(name), value, Form::Label);
        }
    }
    check_dns(checker, field, spec);
    let mut volumes = pod_parts::check_volumes(checker, &field.key("volumes"), spec);
    volumes.extend(claims);
    pod_parts::check_placement(checker, field, spec);
    check_containers(checker, field, spec, &volumes);
}

/// Source: Kubernetes documentation, "Pod's DNS Policy" and "Pod's DNS Config".
fn check_dns(checker: &mut Checker<'_>, field: &FieldPath, spec: &PodSpec) {
    let policies = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
    checker.one_of(&field.key("dnsPolicy"), spec.dns_policy.as_deref(), &policies);
    let name_servers =
        spec.dns_config.as_ref().and_then(|config| config.nameservers.as_deref()).unwrap_or_default();
    let servers_field = field.key("dnsConfig").key("nameservers");
    if spec.dns_policy.as_deref() == Some("None") && name_servers.is_empty() {
        checker.reject(&servers_field, "is empty", "at least one name server with dnsPolicy None", "add one");
    }
    if name_servers.len() > 3 {
        let what = format!("{} name servers", name_servers.len());
        checker.reject(&servers_field, what, "at most 3", "remove some");
    }
    for (index, server) in name_servers.iter().enumerate() {
        checker.address(&servers_field.index(index), server);
    }
}

fn check_containers(checker: &mut Checker<'_>, field: &FieldPath, spec: &PodSpec, volumes: &BTreeSet<&str>) {
    let lists = [
        ("initContainers", spec.init_containers.as_deref().unwrap_or_default()),
        ("containers", spec.containers.as_slice()),
    ];
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for (list, containers) in lists {
        for (index, container) in containers.iter().enumerate() {
            let field = field.key(list).index(index);
            check_container(checker, &field, container, volumes);
            if !container.name.is_empty() && !names.insert(container.name.as_str()) {
                let what = format!("`{}` is the name of two containers", container.name);
                checker.reject(&field.key("name"), what, "a name of its own", "rename one of them");
            }
            pod_parts::check_ports(checker, &field.key("ports"), container, spec.host_network == Some(true));
            if list == "containers" {
                pod_parts::check_host_ports(checker, &field.key("ports"), container, &mut host_ports);
            }
        }
    }
}

fn check_container(
    checker: &mut Checker<'_>,
    field: &FieldPath,
    container: &Container,
    volumes: &BTreeSet<&str>,
) {
    checker.name(&field.key("name"), &container.name, Form::Label);
    if container.image.as_deref().unwrap_or_default().trim().is_empty() {
        checker.reject(&field.key("image"), "is missing", "the name of an image", "add the image");
    }
    checker.one_of(
        &field.key("imagePullPolicy"),
        container.image_pull_policy.as_deref(),
        &["Always", "IfNotPresent", "Never"],
    );
    pod_parts::check_env(checker, &field.key("env"), container);
    let mut paths = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let field = field.key("volumeMounts").index(index);
        if !volumes.contains(mount.name.as_str()) {
            let what = format!("the pod has no volume `{}`", mount.name);
            let fix = "add the volume, or correct the name";
            checker.reject(&field.key("name"), what, "the name of one of the pod's volumes", fix);
        }
        if mount.mount_path.is_empty() {
            checker.reject(&field.key("mountPath"), "is empty", "a path in the container", "add the path");
        } else if !paths.insert(mount.mount_path.as_str()) {
            let what = format!("`{}` is mounted twice", mount.mount_path);
            checker.reject(&field.key("mountPath"), what, "a path of its own", "change one of the paths");
        }
    }
    for (name, probe) in [
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
        ("startupProbe", &container.startup_probe),
    ] {
        if let Some(probe) = probe {
            pod_parts::check_probe(checker, &field.key(name), probe, name != "readinessProbe");
        }
    }
}
