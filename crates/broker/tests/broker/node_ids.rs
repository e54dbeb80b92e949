//! `node_id_overrides`: a broker whose disk was lost goes on as the member that it was.

use serde_json::Value;
use turmoil_fs::Fs;

use crate::admin::{self, get};

async fn uuid_of(ip: std::net::IpAddr, id: i32) -> String {
    let uuids = get(ip, "/v1/broker_uuids").await.json();
    let entry = uuids.as_array().unwrap().iter().find(|entry| entry["node_id"] == id).cloned();
    entry.and_then(|entry| entry["uuid"].as_str().map(str::to_owned)).expect("the id has a uuid")
}

#[tokio::test]
async fn a_broker_with_a_new_disk_takes_its_old_identity() {
    let mut brokers = admin::start(3, "").await;
    let ip = brokers[0].ip;
    let lost = uuid_of(ip, 2).await;
    brokers[2].kill().await;
    brokers[2].volume = Fs::builder().seed(99).build();
    brokers[2].start();
    brokers[2].ready().await;
    assert_eq!(brokers[2].id(), 3, "a new disk is a new member");
    let new = uuid_of(ip, 3).await;
    brokers[2].kill().await;

    let entry = |ignore: bool| {
        format!("{{current_uuid: {new}, new_uuid: {lost}, new_id: 2, ignore_existing_node_id: {ignore}}}")
    };
    let yaml = brokers[2].yaml.clone();
    let with = |entry: &str| {
        yaml.replacen("redpanda:\n", &format!("redpanda:\n  node_id_overrides: [{entry}]\n"), 1)
    };
    brokers[2].yaml = with(&entry(false));
    brokers[2].start();
    brokers[2].ready().await;
    assert_eq!(brokers[2].id(), 3, "the volume has an id already");
    brokers[2].kill().await;

    brokers[2].yaml = with(&entry(true));
    for _ in 0..2 {
        brokers[2].start();
        brokers[2].ready().await;
        assert_eq!(brokers[2].id(), 2);
        assert_eq!(uuid_of(ip, 2).await, lost);
        brokers[2].kill().await;
    }
    let members = get(ip, "/v1/brokers").await.json();
    let ids: Vec<&Value> = members.as_array().unwrap().iter().map(|broker| &broker["node_id"]).collect();
    assert_eq!(ids, [0, 1, 2, 3], "the id of the new disk stays until it is decommissioned");
}
