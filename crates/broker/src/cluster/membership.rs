//! What the cluster has decided about its members: who belongs to it, who is leaving, who is drained for
//! maintenance, and which version of the configuration each one runs.
//!
//! Source: redpanda.md 2.3 (ids are never given twice, a removed volume cannot come back), 4.5 (decommission,
//! maintenance), 3.1.1 (`cluster_config/status`).

use serde::{Deserialize, Serialize};

use super::members::Member;

/// A member as the controller keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Its addresses and rack, as it last told them.
    pub member: Member,
    pub status: MembershipStatus,
    /// Whether its leaderships are moved away and no new ones are given to it.
    pub maintenance: bool,
    /// What it made of the cluster configuration; `None` until it has told.
    pub config: Option<ConfigStatus>,
}

/// Whether a member stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MembershipStatus {
    Active,
    /// It is being decommissioned: its replicas move to others, then it is removed.
    Draining,
}

/// What a member made of the cluster configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigStatus {
    pub version: i64,
    /// Whether a property that it has taken over needs a restart to be obeyed.
    pub restart: bool,
    /// Properties whose value it cannot take.
    pub invalid: Vec<String>,
    /// Properties that it does not know.
    pub unknown: Vec<String>,
}

impl MembershipStatus {
    /// The word of the Admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            MembershipStatus::Active => "active",
            MembershipStatus::Draining => "draining",
        }
    }
}

impl Registered {
    /// Whether new replicas may be given to the member.
    pub fn takes_replicas(&self) -> bool {
        self.status == MembershipStatus::Active
    }

    /// Whether leaderships may be given to the member.
    pub fn takes_leaderships(&self) -> bool {
        self.status == MembershipStatus::Active && !self.maintenance
    }
}
