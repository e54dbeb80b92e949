//! What the API server rejects although the manifest is well-typed.
//!
//! [`admit`] applies the rules by which the API server validates an object that is created. A rejected object
//! does not exist in the cluster, and all others do, as after `kubectl apply`. A rejection is a finding about
//! the manifests, not an input error.
//!
//! Source: Kubernetes API reference and the API server's validation (pkg/apis/core/validation,
//! pkg/apis/apps/validation, pkg/apis/policy/validation, pkg/apis/networking/validation), Kubernetes 1.36.
//!
//! The API server does not look into the pod template of a StatefulSet: it takes the StatefulSet and rejects
//! each pod that the controller makes from it. [`Refused`] says which of the two it is.
//!
//! Left out: rules of security contexts, resource limits against each other, quotas, and admission plugins.

mod check;
mod endpoints;
mod metadata;
mod names;
mod pod;
mod pod_parts;
mod policy;
mod service;
mod service_ports;
mod storage;
mod workload;

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;

use crate::manifest::{Manifests, ObjectRef};
use crate::source::Location;
use check::Checker;

pub use names::{is_dns_label, is_dns_subdomain};

/// The node ports that a cluster hands out unless it is configured otherwise: 30000 to 32767.
///
/// Source: kubernetes.md 3, `--service-node-port-range`.
pub const NODE_PORTS_DEFAULT: RangeInclusive<u16> = 30000..=32767;

/// What the API server does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Refused {
    /// The object itself: it is not in the cluster.
    Object,
    /// The pods that a controller makes from the object, which itself is in the cluster.
    Pods,
}

/// One reason why the API server rejects an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// The object that is wrong.
    pub object: ObjectRef,
    /// Whether the object is rejected or only the pods made from it.
    pub refused: Refused,
    /// The field from the root of the object, displayed: `spec.ports[0].nodePort`.
    pub field: String,
    /// Where the field is written, or the nearest parent if it is missing.
    pub location: Location,
    /// What is wrong.
    pub what: String,
    /// What the API server expects.
    pub expected: String,
    /// What to change.
    pub fix: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejection { object, refused: _, field, location, what, expected, fix } = self;
        write!(f, "{location}: {object}: {field}: {what}; expected {expected} ({fix})")
    }
}

/// Every reason for which the API server would reject one of `manifests`, in the order of the kinds and files.
/// Services may use the node ports in `node_ports`.
pub fn admit(manifests: &Manifests, node_ports: RangeInclusive<u16>) -> Vec<Rejection> {
    let mut rejections = Vec::new();
    let out = &mut rejections;
    for object in &manifests.namespaces {
        metadata::check(&mut Checker::new(object, out), &object.value.metadata, names::Form::Label);
    }
    for object in &manifests.config_maps {
        storage::check_config_map(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.secrets {
        storage::check_secret(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.storage_classes {
        metadata::check(&mut Checker::new(object, out), &object.value.metadata, names::Form::Subdomain);
    }
    for object in &manifests.persistent_volumes {
        storage::check_volume(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.persistent_volume_claims {
        storage::check_claim(&mut Checker::new(object, out), &object.value);
    }
    let mut allocations = service::Allocations::new(node_ports);
    for object in &manifests.services {
        service::check(&mut Checker::new(object, out), &object.value, &mut allocations);
    }
    for object in &manifests.pods {
        pod::check(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.stateful_sets {
        workload::check_stateful_set(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.deployments {
        workload::check_deployment(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.pod_disruption_budgets {
        policy::check_disruption_budget(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.network_policies {
        policy::check_network_policy(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.endpoint_slices {
        endpoints::check_slice(&mut Checker::new(object, out), &object.value);
    }
    for object in &manifests.endpoints {
        endpoints::check(&mut Checker::new(object, out), &object.value);
    }
    rejections
}

#[cfg(test)]
mod tests;
