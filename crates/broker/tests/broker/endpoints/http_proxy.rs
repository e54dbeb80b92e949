//! The HTTP Proxy.

use serde_json::json;

use super::{Coverage, call};
use crate::rest::Rest;
use crate::support::start_cluster;

#[tokio::test]
async fn every_endpoint_answers() {
    let brokers = start_cluster(1).await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    let control = Rest { ip: brokers[0].ip, port: 8082, content_type: "application/vnd.kafka.v2+json" };
    let records = Rest { content_type: "application/vnd.kafka.json.v2+json", ..control };
    let mut coverage = Coverage::of("http-proxy");
    for path in ["/brokers", "/topics", "/status/ready"] {
        coverage.ask(&control, call("GET", path, 200)).await;
    }
    let produce =
        call("POST", "/topics/orders", 200).with(json!({"records": [{"value": 1, "partition": 0}]}));
    coverage.ask(&records, produce).await;
    let instance = "/consumers/g/instances/one";
    let consumer = json!({"name": "one", "format": "json"});
    let calls = [
        call("GET", "/topics/orders/partitions/0/records?offset=0&timeout=1000&max_bytes=1000", 200),
        call("GET", "/topics/orders/partitions/9/records?offset=0&timeout=1000&max_bytes=1000", 404),
        call("POST", "/consumers/g", 200).with(consumer.clone()),
        call("POST", "/consumers/g", 409).with(consumer),
        call("POST", format!("{instance}/subscription"), 204).with(json!({"topics": ["orders"]})),
        call("GET", format!("{instance}/records?timeout=200"), 200),
        call("POST", format!("{instance}/offsets"), 204)
            .with(json!({"partitions": [{"topic": "orders", "partition": 0, "offset": 0}]})),
        call("DELETE", instance, 204),
        call("DELETE", instance, 404),
        // What Confluent's proxy has beyond Redpanda's.
        call("GET", "/topics/orders", 501),
        call("GET", "/topics/orders/partitions", 501),
        call("GET", format!("{instance}/subscription"), 501),
        call("DELETE", format!("{instance}/subscription"), 501),
        call("GET", format!("{instance}/assignments"), 501),
        call("POST", format!("{instance}/assignments"), 501),
        call("POST", format!("{instance}/positions"), 501),
    ];
    let mut delete = None;
    for call in calls {
        if call.method == "DELETE" && delete.is_none() {
            // A GET with a body, as the original has it.
            let offsets = super::call("GET", format!("{instance}/offsets"), 200);
            let body = json!({"partitions": [{"topic": "orders", "partition": 0}]});
            let reply = coverage.ask(&control, offsets.with(body)).await;
            delete = Some(reply.json()["offsets"][0]["offset"].clone());
        }
        coverage.ask(&control, call).await;
    }
    assert_eq!(delete, Some(json!(0)), "the offset that was committed");
    coverage.check();
}
