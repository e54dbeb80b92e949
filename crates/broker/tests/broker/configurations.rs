//! Properties of topics and of the cluster, and quotas.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterConfigsRequest, ApiKey, DescribeClientQuotasRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest, ProduceResponse, alter_configs_request,
    incremental_alter_configs_request,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use tokio::time::Instant;

use crate::support::{Client, batch, produce_request, start_cluster};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

async fn describe(
    client: &mut Client,
    resource_type: i8,
    name: &str,
    version: i16,
) -> Result<BTreeMap<String, DescribeConfigsResourceResult>, i16> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    let request = request.with_include_documentation(version >= 3);
    let answer = client.ask(ApiKey::DescribeConfigs, version, &request).await;
    let result = &answer.results[0];
    if result.error_code != 0 {
        return Err(result.error_code);
    }
    Ok(result.configs.iter().map(|config| (config.name.to_string(), config.clone())).collect())
}

async fn value(client: &mut Client, resource_type: i8, name: &str, key: &str) -> (String, i8) {
    let configs = describe(client, resource_type, name, 4).await.unwrap();
    (configs[key].value.clone().unwrap().to_string(), configs[key].config_source)
}

async fn alter(
    client: &mut Client,
    resource: (i8, &str),
    changes: &[(&str, i8, Option<&str>)],
    version: i16,
) -> i16 {
    let change = |(name, operation, value): &(&str, i8, Option<&str>)| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    };
    let resource = incremental_alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(text(resource.1))
        .with_configs(changes.iter().map(change).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    client.ask(ApiKey::IncrementalAlterConfigs, version, &request).await.responses[0].error_code
}

/// Sets a property of the cluster.
pub async fn set_cluster_property(client: &mut Client, name: &str, value: &str) {
    assert_eq!(alter(client, (BROKER, ""), &[(name, 0, Some(value))], 1).await, 0);
}

#[tokio::test]
async fn a_topics_properties_are_described_in_every_version() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    for version in 1..=4 {
        let configs = describe(&mut client, TOPIC, "orders", version).await.unwrap();
        let policy = &configs["cleanup.policy"];
        assert_eq!((policy.value.as_deref(), policy.config_source), (Some("delete"), 5));
        assert_eq!(policy.synonyms[0].name.as_str(), "log_cleanup_policy");
        assert!(version < 3 || (policy.config_type == 7 && policy.documentation.is_some()));
        let missing = describe(&mut client, TOPIC, "nothing", version).await.unwrap_err();
        assert_eq!(error(missing), Some(ResponseError::UnknownTopicOrPartition));
    }
    let broker = describe(&mut client, BROKER, &brokers[0].id().to_string(), 4).await.unwrap();
    assert_eq!(broker["num.partitions"].value.as_deref(), Some("1"));
    assert!(broker["log.dirs"].read_only && broker["advertised.listeners"].value.is_some());
    let wrong = describe(&mut client, BROKER, "7", 4).await.unwrap_err();
    assert_eq!(error(wrong), Some(ResponseError::InvalidRequest));
}

#[tokio::test]
async fn a_topics_properties_are_set_deleted_appended_and_replaced() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let topic = (TOPIC, "orders");
    for version in 0..=1 {
        let changes = [("retention.ms", 0, Some("7000")), ("cleanup.policy", 2, Some("compact"))];
        assert_eq!(alter(&mut client, topic, &changes, version).await, 0);
        assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms").await, ("7000".to_owned(), 1));
        let policy = value(&mut client, TOPIC, "orders", "cleanup.policy").await.0;
        assert_eq!(policy, "delete,compact");
        let back = [("retention.ms", 1, None), ("cleanup.policy", 3, Some("compact"))];
        assert_eq!(alter(&mut client, topic, &back, version).await, 0);
        assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms").await, ("604800000".to_owned(), 5));
    }
    for (changes, expected) in [
        ([("retention.ms", 0, Some("soon"))], ResponseError::InvalidConfig),
        ([("no.such", 0, Some("1"))], ResponseError::InvalidConfig),
        ([("retention.ms", 2, Some("1"))], ResponseError::InvalidConfig),
        ([("retention.ms", 9, Some("1"))], ResponseError::InvalidRequest),
    ] {
        assert_eq!(error(alter(&mut client, topic, &changes, 1).await), Some(expected));
    }
    assert_eq!(alter(&mut client, topic, &[("segment.ms", 0, Some("600000"))], 1).await, 0);
    for version in 0..=1 {
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.bytes"))
            .with_value(Some(text("5000")));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text("orders"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        let answer = client.ask(ApiKey::AlterConfigs, version, &request).await;
        assert_eq!(answer.responses[0].error_code, 0);
    }
    // What the request does not name is taken back.
    assert_eq!(value(&mut client, TOPIC, "orders", "segment.ms").await.1, 5);
    assert_eq!(value(&mut client, TOPIC, "orders", "retention.bytes").await, ("5000".to_owned(), 1));
}

#[tokio::test]
async fn a_smaller_batch_limit_holds_at_once() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let large = batch(&["x".repeat(1000).as_str()], Compression::None);
    assert_eq!(client.produce("orders", 0, -1, large.clone()).await.error_code, 0);
    assert_eq!(alter(&mut client, (TOPIC, "orders"), &[("max.message.bytes", 0, Some("500"))], 1).await, 0);
    let refused = client.produce("orders", 0, -1, large).await.error_code;
    assert_eq!(error(refused), Some(ResponseError::MessageTooLarge));
}

#[tokio::test]
async fn cluster_properties_are_changed_by_either_name() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[2].client().await;
    assert_eq!(alter(&mut client, (BROKER, ""), &[("num.partitions", 0, Some("4"))], 1).await, 0);
    assert_eq!(value(&mut client, BROKER, "", "default_topic_partitions").await, ("4".to_owned(), 3));
    assert_eq!(client.create_topic("four", -1, 1).await.len(), 4);
    for (changes, expected) in [
        ([("default_topic_partitions", 0, Some("0"))], ResponseError::InvalidConfig),
        ([("no_such_property", 0, Some("0"))], ResponseError::InvalidConfig),
    ] {
        assert_eq!(error(alter(&mut client, (BROKER, "0"), &changes, 1).await), Some(expected));
    }
    assert_eq!(alter(&mut client, (BROKER, ""), &[("default_topic_partitions", 1, None)], 1).await, 0);
    assert_eq!(value(&mut client, BROKER, "", "num.partitions").await, ("1".to_owned(), 5));
}

#[tokio::test]
async fn a_limit_on_connections_is_kept() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    assert_eq!(alter(&mut client, (BROKER, ""), &[("kafka_connections_max", 0, Some("2"))], 1).await, 0);
    let mut second = brokers[0].client().await;
    assert_eq!(second.metadata(Some(&[])).await.brokers.len(), 1);
    let mut third = brokers[0].client().await;
    third.send_frame(&[0; 20]).await;
    assert!(third.receive().await.is_none());
    drop(second);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(brokers[0].client().await.metadata(Some(&[])).await.brokers.len(), 1);
}

async fn set_quota(
    client: &mut Client,
    client_id: Option<&str>,
    key: &str,
    rate: Option<f64>,
    version: i16,
) -> i16 {
    let entity =
        EntityData::default().with_entity_type(text("client-id")).with_entity_name(client_id.map(text));
    let change = OpData::default().with_key(text(key));
    let change = change.with_value(rate.unwrap_or(0.0)).with_remove(rate.is_none());
    let entry = EntryData::default().with_entity(vec![entity]).with_ops(vec![change]);
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    client.ask(ApiKey::AlterClientQuotas, version, &request).await.entries[0].error_code
}

#[tokio::test]
async fn quotas_are_set_described_and_removed() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[1].client().await;
    for version in 0..=1 {
        assert_eq!(set_quota(&mut client, Some("app"), "consumer_byte_rate", Some(5e6), version).await, 0);
        assert_eq!(set_quota(&mut client, None, "producer_byte_rate", Some(7e6), version).await, 0);
        let component = ComponentData::default().with_entity_type(text("client-id"));
        let any = DescribeClientQuotasRequest::default()
            .with_components(vec![component.with_match_type(2).with_match(None)]);
        let answer = client.ask(ApiKey::DescribeClientQuotas, version, &any).await;
        let quotas: Vec<_> = answer
            .entries
            .unwrap()
            .into_iter()
            .map(|entry| {
                let name = entry.entity[0].entity_name.clone().map(|name| name.to_string());
                (name, entry.values[0].key.to_string(), entry.values[0].value)
            })
            .collect();
        assert!(quotas.contains(&(None, "producer_byte_rate".to_owned(), 7e6)), "{quotas:?}");
        assert!(quotas.contains(&(Some("app".to_owned()), "consumer_byte_rate".to_owned(), 5e6)));
        assert_eq!(set_quota(&mut client, Some("app"), "consumer_byte_rate", None, version).await, 0);
    }
    let unknown = set_quota(&mut client, Some("app"), "request_percentage", Some(1.0), 1).await;
    assert_eq!(error(unknown), Some(ResponseError::InvalidRequest));
}

#[tokio::test]
async fn a_producer_over_its_quota_is_told_to_wait_and_is_not_read_from() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    // The tests' client id is "test".
    assert_eq!(set_quota(&mut client, Some("test"), "producer_byte_rate", Some(2000.0), 1).await, 0);
    let records = batch(&["x".repeat(2500).as_str()], Compression::None);
    let request = produce_request("orders", 0, -1, records);
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    let throttle = u64::try_from(answer.throttle_time_ms).unwrap();
    assert!((200..=400).contains(&throttle), "{throttle} ms");
    let before = Instant::now();
    client.metadata(Some(&[])).await;
    assert!(before.elapsed() >= Duration::from_millis(throttle - 50), "{:?}", before.elapsed());
}

#[tokio::test]
async fn changes_to_topics_beyond_a_quota_are_refused() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    assert_eq!(set_quota(&mut client, None, "controller_mutation_rate", Some(1.0), 1).await, 0);
    assert_eq!(client.try_create_topic("first", 2, 1).await.topics[0].error_code, 0);
    // Another connection of the same client is not muted, but its changes are refused.
    let answer = brokers[0].client().await.try_create_topic("second", 1, 1).await;
    assert_eq!(error(answer.topics[0].error_code), Some(ResponseError::ThrottlingQuotaExceeded));
    assert!(answer.throttle_time_ms > 0);
}
