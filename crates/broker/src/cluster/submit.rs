//! Submitting a command: on any broker, which passes it on to the controller.
//!
//! The controller completes the command with what depends on the moment (see
//! [`complete`](crate::topic_creation::complete)) and proposes it to the controller group
//! ([`controller`](super::controller)). The broker that it was submitted on answers when it has applied it too.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::command::{Applied, Command};
use super::controller::{self, CONTROLLER};
use crate::node::Node;
use crate::rpc::client::CallError;
use crate::rpc::{Refusal, Reply, Request};
use crate::topic_creation;

/// Between two attempts to find the controller.
const CONTROLLER_RETRY: Duration = Duration::from_millis(100);
/// Added to the controller's own limit when another broker waits for it.
const FORWARD_MARGIN: Duration = Duration::from_millis(500);

/// Changes the cluster; returns once this broker has applied the command.
///
/// # Errors
/// Why the command is refused, or [`Refusal::TimedOut`] if no controller has carried it out before `deadline` (it
/// may do so later).
pub(crate) async fn submit(
    node: &Arc<Node>,
    command: Command,
    deadline: Instant,
) -> Result<Applied, Refusal> {
    // The same for every attempt, so that the command is carried out once.
    let request = node.new_uuid();
    loop {
        let result = submit_once(node, request, command.clone(), deadline).await;
        let again = Instant::now() + CONTROLLER_RETRY;
        match result {
            Err(Refusal::NotController | Refusal::NotReady | Refusal::WrongBroker) if again < deadline => {
                sleep_until(again).await;
            }
            result => return result,
        }
    }
}

async fn submit_once(
    node: &Arc<Node>,
    request: Uuid,
    command: Command,
    deadline: Instant,
) -> Result<Applied, Refusal> {
    let (leader, _) = node.leader_of(CONTROLLER).ok_or(Refusal::NotController)?;
    let (index, applied) = if leader == node.id() {
        submit_here(node, request, command, deadline).await?
    } else {
        forward(node, leader, request, command, deadline).await?
    };
    match node.controller.wait_applied(index, deadline).await {
        true => Ok(applied),
        false => Err(Refusal::TimedOut),
    }
}

async fn forward(
    node: &Arc<Node>,
    leader: i32,
    request: Uuid,
    command: Command,
    deadline: Instant,
) -> Result<(u64, Applied), Refusal> {
    let controller = node.with_cluster(|cluster| cluster.members.get(leader).cloned());
    let controller = controller.ok_or(Refusal::NotController)?;
    let patience = deadline.saturating_duration_since(Instant::now());
    let request = Request::Submit { request, command, timeout_ms: patience.as_millis() as u64 };
    match node.call(&controller, request, &[], patience + FORWARD_MARGIN).await {
        Ok((Reply::Applied { index, applied }, _)) => Ok((index, applied)),
        Ok(_) | Err(CallError::Connect { .. } | CallError::Closed { .. }) => Err(Refusal::NotController),
        Err(error) => Err(error.refusal().cloned().unwrap_or(Refusal::TimedOut)),
    }
}

/// Carries a command out as the controller; gives the index of its entry, or 0 if it was only validated.
///
/// # Errors
/// As [`submit`]; [`Refusal::NotController`].
pub(crate) async fn submit_here(
    node: &Arc<Node>,
    request: Uuid,
    command: Command,
    deadline: Instant,
) -> Result<(u64, Applied), Refusal> {
    let replica = node.controller.replica().ok_or(Refusal::NotReady)?;
    if !replica.progress().leading {
        return Err(Refusal::NotController);
    }
    let command = match node.controller.outcome_of(request) {
        // It was carried out already; what it was completed with does not matter.
        Some(_) => command,
        None => topic_creation::complete(node, command, Instant::now())?,
    };
    if command.only_validates() {
        let applied = node.with_cluster(|cluster| cluster.state.clone().apply(&command))?;
        return Ok((0, applied));
    }
    let (index, outcome) = controller::propose(node, request, command, deadline).await?;
    Ok((index, outcome?))
}
