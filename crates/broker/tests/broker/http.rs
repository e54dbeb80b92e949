//! The three HTTP listeners.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::start_cluster;

/// An HTTP answer.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// The value of a header, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn is_of_type(&self, content_type: &str) -> bool {
        self.head.contains(&format!("content-type: {content_type}\r\n"))
    }
}

pub async fn get(ip: IpAddr, port: u16, path: &str) -> Answer {
    ask(ip, port, &format!("GET {path} HTTP/1.1\r\nhost: {ip}\r\nconnection: close\r\n\r\n")).await
}

pub async fn ask(ip: IpAddr, port: u16, request: &str) -> Answer {
    let mut stream = TcpStream::connect((ip, port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: format!("{}\r\n", head.to_ascii_lowercase()), body: body.to_owned() }
}

#[tokio::test]
async fn admin_tells_about_the_cluster() {
    let brokers = start_cluster(3).await;
    let ip = brokers[1].ip;
    let ready = get(ip, 9644, "/v1/status/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, r#"{"status":"ready"}"#));
    assert!(!ready.head.contains("\r\ndate:"), "{}", ready.head);

    let broker = get(ip, 9644, "/v1/brokers/2").await.json();
    assert_eq!(broker["internal_rpc_address"], brokers[2].ip.to_string());
    assert_eq!(broker["membership_status"], "active");
    let missing = get(ip, 9644, "/v1/brokers/9").await;
    assert_eq!((missing.status, &missing.json()["code"]), (404, &404.into()));

    let config = get(ip, 9644, "/v1/node_config").await.json();
    assert_eq!(config["node_id"], 1);
    assert_eq!(config["advertised_kafka_api"][1]["address"], "broker-1.example.com");

    let health = get(ip, 9644, "/v1/cluster/health_overview").await.json();
    assert_eq!(health["is_healthy"], true, "{health}");
    assert_eq!(health["controller_id"], 0);
    assert_eq!(health["all_nodes"], serde_json::json!([0, 1, 2]));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_errors() {
    let brokers = start_cluster(1).await;
    let ip = brokers[0].ip;
    let unknown = get(ip, 9644, "/v1/nothing").await;
    assert_eq!((unknown.status, unknown.body.as_str()), (404, r#"{"message":"Not found","code":404}"#));
    let request = format!("DELETE /v1/brokers HTTP/1.1\r\nhost: {ip}\r\nconnection: close\r\n\r\n");
    assert_eq!(ask(ip, 9644, &request).await.json()["code"], 405);
}

#[tokio::test]
async fn proxy_and_registry_answer_in_their_content_types() {
    let brokers = start_cluster(2).await;
    let ip = brokers[0].ip;
    brokers[1].client().await.create_topic("orders", 1, 1).await;

    let answer = get(ip, 8082, "/brokers").await;
    assert_eq!(answer.body, r#"{"brokers":[0,1]}"#);
    assert!(answer.is_of_type("application/vnd.kafka.v2+json"), "{}", answer.head);
    assert_eq!(get(ip, 8082, "/topics").await.body, r#"["orders"]"#);
    let request =
        format!("GET /topics HTTP/1.1\r\nhost: {ip}\r\naccept: text/html\r\nconnection: close\r\n\r\n");
    assert_eq!(ask(ip, 8082, &request).await.status, 406);

    let types = get(ip, 8081, "/schemas/types").await;
    assert_eq!(types.body, r#"["JSON","PROTOBUF","AVRO"]"#);
    assert!(types.is_of_type("application/vnd.schemaregistry.v1+json"), "{}", types.head);
    assert_eq!(get(ip, 8081, "/subjects").await.body, "[]");
    assert_eq!(get(ip, 8081, "/status/ready").await.status, 200);
    assert_eq!(get(ip, 8081, "/nothing").await.json()["error_code"], 404);
}
