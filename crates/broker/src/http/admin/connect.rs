//! Admin API v2: ConnectRPC over HTTP with JSON bodies, `POST /redpanda.core.admin.v2.SERVICE/METHOD`.
//!
//! There are `BrokerService` (`ListBrokers`, `GetBroker`) and `ClusterService` (`GetHealth`); bodies in Protobuf
//! are refused, as are other methods (`unimplemented`). Source: redpanda.md 3.1.1; connectrpc.com,
//! "Protocol reference", unary requests and error codes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Access;
use crate::cluster::health;
use crate::cluster::members::Member;
use crate::node::Node;

const JSON: &str = "application/json";
const PACKAGE: &str = "redpanda.core.admin.v2.";

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    let path = |service: &str| format!("/{PACKAGE}{service}/{{method}}");
    Router::new()
        .route(&path("BrokerService"), access.superuser(post(broker_service)))
        .route(&path("ClusterService"), access.superuser(post(cluster_service)))
}

/// An error of the protocol: its code, and the HTTP status that goes with it.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    crate::http::json(status, JSON, &json!({"code": code, "message": message}))
}

/// The message of a call.
///
/// # Errors
/// What to answer instead.
fn message(headers: &HeaderMap, body: &Bytes) -> Result<Value, Response> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some(JSON) {
        let message = "send the message as application/json";
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown", message));
    }
    serde_json::from_slice(body)
        .map_err(|problem| error(StatusCode::BAD_REQUEST, "invalid_argument", &problem.to_string()))
}

fn unimplemented(method: &str) -> Response {
    error(StatusCode::NOT_IMPLEMENTED, "unimplemented", &format!("there is no method {method}"))
}

async fn broker_service(
    State(node): State<Arc<Node>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let request = message(&headers, &body)?;
    match method.as_str() {
        "ListBrokers" => Ok(list_brokers(&node).await),
        "GetBroker" => Ok(get_broker(&node, request).await),
        _ => Err(unimplemented(&method)),
    }
}

async fn cluster_service(
    State(node): State<Arc<Node>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    message(&headers, &body)?;
    match method.as_str() {
        "GetHealth" => Ok(get_health(&node).await),
        _ => Err(unimplemented(&method)),
    }
}

fn broker(member: &Member, alive: bool) -> Value {
    let kafka: Vec<Value> = member
        .kafka
        .iter()
        .map(|entry| json!({"name": entry.name, "host": entry.address.host, "port": entry.address.port}))
        .collect();
    json!({
        "nodeId": member.id,
        "buildInfo": {"version": health::VERSION},
        "rpcAddress": {"host": member.rpc.host, "port": member.rpc.port},
        "kafkaAddresses": kafka,
        "rack": member.rack,
        "isAlive": alive,
    })
}

async fn list_brokers(node: &Arc<Node>) -> Response {
    let now = Instant::now();
    let brokers: Vec<Value> = node.with_cluster(|cluster| {
        let members = &cluster.members;
        members.all().map(|member| broker(member, members.alive(member.id, now))).collect()
    });
    crate::http::json(StatusCode::OK, JSON, &json!({"brokers": brokers}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wanted {
    /// -1 or nothing for the broker that is asked.
    #[serde(default)]
    node_id: Option<i32>,
}

async fn get_broker(node: &Arc<Node>, request: Value) -> Response {
    let wanted: Wanted = match serde_json::from_value(request) {
        Ok(wanted) => wanted,
        Err(problem) => return error(StatusCode::BAD_REQUEST, "invalid_argument", &problem.to_string()),
    };
    let id = wanted.node_id.filter(|id| *id >= 0).unwrap_or_else(|| node.id());
    let now = Instant::now();
    let found = node.with_cluster(|cluster| {
        let member = cluster.members.get(id)?;
        Some(broker(member, cluster.members.alive(id, now)))
    });
    match found {
        Some(broker) => crate::http::json(StatusCode::OK, JSON, &json!({"broker": broker})),
        None => error(StatusCode::NOT_FOUND, "not_found", &format!("broker {id} is not a member")),
    }
}

async fn get_health(node: &Arc<Node>) -> Response {
    let health = health::overview(node).await;
    let reasons = health.reasons();
    let body = json!({
        "isHealthy": reasons.is_empty(),
        "unhealthyReasons": reasons,
        "controllerId": health.controller.unwrap_or(-1),
        "allNodes": health.all,
        "nodesDown": health.down,
        "leaderlessCount": health.leaderless.len(),
        "underReplicatedCount": health.under_replicated.len(),
    });
    crate::http::json(StatusCode::OK, JSON, &body)
}
