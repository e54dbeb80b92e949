//! The members of the cluster as this broker sees them. Source: redpanda.md 3.1.1.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::access::Access;
use super::answer::{AdminError, Answer, number, ok};
use crate::cluster::Cluster;
use crate::cluster::health::{self, NodeReport, Reports};
use crate::cluster::members::Member;
use crate::cluster::membership::MembershipStatus;
use crate::node::Node;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/v1/brokers", access.user(get(brokers)))
        .route("/v1/brokers/{id}", access.user(get(broker)))
        .route("/v1/cluster_view", access.user(get(cluster_view)))
        .route("/v1/broker_uuids", access.superuser(get(broker_uuids)))
}

fn entry(cluster: &Cluster, member: &Member, reports: &Reports, now: Instant) -> Value {
    let registered = cluster.state.members.get(&member.id);
    let report = reports.of(member.id);
    let maintenance = registered.is_some_and(|registered| registered.maintenance);
    let status = registered.map_or(MembershipStatus::Active, |registered| registered.status);
    let mut broker = json!({
        "node_id": member.id,
        "num_cores": 1,
        "internal_rpc_address": member.rpc.host,
        "internal_rpc_port": member.rpc.port,
        "membership_status": status.as_str(),
        "is_alive": cluster.members.alive(member.id, now),
        // A disk of unknown size is left out.
        "disk_space": disk_space(report),
        "version": report.map_or(health::VERSION, |report| report.version.as_str()),
        "maintenance_status": super::maintenance::status(maintenance, report.map(|report| &report.drain)),
        "recovery_mode_enabled": report.is_some_and(|report| report.recovery_mode),
        "in_fips_mode": false,
    });
    if let Some(rack) = &member.rack {
        broker["rack"] = json!(rack);
    }
    broker
}

fn disk_space(report: Option<&NodeReport>) -> Vec<Value> {
    let disk = report.and_then(|report| report.disk.as_ref());
    disk.into_iter()
        .map(|(path, space)| json!({"path": path, "free": space.free, "total": space.total}))
        .collect()
}

fn entries(node: &Node, reports: &Reports) -> Vec<Value> {
    let now = Instant::now();
    node.with_cluster(|cluster| {
        cluster.members.all().map(|member| entry(cluster, member, reports, now)).collect()
    })
}

async fn brokers(State(node): State<Arc<Node>>) -> Answer {
    let reports = health::reports(&node).await;
    ok(entries(&node, &reports))
}

async fn broker(State(node): State<Arc<Node>>, Path(id): Path<String>) -> Answer {
    let id: i32 = number("the broker's id", &id)?;
    let reports = health::reports(&node).await;
    let now = Instant::now();
    let found = node.with_cluster(|cluster| {
        let member = cluster.members.get(id)?;
        Some(entry(cluster, member, &reports, now))
    });
    ok(found.ok_or_else(|| unknown(id))?)
}

/// 404 for a broker that is not a member.
pub(super) fn unknown(id: i32) -> AdminError {
    AdminError::not_found(format!("broker with id {id} not found"))
}

async fn cluster_view(State(node): State<Arc<Node>>) -> Answer {
    let reports = health::reports(&node).await;
    let version = node.with_cluster(|cluster| cluster.state.version);
    ok(json!({"version": version, "brokers": entries(&node, &reports)}))
}

async fn broker_uuids(State(node): State<Arc<Node>>) -> Answer {
    let uuid = |member: &Member| json!({"node_id": member.id, "uuid": member.uuid});
    let uuids: Vec<Value> = node.with_cluster(|cluster| cluster.members.all().map(uuid).collect());
    ok(uuids)
}
