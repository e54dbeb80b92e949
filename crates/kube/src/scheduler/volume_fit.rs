//! Whether the volumes behind a pod's claims can be had on a node.
//!
//! Source: kubernetes.md 1.7; the Kubernetes page "Persistent Volumes" (ReadWriteOncePod).

use k8s_openapi::api::core::v1::Pod;

use super::Reason;
use super::state::{ClusterState, NodeState};
use crate::store::Store;
use crate::volumes::{ClaimReach, Reach, claims_of_pod, is_for_one_pod};

/// The claims of a pod, looked up.
pub(super) struct Required<'a> {
    claims: Vec<(String, ClaimReach<'a>)>,
    in_use: bool,
}

impl<'a> Required<'a> {
    pub(super) fn of(pod: &Pod, state: &ClusterState, store: &'a Store) -> Self {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let names = claims_of_pod(pod);
        let in_use = names
            .iter()
            .any(|name| is_for_one_pod(store, namespace, name) && state.users_of(namespace, name) > 0);
        let claims = names.into_iter().map(|name| {
            let reach = ClaimReach::of(store, &state.available, namespace, &name);
            (name, reach)
        });
        Required { claims: claims.collect(), in_use }
    }

    pub(super) fn check(&self, node: &NodeState) -> Result<(), Reason> {
        if self.in_use {
            return Err(Reason::ClaimInUse);
        }
        for (name, claim) in &self.claims {
            match claim.on(&node.node) {
                Reach::Bound | Reach::CanBind => {}
                Reach::ClaimMissing => return Err(Reason::ClaimMissing { name: name.clone() }),
                Reach::ClaimTerminating => return Err(Reason::ClaimTerminating { name: name.clone() }),
                Reach::UnboundImmediate => return Err(Reason::UnboundImmediateClaim),
                Reach::OutOfReach => return Err(Reason::VolumeNodeAffinity),
                Reach::NothingToBind => return Err(Reason::NoVolumeToBind),
            }
        }
        Ok(())
    }
}
