//! Whether the cluster is well. Source: redpanda.md 3.1.1.
//!
//! Who is down and what has no leader is what this broker knows; which replicas lag is what the leaders tell.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::json;

use super::access::Access;
use super::answer::{Answer, ok};
use crate::cluster::health;
use crate::node::Node;

/// Longer lists are cut; their counts are not.
const NAMES_MAX: usize = 128;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new().route("/v1/cluster/health_overview", access.public(get(overview)))
}

async fn overview(State(node): State<Arc<Node>>) -> Answer {
    let health = health::overview(&node).await;
    let first = |names: &[String]| names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>();
    let reasons = health.reasons();
    ok(json!({
        "is_healthy": reasons.is_empty(),
        "unhealthy_reasons": reasons,
        "controller_id": health.controller.unwrap_or(-1),
        "all_nodes": health.all,
        "nodes_down": health.down,
        "high_disk_usage_nodes": [],
        "nodes_in_recovery_mode": health.in_recovery_mode,
        "leaderless_partitions": first(&health.leaderless),
        "leaderless_count": health.leaderless.len(),
        "under_replicated_partitions": first(&health.under_replicated),
        "under_replicated_count": health.under_replicated.len(),
        "bytes_in_cloud_storage": null,
    }))
}
