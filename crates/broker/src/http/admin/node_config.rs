//! This broker's own configuration. Source: redpanda.md 3.1.1.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{Answer, ok};
use crate::config::{AdvertisedListener, Api};
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new().route("/v1/node_config", access.superuser(get(node_config)))
}

async fn node_config(State(node): State<Arc<Node>>) -> Answer {
    ok(values(&node))
}

/// The values as a flat map.
pub(super) fn values(node: &Node) -> Value {
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
    json!({
        "node_id": node.id(),
        "data_directory": config.data_directory,
        "rack": config.rack,
        "seed_servers": seeds,
        "empty_seed_starts_cluster": config.empty_seed_starts_cluster,
        "recovery_mode_enabled": config.recovery_mode_enabled,
        "crash_loop_limit": config.crash_loop_limit,
        "rpc_server": bound(Api::Rpc).pop(),
        "advertised_rpc_api": {"address": rpc.host, "port": rpc.port},
        "admin": bound(Api::Admin),
        "kafka_api": bound(Api::Kafka),
        "advertised_kafka_api": advertised(&config.advertised_kafka_api),
        "pandaproxy_api": bound(Api::HttpProxy),
        "advertised_pandaproxy_api": advertised(&config.advertised_pandaproxy_api),
        "schema_registry_api": bound(Api::SchemaRegistry),
    })
}
