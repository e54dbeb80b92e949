//! The Admin API about partitions, leadership, changes of replicas, and diagnosis.

use std::time::Duration;

use kafka_protocol::records::Compression;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::admin::{self, controller, error, follower, get, post, until};
use crate::support::{TestBroker, batch};

async fn leader<'a>(brokers: &'a [TestBroker], topic: &str) -> &'a TestBroker {
    let mut id = -1;
    while id < 0 {
        let detail = get(brokers[0].ip, &format!("/v1/partitions/kafka/{topic}/0")).await.json();
        id = detail["leader_id"].as_i64().unwrap();
    }
    brokers.iter().find(|broker| i64::from(broker.id()) == id).unwrap()
}

#[tokio::test]
async fn partitions_are_shown_in_every_way() {
    let brokers = admin::start(3, "").await;
    brokers[0].client().await.create_topic("orders", 2, 3).await;
    let ip = brokers[1].ip;
    let detail = get(ip, "/v1/partitions/kafka/orders/1").await.json();
    assert_eq!(
        (&detail["ns"], &detail["topic"], &detail["partition_id"]),
        (&json!("kafka"), &json!("orders"), &json!(1))
    );
    assert_eq!((&detail["status"], &detail["disabled"]), (&json!("done"), &json!(false)));
    assert!(detail["raft_group_id"].as_u64().unwrap() > 0);
    assert_eq!(detail["replicas"].as_array().unwrap().len(), 3);
    assert_eq!(get(ip, "/v1/partitions/kafka/orders").await.json().as_array().unwrap().len(), 2);
    assert_eq!(error(&get(ip, "/v1/partitions/kafka/orders/2").await).0, 404);
    assert_eq!(error(&get(ip, "/v1/partitions/kafka/orders/x").await).0, 400);
    assert_eq!(error(&get(ip, "/v1/partitions/kafka/nothing").await).0, 404);
    let group0 = get(ip, "/v1/partitions/redpanda/controller/0").await.json();
    assert_eq!(group0["leader_id"], controller(&brokers).await.id());
    assert_eq!(group0["raft_group_id"], 0);

    let local = get(ip, "/v1/partitions").await.json();
    let orders = local.as_array().unwrap().iter().filter(|it| it["topic"] == "orders").count();
    assert_eq!(orders, 2);
    until("no partition of the broker is without leader", || async {
        let summary = get(ip, "/v1/partitions/local_summary").await.json();
        summary["count"].as_u64() >= Some(3) && summary["leaderless"] == 0 && summary["under_replicated"] == 0
    })
    .await;
    let all = get(ip, "/v1/cluster/partitions").await.json();
    assert!(all.as_array().unwrap().iter().all(|it| it["ns"] == "kafka"), "{all}");
    let with_internal = get(ip, "/v1/cluster/partitions?with_internal=true").await.json();
    assert!(with_internal.as_array().unwrap().len() >= all.as_array().unwrap().len());
    assert_eq!(get(ip, "/v1/cluster/partitions/kafka/orders").await.json().as_array().unwrap().len(), 2);
    assert_eq!(error(&get(ip, "/v1/cluster/partitions/kafka/nothing").await).0, 404);
}

#[tokio::test]
async fn partitions_can_be_taken_out_of_service() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    brokers[0].client().await.create_topic("orders", 2, 1).await;
    let path = "/v1/cluster/partitions/kafka/orders";
    assert_eq!(post(ip, &format!("{path}/1"), &json!({"disabled": true})).await.status, 200);
    assert_eq!(get(ip, "/v1/partitions/kafka/orders/1").await.json()["disabled"], true);
    let mut client = brokers[0].client().await;
    let produced = client.produce("orders", 1, -1, batch(&["a"], Compression::None)).await;
    assert_eq!(produced.error_code, 9, "REPLICA_NOT_AVAILABLE");
    assert_eq!(client.metadata(Some(&["orders"])).await.topics[0].partitions[1].error_code, 9);
    let disabled = get(ip, "/v1/cluster/partitions?disabled=true").await.json();
    assert_eq!(disabled.as_array().unwrap().len(), 1);
    assert_eq!(post(ip, path, &json!({"disabled": false})).await.status, 200);
    assert_eq!(get(ip, "/v1/cluster/partitions?disabled=true").await.json(), json!([]));
    assert_eq!(error(&post(ip, &format!("{path}/7"), &json!({"disabled": true})).await).0, 404);
    assert_eq!(error(&post(ip, path, &json!({})).await).0, 400);
    let other = post(ip, "/v1/cluster/partitions/kafka_internal/tx", &json!({"disabled": true})).await;
    assert_eq!(error(&other).0, 400);
}

#[tokio::test]
async fn a_leader_leads_on_once_nobody_waits_for_its_hand_over_any_more() {
    let mut brokers = admin::start(3, "enable_leader_balancer: false\n").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let own = leader(&brokers, "orders").await.id();
    let mut target = brokers.remove(brokers.iter().position(|broker| broker.id() != own).unwrap());
    let first = brokers.iter().find(|broker| broker.id() == own).unwrap();
    let mut client = first.client().await;
    assert_eq!(client.produce("orders", 0, -1, batch(&["a"], Compression::None)).await.error_code, 0);
    let path = format!("/v1/partitions/kafka/orders/0/transfer_leadership?target={}", target.id());
    target.kill().await;
    // Who asks goes away while the leader waits for a target that never answers.
    let asked = timeout(Duration::from_millis(300), post(first.ip, &path, &Value::Null)).await;
    assert!(asked.is_err(), "the target is gone");
    until("the leader takes records again", || async {
        let mut client = first.client().await;
        client.produce("orders", 0, -1, batch(&["b"], Compression::None)).await.error_code == 0
    })
    .await;
}

#[tokio::test]
async fn leadership_moves_where_it_is_sent() {
    let brokers = admin::start(3, "enable_leader_balancer: false\n").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let path = "/v1/partitions/kafka/orders/0/transfer_leadership";
    let first = leader(&brokers, "orders").await;
    let stays = post(first.ip, &format!("{path}?target={}", first.id()), &Value::Null).await;
    assert_eq!(stays.status, 200, "the leader leads already");
    let other = brokers.iter().find(|broker| broker.id() != first.id()).unwrap();
    let redirected = post(other.ip, path, &Value::Null).await;
    assert_eq!(redirected.status, 307);
    let location = redirected.header("location").unwrap();
    assert_eq!(location, format!("http://{}:9644{path}?redirect=1", first.ip));
    assert_eq!(error(&post(first.ip, &format!("{path}?target=9"), &Value::Null).await).0, 400);
    assert_eq!(error(&post(first.ip, &format!("{path}?target=x"), &Value::Null).await).0, 400);
    let nothing = "/v1/partitions/kafka/orders/5/transfer_leadership";
    assert_eq!(error(&post(first.ip, nothing, &Value::Null).await).0, 404);

    let moved = post(first.ip, &format!("{path}?target={}", other.id()), &Value::Null).await;
    assert_eq!(moved.status, 200, "{}", moved.body);
    for broker in &brokers {
        until("every broker knows the new leader", || async {
            let detail = get(broker.ip, "/v1/partitions/kafka/orders/0").await.json();
            detail["leader_id"] == other.id()
        })
        .await;
    }
    let group =
        get(other.ip, "/v1/partitions/kafka/orders/0").await.json()["raft_group_id"].as_u64().unwrap();
    let by_group = format!("/v1/raft/{group}/transfer_leadership");
    assert_eq!(error(&post(first.ip, &by_group, &Value::Null).await).0, 400, "it does not lead");
    assert_eq!(error(&post(first.ip, "/v1/raft/999/transfer_leadership", &Value::Null).await).0, 404);
    let back = post(other.ip, &format!("{by_group}?target={}", first.id()), &Value::Null).await;
    assert_eq!(back.status, 200, "{}", back.body);
    until("the first broker leads again", || async { leader(&brokers, "orders").await.id() == first.id() })
        .await;
    let status = get(first.ip, &format!("/v1/raft/{group}/status")).await.json();
    assert_eq!(status["leader_id"], first.id());
}

#[tokio::test]
async fn a_drained_broker_leads_nothing() {
    let brokers = admin::start(3, "enable_leader_balancer: false\n").await;
    brokers[0].client().await.create_topic("orders", 6, 3).await;
    let ip = brokers[0].ip;
    assert_eq!(admin::put(ip, "/v1/brokers/1/maintenance", &Value::Null).await.status, 200);
    until("the broker leads nothing", || async {
        let drained = get(brokers[1].ip, "/v1/maintenance").await.json();
        drained["finished"] == true && drained["partitions"] == 0
    })
    .await;
    let partitions = get(ip, "/v1/partitions/kafka/orders").await.json();
    assert!(partitions.as_array().unwrap().iter().all(|it| it["leader_id"] != 1), "{partitions}");
}

#[tokio::test]
async fn replicas_move_to_another_broker() {
    let brokers = admin::start(4, "").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let ip = controller(&brokers).await.ip;
    let replicas = |value: &Value| -> Vec<i64> {
        value["replicas"].as_array().unwrap().iter().map(|it| it["node_id"].as_i64().unwrap()).collect()
    };
    let before = replicas(&get(ip, "/v1/partitions/kafka/orders/0").await.json());
    let spare = (0..4).find(|id| !before.contains(id)).unwrap();
    let wanted = [before[0], before[1], spare];
    let body =
        |ids: &[i64]| json!(ids.iter().map(|id| json!({"node_id": id, "core": 0})).collect::<Vec<_>>());
    let path = "/v1/partitions/kafka/orders/0/replicas";
    assert_eq!(error(&post(ip, path, &body(&[0, 9, 1])).await).0, 400, "no such broker");
    assert_eq!(error(&post(ip, path, &body(&[0, 0, 1])).await).0, 400, "one broker twice");
    assert_eq!(error(&post(ip, path, &json!([{"node_id": 0, "core": 7}])).await).0, 400, "no such core");
    assert_eq!(error(&post(ip, "/v1/partitions/kafka/orders/4/replicas", &body(&wanted)).await).0, 404);
    let group0 = post(ip, "/v1/partitions/redpanda/controller/0/replicas", &body(&wanted)).await;
    assert_eq!(error(&group0).0, 400);
    let begun = post(ip, path, &body(&wanted)).await;
    assert_eq!(begun.status, 200, "{}", begun.body);
    until("the replicas have moved", || async {
        let detail = get(ip, "/v1/partitions/kafka/orders/0").await.json();
        replicas(&detail) == wanted && detail["status"] == "done"
    })
    .await;
    assert_eq!(get(ip, "/v1/partitions/reconfigurations").await.json(), json!([]));
    let none = post(ip, "/v1/partitions/kafka/orders/0/cancel_reconfiguration", &Value::Null).await;
    assert_eq!(error(&none).0, 400);
    assert_eq!(post(ip, "/v1/partitions/rebalance", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_change_that_cannot_finish_is_shown_and_cancelled() {
    let mut brokers = admin::start(4, "").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let ip = controller(&brokers).await.ip;
    let detail = get(ip, "/v1/partitions/kafka/orders/0").await.json();
    let before: Vec<i64> =
        detail["replicas"].as_array().unwrap().iter().map(|it| it["node_id"].as_i64().unwrap()).collect();
    let spare = (0..4).find(|id| !before.contains(id)).unwrap();
    if brokers[spare as usize].ip == ip {
        // The controller is needed; the change goes to nobody else then.
        return;
    }
    brokers[spare as usize].kill().await;
    let body: Vec<Value> = [before[0], before[1], spare].iter().map(|id| json!({"node_id": id})).collect();
    let path = "/v1/partitions/kafka/orders/0";
    assert_eq!(post(ip, &format!("{path}/replicas"), &json!(body)).await.status, 200);
    let (status, message) = error(&post(ip, &format!("{path}/replicas"), &json!(body)).await);
    assert!(status == 503 && message.contains("are changing"), "{status} {message}");
    let list = get(ip, "/v1/partitions/reconfigurations").await.json();
    assert_eq!(
        (&list[0]["ns"], &list[0]["topic"], &list[0]["partition"]),
        (&json!("kafka"), &json!("orders"), &json!(0))
    );
    assert_eq!(list[0]["current_replicas"][2]["node_id"], spare);
    assert_eq!(list[0]["previous_replicas"][2]["node_id"], before[2]);
    assert_eq!(get(ip, path).await.json()["status"], "in_progress");
    let balancer = get(ip, "/v1/cluster/partition_balancer/status").await.json();
    assert_eq!(
        (&balancer["status"], &balancer["current_reassignments_count"]),
        (&json!("in_progress"), &json!(1))
    );

    let cancelled =
        post(ip, &format!("/v1/brokers/{spare}/cancel_partition_moves"), &Value::Null).await.json();
    assert_eq!((&cancelled[0]["topic"], &cancelled[0]["partition"]), (&json!("orders"), &json!(0)));
    assert_eq!(error(&post(ip, "/v1/brokers/9/cancel_partition_moves", &Value::Null).await).0, 404);
    assert_eq!(post(ip, "/v1/cluster/cancel_reconfigurations", &Value::Null).await.json(), json!([]));
    until("the partition is as it was", || async {
        get(ip, path).await.json()["status"] == "done"
            && get(ip, "/v1/partitions/reconfigurations").await.json() == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_broker_with_replicas_is_decommissioned() {
    let brokers = admin::start(4, "").await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 4, 3).await;
    let ip = controller(&brokers).await.ip;
    let leaver = brokers.iter().rev().find(|broker| broker.ip != ip).unwrap();
    let path = format!("/v1/brokers/{}/decommission", leaver.id());
    assert_eq!(admin::put(ip, &path, &Value::Null).await.status, 200);
    until("the broker is removed", || async { get(ip, &path).await.status == 404 }).await;
    let partitions = get(ip, "/v1/partitions/kafka/orders").await.json();
    for partition in partitions.as_array().unwrap() {
        let replicas = partition["replicas"].as_array().unwrap();
        assert!(replicas.len() == 3 && replicas.iter().all(|it| it["node_id"] != leaver.id()), "{partition}");
    }
}

#[tokio::test]
async fn what_a_broker_knows_can_be_looked_at() {
    let mut brokers = admin::start(3, "").await;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    let ip = brokers[0].ip;
    assert_eq!(get(ip, "/v1/debug/is_node_isolated").await.body, "false");
    let peer = get(ip, "/v1/debug/peer_status/1").await.json();
    assert!(peer["since_last_status"].as_u64().unwrap() < 1000 && peer["is_alive"] == true, "{peer}");
    assert_eq!(error(&get(ip, "/v1/debug/peer_status/9").await).0, 404);
    let table = get(ip, "/v1/debug/partition_leaders_table").await.json();
    assert!(table.as_array().unwrap().iter().any(|it| it["topic"] == "orders" && it["leader"].is_i64()));
    let status = get(ip, "/v1/debug/controller_status").await.json();
    assert_eq!(status["committed_index"], status["last_applied_offset"]);
    let partition = get(ip, "/v1/debug/partition/kafka/orders/0").await.json();
    assert_eq!(partition["ntp"], "kafka/orders/0");
    assert_eq!(partition["replicas"][0]["raft_state"]["node_id"], 0);
    assert_eq!(error(&get(ip, "/v1/debug/partition/kafka/orders/3").await).0, 404);

    let risks = |answer: Value, risk: &str| answer["risks"][risk].as_array().unwrap().len();
    let probe = get(ip, "/v1/broker/pre_restart_probe").await.json();
    assert_eq!(risks(probe, "full_acks_produce_unavailable"), 0);
    brokers[2].kill().await;
    until("a restart would cost the majority", || async {
        let probe = get(ip, "/v1/broker/pre_restart_probe?limit=5").await.json();
        probe["risks"]["full_acks_produce_unavailable"].as_array().unwrap().contains(&json!("kafka/orders/0"))
    })
    .await;
    until("the health says so", || async {
        let health = get(ip, "/v1/cluster/health_overview").await.json();
        health["nodes_down"] == json!([2])
            && health["under_replicated_partitions"].as_array().unwrap().contains(&json!("kafka/orders/0"))
            && health["is_healthy"] == false
    })
    .await;
}

#[tokio::test]
async fn the_second_version_speaks_connect() {
    let brokers = admin::start(2, "").await;
    let ip = follower(&brokers).await.ip;
    let path = |method: &str| format!("/redpanda.core.admin.v2.{method}");
    let call = |method: &'static str, body: &'static str, content_type: &'static str| async move {
        admin::send(ip, "POST", &path(method), &[("content-type", content_type)], body).await
    };
    let json_type = "application/json";
    let listed = call("BrokerService/ListBrokers", "{}", json_type).await;
    assert_eq!((listed.status, &listed.json()["brokers"][1]["nodeId"]), (200, &json!(1)));
    let one = call("BrokerService/GetBroker", r#"{"nodeId":0}"#, json_type).await.json();
    assert_eq!(one["broker"]["isAlive"], true);
    let health = call("ClusterService/GetHealth", "{}", json_type).await.json();
    assert_eq!(health["allNodes"], json!([0, 1]));
    let missing = call("BrokerService/GetBroker", r#"{"nodeId":7}"#, json_type).await;
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!("not_found")));
    let unknown = call("BrokerService/Dance", "{}", json_type).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (501, &json!("unimplemented")));
    let wrong = call("BrokerService/ListBrokers", "{", json_type).await;
    assert_eq!((wrong.status, &wrong.json()["code"]), (400, &json!("invalid_argument")));
    assert_eq!(call("BrokerService/ListBrokers", "", "application/proto").await.status, 415);
}
