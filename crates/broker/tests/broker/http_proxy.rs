//! The HTTP Proxy: records and consumers, on one broker and on several.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::fake_kafka::FakeKafka;
use crate::rest::{Reply, Rest};
use crate::support::{PATIENCE, TestBroker, new_cluster, own_address, start_cluster, yaml};

const CONTROL: &str = "application/vnd.kafka.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";

fn proxy(ip: IpAddr) -> Rest {
    Rest { ip, port: 8082, content_type: CONTROL }
}

/// Brokers whose groups do not wait for more members than come at once.
async fn start(count: usize) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    for broker in &mut brokers {
        broker.bootstrap.push_str("group_initial_rebalance_delay: 200\n");
        broker.yaml.push_str("pandaproxy_client: {produce_batch_delay_ms: 5}\n");
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

impl Rest {
    async fn produce(&self, topic: &str, content_type: &str, body: Value) -> Reply {
        let headers = [("content-type", content_type)];
        self.send("POST", &format!("/topics/{topic}"), &headers, &body.to_string()).await
    }

    async fn produced(&self, topic: &str, values: &[i64]) {
        let records: Vec<Value> =
            values.iter().map(|value| json!({"value": value, "partition": 0})).collect();
        let reply = self.produce(topic, JSON, json!({"records": records})).await;
        assert!(!reply.body.contains("error_code"), "{reply:?}");
    }

    async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.send("GET", path, &[("accept", accept)], "").await
    }

    /// Creates a consumer and returns the path of its instance.
    async fn consumer(&self, group: &str, name: &str) -> String {
        let created =
            self.post(&format!("/consumers/{group}"), json!({"name": name, "format": "json"})).await;
        assert_eq!(created.status, 200, "{created:?}");
        format!("/consumers/{group}/instances/{name}")
    }

    async fn subscribed(&self, instance: &str, topics: &[&str]) {
        let reply = self.post(&format!("{instance}/subscription"), json!({"topics": topics})).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{reply:?}");
    }

    /// The values that a consumer reads until there are `count`.
    async fn values(&self, instance: &str, count: usize) -> Vec<i64> {
        let deadline = Instant::now() + PATIENCE;
        let mut values = Vec::new();
        while values.len() < count && Instant::now() < deadline {
            let reply = self.get_as(&format!("{instance}/records?timeout=500"), JSON).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            let records = reply.json();
            values.extend(records.as_array().unwrap().iter().map(|record| record["value"].as_i64().unwrap()));
        }
        values
    }
}

#[tokio::test]
async fn brokers_and_topics_are_listed() {
    let brokers = start(2).await;
    let proxy = proxy(brokers[0].ip);
    brokers[1].client().await.create_topic("orders", 1, 1).await;
    let reply = proxy.get("/brokers").await;
    assert_eq!((reply.body.as_str(), reply.header("content-type")), (r#"{"brokers":[0,1]}"#, Some(CONTROL)));
    assert_eq!(proxy.get("/topics").await.body, r#"["orders"]"#);
    assert_eq!(proxy.get("/status/ready").await.status, 200);
    for accept in [CONTROL, "application/json", "*/*"] {
        assert_eq!(proxy.get_as("/topics", accept).await.status, 200, "{accept}");
    }
    assert_eq!(proxy.get_as("/brokers", "text/html").await.error_code(), 406);
    assert_eq!(proxy.get_as("/topics", BINARY).await.error_code(), 406);
}

#[tokio::test]
async fn records_go_in_and_come_out_in_both_forms() {
    let brokers = start(1).await;
    let (proxy, mut client) = (proxy(brokers[0].ip), brokers[0].client().await);
    client.create_topic("t", 2, 1).await;
    let body = json!({"records": [
        {"key": "k", "value": {"a": 1}, "partition": 0},
        {"value": null, "partition": 1},
        {"value": [1, 2], "partition": 0},
        {"value": 3, "partition": 7},
    ]});
    let reply = proxy.produce("t", JSON, body).await;
    let expected = json!({"offsets": [
        {"partition": 0, "offset": 0},
        {"partition": 1, "offset": 0},
        {"partition": 0, "offset": 1},
        {"partition": 7, "offset": -1, "error_code": 40402},
    ]});
    assert_eq!((reply.status, reply.json()), (200, expected), "{reply:?}");
    let path = "/topics/t/partitions/0/records?offset=0&timeout=1000&max_bytes=100000";
    let read = proxy.get_as(path, JSON).await;
    let expected = json!([
        {"topic": "t", "key": "k", "value": {"a": 1}, "partition": 0, "offset": 0},
        {"topic": "t", "key": null, "value": [1, 2], "partition": 0, "offset": 1},
    ]);
    assert_eq!((read.header("content-type"), read.json()), (Some(JSON), expected));
    let read = proxy.get_as(path, BINARY).await.json();
    assert_eq!((&read[0]["key"], &read[1]["value"]), (&json!("Imsi"), &json!("WzEsMl0=")));
    assert_eq!(proxy.get(path).await.header("content-type"), Some(BINARY));

    let reply = proxy.produce("t", BINARY, json!({"records": [{"value": "AP8=", "partition": 0}]})).await;
    assert_eq!(reply.json()["offsets"][0]["offset"], 2);
    let path = "/topics/t/partitions/0/records?offset=2";
    assert_eq!(proxy.get_as(path, BINARY).await.json()[0]["value"], "AP8=");
    assert_eq!(proxy.get_as(path, JSON).await.error_code(), 40801);
    assert_eq!(proxy.get_as("/topics/t/partitions/0/records?offset=3&timeout=10", JSON).await.body, "[]");

    // By key to one partition, without a key to all in turn.
    let records: Vec<Value> = (0..4).map(|value| json!({"key": "same", "value": value})).collect();
    let keyed = proxy.produce("t", JSON, json!({"records": records})).await.json();
    let partitions = |reply: &Value| -> Vec<i64> {
        let offsets = reply["offsets"].as_array().unwrap();
        offsets.iter().map(|offset| offset["partition"].as_i64().unwrap()).collect()
    };
    assert_eq!(partitions(&keyed), vec![partitions(&keyed)[0]; 4]);
    let records: Vec<Value> = (0..4).map(|value| json!({"value": value})).collect();
    let turns = proxy.produce("t", JSON, json!({"records": records})).await.json();
    assert_eq!(partitions(&turns), [0, 1, 0, 1]);
}

#[tokio::test]
async fn bad_requests_are_refused() {
    let brokers = start(1).await;
    let (proxy, mut client) = (proxy(brokers[0].ip), brokers[0].client().await);
    client.create_topic("t", 1, 1).await;
    let record = json!({"records": [{"value": "AA=="}]});
    assert_eq!(proxy.produce("nothing", BINARY, record.clone()).await.error_code(), 40401);
    assert_eq!(proxy.produce("a:b", BINARY, record.clone()).await.error_code(), 40401);
    for wrong in [CONTROL, "application/json", "text/plain"] {
        assert_eq!(proxy.produce("t", wrong, record.clone()).await.error_code(), 415, "{wrong}");
    }
    assert_eq!(proxy.send("POST", "/topics/t", &[], "{}").await.error_code(), 415);
    for wrong in [json!("text"), json!({"records": 5}), json!({"records": [{"value": "not base64!"}]})] {
        assert_eq!(proxy.produce("t", BINARY, wrong.clone()).await.error_code(), 422, "{wrong}");
    }
    let headers = [("content-type", BINARY), ("accept", "text/html")];
    assert_eq!(proxy.send("POST", "/topics/t", &headers, "{}").await.error_code(), 406);
    let large = "x".repeat(9 << 20);
    assert_eq!(proxy.send("POST", "/topics/t", &[("content-type", JSON)], &large).await.error_code(), 413);
    let too_large = json!({"records": [{"value": "x".repeat(2 << 20), "partition": 0}]});
    let reply = proxy.produce("t", JSON, too_large).await;
    assert_eq!((reply.status, &reply.json()["offsets"][0]["error_code"]), (200, &json!(40002)), "{reply:?}");

    for (path, code) in [
        ("/topics/t/partitions/0/records", 40002),
        ("/topics/t/partitions/x/records?offset=0", 40002),
        ("/topics/t/partitions/0/records?offset=x", 40002),
        ("/topics/t/partitions/0/records?offset=0&timeout=-1", 40002),
        ("/topics/t/partitions/0/records?offset=0&max_bytes=0", 40002),
        ("/topics/t/partitions/0/records?offset=99", 40002),
        ("/topics/t/partitions/0/records?offset=-5", 40002),
        ("/topics/t/partitions/9/records?offset=0", 40402),
        ("/topics/x/partitions/0/records?offset=0", 40401),
        ("/topics/t", 50101),
        ("/topics/t/partitions", 50101),
        ("/consumers/g/instances/i/assignments", 50101),
        ("/nothing", 404),
    ] {
        assert_eq!(proxy.get(path).await.error_code(), code, "{path}");
    }
    assert_eq!(proxy.get_as("/topics/t/partitions/0/records?offset=0", CONTROL).await.error_code(), 406);
    assert_eq!(proxy.delete("/topics").await.error_code(), 405);
}

#[tokio::test]
async fn consumers_read_and_commit() {
    let brokers = start(1).await;
    let (proxy, mut client) = (proxy(brokers[0].ip), brokers[0].client().await);
    client.create_topic("t", 1, 1).await;
    proxy.produced("t", &[1, 2, 3]).await;
    let created = proxy.post("/consumers/g", json!({"name": "c", "format": "json", "auto.offset.reset": "earliest", "auto.commit.enable": "false", "fetch.min.bytes": "1", "consumer.request.timeout.ms": 200})).await;
    let ip = brokers[0].ip;
    let base_uri = format!("http://{ip}:8082/consumers/g/instances/c");
    assert_eq!(created.json(), json!({"instance_id": "c", "base_uri": base_uri}));
    assert_eq!(created.header("content-type"), Some(CONTROL));
    assert_eq!(proxy.post("/consumers/g", json!({"name": "c"})).await.error_code(), 40902);
    let c = "/consumers/g/instances/c";
    assert_eq!(proxy.get_as(&format!("{c}/records?timeout=10"), JSON).await.body, "[]");

    proxy.subscribed(c, &["t"]).await;
    let first = proxy.get_as(&format!("{c}/records?timeout=2000"), JSON).await;
    assert_eq!(first.header("content-type"), Some(JSON));
    let expected = json!({"topic": "t", "key": null, "value": 1, "partition": 0, "offset": 0});
    assert_eq!(first.json()[0], expected, "{first:?}");
    assert_eq!(first.json().as_array().unwrap().len(), 3);
    let asked = json!({"partitions": [{"topic": "t", "partition": 0}]});
    let offsets = |body: Value| async move {
        let headers = [("content-type", CONTROL)];
        proxy.send("GET", &format!("{c}/offsets"), &headers, &body.to_string()).await.json()
    };
    let entry =
        |offset: i64| json!({"offsets": [{"topic": "t", "partition": 0, "offset": offset, "metadata": ""}]});
    assert_eq!(offsets(asked.clone()).await, entry(-1));
    let explicit = json!({"partitions": [{"topic": "t", "partition": 0, "offset": 2}]});
    assert_eq!(proxy.post(&format!("{c}/offsets"), explicit).await.status, 204);
    assert_eq!(offsets(asked.clone()).await, entry(2));
    assert_eq!(proxy.send("POST", &format!("{c}/offsets"), &[], "").await.status, 204);
    assert_eq!(offsets(asked).await, entry(3));

    // Records that come later, as many as fit.
    proxy.produced("t", &[4, 5]).await;
    let one = proxy.get_as(&format!("{c}/records?timeout=2000&max_bytes=1"), JSON).await.json();
    assert_eq!((one.as_array().unwrap().len(), &one[0]["value"]), (1, &json!(4)));
    assert_eq!(proxy.values(c, 1).await, [5]);
    let deleted = proxy.delete(c).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(proxy.delete(c).await.error_code(), 40403);

    // Another member goes on where the group was.
    let d = proxy.consumer("g", "d").await;
    proxy.subscribed(&d, &["t"]).await;
    assert_eq!(proxy.values(&d, 2).await, [4, 5]);
}

#[tokio::test]
async fn a_bad_consumer_is_refused() {
    let brokers = start(1).await;
    let proxy = proxy(brokers[0].ip);
    for wrong in [
        json!({"format": "avro"}),
        json!({"auto.offset.reset": "latest"}),
        json!({"auto.commit.enable": "true"}),
        json!({"auto.commit.enable": true}),
        json!({"fetch.min.bytes": "many"}),
        json!({"consumer.request.timeout.ms": -1}),
        json!({"name": ""}),
        json!({"name": "x".repeat(300)}),
    ] {
        assert_eq!(proxy.post("/consumers/g", wrong.clone()).await.error_code(), 40002, "{wrong}");
    }
    assert_eq!(proxy.post("/consumers/g", json!({"name": 5})).await.error_code(), 422);
    assert_eq!(proxy.send("POST", "/consumers/g", &[("content-type", BINARY)], "{}").await.error_code(), 415);
    let named = proxy.send("POST", "/consumers/g", &[("content-type", CONTROL)], "").await.json();
    let name = named["instance_id"].as_str().unwrap().to_owned();
    assert!(name.starts_with("rest-consumer-"), "{named}");
    let instance = format!("/consumers/g/instances/{name}");
    assert_eq!(proxy.get_as(&format!("{instance}/records"), CONTROL).await.error_code(), 406);
    let no_offset = json!({"partitions": [{"topic": "t", "partition": 0}]});
    assert_eq!(proxy.post(&format!("{instance}/offsets"), no_offset).await.error_code(), 40002);
    for method in ["GET", "POST"] {
        let path = "/consumers/g/instances/nobody/offsets";
        assert_eq!(proxy.send(method, path, &[("content-type", CONTROL)], "{}").await.error_code(), 40403);
    }
    assert_eq!(proxy.get("/consumers/g/instances/nobody/records").await.error_code(), 40403);
    let topics = json!({"topics": ["t"]});
    let unknown = proxy.post("/consumers/g/instances/nobody/subscription", topics).await;
    assert_eq!(unknown.error_code(), 40403);
}

#[tokio::test]
async fn a_consumer_lives_on_its_broker_and_its_base_uri_leads_there() {
    let mut brokers = new_cluster(2);
    for (index, broker) in brokers.iter_mut().enumerate() {
        let ip = broker.ip;
        broker.bootstrap.push_str("group_initial_rebalance_delay: 200\n");
        let one = format!("    - {{name: internal, address: {ip}, port: 8082}}\n");
        let three = format!(
            "{one}    - {{name: default, address: {ip}, port: 8083}}
    - {{name: quiet, address: {ip}, port: 8085}}
  advertised_pandaproxy_api:
    - {{name: internal, address: redpanda-{index}.redpanda, port: 8082}}
    - {{name: default, address: broker-{index}.example.com, port: 30082}}
"
        );
        broker.yaml = broker.yaml.replace(&one, &three);
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    let at = |broker: usize, port: u16| Rest { ip: brokers[broker].ip, port, content_type: CONTROL };
    let ip = brokers[0].ip;
    for (port, base) in [
        (8082, "http://redpanda-0.redpanda:8082".to_owned()),
        (8083, "http://broker-0.example.com:30082".to_owned()),
        (8085, format!("http://{ip}:8085")),
    ] {
        let created = at(0, port).post("/consumers/g", json!({"name": format!("c{port}")})).await.json();
        assert_eq!(created["base_uri"], format!("{base}/consumers/g/instances/c{port}"));
    }
    let other = at(1, 8083);
    assert_eq!(other.get("/consumers/g/instances/c8083/records").await.error_code(), 40403);
    assert_eq!(at(0, 8082).get("/consumers/g/instances/c8083/records").await.status, 200);
}

#[tokio::test]
async fn two_consumers_on_two_brokers_share_a_topic() {
    let brokers = start(2).await;
    let proxies = [proxy(brokers[0].ip), proxy(brokers[1].ip)];
    brokers[0].client().await.create_topic("t", 4, 2).await;
    let a = proxies[0].consumer("g", "a").await;
    proxies[0].subscribed(&a, &["t"]).await;
    let b = proxies[1].consumer("g", "b").await;
    proxies[1].subscribed(&b, &["t"]).await;
    // Both have settled when neither gets another share.
    sleep(Duration::from_millis(1500)).await;
    let records: Vec<Value> = (0..40).map(|value| json!({"value": value, "partition": value % 4})).collect();
    proxies[0].produce("t", JSON, json!({"records": records})).await;
    let (mut read_a, read_b) = tokio::join!(proxies[0].values(&a, 20), proxies[1].values(&b, 20));
    assert_eq!((read_a.len(), read_b.len()), (20, 20), "{read_a:?} {read_b:?}");
    read_a.extend(read_b);
    read_a.sort_unstable();
    assert_eq!(read_a, (0..40).collect::<Vec<i64>>());

    // Who is left gets everything.
    assert_eq!(proxies[1].delete(&b).await.status, 204);
    sleep(Duration::from_millis(1500)).await;
    let records: Vec<Value> = (0..4).map(|value| json!({"value": value, "partition": value})).collect();
    proxies[1].produce("t", JSON, json!({"records": records})).await;
    let mut rest = proxies[0].values(&a, 4).await;
    rest.retain(|value| *value < 4);
    rest.sort_unstable();
    rest.dedup();
    assert_eq!(rest, [0, 1, 2, 3]);
}

#[tokio::test]
async fn idle_consumers_die() {
    let ip = own_address();
    let text =
        yaml(ip, 0, &[ip]).replace("pandaproxy:\n", "pandaproxy:\n  consumer_instance_timeout_ms: 600\n");
    let mut broker = TestBroker::new(ip, text);
    broker.start();
    broker.ready().await;
    let proxy = proxy(ip);
    let c = proxy.consumer("g", "c").await;
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        assert_eq!(proxy.get(&format!("{c}/records?timeout=1")).await.status, 200, "in use it lives");
    }
    sleep(Duration::from_millis(1200)).await;
    assert_eq!(proxy.get(&format!("{c}/records?timeout=1")).await.error_code(), 40403);
    proxy.consumer("g", "c").await;
}

/// A broker whose Kafka client talks to something else than a broker.
async fn with_brokers_at(address: IpAddr, port: u16) -> (TestBroker, Rest) {
    let ip = own_address();
    let client = format!(
        "pandaproxy_client:
  brokers:
    - {{address: {address}, port: {port}}}
  retries: 1
  retry_base_backoff_ms: 1
  produce_batch_delay_ms: 1
"
    );
    let mut broker = TestBroker::new(ip, yaml(ip, 0, &[ip]) + &client);
    broker.start();
    broker.ready().await;
    (broker, proxy(ip))
}

#[tokio::test]
async fn what_kafka_says_becomes_a_code() {
    let fake = FakeKafka::start().await;
    let (_broker, proxy) = with_brokers_at(fake.address.ip(), fake.address.port()).await;
    let record = json!({"records": [{"value": 1, "partition": 0}]});
    for (topic_error, code) in
        [(3, 40401), (5, 50302), (7, 50003), (-1, 50002), (29, 40301), (58, 40101), (42, 40002)]
    {
        fake.answer_metadata_with(topic_error);
        let reply = proxy.produce("t", JSON, record.clone()).await;
        assert_eq!(reply.error_code(), code, "{topic_error}: {reply:?}");
        if code == 50302 {
            assert_eq!(reply.header("retry-after"), Some("0"));
        }
    }
    // The topic is there, and its leader refuses what is written.
    fake.answer_metadata_with(0);
    for (produce_error, code) in [(6, 40002), (7, 50003), (56, 50002), (29, 40301)] {
        fake.answer_produce_with(produce_error);
        let reply = proxy.produce("t", JSON, record.clone()).await;
        assert_eq!(reply.json()["offsets"][0]["error_code"], code, "{produce_error}: {reply:?}");
    }
    fake.answer_nonsense();
    assert_eq!(proxy.get("/topics").await.error_code(), 50001);
}

#[tokio::test]
async fn without_brokers_none_is_available() {
    let (_broker, proxy) = with_brokers_at(IpAddr::from([127, 0, 0, 1]), 1).await;
    let reply = proxy.get("/topics").await;
    assert_eq!((reply.error_code(), reply.header("retry-after")), (50302, Some("0")));
    let c = proxy.consumer("g", "c").await;
    let read = proxy.get(&format!("{c}/records?timeout=1")).await;
    assert_eq!(read.body, "[]");
}

#[tokio::test]
async fn start_order_is_no_matter() {
    // The cluster's own brokers serve the proxy although Kafka opens last.
    let brokers = start_cluster(1).await;
    assert_eq!(proxy(brokers[0].ip).get("/brokers").await.json(), json!({"brokers": [0]}));
}
