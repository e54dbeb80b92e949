//! Founding, joining and coming back.

use std::time::Duration;

use hopwise_broker::BrokerError;

use crate::http::get;
use crate::support::{TestBroker, all_heard, new_cluster, own_address, start_cluster, yaml};

#[tokio::test]
async fn the_first_start_waits_for_every_seed_and_ids_are_places_in_the_list() {
    let mut brokers = new_cluster(3);
    brokers[0].start();
    brokers[2].start();
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!brokers[0].status.ready() && brokers[0].status.broker_id().is_none());
    brokers[1].start();
    for (index, broker) in brokers.iter().enumerate() {
        broker.ready().await;
        assert_eq!(broker.id(), index as i32);
    }
    let uuid = get(brokers[0].ip, 9644, "/v1/cluster/uuid").await.json();
    assert!(uuid["cluster_uuid"].is_string());
    assert_eq!(get(brokers[2].ip, 9644, "/v1/cluster/uuid").await.json(), uuid);
}

#[tokio::test]
async fn later_starts_need_no_seed() {
    let mut brokers = start_cluster(3).await;
    for broker in &mut brokers {
        broker.kill().await;
    }
    brokers[1].start();
    brokers[1].ready().await;
    assert_eq!(brokers[1].id(), 1);
}

#[tokio::test]
async fn a_lost_volume_makes_a_new_member_and_leaves_a_ghost() {
    let mut brokers = start_cluster(3).await;
    all_heard().await;
    brokers[1].kill().await;
    brokers[1].volume = turmoil_fs::Fs::builder().seed(77).build();
    brokers[1].start();
    brokers[1].ready().await;
    assert_eq!(brokers[1].id(), 3);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let members = get(brokers[0].ip, 9644, "/v1/brokers").await.json();
    let alive: Vec<(i64, bool)> = members
        .as_array()
        .unwrap()
        .iter()
        .map(|member| (member["node_id"].as_i64().unwrap(), member["is_alive"].as_bool().unwrap()))
        .collect();
    assert_eq!(alive, [(0, true), (1, false), (2, true), (3, true)]);
}

#[tokio::test]
async fn a_broker_outside_the_seed_list_joins_by_any_seed() {
    let brokers = start_cluster(2).await;
    let ip = own_address();
    let seeds: Vec<_> = brokers.iter().rev().map(|broker| broker.ip).collect();
    let mut joiner = TestBroker::new(ip, yaml(ip, 2, &seeds));
    joiner.start();
    joiner.ready().await;
    assert_eq!(joiner.id(), 2);
    let uuid = get(joiner.ip, 9644, "/v1/cluster/uuid").await.json();
    assert_eq!(get(brokers[0].ip, 9644, "/v1/cluster/uuid").await.json(), uuid);
}

#[tokio::test]
async fn a_late_founder_takes_its_place() {
    let mut brokers = start_cluster(3).await;
    // As if the third founder had died after it answered the others and before it had all the answers: its
    // volume has its uuid, but no membership.
    brokers[2].kill().await;
    {
        use turmoil_fs::shim::std::fs;
        let _inside = brokers[2].volume.enter();
        let path = "/var/lib/redpanda/data/identity.json";
        let mut identity: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        identity["membership"] = serde_json::Value::Null;
        fs::write(path, serde_json::to_vec(&identity).unwrap()).unwrap();
    }
    brokers[2].start();
    brokers[2].ready().await;
    assert_eq!(brokers[2].id(), 2);
}

#[tokio::test]
async fn one_broker_alone_founds_its_cluster() {
    let ip = own_address();
    let mut broker =
        TestBroker::new(ip, yaml(ip, 0, &[]).replace("  seed_servers:\n", "  seed_servers: []\n"));
    broker.start();
    broker.ready().await;
    assert_eq!(broker.id(), 0);
    broker.kill().await;
    broker.yaml = broker.yaml.replace("redpanda:\n", "redpanda:\n  node_id: 7\n");
    broker.start();
    let error = broker.error().await;
    assert!(matches!(error, BrokerError::NodeIdChanged { configured: 7, persisted: 0 }), "{error}");
}

#[tokio::test]
async fn nobody_to_ask_is_an_error() {
    let ip = own_address();
    let text = yaml(ip, 0, &[])
        .replace("  seed_servers:\n", "  seed_servers: []\n")
        .replace("empty_seed_starts_cluster: true", "empty_seed_starts_cluster: false");
    let mut broker = TestBroker::new(ip, text);
    broker.start();
    assert!(matches!(broker.error().await, BrokerError::NoSeeds));
}

#[tokio::test]
async fn a_port_in_use_names_the_listener() {
    let ip = own_address();
    let taken = std::net::TcpListener::bind((ip, 9094)).unwrap();
    let mut broker = TestBroker::new(ip, yaml(ip, 0, &[ip]));
    broker.start();
    let message = broker.error().await.to_string();
    drop(taken);
    assert!(
        message.starts_with(&format!("kafka listener \"default\" cannot listen on {ip}:9094: ")),
        "{message}"
    );
}
