//! Removing a broker for good, and changing one's mind. Source: redpanda.md 3.1.1, 3.1.3 (no redirect), 4.5.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, empty, number, ok};
use super::reconfigurations;
use crate::cluster::command::Command;
use crate::cluster::membership::MembershipStatus;
use crate::node::Node;
use crate::operations::decommission;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let decommission = access.user(get(progress)).merge(access.superuser(put(start)));
    Router::new()
        .route("/v1/brokers/{id}/decommission", decommission)
        .route("/v1/brokers/{id}/recommission", access.superuser(put(undo)))
        .route("/v1/brokers/{id}/cancel_partition_moves", access.superuser(post(cancel_moves)))
}

async fn start(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id = number("the broker's id", &id)?;
    super::submit(&node, Command::Decommission { id }).await?;
    empty()
}

async fn undo(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id = number("the broker's id", &id)?;
    super::submit(&node, Command::Recommission { id }).await?;
    empty()
}

async fn progress(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id: i32 = number("the broker's id", &id)?;
    let status = node.with_cluster(|cluster| cluster.state.members.get(&id).map(|member| member.status));
    match status {
        None => return Err(super::brokers::unknown(id)),
        Some(MembershipStatus::Active) => {
            return Err(AdminError::bad_request(format!("broker {id} is not decommissioning")));
        }
        Some(MembershipStatus::Draining) => {}
    }
    let moves: Vec<Value> = reconfigurations::all(&node)
        .await
        .into_iter()
        .filter(|change| change.leaves(id))
        .map(|change| change.decommission_entry())
        .collect();
    let state = node.with_cluster(|cluster| cluster.state.clone());
    let left = state.replicas_of(id);
    let failures = decommission::allocation_failures(&state, id, &super::placeable(&node));
    ok(json!({
        "finished": left == 0,
        "replicas_left": left,
        "allocation_failures": failures,
        "partitions": moves,
    }))
}

/// Gives up every change of replicas from or to a broker.
async fn cancel_moves(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id: i32 = number("the broker's id", &id)?;
    if node.with_cluster(|cluster| cluster.members.get(id).is_none()) {
        return Err(super::brokers::unknown(id));
    }
    reconfigurations::cancel(&node, |change| change.leaves(id) || change.reaches(id)).await
}
