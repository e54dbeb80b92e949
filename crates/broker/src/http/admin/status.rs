//! Whether the broker is ready, and its count of crashes. Source: redpanda.md 3.1.1.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};
use serde_json::json;

use super::access::Access;
use super::answer::{AdminError, Answer, empty, ok};
use crate::cluster::crash_tracking;
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/status/ready", access.public(get(ready)))
        .route("/v1/reset_crash_tracking", access.superuser(put(reset_crash_tracking)))
}

/// Always 200; only the body tells.
async fn ready(State(node): State<Arc<Node>>) -> Answer {
    ok(json!({"status": if node.status.ready() { "ready" } else { "booting" }}))
}

async fn reset_crash_tracking(State(node): State<Arc<Node>>) -> Answer {
    crash_tracking::reset(&node.volume)
        .map_err(|error| AdminError::unavailable(format!("the volume does not take the change: {error}")))?;
    empty()
}
