//! Who is sent on to the controller, and where (redpanda.md 3.1.3).

use serde_json::Value;

use crate::admin::{self, controller, error, follower, get, send};

const REDIRECTED: [(&str, &str, &str); 12] = [
    ("PUT", "/v1/cluster_config", "{}"),
    ("POST", "/v1/security/users", "{}"),
    ("PUT", "/v1/security/users/ann", "{}"),
    ("DELETE", "/v1/security/users/ann", ""),
    ("POST", "/v1/security/roles", "{}"),
    ("DELETE", "/v1/security/roles/readers", ""),
    ("POST", "/v1/security/roles/readers/members", "{}"),
    ("GET", "/v1/cluster/partition_balancer/status", ""),
    ("POST", "/v1/cluster/cancel_reconfigurations", ""),
    ("PUT", "/v1/features/delete_records", "{}"),
    ("POST", "/v1/partitions/rebalance", ""),
    ("POST", "/v1/partitions/redpanda/controller/0/transfer_leadership", ""),
];

#[tokio::test]
async fn writes_are_sent_on_to_the_controller() {
    let brokers = admin::start(3, "").await;
    let (leader, other) = (controller(&brokers).await, follower(&brokers).await);
    for (method, path, body) in REDIRECTED {
        let inside = send(other.ip, method, path, &[("host", "localhost:9644")], body).await;
        assert_eq!(inside.status, 307, "{method} {path}");
        let wanted = format!("http://{}:9644{path}?redirect=1", leader.ip);
        assert_eq!(inside.header("location"), Some(wanted.as_str()), "{method} {path}");
        assert_eq!(inside.header("retry-after"), None);
    }
    // A client that came by the advertised address of the second listener goes to the leader's second one.
    let host = format!("broker-{}.example.com:31644", other.id());
    let path = "/v1/cluster_config?dry_run=true&redirect=1";
    let outside = send(other.ip, "PUT", path, &[("host", &host)], "{}").await;
    let wanted =
        format!("http://broker-{}.example.com:31644/v1/cluster_config?dry_run=true&redirect=2", leader.id());
    assert_eq!(outside.header("location"), Some(wanted.as_str()));
    assert_eq!(outside.header("retry-after"), Some("1"), "each second hop waits");
    for (method, path, body) in REDIRECTED.iter().take(8).filter(|(method, ..)| *method == "GET") {
        assert_eq!(send(leader.ip, method, path, &[], body).await.status, 200);
    }
}

#[tokio::test]
async fn without_a_majority_there_is_nobody_to_be_sent_to() {
    let mut brokers = admin::start(3, "").await;
    let last = follower(&brokers).await.id();
    for broker in brokers.iter_mut().filter(|broker| broker.id() != last) {
        broker.kill().await;
    }
    let ip = brokers.iter().find(|broker| broker.id() == last).unwrap().ip;
    admin::until("the controller is missed", || async {
        let health = get(ip, "/v1/cluster/health_overview").await.json();
        health["controller_id"] == -1
            && health["unhealthy_reasons"].as_array().unwrap().contains(&Value::from("no_elected_controller"))
    })
    .await;
    let (status, message) = error(&send(ip, "PUT", "/v1/cluster_config", &[], "{}").await);
    assert!(
        status == 503 && message.contains("does not have a leader, cannot redirect"),
        "{status} {message}"
    );
    let (status, _) = error(&send(ip, "PUT", "/v1/brokers/0/decommission", &[], "").await);
    assert!(matches!(status, 503 | 504), "{status}");
    assert_eq!(get(ip, "/v1/debug/is_node_isolated").await.status, 200);
}

/// The controller that has lost the others does not know it yet: a long election time-out lets it hope for longer
/// than a request may take.
#[tokio::test]
async fn what_no_majority_agrees_to_in_time_is_a_time_out() {
    let mut brokers = admin::start(3, "raft_election_timeout_ms: 120000\n").await;
    let (ip, leads) = {
        let leader = controller(&brokers).await;
        (leader.ip, leader.id())
    };
    for broker in brokers.iter_mut().filter(|broker| broker.id() != leads) {
        broker.kill().await;
    }
    let change = r#"{"upsert": {"delete_retention_ms": 1000}}"#;
    let (status, message) = error(&send(ip, "PUT", "/v1/cluster_config", &[], change).await);
    assert_eq!(status, 504, "{message}");
}
