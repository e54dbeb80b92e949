//! Asking the Admin API.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::http::{Answer, ask};
use crate::support::{PATIENCE, TestBroker, new_cluster};

/// What makes a cluster in a test quick about itself.
const QUICK: &str = "alive_timeout_ms: 1000
health_monitor_max_metadata_age: 100
members_backend_retry_ms: 100
metadata_dissemination_interval_ms: 100
partition_autobalancing_tick_interval_ms: 200
";

/// Brokers with these cluster properties beside the quick ones, ready, and known to each other.
pub async fn start(count: usize, properties: &str) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    for broker in &mut brokers {
        broker.bootstrap = format!("{QUICK}{properties}");
    }
    brokers.iter_mut().for_each(TestBroker::start);
    for broker in &brokers {
        broker.ready().await;
    }
    for broker in &brokers {
        until("every broker reports the first configuration", || async {
            let status = get(broker.ip, "/v1/cluster_config/status").await.json();
            let reported = |entry: &Value| entry["config_version"].as_i64() >= Some(1);
            status.as_array().unwrap().len() == count && status.as_array().unwrap().iter().all(reported)
        })
        .await;
    }
    brokers
}

/// Waits until something holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn get(ip: IpAddr, path: &str) -> Answer {
    send(ip, "GET", path, &[], "").await
}

pub async fn put(ip: IpAddr, path: &str, body: &Value) -> Answer {
    send(ip, "PUT", path, &[], &text(body)).await
}

pub async fn post(ip: IpAddr, path: &str, body: &Value) -> Answer {
    send(ip, "POST", path, &[], &text(body)).await
}

pub async fn delete(ip: IpAddr, path: &str) -> Answer {
    send(ip, "DELETE", path, &[], "").await
}

fn text(body: &Value) -> String {
    if body.is_null() { String::new() } else { body.to_string() }
}

/// Sends a request; a `host` header replaces the usual one.
pub async fn send(ip: IpAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut lines = String::new();
    if !headers.iter().any(|(name, _)| *name == "host") {
        lines.push_str(&format!("host: {ip}:9644\r\n"));
    }
    for (name, value) in headers {
        lines.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{lines}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    ask(ip, 9644, &request).await
}

/// The broker that a broker takes for the controller.
pub async fn controller(brokers: &[TestBroker]) -> &TestBroker {
    let mut found = -1;
    let deadline = Instant::now() + PATIENCE;
    while found < 0 {
        assert!(Instant::now() < deadline, "there is no controller");
        let overview = get(brokers[0].ip, "/v1/cluster/health_overview").await.json();
        found = overview["controller_id"].as_i64().unwrap();
    }
    brokers.iter().find(|broker| i64::from(broker.id()) == found).unwrap()
}

/// A broker that is not the controller.
pub async fn follower(brokers: &[TestBroker]) -> &TestBroker {
    let leader = controller(brokers).await.id();
    brokers.iter().find(|broker| broker.id() != leader).unwrap()
}

/// Status, and message of an error.
pub fn error(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert_eq!(body["code"], answer.status, "{body}");
    (answer.status, body["message"].as_str().unwrap().to_owned())
}
