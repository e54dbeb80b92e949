//! The features of the cluster, and the version that it runs as (redpanda.md 3.1.1, `/v1/features`).
//!
//! Every broker runs the same version of this crate, so every feature is active until somebody disables it.

use serde::{Deserialize, Serialize};

/// The logical version of the cluster; it rises with what the brokers replicate.
pub(crate) const CLUSTER_VERSION: i64 = 17;

/// What a broker of this crate can do, as Redpanda names it.
pub(crate) const FEATURES: &[&str] = &[
    "central_config",
    "controller_snapshots",
    "delete_records",
    "fast_partition_reconfiguration",
    "force_partition_reconfiguration",
    "group_offset_retention",
    "group_tx_fence_dedicated_batch_type",
    "kafka_gssapi",
    "maintenance_mode",
    "membership_change_controller_cmds",
    "mtls_authentication",
    "node_id_assignment",
    "node_isolation",
    "partition_move_revert_cancel",
    "raft_coordinated_recovery",
    "raftless_node_status",
    "replication_factor_change",
    "role_based_access_control",
    "rpc_v2_by_default",
    "schema_id_validation",
    "seeds_driven_bootstrap_capable",
    "serde_raft_0",
    "transaction_ga",
];

/// Whether a feature is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FeatureState {
    Active,
    Disabled,
}

impl FeatureState {
    /// The word of the Admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            FeatureState::Active => "active",
            FeatureState::Disabled => "disabled",
        }
    }
}
