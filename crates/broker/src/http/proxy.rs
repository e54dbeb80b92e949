//! The HTTP Proxy, as far as it tells about brokers and topics. Source: redpanda.md 3.3.
//!
//! Left out: producing, fetching and consumers over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tokio::time::Instant;

use super::accepts;
use crate::node::Node;

/// The content type of everything but records.
const CONTROL: &str = "application/vnd.kafka.v2+json";
const ACCEPTED: &[&str] = &[CONTROL, "application/vnd.kafka+json", "application/json"];

/// The routes.
pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/brokers", get(brokers))
        .route("/topics", get(topics))
        .route("/status/ready", get(|| async { StatusCode::OK.into_response() }))
        .fallback(|| async { error(StatusCode::NOT_FOUND, 404, "Not found") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, 405, "Method not allowed")
        })
        .with_state(node)
}

fn error(status: StatusCode, code: u16, message: &str) -> Response {
    super::json(status, CONTROL, &json!({"error_code": code, "message": message}))
}

fn not_acceptable() -> Response {
    error(StatusCode::NOT_ACCEPTABLE, 406, "HTTP 406 Not Acceptable")
}

async fn brokers(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    if !accepts(&headers, ACCEPTED) {
        return not_acceptable();
    }
    let ids: Vec<i32> = node.with_cluster(|cluster| {
        cluster.members.named(Instant::now()).into_iter().map(|member| member.id).collect()
    });
    super::json(StatusCode::OK, CONTROL, &json!({"brokers": ids}))
}

async fn topics(State(node): State<Arc<Node>>, headers: HeaderMap) -> Response {
    if !accepts(&headers, ACCEPTED) {
        return not_acceptable();
    }
    let names: Vec<String> =
        node.with_cluster(|cluster| cluster.state.topics.all().map(|topic| topic.name.clone()).collect());
    super::json(StatusCode::OK, CONTROL, &names)
}
