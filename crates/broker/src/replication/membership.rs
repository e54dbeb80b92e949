//! Moving groups to other replicas: the leader of a group takes it, step by step, to where the cluster's state
//! wants it.
//!
//! Brokers that are to get a replica become learners; when they have caught up, one change makes them voters and
//! takes the others out (joint consensus). A leader that is to go hands its leadership over first. When the group
//! is there, the leader reports it to the controller. The controller's own group follows the cluster's members in
//! the same way. Source: redpanda.md 4.5 (replica moves with learners).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::partition::Partition;
use crate::cluster::command::Command;
use crate::cluster::controller::CONTROLLER;
use crate::cluster::submit::submit;
use crate::node::{Node, PartitionKey};
use crate::raft::{Configuration, GroupError, broker_id, raft_id};

/// Between two looks at the groups that are led here.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long reporting a finished move may take.
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Works on the groups that are led here, for ever.
pub(crate) async fn run(node: Arc<Node>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (key, target) in targets(&node) {
            let Some(replica) = node.replica(key).filter(|replica| replica.progress().leading) else {
                continue;
            };
            step(&node, &replica, target).await;
        }
    }
}

/// The groups that are to change, and the brokers that they are to have.
fn targets(node: &Node) -> Vec<(PartitionKey, Vec<i32>)> {
    let mut targets = node.with_cluster(|cluster| {
        let state = &cluster.state;
        let mut targets = Vec::new();
        for (name, changes) in &state.reassignments {
            let Some(topic) = state.topics.get(name) else { continue };
            targets.extend(changes.iter().map(|(index, change)| ((topic.id, *index), change.target.clone())));
        }
        targets
    });
    targets.extend(controller_target(node).map(|target| (CONTROLLER, target)));
    targets
}

/// The members that the controller's group is to have: those it has and those who came, without those who were
/// removed. `None` if nothing is to change.
fn controller_target(node: &Node) -> Option<Vec<i32>> {
    let configuration = node.controller.replica()?.configuration();
    let has: BTreeSet<i32> = configuration.voters.iter().filter_map(|id| broker_id(*id)).collect();
    let wants: BTreeSet<i32> = node.with_cluster(|cluster| {
        let state = &cluster.state;
        let members = has.iter().chain(state.members.keys()).copied();
        members.filter(|id| !state.removed.contains_key(id)).collect()
    });
    let settled = has == wants && configuration.learners.is_empty() && !configuration.is_joint();
    (!settled).then(|| wants.into_iter().collect())
}

/// One step of one group.
async fn step(node: &Arc<Node>, replica: &Arc<Partition>, target: Vec<i32>) {
    let own = node.id();
    let voters: BTreeSet<u64> = target.iter().copied().map(raft_id).collect();
    if !target.contains(&own) && learners_are_ready(replica, &voters) {
        let next = target.iter().copied().find(|id| replica.configuration().voters.contains(&raft_id(*id)));
        if let Some(next) = next {
            // It is tried again if the next one does not take over.
            let _ = replica.transfer_leadership(Some(next)).await;
            return;
        }
    }
    let stepped = replica.with_group(|group| group.change_members(&voters));
    match stepped {
        Ok(Ok(true)) => report(node, replica.key, target).await,
        Ok(Ok(false) | Err(GroupError::ChangeUnderWay)) => {}
        Ok(Err(error)) => tracing::debug!(partition = ?replica.key, %error, "a group is not moved on"),
        Err(error) => tracing::debug!(partition = ?replica.key, %error, "a group is not moved on"),
    }
}

/// Whether everything that the group lacks is a learner that has caught up.
fn learners_are_ready(replica: &Partition, voters: &BTreeSet<u64>) -> bool {
    let configuration = replica.configuration();
    replica
        .with_group(|group| {
            voters.iter().all(|id| configuration.voters.contains(id) || group.has_caught_up(*id))
        })
        .unwrap_or(false)
}

/// Tells the controller that a group has the replicas that it was to get.
async fn report(node: &Arc<Node>, key: PartitionKey, replicas: Vec<i32>) {
    let topic =
        node.with_cluster(|cluster| cluster.state.topics.by_id(key.0).map(|topic| topic.name.clone()));
    let Some(topic) = topic else { return };
    let command = Command::FinishReassignment { topic, partition: key.1, replicas };
    if let Err(refusal) = submit(node, command, Instant::now() + REPORT_TIMEOUT).await {
        tracing::debug!(partition = ?key, %refusal, "a finished move is not reported yet");
    }
}

/// Who belongs to a group, as its leader says, from any broker; `None` if no leader answers.
pub(crate) async fn configuration_of(node: &Arc<Node>, key: PartitionKey) -> Option<Configuration> {
    if let Some(replica) = node.replica(key).filter(|replica| replica.progress().leading) {
        return Some(replica.configuration());
    }
    let (leader, _) = node.leader_of(key)?;
    let member = node.with_cluster(|cluster| cluster.members.get(leader).cloned())?;
    let request = crate::rpc::Request::GroupConfiguration { key };
    match node.call(&member, request, &[], Duration::from_secs(1)).await {
        Ok((crate::rpc::Reply::GroupConfiguration(configuration), _)) => Some(configuration),
        _ => None,
    }
}
