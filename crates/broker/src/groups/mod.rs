//! The group coordinator: members of consumer groups, their assignments, and the offsets that they commit.
//!
//! A group belongs to a partition of `__consumer_offsets`; the broker that leads it coordinates the group. The
//! rules are a state machine ([`machine`]) that takes the time and a request and says what to answer, what to
//! write and when to look again; [`crate::coordinator`] runs it. Groups are of the classic protocol (JoinGroup,
//! SyncGroup), with static members and cooperative assignors, or of that of KIP-848 ([`consumer_protocol`]). Left
//! out: share groups.

pub(crate) mod consumer_protocol;
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
pub(crate) mod topics;

use std::sync::Arc;
use std::time::Duration;

use self::machine::GroupMachine;
use crate::cluster::properties;
use crate::cluster::topics::Topic;
use crate::coordinator::Now;
use crate::node::Node;
use crate::rpc::Refusal;
use crate::topic_creation;

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
    /// How long a member of the consumer protocol may be silent.
    pub consumer_session_timeout: Duration,
    /// How often such a member is to send a heartbeat.
    pub consumer_heartbeat_interval: Duration,
    /// Most members of a group. Kafka's `group.max.size` has no limit unless one is set; here there is one, so
    /// that a client cannot fill the memory.
    pub members_max: usize,
    /// Most groups of one partition of the topic, for the same reason.
    pub groups_max: usize,
    /// Largest subscription of a member, bytes over all of its assignors.
    pub subscription_bytes_max: usize,
    /// Kafka's `offset.metadata.max.bytes`.
    pub offset_metadata_bytes_max: usize,
    /// Redpanda's `group_offset_retention_sec`; `None` keeps offsets for ever.
    pub offset_retention: Option<Duration>,
    /// Redpanda's `group_offset_retention_check_ms`.
    pub offset_retention_check: Duration,
}

/// The topic, which is made when the first group asks for its coordinator.
///
/// # Errors
/// Why it could not be made.
pub(crate) async fn ensure_topic(node: &Arc<Node>) -> Result<Topic, Refusal> {
    let partitions = node.properties().group_topic_partitions;
    topic_creation::ensure_internal(node, TOPIC, partitions, &[("cleanup.policy", "compact")]).await
}

/// An empty machine, with the settings of this moment.
pub(crate) fn machine_of(node: &Node, now: Now) -> GroupMachine {
    GroupMachine::new(Settings::of(node), now)
}

impl Settings {
    /// What the cluster is configured to: its properties, and where one is not set what the broker was started
    /// with.
    pub fn of(node: &Node) -> Settings {
        let started = &node.config.cluster;
        let set = node.with_cluster(|cluster| cluster.state.properties.clone());
        let millis = |name: &str| {
            let value = set.get(name).and_then(serde_json::Value::as_u64);
            value.map(Duration::from_millis)
        };
        let default = Settings::default();
        let retention = properties::integer(&set, "group_offset_retention_sec");
        Settings {
            session_timeout_min: millis("group_min_session_timeout_ms")
                .unwrap_or(started.group_min_session_timeout),
            session_timeout_max: millis("group_max_session_timeout_ms")
                .unwrap_or(started.group_max_session_timeout),
            initial_rebalance_delay: millis("group_initial_rebalance_delay")
                .unwrap_or(started.group_initial_rebalance_delay),
            consumer_session_timeout: millis("group_consumer_session_timeout_ms")
                .unwrap_or(default.consumer_session_timeout),
            consumer_heartbeat_interval: millis("group_consumer_heartbeat_interval_ms")
                .unwrap_or(default.consumer_heartbeat_interval),
            offset_retention: retention
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs),
            offset_retention_check: millis("group_offset_retention_check_ms")
                .unwrap_or(default.offset_retention_check),
            ..default
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            session_timeout_min: Duration::from_millis(6000),
            session_timeout_max: Duration::from_millis(300_000),
            initial_rebalance_delay: Duration::from_millis(3000),
            // Apache Kafka's `group.consumer.session.timeout.ms` and `group.consumer.heartbeat.interval.ms`.
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            members_max: 10_000,
            groups_max: 100_000,
            subscription_bytes_max: 1 << 20,
            offset_metadata_bytes_max: 4096,
            offset_retention: Some(Duration::from_secs(604_800)),
            offset_retention_check: Duration::from_millis(600_000),
        }
    }
}
