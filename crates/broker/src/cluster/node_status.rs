//! Knowing who is alive: every broker pings every other one each `node_status_interval` (redpanda.md 3.5: 100 ms).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::node::Node;
use crate::rpc::raft_frame::Route;

/// How long a ping may take before its connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Pings every other member, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut pinged = BTreeSet::new();
    let mut ticks = ticks(&node);
    loop {
        ticks.tick().await;
        let own = node.id();
        let ids: Vec<i32> =
            node.with_cluster(|cluster| cluster.members.all().map(|member| member.id).collect());
        for id in ids {
            if id != own && pinged.insert(id) {
                node.tasks.spawn(ping(Arc::clone(&node), id));
            }
        }
    }
}

fn ticks(node: &Node) -> tokio::time::Interval {
    let mut ticks = interval(node.config.cluster.node_status_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn ping(node: Arc<Node>, id: i32) {
    let mut ticks = ticks(&node);
    loop {
        ticks.tick().await;
        let address = node.with_cluster(|cluster| cluster.members.get(id).map(|member| member.rpc.clone()));
        let (Some(address), Some((from, cluster))) = (address, node.place()) else { continue };
        node.metrics.node_status.sent.add(1);
        match node.peers.ping(&address, Route { from, to: id, cluster }, PING_TIMEOUT).await {
            Ok(()) => node.with_cluster(|cluster| cluster.members.heard(id, Instant::now())),
            Err(error) => {
                node.metrics.node_status.timed_out.add(1);
                tracing::trace!(id, %error, "no answer to a ping");
            }
        }
    }
}
