//! Which addresses clients are told.

use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::{ResponseError, messages::RequestHeader};

use crate::support::{Client, all_heard, new_cluster, start_cluster};

fn addresses(metadata: &MetadataResponse) -> Vec<(i32, String)> {
    metadata
        .brokers
        .iter()
        .map(|broker| (broker.node_id.0, format!("{}:{}", broker.host, broker.port)))
        .collect()
}

async fn coordinator(client: &mut Client, key: &str) -> FindCoordinatorResponse {
    let request = FindCoordinatorRequest::default().with_key(StrBytes::from_string(key.to_owned()));
    client.ask(ApiKey::FindCoordinator, 2, &request).await
}

#[tokio::test]
async fn each_listener_names_its_own_addresses() {
    let brokers = start_cluster(3).await;
    let inside = brokers[1].client_by(9093).await.metadata(Some(&[])).await;
    let expected: Vec<(i32, String)> =
        brokers.iter().map(|broker| (broker.id(), format!("{}:9093", broker.ip))).collect();
    assert_eq!(addresses(&inside), expected);
    assert!(inside.cluster_id.unwrap().starts_with("redpanda."));
    assert_eq!(inside.controller_id.0, 0);
    let outside = brokers[1].client_by(9094).await.metadata(Some(&[])).await;
    let expected = (0..3).map(|id| (id, format!("broker-{id}.example.com:31092"))).collect::<Vec<_>>();
    assert_eq!(addresses(&outside), expected);
}

#[tokio::test]
async fn a_dead_broker_is_left_out_and_comes_back() {
    let mut brokers = start_cluster(3).await;
    all_heard().await;
    let mut client = brokers[0].client().await;
    brokers[2].kill().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let ids = |metadata: MetadataResponse| -> Vec<i32> {
        metadata.brokers.iter().map(|broker| broker.node_id.0).collect()
    };
    assert_eq!(ids(client.metadata(None).await), [0, 1]);
    brokers[2].start();
    brokers[2].ready().await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ids(client.metadata(None).await), [0, 1, 2]);
}

#[tokio::test]
async fn a_renamed_listener_is_guessed_for_metadata_and_has_no_coordinator() {
    let mut brokers = new_cluster(2);
    brokers[1].yaml = brokers[1].yaml.replace("name: default", "name: outside");
    brokers.iter_mut().for_each(|broker| broker.start());
    for broker in &brokers {
        broker.ready().await;
    }
    let mut client = brokers[0].client_by(9094).await;
    let told = addresses(&client.metadata(Some(&[])).await);
    // Nothing of broker 1 has the name "default" or the port 9094, so its first entry is told.
    assert_eq!(told[0].1, "broker-0.example.com:31092");
    assert_eq!(told[1].1, format!("{}:9093", brokers[1].ip));
    let mut seen = std::collections::BTreeSet::new();
    for key in 0..20 {
        let answer = coordinator(&mut client, &format!("group-{key}")).await;
        seen.insert((answer.error_code, answer.node_id.0));
    }
    let none = (ResponseError::CoordinatorNotAvailable.code(), -1);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, 0), none]);
}

#[tokio::test]
async fn every_offered_version_of_metadata_is_answered() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 2, 1).await;
    for version in 0..=13 {
        // An empty list means all topics at version 0, null does from version 1 on.
        let topics = if version == 0 { Some(Vec::new()) } else { None };
        let request = MetadataRequest::default().with_topics(topics);
        let answer: MetadataResponse = client.ask(ApiKey::Metadata, version, &request).await;
        assert_eq!(answer.topics.len(), 1, "version {version}");
        assert_eq!(answer.topics[0].partitions.len(), 2);
    }
    let unknown = client.metadata(Some(&["nothing"])).await;
    assert_eq!(unknown.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn topics_are_created_on_demand_only_if_configured() {
    let mut brokers = new_cluster(1);
    brokers[0].bootstrap = "auto_create_topics_enabled: true\ndefault_topic_partitions: 4\n".to_owned();
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    let request = |name: &str| {
        let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default();
        let topic = topic.with_name(Some(crate::support::name(name)));
        MetadataRequest::default().with_topics(Some(vec![topic]))
    };
    let wanted = request("wanted").with_allow_auto_topic_creation(true);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 9, &wanted).await;
    assert_eq!((answer.topics[0].error_code, answer.topics[0].partitions.len()), (0, 4));
    let unwanted = request("unwanted").with_allow_auto_topic_creation(false);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 9, &unwanted).await;
    assert_eq!(answer.topics[0].error_code, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn an_unknown_api_versions_is_answered_in_version_0() {
    use bytes::BytesMut;
    use kafka_protocol::protocol::{Decodable, Encodable};

    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    let mut frame = BytesMut::new();
    let header = RequestHeader::default().with_request_api_key(18).with_request_api_version(99);
    header.with_correlation_id(5).encode(&mut frame, 2).unwrap();
    client.send_frame(&frame).await;
    let mut answer = client.receive().await.unwrap();
    assert_eq!(answer.split_to(4)[..], 5i32.to_be_bytes());
    let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(answer.error_code, ResponseError::UnsupportedVersion.code());
    assert!(answer.api_keys.iter().all(|key| key.min_version <= key.max_version));
    let keys: Vec<i16> = answer.api_keys.iter().map(|key| key.api_key).collect();
    assert!(keys.is_sorted() && [0, 1, 2, 3, 10, 18, 19].iter().all(|key| keys.contains(key)), "{keys:?}");
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let answer: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, version, &request).await;
        assert_eq!((answer.error_code, answer.api_keys.len()), (0, keys.len()), "version {version}");
    }
}
