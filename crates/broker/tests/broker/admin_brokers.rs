//! The Admin API about members: views, maintenance, decommission and recommission.

use serde_json::{Value, json};

use crate::admin::{self, controller, delete, error, follower, get, put, until};

#[tokio::test]
async fn members_are_shown_by_every_broker() {
    let brokers = admin::start(3, "").await;
    for broker in &brokers {
        let list = get(broker.ip, "/v1/brokers").await.json();
        let ids: Vec<i64> =
            list.as_array().unwrap().iter().map(|it| it["node_id"].as_i64().unwrap()).collect();
        assert_eq!(ids, [0, 1, 2]);
        let first = &list[0];
        assert_eq!(first["membership_status"], "active");
        assert_eq!(first["maintenance_status"], json!({"draining": false}));
        assert_eq!((&first["is_alive"], &first["in_fips_mode"]), (&json!(true), &json!(false)));
        assert_eq!(first["recovery_mode_enabled"], false);
        assert!(first["version"].as_str().unwrap().starts_with("hopwise-"));
    }
    let ip = brokers[1].ip;
    assert_eq!(error(&get(ip, "/v1/brokers/7").await).0, 404);
    assert_eq!(error(&get(ip, "/v1/brokers/seven").await).0, 400);
    let view = get(ip, "/v1/cluster_view").await.json();
    assert!(view["version"].as_u64().unwrap() > 0);
    assert_eq!(view["brokers"].as_array().unwrap().len(), 3);
    let uuids = get(ip, "/v1/broker_uuids").await.json();
    assert_eq!(uuids.as_array().unwrap().len(), 3);
    assert_eq!(uuids[2]["node_id"], 2);
    let uuid = get(ip, "/v1/cluster/uuid").await.json();
    assert_eq!(uuid["cluster_uuid"].as_str().unwrap().len(), 36);
    assert_eq!(put(ip, "/v1/reset_crash_tracking", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn one_broker_at_a_time_is_in_maintenance_and_stays_so_over_a_restart() {
    let mut brokers = admin::start(3, "").await;
    // Any broker takes the request: it is not redirected.
    let ip = follower(&brokers).await.ip;
    let on = put(ip, "/v1/brokers/1/maintenance", &Value::Null).await;
    assert_eq!((on.status, on.body.as_str()), (200, ""));
    assert_eq!(put(ip, "/v1/brokers/1/maintenance", &Value::Null).await.status, 200, "again");
    let (status, message) = error(&put(ip, "/v1/brokers/2/maintenance", &Value::Null).await);
    assert!(status == 400 && message.contains("broker 1 is in maintenance"), "{message}");
    assert_eq!(error(&put(ip, "/v1/brokers/9/maintenance", &Value::Null).await).0, 404);

    let draining = |ip, id: usize| async move {
        let broker = get(ip, &format!("/v1/brokers/{id}")).await.json();
        let status = broker["maintenance_status"].clone();
        status["draining"] == true && status["finished"] == true && status["failed"] == 0
    };
    until("the drain ends", || draining(ip, 1)).await;
    brokers[1].kill().await;
    brokers[1].start();
    brokers[1].ready().await;
    let ip = brokers[1].ip;
    until("the restarted broker is still drained", || async {
        let local = get(ip, "/v1/maintenance").await.json();
        local["draining"] == true && local["finished"] == true
    })
    .await;
    assert_eq!(delete(ip, "/v1/brokers/1/maintenance").await.status, 200);
    until("the drain is over", || async {
        get(ip, "/v1/maintenance").await.json() == json!({"draining": false})
    })
    .await;
    assert_eq!(put(ip, "/v1/brokers/2/maintenance", &Value::Null).await.status, 200);
}

#[tokio::test]
async fn a_broker_can_be_drained_by_itself_and_a_lone_one_cannot() {
    let brokers = admin::start(1, "").await;
    let ip = brokers[0].ip;
    let (status, message) = error(&put(ip, "/v1/brokers/0/maintenance", &Value::Null).await);
    assert!(status == 400 && message.contains("one broker"), "{message}");
    assert_eq!(put(ip, "/v1/maintenance", &Value::Null).await.status, 200);
    assert_eq!(get(ip, "/v1/maintenance").await.json()["draining"], true);
    assert_eq!(delete(ip, "/v1/maintenance").await.status, 200);
    until("the drain is over", || async { get(ip, "/v1/maintenance").await.json()["draining"] == false })
        .await;
}

#[tokio::test]
async fn a_broker_without_replicas_is_removed_and_never_comes_back() {
    let mut brokers = admin::start(4, "").await;
    let ip = controller(&brokers).await.ip;
    let leaver = brokers.iter().rposition(|broker| broker.ip != ip).unwrap();
    let id = brokers[leaver].id();
    let path = format!("/v1/brokers/{id}/decommission");
    assert_eq!(error(&get(ip, &path).await).0, 400, "it is not decommissioning");
    assert_eq!(error(&put(ip, "/v1/brokers/9/decommission", &Value::Null).await).0, 404);
    let answer = put(ip, &path, &Value::Null).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    until("the broker is removed", || async { get(ip, &path).await.status == 404 }).await;
    let list = get(ip, "/v1/brokers").await.json();
    assert_eq!(list.as_array().unwrap().len(), 3);

    brokers[leaver].kill().await;
    // Its volume as it was: the cluster knows it.
    let yaml = brokers[leaver].yaml.clone();
    brokers[leaver].yaml = yaml;
    brokers[leaver].start();
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let list = get(ip, "/v1/brokers").await.json();
    assert!(list.as_array().unwrap().iter().all(|broker| broker["node_id"] != id), "{list}");
}

#[tokio::test]
async fn a_stuck_removal_says_why_and_can_be_undone() {
    let brokers = admin::start(3, "").await;
    let ip = follower(&brokers).await.ip;
    brokers[0].client().await.create_topic("orders", 1, 3).await;
    assert_eq!(put(ip, "/v1/brokers/2/decommission", &Value::Null).await.status, 200);
    assert_eq!(error(&put(ip, "/v1/brokers/2/decommission", &Value::Null).await).0, 400);
    let progress = get(ip, "/v1/brokers/2/decommission").await.json();
    assert_eq!(progress["finished"], false);
    assert_eq!(progress["replicas_left"], 1);
    assert_eq!(progress["allocation_failures"], json!(["kafka/orders/0"]));
    assert_eq!(progress["partitions"], json!([]));
    assert_eq!(get(ip, "/v1/brokers/2").await.json()["membership_status"], "draining");

    assert_eq!(put(ip, "/v1/brokers/2/recommission", &Value::Null).await.status, 200);
    assert_eq!(get(ip, "/v1/brokers/2").await.json()["membership_status"], "active");
    assert_eq!(error(&put(ip, "/v1/brokers/2/recommission", &Value::Null).await).0, 400);
    assert_eq!(error(&put(ip, "/v1/brokers/9/recommission", &Value::Null).await).0, 404);
}
