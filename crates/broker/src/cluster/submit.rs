//! Submitting a command: on any broker, which passes it on to the controller.
//!
//! The controller completes the command with what depends on the moment (see [`complete`]), applies it, and
//! answers when every broker that it can reach has the new state.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::command::{Applied, Command};
use super::{Cluster, gossip};
use crate::node::Node;
use crate::replication;
use crate::rpc::{Refusal, Reply, Request};
use crate::topic_creation;

/// Between two attempts to find the controller.
const CONTROLLER_RETRY: Duration = Duration::from_millis(200);
/// Added to the controller's own limit when another broker waits for it.
const FORWARD_MARGIN: Duration = Duration::from_millis(500);

/// Changes the cluster; returns once this broker knows the result.
///
/// # Errors
/// Why the command is refused, or [`Refusal::TimedOut`] if no controller answered before `deadline`.
pub(crate) async fn submit(
    node: &Arc<Node>,
    command: Command,
    deadline: Instant,
) -> Result<Applied, Refusal> {
    loop {
        let result = submit_once(node, command.clone(), deadline).await;
        let again = Instant::now() + CONTROLLER_RETRY;
        match result {
            Err(Refusal::NotController | Refusal::NotReady | Refusal::WrongBroker) if again < deadline => {
                sleep_until(again).await;
            }
            result => return result,
        }
    }
}

async fn submit_once(node: &Arc<Node>, command: Command, deadline: Instant) -> Result<Applied, Refusal> {
    let controller = node.with_cluster(|cluster| {
        let id = cluster.members.controller(Instant::now())?;
        cluster.members.get(id).cloned()
    });
    let controller = controller.ok_or(Refusal::NotController)?;
    let patience = deadline.saturating_duration_since(Instant::now());
    if controller.id == node.id() {
        return submit_here(node, command, patience).await;
    }
    let request = Request::Submit { command, timeout_ms: patience.as_millis() as u64 };
    match node.call(&controller, request, &[], patience + FORWARD_MARGIN).await {
        Ok((Reply::Applied(applied), _)) => Ok(applied),
        Ok(_) => Err(Refusal::NotController),
        Err(error) => Err(error.refusal().cloned().unwrap_or(Refusal::TimedOut)),
    }
}

/// Carries a command out as the controller.
///
/// # Errors
/// As [`submit`].
pub(crate) async fn submit_here(
    node: &Arc<Node>,
    command: Command,
    patience: Duration,
) -> Result<Applied, Refusal> {
    let (now, own) = (Instant::now(), node.id());
    let command = topic_creation::complete(node, command, now)?;
    let (applied, changed) = node.with_cluster(|cluster| {
        if cluster.members.controller(now) != Some(own) {
            return Err(Refusal::NotController);
        }
        register_members(cluster);
        if command.only_validates() {
            return Ok((cluster.state.clone().apply(&command)?, false));
        }
        let applied = cluster.state.apply(&command)?;
        cluster.unsaved = true;
        Ok((applied, true))
    })?;
    if !changed {
        return Ok(applied);
    }
    node.save_tables().map_err(|error| Refusal::Storage(error.to_string()))?;
    replication::reconcile(node);
    if !gossip::push_and_wait(node, patience.max(Duration::from_millis(1))).await {
        return Err(Refusal::TimedOut);
    }
    Ok(applied)
}

/// Registers who has come, or come back with other addresses, before anything is decided about them.
fn register_members(cluster: &mut Cluster) {
    let members = cluster.members.all().filter(|member| {
        let known = cluster.state.members.get(&member.id);
        known.is_none_or(|known| known.member != **member) && !cluster.state.removed.contains_key(&member.id)
    });
    for member in members.cloned().collect::<Vec<_>>() {
        if let Err(refusal) = cluster.state.apply(&Command::RegisterMember { member }) {
            tracing::warn!(%refusal, "a member is not registered");
        }
    }
}
