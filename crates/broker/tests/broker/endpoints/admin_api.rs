//! The Admin API.

use serde_json::json;

use super::{Coverage, call};
use crate::admin::{self, controller};
use crate::rest::Rest;

#[tokio::test]
async fn every_endpoint_answers() {
    let brokers = admin::start(3, "").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    brokers[0].client().await.create_topic("single", 1, 1).await;
    let leader = controller(&brokers).await;
    let other = brokers.iter().find(|broker| broker.id() != leader.id()).unwrap().id();
    let rest = Rest { ip: leader.ip, port: 9644, content_type: "application/json" };
    let mut coverage = Coverage::of("admin");
    for path in [
        "/metrics",
        "/public_metrics",
        "/v1/broker/pre_restart_probe",
        "/v1/broker_uuids",
        "/v1/brokers",
        "/v1/brokers/1",
        "/v1/cluster/health_overview",
        "/v1/cluster/partition_balancer/status",
        "/v1/cluster/partitions",
        "/v1/cluster/partitions/kafka/orders",
        "/v1/cluster/uuid",
        "/v1/cluster_config",
        "/v1/cluster_config/schema",
        "/v1/cluster_config/status",
        "/v1/cluster_view",
        "/v1/config",
        "/v1/config/log_level/kafka/client",
        "/v1/debug/controller_status",
        "/v1/debug/is_node_isolated",
        "/v1/debug/partition/kafka/orders/0",
        "/v1/debug/partition_leaders_table",
        "/v1/debug/peer_status/1",
        "/v1/features",
        "/v1/features/enterprise",
        "/v1/features/license",
        "/v1/loggers",
        "/v1/maintenance",
        "/v1/node_config",
        "/v1/partitions",
        "/v1/partitions/local_summary",
        "/v1/partitions/reconfigurations",
        "/v1/partitions/kafka/orders",
        "/v1/partitions/kafka/orders/0",
        "/v1/security/roles",
        "/v1/security/users",
        "/v1/security/users/roles",
        "/v1/status/ready",
    ] {
        coverage.ask(&rest, call("GET", path, 200)).await;
    }
    // The broker has a replica of every partition of this topic.
    let detail = coverage.ask(&rest, call("GET", "/v1/partitions/kafka/orders/0", 200)).await.json();
    let group = detail["raft_group_id"].as_u64().unwrap();
    let maintenance = format!("/v1/brokers/{other}/maintenance");
    let calls = [
        call("GET", format!("/v1/raft/{group}/status"), 200),
        call("GET", "/v1/brokers/9", 404),
        call("GET", "/v1/brokers/nine", 400),
        call("PUT", "/v1/reset_crash_tracking", 200),
        call("PUT", "/v1/cluster_config", 200)
            .with(json!({"upsert": {"log_retention_ms": 1_000_000}, "remove": []})),
        call("PUT", "/v1/config/log_level/raft?level=debug", 200),
        call("PUT", "/v1/features/delete_records", 200).with(json!({"state": "active"})),
        call("PUT", "/v1/features/nothing", 404).with(json!({"state": "active"})),
        call("POST", "/redpanda.core.admin.v2.BrokerService/ListBrokers", 200).with(json!({})),
        call("POST", "/redpanda.core.admin.v2.ClusterService/GetHealth", 200).with(json!({})),
        // Users and roles.
        call("POST", "/v1/security/users", 200)
            .with(json!({"username": "ann", "password": "a", "algorithm": "SCRAM-SHA-256"})),
        call("PUT", "/v1/security/users/ann", 200)
            .with(json!({"password": "b", "algorithm": "SCRAM-SHA-512"})),
        call("POST", "/v1/security/roles", 201).with(json!({"role": "readers"})),
        call("POST", "/v1/security/roles/readers/members", 200)
            .with(json!({"add": [{"principal_type": "User", "name": "ann"}]})),
        call("GET", "/v1/security/roles/readers", 200),
        call("GET", "/v1/security/roles/readers/members", 200),
        call("DELETE", "/v1/security/roles/readers", 204),
        call("DELETE", "/v1/security/users/ann", 200),
        // Partitions.
        call("POST", "/v1/cluster/partitions/kafka/single", 200).with(json!({"disabled": true})),
        call("POST", "/v1/cluster/partitions/kafka/single/0", 200).with(json!({"disabled": false})),
        call("POST", "/v1/partitions/kafka/orders/7/transfer_leadership", 404),
        call("POST", "/v1/raft/999/transfer_leadership", 404),
        call("POST", "/v1/partitions/kafka/orders/0/replicas", 400)
            .with(json!([{"node_id": 0, "core": 0}, {"node_id": 0, "core": 0}, {"node_id": 1, "core": 0}])),
        call("POST", "/v1/partitions/kafka/orders/0/cancel_reconfiguration", 400),
        call("POST", "/v1/cluster/cancel_reconfigurations", 200),
        call("POST", "/v1/partitions/rebalance", 200),
        // Brokers.
        call("PUT", &maintenance, 200),
        // One broker of a cluster at a time; a broker can be drained by itself all the same.
        call("PUT", format!("/v1/brokers/{}/maintenance", leader.id()), 400),
        call("PUT", "/v1/maintenance", 200),
        call("DELETE", &maintenance, 200),
        call("DELETE", "/v1/maintenance", 200),
        call("GET", format!("/v1/brokers/{other}/decommission"), 400),
        // With three replicas on three brokers the removal does not come to an end.
        call("PUT", format!("/v1/brokers/{other}/decommission"), 200),
        call("GET", format!("/v1/brokers/{other}/decommission"), 200),
        call("POST", format!("/v1/brokers/{other}/cancel_partition_moves"), 200),
        call("PUT", format!("/v1/brokers/{other}/recommission"), 200),
        call("PUT", format!("/v1/brokers/{other}/recommission"), 400),
        call("PUT", "/v1/brokers/9/decommission", 404),
    ];
    for call in calls {
        coverage.ask(&rest, call).await;
    }
    coverage.check();
}
