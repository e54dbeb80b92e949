//! Keeping the brokers' tables equal, and knowing who is alive.
//!
//! Every broker pings every other one each `node_status_interval` (redpanda.md 3.5: 100 ms). A ping carries
//! what tells whether the tables differ; if they do, the two exchange them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::identity::Tables;
use super::members::Member;
use super::state::State;
use crate::node::Node;
use crate::replication;
use crate::rpc::{Fingerprints, Reply, Request};
use crate::status::Counter;

/// How long a ping may take before its connection is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an exchange of tables may take that nobody waits for.
const SYNC_TIMEOUT: Duration = Duration::from_secs(2);

/// What tells whether two brokers' tables differ.
pub(crate) fn fingerprints(node: &Node) -> Fingerprints {
    node.with_cluster(|cluster| Fingerprints {
        members: cluster.members.fingerprint(),
        state: cluster.state.version,
    })
}

/// A copy of the tables.
pub(crate) fn tables(node: &Node) -> Tables {
    node.with_cluster(|cluster| Tables { members: cluster.members.to_vec(), state: cluster.state.clone() })
}

/// Merges another broker's tables into this one's, and writes them to the volume.
pub(crate) fn remember(node: &Arc<Node>, members: Vec<Member>, state: State) {
    let changed = node.with_cluster(|cluster| {
        let newer = state.version > cluster.state.version;
        if newer {
            cluster.state = state;
        }
        let changed = cluster.members.merge(members) | newer;
        let removed = &cluster.state.removed;
        cluster.members.forget(|id| removed.contains_key(&id));
        cluster.unsaved |= changed;
        changed
    });
    if changed {
        save(node);
        replication::reconcile(node);
    }
}

/// Merges another broker's tables and answers with the result.
pub(crate) fn take(node: &Arc<Node>, members: Vec<Member>, state: State) -> Reply {
    remember(node, members, state);
    let tables = tables(node);
    Reply::Synced { members: tables.members, state: tables.state }
}

/// Failing to write is told, and tried again with the next ping round.
fn save(node: &Node) {
    if let Err(error) = node.save_tables() {
        node.status.add(Counter::StorageErrors, 1);
        tracing::error!(%error, "the cluster's tables could not be written to the volume");
    }
}

/// Pings every other member, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut pinged = BTreeSet::new();
    let mut ticks = ticks(&node);
    loop {
        ticks.tick().await;
        save(&node);
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
        let Some(member) = node.with_cluster(|cluster| cluster.members.get(id).cloned()) else { continue };
        let own = fingerprints(&node);
        node.metrics.node_status.sent.add(1);
        match node.call(&member, Request::Ping(own), &[], PING_TIMEOUT).await {
            Ok((Reply::Pong(theirs), _)) => {
                node.with_cluster(|cluster| cluster.members.heard(id, Instant::now()));
                if theirs != fingerprints(&node) {
                    exchange(&node, &member, SYNC_TIMEOUT).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                node.metrics.node_status.timed_out.add(1);
                tracing::trace!(id, %error, "no answer to a ping");
            }
        }
    }
}

/// Sends this broker's tables to a member and takes over what it has more; tells whether it answered.
async fn exchange(node: &Arc<Node>, member: &Member, patience: Duration) -> bool {
    let Tables { members, state } = tables(node);
    match node.call(member, Request::Sync { members, state }, &[], patience).await {
        Ok((Reply::Synced { members, state }, _)) => {
            remember(node, members, state);
            true
        }
        Ok(_) => false,
        Err(error) => {
            tracing::debug!(id = member.id, %error, "tables not exchanged");
            false
        }
    }
}

fn reachable_others(node: &Node) -> Vec<Member> {
    let (own, now) = (node.id(), Instant::now());
    node.with_cluster(|cluster| {
        let others = cluster.members.all().filter(|member| member.id != own);
        others.filter(|member| cluster.members.reachable(member.id, now)).cloned().collect()
    })
}

/// Sends the tables to every other broker that can be reached, without waiting.
pub(crate) fn push(node: &Arc<Node>) {
    for member in reachable_others(node) {
        let node = Arc::clone(node);
        node.clone().tasks.spawn(async move {
            exchange(&node, &member, SYNC_TIMEOUT).await;
        });
    }
}

/// Sends the tables to every other broker that can be reached; tells whether all have them.
pub(crate) async fn push_and_wait(node: &Arc<Node>, patience: Duration) -> bool {
    let members = reachable_others(node);
    let exchanged = members.iter().map(|member| exchange(node, member, patience));
    join_all(exchanged).await.into_iter().all(|answered| answered)
}
