//! Whether the volumes behind a pod's claims can be had on a node.
//!
//! Source: kubernetes.md 1.7.

use k8s_openapi::api::core::v1::{Node, Pod};

use super::Reason;
use crate::store::Store;
use crate::volumes::{Reach, claims_of_pod, reach};

pub(super) fn check(pod: &Pod, store: &Store, node: &Node) -> Result<(), Reason> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    for name in claims_of_pod(pod) {
        match reach(store, namespace, &name, node) {
            Reach::Bound | Reach::CanBind => {}
            Reach::ClaimMissing => return Err(Reason::ClaimMissing { name }),
            Reach::ClaimTerminating => return Err(Reason::ClaimTerminating { name }),
            Reach::UnboundImmediate => return Err(Reason::UnboundImmediateClaim),
            Reach::OutOfReach => return Err(Reason::VolumeNodeAffinity),
            Reach::NothingToBind => return Err(Reason::NoVolumeToBind),
        }
    }
    Ok(())
}
