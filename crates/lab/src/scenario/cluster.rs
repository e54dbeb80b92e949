//! What a scenario says of its cluster beyond the cluster file and the manifests: the promise that it breaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A promise of Kubernetes that the cluster breaks, so that the checks that watch over it can be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterBug {
    /// Kubelets let a pod's object go before its containers have ended.
    ConfirmBeforeEnd,
}

impl ClusterBug {
    /// Whether this build has them.
    pub const BUILT: bool = cfg!(feature = "bugs");

    /// What it switches on in the cluster.
    #[cfg(feature = "bugs")]
    pub fn bugs(self) -> hopwise_kube::cluster::Bugs {
        use hopwise_kube::cluster::Bugs;
        match self {
            ClusterBug::ConfirmBeforeEnd => Bugs { confirm_before_end: true },
        }
    }
}
