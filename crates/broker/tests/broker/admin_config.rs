//! The Admin API about configuration: cluster properties, features, loggers, the broker's own settings.

use serde_json::{Value, json};

use crate::admin::{self, controller, error, get, put, until};
use crate::support::new_cluster;

#[tokio::test]
async fn properties_are_changed_and_every_broker_tells_so() {
    let brokers = admin::start(3, "log_segment_size: 2097152\n").await;
    let ip = controller(&brokers).await.ip;
    let values = get(ip, "/v1/cluster_config").await.json();
    assert_eq!((&values["log_segment_size"], &values["alive_timeout_ms"]), (&json!(2_097_152), &json!(1000)));
    assert_eq!(values["raft_election_timeout_ms"], 1500, "defaults are shown too");
    let set = get(ip, "/v1/cluster_config?include_defaults=false").await.json();
    assert_eq!(set.get("raft_election_timeout_ms"), None);
    let one = get(ip, "/v1/cluster_config?key=log_segment_size").await.json();
    assert_eq!(one, json!({"log_segment_size": 2_097_152}));
    assert_eq!(error(&get(ip, "/v1/cluster_config?key=nonsense").await).0, 404);

    let before = get(ip, "/v1/cluster_config/status").await.json()[0]["config_version"].as_i64().unwrap();
    let change =
        json!({"upsert": {"log_segment_size": 4_194_304, "group_topic_partitions": 3}, "remove": []});
    let dry = put(ip, "/v1/cluster_config?dry_run=true", &change).await;
    assert_eq!((dry.status, dry.json()), (200, json!({"config_version": before})));
    let done = put(ip, "/v1/cluster_config", &change).await;
    assert_eq!((done.status, done.json()), (200, json!({"config_version": before + 1})));
    for broker in &brokers {
        until("every broker has the version", || async {
            let status = get(broker.ip, "/v1/cluster_config/status").await.json();
            let told = |entry: &Value| entry["config_version"] == before + 1 && entry["restart"] == true;
            status.as_array().unwrap().iter().all(told)
        })
        .await;
        let value = get(broker.ip, "/v1/cluster_config?key=log_segment_size").await.json();
        assert_eq!(value["log_segment_size"], 4_194_304);
    }
    let removed = put(ip, "/v1/cluster_config", &json!({"remove": ["log_segment_size"]})).await;
    assert_eq!(removed.json()["config_version"], before + 2);
    let values = get(ip, "/v1/cluster_config").await.json();
    assert_eq!(values["log_segment_size"], 134_217_728);
}

#[tokio::test]
async fn bad_values_are_told_by_property_and_force_stores_them() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let change = json!({"upsert": {"nonsense": 1, "default_topic_partitions": "many", "cluster_id": "x"}});
    let refused = put(ip, "/v1/cluster_config", &change).await;
    assert_eq!(refused.status, 400);
    let problems = refused.json();
    assert_eq!(problems["nonsense"], "Unknown property");
    assert!(problems["default_topic_partitions"].as_str().unwrap().contains("whole number"), "{problems}");
    assert_eq!(problems.get("cluster_id"), None);
    assert_eq!(get(ip, "/v1/cluster_config?key=cluster_id").await.json()["cluster_id"], Value::Null);
    assert_eq!(put(ip, "/v1/cluster_config", &json!([1])).await.status, 400);

    assert_eq!(put(ip, "/v1/cluster_config?force=true", &change).await.status, 200);
    until("what cannot be obeyed is told", || async {
        let status = get(ip, "/v1/cluster_config/status").await.json();
        status[0]["invalid"] == json!(["default_topic_partitions"])
            && status[0]["unknown"] == json!(["nonsense"])
    })
    .await;
}

#[tokio::test]
async fn the_schema_and_secrets() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let schema = get(ip, "/v1/cluster_config/schema").await.json();
    let properties = schema["properties"].as_object().unwrap();
    assert!(properties.len() > 150, "{}", properties.len());
    let property = &properties["partition_autobalancing_mode"];
    assert_eq!(property["enum_values"], json!(["off", "node_add", "continuous"]));
    for field in ["description", "type", "needs_restart", "visibility", "nullable", "is_secret"] {
        assert!(properties.values().all(|property| property.get(field).is_some()), "{field}");
    }
    let change = json!({"upsert": {"cloud_storage_secret_key": "s3cr3t"}});
    assert_eq!(put(ip, "/v1/cluster_config", &change).await.status, 200);
    let text = get(ip, "/v1/cluster_config").await.body + &get(ip, "/v1/config").await.body;
    assert!(!text.contains("s3cr3t") && text.contains("[secret]"));
}

#[tokio::test]
async fn too_many_changes_per_second_are_refused() {
    let limits = "enable_controller_log_rate_limiting: true\nrps_limit_configuration_operations: 3\n";
    let brokers = admin::start(1, limits).await;
    let change = json!({"upsert": {"cluster_id": "x"}});
    let mut refused = None;
    for _ in 0..20 {
        let answer = put(brokers[0].ip, "/v1/cluster_config", &change).await;
        if answer.status != 200 {
            refused = Some(error(&answer));
            break;
        }
    }
    let (status, message) = refused.expect("one of twenty at once is too many");
    assert!(status == 429 && message.contains("rps_limit_configuration_operations"), "{status} {message}");
}

#[tokio::test]
async fn features_loggers_and_the_node_configuration() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let features = get(ip, "/v1/features").await.json();
    for field in
        ["cluster_version", "original_cluster_version", "node_earliest_version", "node_latest_version"]
    {
        assert!(features[field].is_i64(), "{field}");
    }
    let state = |features: &Value, name: &str| {
        let list = features["features"].as_array().unwrap().clone();
        list.into_iter().find(|feature| feature["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state(&features, "delete_records"), "active");
    assert_eq!(put(ip, "/v1/features/delete_records", &json!({"state": "disabled"})).await.status, 200);
    assert_eq!(state(&get(ip, "/v1/features").await.json(), "delete_records"), "disabled");
    assert_eq!(error(&put(ip, "/v1/features/delete_records", &json!({"state": "odd"})).await).0, 400);
    assert_eq!(error(&put(ip, "/v1/features/nonsense", &json!({"state": "active"})).await).0, 404);
    assert_eq!(get(ip, "/v1/features/license").await.json()["loaded"], false);
    assert_eq!(get(ip, "/v1/features/enterprise").await.json()["license_status"], "not_present");

    let loggers = get(ip, "/v1/loggers").await.json();
    assert!(loggers.as_array().unwrap().contains(&json!({"name": "raft"})));
    let set = put(ip, "/v1/config/log_level/raft?level=trace&expires=1", &Value::Null).await.json();
    assert_eq!((&set["previous_level"], &set["new_level"]), (&json!("info"), &json!("trace")));
    let level = |ip| async move { get(ip, "/v1/config/log_level/raft").await.json()["level"].clone() };
    assert_eq!(level(ip).await, "trace");
    until("the level expires", || async { level(ip).await == "info" }).await;
    let leveled = put(ip, "/v1/config/log_level/kafka/client?level=debug", &Value::Null).await;
    assert_eq!(leveled.json()["expires"], 600);
    let listed = get(ip, "/v1/loggers?include-levels=true").await.json();
    assert!(listed.as_array().unwrap().contains(&json!({"name": "kafka/client", "level": "debug"})));
    assert_eq!(error(&put(ip, "/v1/config/log_level/raft?level=loud", &Value::Null).await).0, 400);
    assert_eq!(error(&put(ip, "/v1/config/log_level/nobody?level=info", &Value::Null).await).0, 404);

    let node = get(ip, "/v1/node_config").await.json();
    assert_eq!((&node["node_id"], &node["crash_loop_limit"]), (&json!(0), &json!(5)));
    assert_eq!(get(ip, "/v1/config").await.json()["node_id"], 0);
}

#[tokio::test]
async fn a_change_is_obeyed_without_a_restart() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let mut client = brokers[0].client().await;
    let refused = client.metadata(Some(&["orders"])).await;
    assert_eq!(refused.topics[0].error_code, 3, "auto_create_topics_enabled is false");
    let change = json!({"upsert": {"auto_create_topics_enabled": true, "default_topic_partitions": 5}});
    assert_eq!(put(ip, "/v1/cluster_config", &change).await.status, 200);
    until("the topic is created", || async {
        let mut client = brokers[0].client().await;
        let topics = client.metadata(Some(&["orders"])).await.topics;
        topics[0].error_code == 0 && topics[0].partitions.len() == 5
    })
    .await;
}

#[tokio::test]
async fn starts_that_come_to_nothing_are_given_up_until_the_configuration_changes() {
    let mut brokers = new_cluster(2);
    let broker = &mut brokers[1];
    // The other seed never answers, so no start comes to an end.
    for _ in 0..5 {
        broker.start();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        broker.kill().await;
    }
    broker.start();
    let error = broker.error().await.to_string();
    assert!(error.contains("failed to start 5 times in a row (crash_loop_limit)"), "{error}");
    broker.bootstrap.push_str("cluster_id: changed\n");
    brokers[0].start();
    brokers[1].start();
    brokers[1].ready().await;
    assert_eq!(put(brokers[1].ip, "/v1/reset_crash_tracking", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn in_recovery_mode_clients_get_nothing() {
    let mut brokers = admin::start(1, "").await;
    brokers[0].client().await.create_topic("orders", 1, 1).await;
    brokers[0].kill().await;
    brokers[0].yaml = brokers[0].yaml.replace("redpanda:\n", "redpanda:\n  recovery_mode_enabled: true\n");
    brokers[0].start();
    brokers[0].ready().await;
    let ip = brokers[0].ip;
    assert!(tokio::net::TcpStream::connect((ip, 8082)).await.is_err(), "there is no HTTP Proxy");
    assert!(tokio::net::TcpStream::connect((ip, 8081)).await.is_err(), "there is no Schema Registry");
    let health = get(ip, "/v1/cluster/health_overview").await.json();
    assert_eq!(health["nodes_in_recovery_mode"], json!([0]));
    assert_eq!(get(ip, "/v1/brokers/0").await.json()["recovery_mode_enabled"], true);
    let metadata = brokers[0].client().await.metadata(Some(&["orders"])).await;
    assert_eq!(metadata.topics[0].partitions[0].error_code, 44, "POLICY_VIOLATION");
}
