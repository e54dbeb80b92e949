//! The Schema Registry over HTTP, on one broker and on several.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::fake_kafka::FakeKafka;
use crate::rest::{Reply, Rest};
use crate::support::{TestBroker, start_cluster};

const RECORD_A: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"}]}"#;
const RECORD_AB: &str =
    r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"int"}]}"#;
const RECORD_AC: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"c","type":"int","default":0}]}"#;

fn registry(ip: IpAddr) -> Rest {
    Rest { ip, port: 8081, content_type: "application/vnd.schemaregistry.v1+json" }
}

async fn start() -> (Vec<TestBroker>, Rest) {
    let brokers = start_cluster(1).await;
    let registry = registry(brokers[0].ip);
    (brokers, registry)
}

impl Rest {
    async fn register(&self, subject: &str, schema: &str) -> Reply {
        self.post(&format!("/subjects/{subject}/versions"), json!({"schema": schema})).await
    }

    async fn registered(&self, subject: &str, schema: &str) -> i64 {
        let reply = self.register(subject, schema).await;
        reply.json()["id"].as_i64().unwrap_or_else(|| panic!("{reply:?}"))
    }
}

fn assert_json(reply: &Reply, expected: Value) {
    assert_eq!((reply.status, reply.json()), (200, expected), "{reply:?}");
}

#[tokio::test]
async fn schemas_are_registered_and_found() {
    let (_brokers, registry) = start().await;
    assert_eq!(registry.get("/status/ready").await.status, 200);
    assert_json(&registry.get("/subjects").await, json!([]));
    assert_eq!(registry.registered("orders-value", RECORD_A).await, 1);
    assert_eq!(registry.registered("orders-value", RECORD_A).await, 1);
    assert_eq!(registry.registered("orders-value", RECORD_AC).await, 2);
    assert_eq!(registry.registered("users-value", RECORD_A).await, 1);

    assert_json(&registry.get("/subjects").await, json!(["orders-value", "users-value"]));
    assert_json(&registry.get("/subjects?subjectPrefix=us").await, json!(["users-value"]));
    assert_json(&registry.get("/subjects/orders-value/versions").await, json!([1, 2]));
    let first = json!({"subject": "orders-value", "version": 1, "id": 1, "schema": RECORD_A});
    assert_json(&registry.get("/subjects/orders-value/versions/1").await, first.clone());
    for latest in ["latest", "-1", "2"] {
        let found = registry.get(&format!("/subjects/orders-value/versions/{latest}")).await.json();
        assert_eq!((&found["version"], &found["id"]), (&json!(2), &json!(2)));
    }
    let text = registry.get("/subjects/orders-value/versions/1/schema").await;
    assert_eq!(text.body, RECORD_A);
    assert_json(&registry.get("/schemas/ids/1").await, json!({"schema": RECORD_A}));
    assert_json(
        &registry.get("/schemas/ids/1/versions").await,
        json!([{"subject": "orders-value", "version": 1}, {"subject": "users-value", "version": 1}]),
    );
    assert_json(&registry.get("/schemas/ids/1/subjects").await, json!(["orders-value", "users-value"]));
    let found = registry.post("/subjects/orders-value", json!({"schema": RECORD_A})).await;
    assert_json(&found, first);
    let written_otherwise = RECORD_A.replace("\"string\"", "{\"type\":\"string\"}");
    let posted = json!({"schema": written_otherwise});
    assert_eq!(registry.post("/subjects/orders-value", posted.clone()).await.error_code(), 40403);
    let found = registry.post("/subjects/orders-value?normalize=true", posted).await;
    assert_eq!(found.json()["version"], 1);
    assert_json(&registry.get("/schemas/types").await, json!(["JSON", "PROTOBUF", "AVRO"]));
}

#[tokio::test]
async fn json_and_protobuf_schemas_say_their_type() {
    let (_brokers, registry) = start().await;
    let object = r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#;
    let posted = json!({"schemaType": "JSON", "schema": object});
    assert_json(&registry.post("/subjects/j/versions", posted).await, json!({"id": 1}));
    assert_json(&registry.get("/schemas/ids/1").await, json!({"schemaType": "JSON", "schema": object}));
    assert_eq!(registry.get("/subjects/j/versions/1/schema").await.body, object);
    let narrower = json!({"schemaType": "JSON", "schema": r#"{"type":"string"}"#});
    assert_eq!(registry.post("/subjects/j/versions", narrower).await.error_code(), 409);

    let proto = "syntax = \"proto3\";\nmessage A { string b = 1; }\n";
    let posted = json!({"schemaType": "PROTOBUF", "schema": proto});
    assert_json(&registry.post("/subjects/p/versions", posted).await, json!({"id": 2}));
    assert_json(&registry.get("/schemas/ids/2").await, json!({"schemaType": "PROTOBUF", "schema": proto}));
    assert_eq!(registry.get("/subjects/p/versions/1/schema").await.json(), json!(proto));
    let serialized = registry.get("/schemas/ids/2?format=serialized").await.json()["schema"].clone();
    let posted = json!({"schemaType": "PROTOBUF", "schema": serialized});
    assert_json(&registry.post("/subjects/p/versions", posted).await, json!({"id": 2}));

    let using = json!({
        "schemaType": "PROTOBUF",
        "schema": "syntax = \"proto3\"; import \"a.proto\"; message C { A a = 1; }",
        "references": [{"name": "a.proto", "subject": "p", "version": 1}],
    });
    assert_json(&registry.post("/subjects/c/versions", using.clone()).await, json!({"id": 3}));
    assert_eq!(registry.get("/schemas/ids/3").await.json()["references"], using["references"]);
    assert_json(&registry.get("/subjects/p/versions/1/referencedby").await, json!([3]));
    assert_eq!(registry.delete("/subjects/p").await.error_code(), 42206);
    assert_eq!(registry.delete("/subjects/p/versions/1").await.error_code(), 42206);
}

#[tokio::test]
async fn bad_schemas_and_bad_requests_are_refused() {
    let (_brokers, registry) = start().await;
    let versions = "/subjects/s/versions";
    for bad in [
        json!({"schema": "nonsense at all"}),
        json!({"schema": ""}),
        json!({}),
        json!({"schema": RECORD_A, "schemaType": "XML"}),
        json!({"schema": "{\"type\":5}", "schemaType": "JSON"}),
        json!({"schema": "message", "schemaType": "PROTOBUF"}),
        json!({"schema": RECORD_A, "references": [{"name": "x", "subject": "x", "version": 1}]}),
    ] {
        assert_eq!(registry.post(versions, bad.clone()).await.error_code(), 42201, "{bad}");
    }
    assert_eq!(registry.post(versions, json!("text")).await.error_code(), 422);
    let headers = [("content-type", registry.content_type)];
    assert_eq!(registry.send("POST", versions, &headers, "{").await.error_code(), 422);
    assert_eq!(registry.send("POST", versions, &[("content-type", "text/xml")], "").await.error_code(), 415);
    assert_eq!(registry.send("GET", "/subjects", &[("accept", "text/html")], "").await.error_code(), 406);
    for accept in ["application/json", "application/vnd.schemaregistry+json", "*/*"] {
        let reply = registry.send("GET", "/subjects", &[("accept", accept)], "").await;
        let expected = if accept == "*/*" { registry.content_type } else { accept };
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(expected)));
    }
    assert_eq!(registry.get("/subjects?deleted=maybe").await.error_code(), 400);
    assert_eq!(registry.get("/nothing").await.error_code(), 404);
    assert_eq!(registry.send("PATCH", "/subjects", &[], "").await.error_code(), 405);
    let large = format!("{{\"schema\":\"{}\"}}", " ".repeat(5 << 20));
    assert_eq!(registry.send("POST", versions, &headers, &large).await.error_code(), 413);
    let text = format!("{{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"{}\"]}}", "A".repeat(2 << 20));
    assert_eq!(registry.register("s", &text).await.error_code(), 42201);
    assert_json(&registry.get("/subjects").await, json!([]));
}

#[tokio::test]
async fn what_is_missing_has_its_own_code() {
    let (_brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    for (path, code) in [
        ("/subjects/x/versions", 40401),
        ("/subjects/x/versions/1", 40401),
        ("/subjects/s/versions/9", 40402),
        ("/subjects/s/versions/9/schema", 40402),
        ("/subjects/s/versions/0", 42202),
        ("/subjects/s/versions/x", 42202),
        ("/schemas/ids/9", 40403),
        ("/schemas/ids/x", 40403),
        ("/schemas/ids/9/versions", 40403),
        ("/schemas/ids/9/subjects", 40403),
        ("/config/s", 40408),
        ("/mode/s", 40409),
    ] {
        assert_eq!(registry.get(path).await.error_code(), code, "{path}");
    }
    for (path, code) in [
        ("/subjects/x", 40401),
        ("/subjects/s?permanent=true", 40405),
        ("/subjects/s/versions/9", 40402),
        ("/subjects/s/versions/1?permanent=true", 40407),
        ("/config/s", 40401),
        ("/mode/s", 40401),
    ] {
        assert_eq!(registry.delete(path).await.error_code(), code, "{path}");
    }
    let posted = json!({"schema": RECORD_A});
    assert_eq!(registry.post("/subjects/x", posted.clone()).await.error_code(), 40401);
    let check = "/compatibility/subjects";
    assert_eq!(
        registry.post(&format!("{check}/x/versions/latest"), posted.clone()).await.error_code(),
        40401
    );
    assert_eq!(registry.post(&format!("{check}/s/versions/9"), posted).await.error_code(), 40402);
}

#[tokio::test]
async fn deleting_softly_and_for_good() {
    let (_brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    registry.registered("s", RECORD_AC).await;
    assert_json(&registry.delete("/subjects/s/versions/1").await, json!(1));
    assert_eq!(registry.delete("/subjects/s/versions/1").await.error_code(), 40406);
    assert_json(&registry.get("/subjects/s/versions").await, json!([2]));
    assert_json(&registry.get("/subjects/s/versions?deleted=true").await, json!([1, 2]));
    assert_eq!(registry.get("/subjects/s/versions/1").await.error_code(), 40402);
    assert_eq!(registry.get("/subjects/s/versions/1?deleted=true").await.json()["id"], 1);
    assert_json(&registry.delete("/subjects/s").await, json!([2]));
    assert_eq!(registry.delete("/subjects/s").await.error_code(), 40404);
    assert_json(&registry.get("/subjects").await, json!([]));
    assert_json(&registry.get("/subjects?deleted=true").await, json!(["s"]));
    assert_json(&registry.get("/schemas/ids/1").await, json!({"schema": RECORD_A}));
    assert_json(&registry.get("/schemas/ids/1/subjects").await, json!([]));
    assert_json(&registry.get("/schemas/ids/1/subjects?deleted=true").await, json!(["s"]));
    assert_json(&registry.delete("/subjects/s?permanent=true").await, json!([1, 2]));
    assert_json(&registry.get("/subjects?deleted=true").await, json!([]));
    assert_eq!(registry.get("/schemas/ids/1").await.error_code(), 40403);
}

#[tokio::test]
async fn levels_hold_and_are_explained() {
    let (_brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    assert_json(&registry.get("/config").await, json!({"compatibilityLevel": "BACKWARD"}));
    let refused = registry.register("s", RECORD_AB).await;
    assert_eq!(refused.error_code(), 409);
    assert!(refused.body.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{refused:?}");
    let check = "/compatibility/subjects/s/versions/latest";
    let posted = json!({"schema": RECORD_AB});
    assert_json(&registry.post(check, posted.clone()).await, json!({"is_compatible": false}));
    let verbose = registry.post(&format!("{check}?verbose=true"), posted.clone()).await.json();
    assert!(verbose["messages"][0].as_str().unwrap().contains("'b'"), "{verbose}");
    let fits = json!({"schema": RECORD_AC});
    assert_json(
        &registry.post(&format!("{check}?verbose=true"), fits).await,
        json!({"is_compatible": true, "messages": []}),
    );
    let put = registry.put("/config/s", json!({"compatibility": "FORWARD"})).await;
    assert_json(&put, json!({"compatibility": "FORWARD"}));
    assert_json(&registry.get("/config/s").await, json!({"compatibilityLevel": "FORWARD"}));
    assert_json(&registry.post(check, posted).await, json!({"is_compatible": true}));
    assert_json(&registry.delete("/config/s").await, json!({"compatibilityLevel": "FORWARD"}));
    assert_json(
        &registry.get("/config/s?defaultToGlobal=true").await,
        json!({"compatibilityLevel": "BACKWARD"}),
    );
    let invalid = registry.put("/config", json!({"compatibility": "SIDEWAYS"})).await;
    assert_eq!(invalid.error_code(), 42203);
    registry.put("/config", json!({"compatibility": "NONE"})).await;
    assert_eq!(registry.registered("s", "\"int\"").await, 2);
}

#[tokio::test]
async fn modes_forbid_and_import() {
    let (_brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    assert_json(&registry.get("/mode").await, json!({"mode": "READWRITE"}));
    assert_json(&registry.put("/mode", json!({"mode": "READONLY"})).await, json!({"mode": "READONLY"}));
    assert_eq!(registry.register("s", RECORD_AC).await.error_code(), 42205);
    assert_json(&registry.get("/mode/s?defaultToGlobal=true").await, json!({"mode": "READONLY"}));
    assert_eq!(registry.put("/mode", json!({"mode": "SOMETIMES"})).await.error_code(), 42204);
    assert_eq!(registry.put("/mode/s", json!({"mode": "IMPORT"})).await.error_code(), 42205);
    let forced = registry.put("/mode/s?force=true", json!({"mode": "IMPORT"})).await;
    assert_json(&forced, json!({"mode": "IMPORT"}));
    let imported = json!({"schema": RECORD_AB, "id": 70, "version": 12});
    assert_json(&registry.post("/subjects/s/versions", imported).await, json!({"id": 70}));
    assert_json(&registry.get("/subjects/s/versions").await, json!([1, 12]));
    let taken = json!({"schema": RECORD_AC, "id": 70});
    assert_eq!(registry.post("/subjects/s/versions", taken).await.error_code(), 42207);
    assert_json(&registry.delete("/mode/s").await, json!({"mode": "IMPORT"}));
    registry.put("/mode", json!({"mode": "READWRITE"})).await;
    assert_eq!(registry.registered("t", "\"int\"").await, 71);
}

#[tokio::test]
async fn contexts_keep_their_subjects_and_ids_apart() {
    let (_brokers, registry) = start().await;
    assert_json(&registry.get("/contexts").await, json!(["."]));
    assert_eq!(registry.registered("s", RECORD_A).await, 1);
    assert_eq!(registry.registered(":.staging:s", "\"int\"").await, 1);
    assert_json(&registry.get("/contexts").await, json!([".", ".staging"]));
    assert_json(&registry.get("/subjects?subjectPrefix=:.staging:").await, json!([":.staging:s"]));
    assert_json(&registry.get("/schemas/ids/1?subject=:.staging:").await, json!({"schema": "\"int\""}));
    registry.put("/config/:.staging:", json!({"compatibility": "NONE"})).await;
    assert_eq!(registry.registered(":.staging:s", "\"string\"").await, 2);
    assert_eq!(registry.register("s", "\"string\"").await.error_code(), 409);
}

#[tokio::test]
async fn every_broker_answers_and_writes_do_not_collide() {
    let brokers = start_cluster(3).await;
    let registries: Vec<Rest> = brokers.iter().map(|broker| registry(broker.ip)).collect();
    let posts = (0..12).map(|number| {
        let registry = registries[number % 3];
        async move {
            let schema = format!(r#"{{"type":"fixed","name":"F{number}","size":{}}}"#, number + 1);
            // Who loses five races is told so, and tries again.
            loop {
                let reply = registry.register(&format!("s{number}"), &schema).await;
                if reply.status == 200 {
                    return reply.json()["id"].as_i64().unwrap();
                }
                assert_eq!(reply.error_code(), 50301);
            }
        }
    });
    let mut ids = futures(posts).await;
    ids.sort_unstable();
    assert_eq!(ids, (1..=12).collect::<Vec<i64>>());
    let all = registries[0].get("/subjects").await.body;
    for registry in &registries {
        assert_eq!(registry.get("/subjects").await.body, all);
    }
    let leaders = brokers[0].client().await.metadata(Some(&["_schemas"])).await;
    assert_eq!(leaders.topics[0].partitions.len(), 1);
    assert_eq!(leaders.topics[0].partitions[0].replica_nodes.len(), 3);
}

/// Runs all at once.
async fn futures<F: Future<Output = i64> + Send + 'static>(all: impl Iterator<Item = F>) -> Vec<i64> {
    let tasks: Vec<_> = all.map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test]
async fn schemas_survive_a_restart() {
    let (mut brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    registry.put("/config/s", json!({"compatibility": "FULL"})).await;
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    assert_json(&registry.get("/subjects/s/versions").await, json!([1]));
    assert_json(&registry.get("/config/s").await, json!({"compatibilityLevel": "FULL"}));
    assert_eq!(registry.registered("s", RECORD_AC).await, 2);
}

/// A broker whose registry has its topic elsewhere.
async fn with_topic_at(address: IpAddr, port: u16) -> (TestBroker, Rest) {
    let ip = crate::support::own_address();
    let client = format!(
        "
schema_registry_client:
  brokers:
    - {{address: {address}, port: {port}}}
  retries: 1
  retry_base_backoff_ms: 1
"
    );
    let mut broker = TestBroker::new(ip, crate::support::yaml(ip, 0, &[ip]) + &client);
    broker.start();
    broker.ready().await;
    (broker, registry(ip))
}

#[tokio::test]
async fn without_a_way_to_the_topic_it_is_a_store_error() {
    let (_broker, registry) = with_topic_at(IpAddr::from([127, 0, 0, 1]), 1).await;
    assert_eq!(registry.get("/subjects").await.error_code(), 50001);
    assert_eq!(registry.get("/status/ready").await.error_code(), 50001);
    assert_eq!(registry.get("/schemas/types").await.status, 200);
}

#[tokio::test]
async fn who_loses_every_race_is_told_to_try_again() {
    let fake = FakeKafka::start().await;
    let (_broker, registry) = with_topic_at(fake.address.ip(), fake.address.port()).await;
    assert_eq!(registry.get("/subjects").await.body, "[]");
    assert_eq!(registry.register("s", RECORD_A).await.error_code(), 50301);
    assert_eq!(registry.get("/subjects").await.body, "[]", "what lost its race counts for nobody");
}

/// What somebody else wrote to the topic is taken as it is, and a schema in it that nobody can read is an
/// internal error where it has to be compared with.
#[tokio::test]
async fn other_writers_records_are_read() {
    let (brokers, registry) = start().await;
    registry.registered("s", RECORD_A).await;
    let mut client = brokers[0].client().await;
    let key = br#"{"keytype":"SCHEMA","subject":"foreign","version":1,"magic":1}"#;
    let value = br#"{"subject":"foreign","version":1,"id":5,"schema":"unreadable","deleted":false}"#;
    let batch = crate::support::keyed_batch(&[(key, Some(value)), (b"nonsense", Some(b""))]);
    let outcome = client.produce("_schemas", 0, -1, batch).await;
    assert_eq!(outcome.error_code, 0);
    assert_json(&registry.get("/schemas/ids/5").await, json!({"schema": "unreadable"}));
    assert_eq!(registry.register("foreign", RECORD_A).await.error_code(), 500);
    assert_eq!(registry.registered("t", "\"int\"").await, 6);
}
