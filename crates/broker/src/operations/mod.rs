//! What a cluster does about itself: drains and removes brokers, spreads leaders and replicas, and lets every
//! broker tell which configuration it runs.
//!
//! Each operation is a pure planner that looks at the replicated state, and a loop that carries its plan out.
//! Plans are made by the controller's leader alone; draining and reporting are done by every broker for itself.
//! Source: redpanda.md 4.5.

pub(crate) mod config_report;
pub(crate) mod decommission;
pub(crate) mod drain;
pub(crate) mod leader_balancer;
pub(crate) mod leadership;
pub(crate) mod partition_balancer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::controller::CONTROLLER;
use crate::cluster::health::Collected;
use crate::cluster::placement::{Candidate, Placeable};
use crate::cluster::rate_limit::Limits;
use crate::http::admin::loggers::Loggers;
use crate::node::Node;

/// How long a command that the cluster gives itself may take.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What the operations of one broker share with those who ask about them.
#[derive(Default)]
pub(crate) struct Control {
    pub drain: drain::Drain,
    pub balancer: partition_balancer::Balancer,
    pub collected: Collected,
    pub loggers: Loggers,
    pub limits: Limits,
    wake_balancer: Notify,
}

impl Control {
    /// Lets the partition balancer look at the cluster at once and spread replicas evenly.
    pub fn rebalance(&self) {
        self.balancer.want_even();
        self.wake_balancer.notify_one();
    }
}

/// Starts the operations of a broker that has become a member.
pub(crate) fn start(node: &Arc<Node>) {
    node.tasks.spawn(config_report::run(Arc::clone(node)));
    node.tasks.spawn(drain::run(Arc::clone(node)));
    node.tasks.spawn(decommission::run(Arc::clone(node)));
    node.tasks.spawn(leader_balancer::run(Arc::clone(node)));
    node.tasks.spawn(partition_balancer::run(Arc::clone(node)));
}

/// The leader of the controller's group, as far as this broker knows; nobody while it cannot be reached.
pub(crate) fn controller(node: &Node) -> Option<i32> {
    let (leader, _) = node.leader_of(CONTROLLER)?;
    node.with_cluster(|cluster| cluster.members.reachable(leader, Instant::now())).then_some(leader)
}

fn is_controller(node: &Node) -> bool {
    controller(node) == Some(node.id())
}

/// Where replicas can be put now: members that stay and are alive.
pub(crate) fn placeable(node: &Node) -> Placeable {
    let now = Instant::now();
    let limit = node.property("topic_partitions_per_shard").as_u64();
    let capacity = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    node.with_cluster(|cluster| {
        let members = cluster.members.all().filter(|member| {
            cluster.members.reachable(member.id, now) && cluster.state.takes_replicas(member.id)
        });
        let candidates =
            members.map(|member| Candidate { id: member.id, rack: member.rack.clone() }).collect();
        Placeable { candidates, capacity }
    })
}

/// A cluster property of milliseconds or seconds; `unit` is what one means.
fn duration(node: &Node, name: &str, unit: Duration) -> Option<Duration> {
    let value = node.property(name).as_i64()?;
    Some(unit.saturating_mul(u32::try_from(value).unwrap_or(u32::MAX)))
}

fn milliseconds(node: &Node, name: &str) -> Duration {
    duration(node, name, Duration::from_millis(1)).unwrap_or_default()
}
