//! The cluster's uuid, and what the partition balancer does. Source: redpanda.md 3.1.1, 3.1.3.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::json;

use super::access::Access;
use super::answer::{Answer, ok};
use super::redirect::{Origin, to_controller};
use crate::node::Node;
use crate::operations::partition_balancer;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/cluster/uuid", access.public(get(uuid)))
        .route("/v1/cluster/partition_balancer/status", access.public(get(balancer_status)))
}

async fn uuid(State(node): State<Arc<Node>>) -> Answer {
    ok(json!({"cluster_uuid": node.membership().map(|membership| membership.cluster)}))
}

async fn balancer_status(State(node): State<Arc<Node>>, origin: Origin) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let status = partition_balancer::status(&node);
    ok(json!({
        "status": status.word,
        "violations": {
            "unavailable_nodes": status.unavailable,
            "over_disk_limit_nodes": [],
        },
        "seconds_since_last_tick": status.seconds_since_last_tick,
        "current_reassignments_count": status.reassignments,
    }))
}
