//! The controllers that turn declared objects into others, each as a pure function of what it sees.
//!
//! A controller is given the objects and the instant and answers with requests; whoever runs it decides when
//! it looks (and how stale its view is) and carries the requests out on the API store.
//! Left out: jobs, daemon sets, autoscalers.

pub mod deployment;
pub mod disruption;
pub mod endpoint_slice_mirroring;
pub mod endpoint_slices;
pub mod garbage_collector;
pub mod node_lifecycle;
pub mod pod_admission;
pub mod pod_gc;
pub mod selector_index;
pub mod service_allocation;
pub mod service_defaults;
pub mod stateful_set;
pub mod taint_eviction;
pub mod topology_hints;
pub mod work_queue;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The most replicas that one object gets; more are treated as this many, so that a slip of the pen does not
/// eat the memory.
pub const REPLICAS_MAX: usize = 10_000;

/// Why the API did not carry out a request; the pass of the controller ends there and is repeated later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request failed: {0}")]
pub struct RequestFailed(pub String);

/// The reference that makes `owner` the controller of an object.
fn controller_reference(api_version: &str, kind: &str, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The reference to the object's controller.
fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}
