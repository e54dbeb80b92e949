//! The group coordinator: members of consumer groups, their assignments, and the offsets that they commit.
//!
//! A group belongs to a partition of `__consumer_offsets`; the broker that leads it coordinates the group. The
//! rules are a state machine ([`machine`]) that takes the time and a request and says what to answer, what to
//! write and when to look again; [`crate::coordinator`] runs it. Groups are of the classic protocol (JoinGroup,
//! SyncGroup), with static members and cooperative assignors. Left out: the group protocol of KIP-848, and
//! share groups.

mod effects;
mod group;
mod join;
pub(crate) mod machine;
mod member;
pub(crate) mod offsets;
mod rebalance;
pub(crate) mod records;
pub(crate) mod request;
mod stored;
mod sync;
#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::config::ClusterProperties;

/// The topic that groups and offsets are kept in.
pub(crate) const TOPIC: &str = "__consumer_offsets";

/// What the coordinator goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// redpanda.md 4.4: `group_min_session_timeout_ms`.
    pub session_timeout_min: Duration,
    /// redpanda.md 4.4: `group_max_session_timeout_ms`.
    pub session_timeout_max: Duration,
    /// redpanda.md 4.4: `group_initial_rebalance_delay`.
    pub initial_rebalance_delay: Duration,
    /// Most members of a group. Kafka's `group.max.size` has no limit unless one is set; here there is one, so
    /// that a client cannot fill the memory.
    pub members_max: usize,
    /// Most groups of one partition of the topic, for the same reason.
    pub groups_max: usize,
    /// Largest subscription of a member, bytes over all of its assignors.
    pub subscription_bytes_max: usize,
    /// Kafka's `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// Redpanda's `group_offset_retention_sec`.
    pub offset_retention: Duration,
    /// Redpanda's `group_offset_retention_check_ms`.
    pub offset_retention_check: Duration,
}

impl Settings {
    /// What the cluster is configured to.
    pub fn of(properties: &ClusterProperties) -> Settings {
        Settings {
            session_timeout_min: properties.group_min_session_timeout,
            session_timeout_max: properties.group_max_session_timeout,
            initial_rebalance_delay: properties.group_initial_rebalance_delay,
            ..Settings::default()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            session_timeout_min: Duration::from_millis(6000),
            session_timeout_max: Duration::from_millis(300_000),
            initial_rebalance_delay: Duration::from_millis(3000),
            members_max: 10_000,
            groups_max: 100_000,
            subscription_bytes_max: 1 << 20,
            offset_metadata_bytes_max: 4096,
            offset_retention: Duration::from_secs(604_800),
            offset_retention_check: Duration::from_millis(600_000),
        }
    }
}
