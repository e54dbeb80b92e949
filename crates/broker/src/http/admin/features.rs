//! Features, the cluster's version, and the licence that is not needed. Source: redpanda.md 3.1.1.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{AdminError, Answer, empty, ok, read};
use super::redirect::{Origin, to_controller};
use crate::cluster::command::Command;
use crate::cluster::features::{CLUSTER_VERSION, FEATURES, FeatureState};
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/features", access.user(get(features)))
        .route("/v1/features/license", access.user(get(license)))
        .route("/v1/features/enterprise", access.user(get(enterprise)))
        .route("/v1/features/{name}", access.superuser(put(set)))
}

async fn features(State(node): State<Arc<Node>>) -> Answer {
    let states: Vec<Value> = node.with_cluster(|cluster| {
        let entry = |name: &&str| {
            let state = cluster.state.feature(name).unwrap_or(FeatureState::Active);
            json!({"name": name, "state": state.as_str(), "was_active": true})
        };
        FEATURES.iter().map(entry).collect()
    });
    ok(json!({
        "cluster_version": CLUSTER_VERSION,
        "original_cluster_version": CLUSTER_VERSION,
        "node_earliest_version": CLUSTER_VERSION,
        "node_latest_version": CLUSTER_VERSION,
        "features": states,
    }))
}

#[derive(Deserialize)]
struct Wanted {
    state: String,
}

async fn set(State(node): State<Arc<Node>>, Path(name): Path<String>, origin: Origin, body: Bytes) -> Answer {
    if let Some(redirect) = to_controller(&node, &origin)? {
        return Ok(redirect);
    }
    let Wanted { state } = read(&body)?;
    let state = match state.as_str() {
        "active" => FeatureState::Active,
        "disabled" => FeatureState::Disabled,
        other => {
            let message = format!("the state is active or disabled, not \"{other}\"");
            return Err(AdminError::bad_request(message));
        }
    };
    super::submit(&node, Command::SetFeature { name, state }).await?;
    empty()
}

/// Brokers of this crate work without a licence.
async fn license() -> Answer {
    ok(json!({"loaded": false, "license": null}))
}

async fn enterprise() -> Answer {
    ok(json!({"license_status": "not_present", "violation": false, "features": []}))
}
