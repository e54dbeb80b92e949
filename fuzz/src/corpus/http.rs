//! HTTP requests for the endpoints of redpanda.md 3.1, 3.3 and 3.4.
//!
//! Those that would rightly take the brokers apart (decommissioning one that exists, deleting the topic whose
//! records must stay, changing limits of the cluster) are left out.

fn request(method: &str, path: &str, content_type: &str, body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: broker\r\nAccept: */*\r\n");
    if !body.is_empty() {
        text += &format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    }
    text += "\r\n";
    text += body;
    text.into_bytes()
}

fn get(paths: &[&str]) -> Vec<Vec<u8>> {
    paths.iter().map(|path| request("GET", path, "", "")).collect()
}

/// A body that arrives in chunks, and one that never ends.
fn chunked(path: &str) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nHost: broker\r\nTransfer-Encoding: chunked\r\n\r\n");
    [head.as_bytes(), b"5\r\n{\"a\":\r\nffffffff\r\n1"].concat()
}

/// The Admin API.
pub fn admin() -> Vec<Vec<u8>> {
    let json = "application/json";
    let mut requests = get(&[
        "/v1/status/ready",
        "/v1/brokers",
        "/v1/brokers/0",
        "/v1/brokers/77/decommission",
        "/v1/broker_uuids",
        "/v1/cluster/uuid",
        "/v1/cluster/health_overview",
        "/v1/cluster_config?include_defaults=true",
        "/v1/cluster_config/status",
        "/v1/cluster_config/schema",
        "/v1/cluster_view",
        "/v1/config",
        "/v1/node_config",
        "/v1/features",
        "/v1/features/license",
        "/v1/partitions",
        "/v1/partitions/kafka/kept/0",
        "/v1/partitions/redpanda/controller/0",
        "/v1/security/users",
        "/v1/maintenance",
        "/v1/debug/self_test/status",
        "/metrics",
        "/public_metrics",
    ]);
    requests.push(request("PUT", "/v1/brokers/77/decommission", json, ""));
    requests.push(request("PUT", "/v1/brokers/77/recommission", json, ""));
    requests.push(request("PUT", "/v1/brokers/77/maintenance", json, ""));
    requests.push(request("DELETE", "/v1/brokers/77/maintenance", json, ""));
    let user = r#"{"username":"someone","password":"secret","algorithm":"SCRAM-SHA-256"}"#;
    requests.push(request("POST", "/v1/security/users", json, user));
    requests.push(request("PUT", "/v1/security/users/someone", json, user));
    requests.push(request("DELETE", "/v1/security/users/someone", json, ""));
    requests.push(request(
        "PUT",
        "/v1/cluster_config",
        json,
        r#"{"upsert":{"no_such":1},"remove":["none"]}"#,
    ));
    requests.push(request("PUT", "/v1/config/log_level/kafka?level=trace&expires=1", json, ""));
    requests.push(request("PUT", "/v1/features/no_such", json, r#"{"state":"active"}"#));
    requests.push(request("POST", "/v1/partitions/kafka/victim/0/transfer_leadership?target=77", json, ""));
    requests.push(request(
        "POST",
        "/v1/partitions/kafka/victim/0/replicas",
        json,
        r#"[{"node_id":0,"core":0}]"#,
    ));
    requests.push(chunked("/v1/security/users"));
    requests
}

/// The HTTP Proxy.
pub fn proxy() -> Vec<Vec<u8>> {
    let json = "application/vnd.kafka.json.v2+json";
    let mut requests = get(&[
        "/brokers",
        "/topics",
        "/topics/kept/partitions/0/records?offset=0&timeout=100&max_bytes=1000",
        "/consumers/group/instances/one/records?timeout=100&max_bytes=1000",
        "/consumers/group/instances/one/offsets",
        "/status/ready",
        "/v1",
    ]);
    let records = r#"{"records":[{"value":"dmFsdWU=","key":"a2V5","partition":0},{"value":null}]}"#;
    requests.push(request("POST", "/topics/victim", "application/vnd.kafka.binary.v2+json", records));
    requests.push(request(
        "POST",
        "/topics/victim",
        json,
        r#"{"records":[{"value":{"a":[1,2,{"b":null}]}}]}"#,
    ));
    let consumer = r#"{"name":"one","format":"json","auto.offset.reset":"earliest","fetch.min.bytes":"1"}"#;
    requests.push(request("POST", "/consumers/group", json, consumer));
    requests.push(request(
        "POST",
        "/consumers/group/instances/one/subscription",
        json,
        r#"{"topics":["victim"]}"#,
    ));
    let offsets = r#"{"partitions":[{"topic":"victim","partition":0,"offset":1}]}"#;
    requests.push(request("POST", "/consumers/group/instances/one/offsets", json, offsets));
    requests.push(request("DELETE", "/consumers/group/instances/one", json, ""));
    requests.push(chunked("/topics/victim"));
    requests
}

/// The Schema Registry.
pub fn registry() -> Vec<Vec<u8>> {
    let json = "application/vnd.schemaregistry.v1+json";
    let mut requests = get(&[
        "/schemas/types",
        "/schemas/ids/1",
        "/schemas/ids/1/versions",
        "/schemas/ids/1/subjects",
        "/subjects",
        "/subjects?deleted=true&subjectPrefix=v",
        "/subjects/value/versions",
        "/subjects/value/versions/latest",
        "/subjects/value/versions/1/schema",
        "/subjects/value/versions/1/referencedby",
        "/config",
        "/config/value?defaultToGlobal=true",
        "/mode",
        "/mode/value",
        "/status/ready",
        "/security/acls",
    ]);
    let schemas = [
        r#"{"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"string\"}]}"}"#,
        r#"{"schema":"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}","schemaType":"JSON"}"#,
        r#"{"schema":"syntax = \"proto3\"; message M { string a = 1; }","schemaType":"PROTOBUF"}"#,
        r#"{"schema":"\"R\"","references":[{"name":"R","subject":"value","version":1}]}"#,
    ];
    for schema in schemas {
        requests.push(request("POST", "/subjects/value/versions", json, schema));
        requests.push(request("POST", "/subjects/value", json, schema));
        requests.push(request(
            "POST",
            "/compatibility/subjects/value/versions/latest?verbose=true",
            json,
            schema,
        ));
    }
    requests.push(request("PUT", "/config/value", json, r#"{"compatibility":"FULL_TRANSITIVE"}"#));
    requests.push(request("DELETE", "/config/value", json, ""));
    requests.push(request("PUT", "/mode/value", json, r#"{"mode":"READONLY"}"#));
    requests.push(request("DELETE", "/subjects/value/versions/1?permanent=true", json, ""));
    requests.push(request("DELETE", "/subjects/value", json, ""));
    requests.push(chunked("/subjects/value/versions"));
    requests
}
