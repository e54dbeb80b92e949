//! `/public_metrics` and `/metrics`: the same families; the second adds the raw counters of the process.
//!
//! What has to be counted is in [`crate::metrics`], everything else is read off here. Names: redpanda.md 3.1.4.
//! Left out: disks of unknown size, CPU, sessions of SASL.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use kafka_protocol::messages::ApiKey;
use tokio::time::Instant;

use super::access::Access;
use super::answer::AdminError;
use super::partitions::ntp;
use super::reconfigurations;
use crate::cluster::health::{self, Overview};
use crate::cluster::placement::broken_racks;
use crate::coordinator::Now;
use crate::metrics::text::{CONTENT_TYPE, Exposition};
use crate::metrics::{Http, Server};
use crate::node::Node;
use crate::space_alert;
use crate::status::Counter;

pub(super) fn routes(access: &Access) -> Router<Arc<Node>> {
    Router::new()
        .route("/public_metrics", access.public(get(public)))
        .route("/metrics", access.public(get(internal)))
}

async fn public(State(node): State<Arc<Node>>) -> Result<Response, AdminError> {
    if node.property("disable_public_metrics") == true {
        return Err(AdminError::not_found("public metrics are disabled"));
    }
    Ok(text(exposition(&node).await))
}

async fn internal(State(node): State<Arc<Node>>) -> Result<Response, AdminError> {
    if node.property("disable_metrics") == true {
        return Err(AdminError::not_found("metrics are disabled"));
    }
    let mut out = exposition(&node).await;
    for counter in Counter::ALL {
        let label = snake(&format!("{counter:?}"));
        let help = "What this broker has counted since its start.";
        out.counter("vectorized_broker_events_total", help, &[("event", &label)], node.status.count(counter));
    }
    Ok(text(out))
}

fn text(out: Exposition) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], out.finish()).into_response()
}

async fn exposition(node: &Arc<Node>) -> Exposition {
    let overview = health::overview(node).await;
    let mut out = Exposition::default();
    cluster(node, &overview, &mut out);
    cluster_health(node, &overview, &mut out);
    partitions(node, &mut out);
    let gap: u64 = reconfigurations::all(node).await.iter().map(reconfigurations::Change::left).sum();
    let help = "Bytes that new replicas still lack.";
    out.gauge("redpanda_raft_learners_gap_bytes", help, &[], gap as f64);
    groups(node, &mut out);
    requests(node, &mut out);
    services(node, &mut out);
    process(node, &mut out);
    out
}

fn cluster(node: &Node, overview: &Overview, out: &mut Exposition) {
    let own = node.id();
    let (topics, partitions, from, to, leaving, broken) = node.with_cluster(|cluster| {
        let state = &cluster.state;
        let of = |topic: &str, partition: i32| -> Vec<i32> {
            let index = usize::try_from(partition).unwrap_or(usize::MAX);
            state.topics.get(topic).and_then(|topic| topic.partitions.get(index)).cloned().unwrap_or_default()
        };
        let moves: Vec<(bool, bool)> = state
            .all_reassignments()
            .map(|(topic, partition, change)| {
                let (had, has) = (of(topic, partition).contains(&own), change.target.contains(&own));
                (had && !has, has && !had)
            })
            .collect();
        (
            state.topics.all().count(),
            state.topics.all().map(|topic| topic.partitions.len()).sum::<usize>(),
            moves.iter().filter(|(from, _)| *from).count(),
            moves.iter().filter(|(_, to)| *to).count(),
            state.members.values().filter(|member| !member.takes_replicas()).count(),
            broken_racks(state),
        )
    });
    let unavailable = overview.leaderless.len();
    let entries = [
        ("redpanda_cluster_brokers", "Members of the cluster.", overview.all.len()),
        ("redpanda_cluster_topics", "Topics.", topics),
        ("redpanda_cluster_partitions", "Partitions.", partitions),
        ("redpanda_cluster_unavailable_partitions", "Partitions without a leader.", unavailable),
        ("redpanda_cluster_partition_moving_from_node", "Replicas that are leaving this broker.", from),
        ("redpanda_cluster_partition_moving_to_node", "Replicas that are coming to this broker.", to),
        (
            "redpanda_cluster_members_backend_queued_node_operations",
            "Members whose removal is under way.",
            leaving,
        ),
        (
            "redpanda_cluster_partition_num_with_broken_rack_constraint",
            "Partitions with two replicas in one rack though there are more racks.",
            broken,
        ),
    ];
    for (name, help, value) in entries {
        out.gauge(name, help, &[], value as f64);
    }
}

fn cluster_health(node: &Node, overview: &Overview, out: &mut Exposition) {
    let flag = |on: bool| f64::from(u8::from(on));
    let entries = [
        (
            "redpanda_cluster_health_leaderless_partitions",
            "Partitions without a leader.",
            overview.leaderless.len() as f64,
        ),
        (
            "redpanda_cluster_health_under_replicated_partitions",
            "Partitions with a replica that lags or is away.",
            overview.under_replicated.len() as f64,
        ),
        ("redpanda_cluster_health_nodes_down", "Members that are not alive.", overview.down.len() as f64),
        (
            "redpanda_cluster_health_no_elected_controller",
            "Whether there is no controller.",
            flag(overview.controller.is_none()),
        ),
        (
            "redpanda_cluster_health_no_health_report",
            "Whether a member that is alive does not report.",
            flag(!overview.silent.is_empty()),
        ),
        (
            "redpanda_cluster_health_metadata_age_seconds",
            "How old the reports are.",
            health::age(node).as_secs_f64(),
        ),
    ];
    for (name, help, value) in entries {
        out.gauge(name, help, &[], value);
    }
    let reasons = overview.reasons();
    for reason in health::REASONS {
        let value = flag(reasons.contains(&reason));
        let help = "Whether this keeps the cluster from being healthy.";
        out.gauge("redpanda_cluster_health_unhealthy_reasons", help, &[("reason", reason)], value);
    }
}

fn partitions(node: &Node, out: &mut Exposition) {
    let topics = node.with_cluster(|cluster| cluster.state.topics.clone());
    let (mut lagging, mut changes) = (0, 0);
    for topic in topics.all() {
        let (ns, name) = ntp(&topic.name);
        let of_topic = [("redpanda_namespace", ns), ("redpanda_topic", name)];
        let factor = f64::from(topic.replication_factor());
        out.gauge("redpanda_kafka_replicas", "Replicas of a topic's partitions.", &of_topic, factor);
        let count = topic.partitions.len() as f64;
        out.gauge("redpanda_kafka_partitions", "Partitions of a topic.", &of_topic, count);
        let (mut produced, mut consumed) = (0, 0);
        for index in 0..topic.partitions.len() {
            let key = (topic.id, index as i32);
            let Some(partition) = node.partition(key) else { continue };
            let number = index.to_string();
            let labels = [of_topic[0], of_topic[1], ("redpanda_partition", number.as_str())];
            let behind = if partition.leads() { partition.replicas_behind() } else { 0 };
            lagging += usize::from(behind > 0);
            changes += u64::try_from(partition.leader_epoch()).unwrap_or(0);
            let traffic = node.metrics.traffic(key);
            produced += traffic.produced_bytes.get();
            consumed += traffic.fetched_bytes.get();
            let max = partition.progress().high_watermark as f64;
            out.gauge("redpanda_kafka_max_offset", "Everything below is committed.", &labels, max);
            let help = "Replicas of a partition led here that lag.";
            out.gauge("redpanda_kafka_under_replicated_replicas", help, &labels, behind as f64);
            let (records, help) = (traffic.produced_records.get(), "Records that clients wrote.");
            out.counter("redpanda_kafka_records_produced_total", help, &labels, records);
            let (records, help) = (traffic.fetched_records.get(), "Records that clients read.");
            out.counter("redpanda_kafka_records_fetched_total", help, &labels, records);
        }
        for (request, bytes) in [("produce", produced), ("consume", consumed)] {
            let labels = [of_topic[0], of_topic[1], ("redpanda_request", request)];
            let help = "Bytes of record batches that clients wrote or read.";
            out.counter("redpanda_kafka_request_bytes_total", help, &labels, bytes);
        }
    }
    let help = "Terms that the groups of this broker's replicas have seen.";
    out.counter("redpanda_raft_leadership_changes", help, &[], changes);
    let help = "Partitions led here with a replica that catches up.";
    out.gauge("redpanda_raft_recovery_partitions_active", help, &[], lagging as f64);
    let help = "Partitions led here with a replica that has to catch up.";
    out.gauge("redpanda_raft_recovery_partitions_to_recover", help, &[], lagging as f64);
    let rate = node.property("raft_learner_recovery_rate").as_f64().unwrap_or(0.0);
    let help = "Bytes per second that may be copied to new replicas.";
    out.gauge("redpanda_raft_recovery_partition_movement_available_bandwidth", help, &[], rate);
}

/// The groups that are coordinated here. How far one lags is known where the partition has a replica here.
fn groups(node: &Arc<Node>, out: &mut Exposition) {
    let now = Now::of(node);
    let shards = node.groups.shards(node).into_iter();
    // A shard whose leader is elsewhere tells nothing.
    let figures =
        shards.filter_map(|shard| shard.with(now, |machine, _| machine.figures().collect::<Vec<_>>()).ok());
    for group in figures.flatten() {
        let of_group = [("redpanda_group", group.id.as_str())];
        let help = "Members of a consumer group.";
        out.gauge("redpanda_kafka_consumer_group_consumers", help, &of_group, group.members as f64);
        let (mut max, mut sum) = (0, 0);
        for (partition, offset) in &group.offsets {
            let number = partition.partition.to_string();
            let labels =
                [of_group[0], ("redpanda_topic", partition.topic.as_str()), ("redpanda_partition", &number)];
            let help = "The offset that a group has committed.";
            out.gauge("redpanda_kafka_consumer_group_committed_offset", help, &labels, *offset as f64);
            let id =
                node.with_cluster(|cluster| cluster.state.topics.get(&partition.topic).map(|topic| topic.id));
            let replica = id.and_then(|id| node.partition((id, partition.partition)));
            let end = replica.map_or(*offset, |replica| replica.progress().high_watermark);
            let lag = (end - offset).max(0);
            (max, sum) = (lag.max(max), sum + lag);
        }
        let help = "Records that a group has not read yet, of its partition that has most.";
        out.gauge("redpanda_kafka_consumer_group_lag_max", help, &of_group, max as f64);
        let help = "Records that a group has not read yet.";
        out.gauge("redpanda_kafka_consumer_group_lag_sum", help, &of_group, sum as f64);
    }
}

fn requests(node: &Node, out: &mut Exposition) {
    let metrics = &node.metrics;
    let help = "Time from a request to its answer.";
    for (request, values) in [("produce", &metrics.produce_latency), ("consume", &metrics.fetch_latency)] {
        let labels = [("redpanda_request", request)];
        out.histogram("redpanda_kafka_request_latency_seconds", help, &labels, values);
    }
    for (key, values) in metrics.handlers() {
        let name = ApiKey::try_from(key).map_or_else(|()| key.to_string(), |key| snake(&format!("{key:?}")));
        out.histogram("redpanda_kafka_handler_latency_seconds", help, &[("handler", &name)], values);
    }
    for (name, server) in [("kafka", &metrics.kafka), ("internal", &metrics.internal)] {
        of_server(name, server, out);
    }
    let status = &metrics.node_status;
    let entries = [
        ("redpanda_node_status_rpcs_sent", "Pings sent to other brokers.", &status.sent),
        ("redpanda_node_status_rpcs_received", "Pings of other brokers.", &status.received),
        ("redpanda_node_status_rpcs_timed_out", "Pings without an answer.", &status.timed_out),
        (
            "redpanda_kafka_rpc_sasl_session_expiration_total",
            "Connections that ended because their client did not authenticate again in time.",
            &metrics.sasl_sessions_expired,
        ),
        (
            "redpanda_kafka_rpc_sasl_session_reauth_attempts_total",
            "Times that clients authenticated again on a connection.",
            &metrics.sasl_reauthentications,
        ),
    ];
    for (name, help, count) in entries {
        out.counter(name, help, &[], count.get());
    }
}

fn of_server(name: &str, server: &Server, out: &mut Exposition) {
    let labels = [("redpanda_server", name)];
    let open = server.connections() as f64;
    out.gauge("redpanda_rpc_active_connections", "Open connections.", &labels, open);
    let entries = [
        ("redpanda_rpc_received_bytes", "Bytes of requests.", &server.received_bytes),
        ("redpanda_rpc_sent_bytes", "Bytes of answers.", &server.sent_bytes),
        ("redpanda_rpc_request_errors_total", "Requests that could not be read.", &server.errors),
    ];
    for (family, help, count) in entries {
        out.counter(family, help, &labels, count.get());
    }
    let help = "Time from a request to its answer.";
    out.histogram("redpanda_rpc_request_latency_seconds", help, &labels, &server.latency);
}

fn services(node: &Node, out: &mut Exposition) {
    let metrics = &node.metrics;
    let help = "Time from a request to its answer.";
    out.histogram("redpanda_rest_proxy_request_latency_seconds", help, &[], &metrics.rest_proxy.latency);
    out.histogram(
        "redpanda_schema_registry_request_latency_seconds",
        help,
        &[],
        &metrics.schema_registry.latency,
    );
    errors("redpanda_rest_proxy_request_errors_total", &metrics.rest_proxy, out);
    errors("redpanda_schema_registry_request_errors_total", &metrics.schema_registry, out);
}

fn errors(family: &'static str, service: &Http, out: &mut Exposition) {
    for (class, count) in ["3xx", "4xx", "5xx"].into_iter().zip(&service.errors) {
        out.counter(family, "Answers by class of status.", &[("redpanda_status", class)], count.get());
    }
}

fn process(node: &Node, out: &mut Exposition) {
    let up = Instant::now().duration_since(node.started).as_secs_f64();
    out.gauge("redpanda_uptime_seconds_total", "Time since the start.", &[], up);
    out.gauge("redpanda_application_uptime_seconds_total", "Time since the start.", &[], up);
    if let Some(space) = node.volume.disk_space() {
        let alert = space_alert::of(space, &node.properties());
        out.gauge("redpanda_storage_disk_total_bytes", "Size of the disk.", &[], space.total as f64);
        out.gauge("redpanda_storage_disk_free_bytes", "Free space on the disk.", &[], space.free as f64);
        let help = "Whether space is short: 0 no, 1 yes, 2 so short that nothing is taken from clients.";
        out.gauge("redpanda_storage_disk_free_space_alert", help, &[], f64::from(alert as u8));
    }
    let now_s = (node.clock)() / 1000;
    for ((api, name), tls) in &node.tls {
        let Some((not_before, not_after)) = tls.validity() else { continue };
        let labels = [("area", api.as_str()), ("detail", name.as_str())];
        let valid = f64::from(u8::from((not_before..=not_after).contains(&now_s)));
        out.gauge("redpanda_tls_certificate_valid", "Whether the certificate is valid now.", &labels, valid);
        let help = "When the certificate ends, seconds since 1970.";
        out.gauge("redpanda_tls_certificate_expires_at_timestamp_seconds", help, &labels, not_after as f64);
    }
}

/// `CreateTopics` as `create_topics`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_are_named_as_prometheus_likes_it() {
        assert_eq!(snake("CreateTopics"), "create_topics");
        assert_eq!(snake("Fetch"), "fetch");
    }
}
