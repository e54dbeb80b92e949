//! `/metrics` and `/public_metrics`.

use kafka_protocol::records::Compression;

use crate::admin::{self, get, until};
use crate::support::batch;

/// The names of redpanda.md 3.1.4 that a broker has without TLS, racks and groups.
const NAMES: [&str; 46] = [
    "redpanda_application_uptime_seconds_total",
    "redpanda_cluster_brokers",
    "redpanda_cluster_health_leaderless_partitions",
    "redpanda_cluster_health_metadata_age_seconds",
    "redpanda_cluster_health_no_elected_controller",
    "redpanda_cluster_health_no_health_report",
    "redpanda_cluster_health_nodes_down",
    "redpanda_cluster_health_under_replicated_partitions",
    "redpanda_cluster_health_unhealthy_reasons",
    "redpanda_cluster_members_backend_queued_node_operations",
    "redpanda_cluster_partition_moving_from_node",
    "redpanda_cluster_partition_moving_to_node",
    "redpanda_cluster_partition_num_with_broken_rack_constraint",
    "redpanda_cluster_partitions",
    "redpanda_cluster_topics",
    "redpanda_cluster_unavailable_partitions",
    "redpanda_kafka_handler_latency_seconds",
    "redpanda_kafka_max_offset",
    "redpanda_kafka_partitions",
    "redpanda_kafka_records_fetched_total",
    "redpanda_kafka_records_produced_total",
    "redpanda_kafka_replicas",
    "redpanda_kafka_request_bytes_total",
    "redpanda_kafka_request_latency_seconds",
    "redpanda_kafka_rpc_sasl_session_expiration_total",
    "redpanda_kafka_rpc_sasl_session_reauth_attempts_total",
    "redpanda_kafka_under_replicated_replicas",
    "redpanda_node_status_rpcs_received",
    "redpanda_node_status_rpcs_sent",
    "redpanda_node_status_rpcs_timed_out",
    "redpanda_raft_leadership_changes",
    "redpanda_raft_learners_gap_bytes",
    "redpanda_raft_recovery_partition_movement_available_bandwidth",
    "redpanda_raft_recovery_partitions_active",
    "redpanda_raft_recovery_partitions_to_recover",
    "redpanda_rest_proxy_request_errors_total",
    "redpanda_rest_proxy_request_latency_seconds",
    "redpanda_rpc_active_connections",
    "redpanda_rpc_received_bytes",
    "redpanda_rpc_request_errors_total",
    "redpanda_rpc_request_latency_seconds",
    "redpanda_rpc_sent_bytes",
    "redpanda_schema_registry_request_errors_total",
    "redpanda_schema_registry_request_latency_seconds",
    "redpanda_uptime_seconds_total",
    "redpanda_kafka_consumer_group_consumers",
];

#[tokio::test]
async fn what_happened_is_counted_under_the_known_names() {
    let brokers = admin::start(2, "").await;
    let mut client = brokers[0].client().await;
    let leader = client.create_topic("orders", 1, 1).await[0];
    let leader = brokers.iter().find(|broker| broker.id() == leader).unwrap();
    let mut client = leader.client().await;
    let produced = client.produce("orders", 0, -1, batch(&["a", "b", "c"], Compression::None)).await;
    assert_eq!(produced.error_code, 0);
    assert_eq!(client.values("orders", 0, 0).await.len(), 3);
    crate::http::get(leader.ip, 8082, "/nothing").await;

    let answer = get(leader.ip, "/public_metrics").await;
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.body;
    for name in NAMES.iter().filter(|name| !name.contains("consumer_group")) {
        assert!(text.contains(&format!("# TYPE {name} ")), "{name} is missing");
    }
    let of_partition = r#"redpanda_namespace="kafka",redpanda_topic="orders",redpanda_partition="0""#;
    for line in [
        "redpanda_cluster_brokers 2".to_owned(),
        format!("redpanda_kafka_max_offset{{{of_partition}}} 3"),
        format!("redpanda_kafka_records_produced_total{{{of_partition}}} 3"),
        format!("redpanda_kafka_records_fetched_total{{{of_partition}}} 3"),
        r#"redpanda_kafka_replicas{redpanda_namespace="kafka",redpanda_topic="orders"} 1"#.to_owned(),
        r#"redpanda_kafka_request_latency_seconds_count{redpanda_request="produce"} 1"#.to_owned(),
        r#"redpanda_kafka_handler_latency_seconds_count{handler="produce"} 1"#.to_owned(),
        r#"redpanda_rest_proxy_request_errors_total{redpanda_status="4xx"} 1"#.to_owned(),
        r#"redpanda_rpc_active_connections{redpanda_server="kafka"} "#.to_owned(),
    ] {
        assert!(text.contains(&line), "{line} is missing in:\n{text}");
    }
    until("pings are counted", || async {
        let text = get(leader.ip, "/metrics").await.body;
        let positive = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.is_some_and(|count| count.parse::<f64>().unwrap() > 0.0)
        };
        positive("redpanda_node_status_rpcs_sent")
            && positive("redpanda_node_status_rpcs_received")
            && text.contains(r#"vectorized_broker_events_total{event="kafka_requests"}"#)
    })
    .await;
}

#[tokio::test]
async fn metrics_can_be_switched_off() {
    let brokers = admin::start(1, "disable_public_metrics: true\n").await;
    assert_eq!(get(brokers[0].ip, "/public_metrics").await.status, 404);
    assert_eq!(get(brokers[0].ip, "/metrics").await.status, 200);
}
