//! The Admin API, as far as it tells about the cluster. Source: redpanda.md 3.1.
//!
//! Left out: everything that changes something.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::members::Member;
use crate::config::{AdvertisedListener, Api};
use crate::node::Node;
use crate::replication::partition::Partition;

const JSON: &str = "application/json";

/// The routes.
pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/v1/status/ready", get(status_ready))
        .route("/v1/brokers", get(brokers))
        .route("/v1/brokers/{id}", get(broker))
        .route("/v1/cluster/health_overview", get(health_overview))
        .route("/v1/cluster/uuid", get(cluster_uuid))
        .route("/v1/broker_uuids", get(broker_uuids))
        .route("/v1/node_config", get(node_config))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "Not found") })
        .method_not_allowed_fallback(|| async { error(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed") })
        .with_state(node)
}

fn ok(body: Value) -> Response {
    super::json(StatusCode::OK, JSON, &body)
}

fn error(status: StatusCode, message: &str) -> Response {
    super::json(status, JSON, &json!({"message": message, "code": status.as_u16()}))
}

/// Always 200; only the body tells (redpanda.md 3.1.1).
async fn status_ready(State(node): State<Arc<Node>>) -> Response {
    ok(json!({"status": if node.status.ready() { "ready" } else { "booting" }}))
}

fn broker_json(member: &Member, alive: bool) -> Value {
    let mut broker = json!({
        "node_id": member.id,
        "num_cores": 1,
        "internal_rpc_address": member.rpc.host,
        "internal_rpc_port": member.rpc.port,
        "membership_status": "active",
        "is_alive": alive,
        "version": concat!("hopwise-", env!("CARGO_PKG_VERSION")),
        "maintenance_status": {"draining": false},
        "recovery_mode_enabled": false,
    });
    if let Some(rack) = &member.rack {
        broker["rack"] = json!(rack);
    }
    broker
}

async fn brokers(State(node): State<Arc<Node>>) -> Response {
    let now = Instant::now();
    let brokers: Vec<Value> = node.with_cluster(|cluster| {
        let members = &cluster.members;
        members.all().map(|member| broker_json(member, members.alive(member.id, now))).collect()
    });
    ok(json!(brokers))
}

async fn broker(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<i32>() else {
        return error(StatusCode::BAD_REQUEST, &format!("Broker id {id:?} must be an integer"));
    };
    let now = Instant::now();
    let broker = node.with_cluster(|cluster| {
        let member = cluster.members.get(id)?;
        Some(broker_json(member, cluster.members.alive(id, now)))
    });
    broker.map_or_else(|| error(StatusCode::NOT_FOUND, &format!("broker with id {id} not found")), ok)
}

async fn cluster_uuid(State(node): State<Arc<Node>>) -> Response {
    ok(json!({"cluster_uuid": node.membership().map(|membership| membership.cluster)}))
}

async fn broker_uuids(State(node): State<Arc<Node>>) -> Response {
    let uuid = |member: &Member| json!({"node_id": member.id, "uuid": member.uuid});
    let uuids: Vec<Value> = node.with_cluster(|cluster| cluster.members.all().map(uuid).collect());
    ok(json!(uuids))
}

/// Whether a majority of the replicas is away, and whether any is.
fn replica_state(replicas: &[i32], down: &[i32]) -> (bool, bool) {
    // In this version leadership is fixed, so a partition has a leader if its first replica is there.
    let leaderless = replicas.first().is_none_or(|leader| down.contains(leader));
    (leaderless, replicas.iter().any(|id| down.contains(id)))
}

async fn health_overview(State(node): State<Arc<Node>>) -> Response {
    let now = Instant::now();
    let (mut leaderless, mut under_replicated) = (Vec::new(), Vec::new());
    let (all, down, controller) = node.with_cluster(|cluster| {
        let members = &cluster.members;
        let all: Vec<i32> = members.all().map(|member| member.id).collect();
        let down: Vec<i32> = all.iter().copied().filter(|id| !members.alive(*id, now)).collect();
        for topic in cluster.state.topics.all() {
            for (index, replicas) in topic.partitions.iter().enumerate() {
                let (no_leader, missing) = replica_state(replicas, &down);
                let name = format!("kafka/{}/{index}", topic.name);
                if missing {
                    under_replicated.push(name.clone());
                }
                if no_leader {
                    leaderless.push(name);
                }
            }
        }
        (all, down, members.controller(now))
    });
    let own_waits = node.with_partitions(|partitions| {
        let waits = |partition: &&Arc<Partition>| partition.leads() && !partition.progress().leading;
        partitions.values().filter(waits).count()
    });
    let mut reasons = Vec::new();
    let mut reason = |holds: bool, name: &'static str| {
        if holds {
            reasons.push(name);
        }
    };
    reason(!down.is_empty(), "nodes_down");
    reason(!leaderless.is_empty() || own_waits > 0, "leaderless_partitions");
    reason(!under_replicated.is_empty(), "under_replicated_partitions");
    reason(controller.is_none(), "no_elected_controller");
    ok(json!({
        "is_healthy": reasons.is_empty(),
        "unhealthy_reasons": reasons,
        "controller_id": controller.unwrap_or(-1),
        "all_nodes": all,
        "nodes_down": down,
        "nodes_in_recovery_mode": [],
        "leaderless_partitions": leaderless,
        "leaderless_count": leaderless.len(),
        "under_replicated_partitions": under_replicated,
        "under_replicated_count": under_replicated.len(),
        "bytes_in_cloud_storage": null,
    }))
}

async fn node_config(State(node): State<Arc<Node>>) -> Response {
    let config = &node.config;
    let bound = |api: Api| -> Vec<Value> {
        let listeners = config.listeners_of(api);
        listeners
            .map(|listener| {
                let (ip, port) = (listener.bind.ip(), listener.bind.port());
                json!({"name": listener.name, "address": ip, "port": port})
            })
            .collect()
    };
    let advertised = |entries: &[AdvertisedListener]| -> Vec<Value> {
        let entry = |entry: &AdvertisedListener| json!({"name": entry.name, "address": entry.address.host, "port": entry.address.port});
        entries.iter().map(entry).collect()
    };
    let seeds = config.seed_servers.iter();
    let seeds: Vec<Value> =
        seeds.map(|seed| json!({"host": {"address": seed.host, "port": seed.port}})).collect();
    let rpc = &config.advertised_rpc_api;
    ok(json!({
        "node_id": node.id(),
        "data_directory": config.data_directory,
        "rack": config.rack,
        "seed_servers": seeds,
        "empty_seed_starts_cluster": config.empty_seed_starts_cluster,
        "rpc_server": bound(Api::Rpc).pop(),
        "advertised_rpc_api": {"address": rpc.host, "port": rpc.port},
        "admin": bound(Api::Admin),
        "kafka_api": bound(Api::Kafka),
        "advertised_kafka_api": advertised(&config.advertised_kafka_api),
        "pandaproxy_api": bound(Api::HttpProxy),
        "advertised_pandaproxy_api": advertised(&config.advertised_pandaproxy_api),
        "schema_registry_api": bound(Api::SchemaRegistry),
    }))
}
