//! The Schema Registry.

use serde_json::json;

use super::{Coverage, call};
use crate::rest::Rest;
use crate::support::start_cluster;

#[tokio::test]
async fn every_endpoint_answers() {
    let brokers = start_cluster(1).await;
    let content_type = "application/vnd.schemaregistry.v1+json";
    let rest = Rest { ip: brokers[0].ip, port: 8081, content_type };
    let schema = json!({"schema": r#"{"type":"string"}"#});
    let calls = [
        call("GET", "/status/ready", 200),
        call("GET", "/schemas/types", 200),
        call("GET", "/contexts", 200),
        call("GET", "/subjects", 200),
        call("POST", "/subjects/s/versions", 200).with(schema.clone()),
        call("POST", "/subjects/s/versions", 422).with(json!({"schema": "{"})),
        call("POST", "/subjects/s", 200).with(schema.clone()),
        call("POST", "/subjects/t", 404).with(schema.clone()),
        call("GET", "/subjects/s/versions", 200),
        call("GET", "/subjects/s/versions/1", 200),
        call("GET", "/subjects/s/versions/9", 404),
        call("GET", "/subjects/s/versions/1/schema", 200),
        call("GET", "/subjects/s/versions/1/referencedby", 200),
        call("GET", "/schemas/ids/1", 200),
        call("GET", "/schemas/ids/9", 404),
        call("GET", "/schemas/ids/1/versions", 200),
        call("GET", "/schemas/ids/1/subjects", 200),
        call("POST", "/compatibility/subjects/s/versions/latest", 200).with(schema.clone()),
        call("GET", "/config", 200),
        call("PUT", "/config", 200).with(json!({"compatibility": "BACKWARD"})),
        call("PUT", "/config", 422).with(json!({"compatibility": "SIDEWAYS"})),
        call("GET", "/config/s", 404),
        call("PUT", "/config/s", 200).with(json!({"compatibility": "FULL"})),
        call("DELETE", "/config/s", 200),
        call("GET", "/mode", 200),
        call("PUT", "/mode", 200).with(json!({"mode": "READWRITE"})),
        call("GET", "/mode/s", 404),
        call("PUT", "/mode/s", 200).with(json!({"mode": "READONLY"})),
        call("POST", "/subjects/s/versions", 422).with(json!({"schema": r#"{"type":"int"}"#})),
        call("DELETE", "/mode/s", 200),
        call("POST", "/subjects/s/versions", 409).with(json!({"schema": r#"{"type":"int"}"#})),
        call("DELETE", "/subjects/s/versions/1", 200),
        call("POST", "/subjects/u/versions", 200).with(schema),
        call("DELETE", "/subjects/u?permanent=true", 404),
        call("DELETE", "/subjects/u", 200),
    ];
    let mut coverage = Coverage::of("schema-registry");
    for call in calls {
        coverage.ask(&rest, call).await;
    }
    coverage.check();
}
