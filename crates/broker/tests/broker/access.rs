//! Access rules and users.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiKey, CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest,
    DescribeUserScramCredentialsRequest, IncrementalAlterConfigsRequest, ListOffsetsRequest,
    incremental_alter_configs_request as incremental,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::{Client, batch, name, start_cluster};

/// Codes of the protocol.
const TOPIC: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const MATCH: i8 = 2;
const ANY: i8 = 1;
const WRITE: i8 = 4;
const DESCRIBE: i8 = 8;
const ALLOW: i8 = 3;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

fn rule(topic: &str, pattern: i8, principal: &str, operation: i8) -> AclCreation {
    AclCreation::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(topic))
        .with_resource_pattern_type(pattern)
        .with_principal(text(principal))
        .with_host(text("*"))
        .with_operation(operation)
        .with_permission_type(ALLOW)
}

async fn create(client: &mut Client, rules: Vec<AclCreation>, version: i16) -> Vec<i16> {
    let request = CreateAclsRequest::default().with_creations(rules);
    let answer = client.ask(ApiKey::CreateAcls, version, &request).await;
    answer.results.iter().map(|result| result.error_code).collect()
}

async fn describe(
    client: &mut Client,
    topic: Option<&str>,
    pattern: i8,
    version: i16,
) -> Vec<(String, usize)> {
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(TOPIC)
        .with_resource_name_filter(topic.map(text))
        .with_pattern_type_filter(pattern)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY);
    let answer = client.ask(ApiKey::DescribeAcls, version, &request).await;
    assert_eq!(answer.error_code, 0);
    answer
        .resources
        .iter()
        .map(|resource| (resource.resource_name.to_string(), resource.acls.len()))
        .collect()
}

#[tokio::test]
async fn rules_are_created_found_and_deleted_in_every_version() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[1].client().await;
    for version in 1..=3 {
        let rules = vec![
            rule("orders", PREFIXED, "User:ann", WRITE),
            rule("orders-eu", LITERAL, "User:ann", WRITE),
            rule("orders-eu", LITERAL, "User:bob", DESCRIBE),
            rule("", LITERAL, "User:bob", DESCRIBE),
        ];
        let codes = create(&mut client, rules, version).await;
        assert_eq!(codes, [0, 0, 0, ResponseError::InvalidRequest.code()]);
        let all = [("orders".to_owned(), 1), ("orders-eu".to_owned(), 2)];
        assert_eq!(describe(&mut client, Some("orders-eu"), MATCH, version).await, all);
        assert_eq!(describe(&mut client, Some("orders-eu"), LITERAL, version).await, all[1..]);
        assert_eq!(describe(&mut client, None, PREFIXED, version).await, all[..1]);

        let filter = |principal: Option<&str>| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(TOPIC)
                .with_resource_name_filter(None)
                .with_pattern_type_filter(ANY)
                .with_principal_filter(principal.map(text))
                .with_host_filter(None)
                .with_operation(ANY)
                .with_permission_type(ANY)
        };
        let filters = vec![filter(Some("User:bob")), filter(Some("User:eve")), filter(None)];
        let request = DeleteAclsRequest::default().with_filters(filters);
        let answer = client.ask(ApiKey::DeleteAcls, version, &request).await;
        let removed: Vec<usize> =
            answer.filter_results.iter().map(|result| result.matching_acls.len()).collect();
        assert_eq!(removed, [1, 0, 3]);
        assert!(describe(&mut client, None, ANY, version).await.is_empty());
    }
}

async fn authorization(client: &mut Client, value: &str) {
    let config = incremental::AlterableConfig::default()
        .with_name(text("kafka_enable_authorization"))
        .with_value(Some(text(value)));
    let resource =
        incremental::AlterConfigsResource::default().with_resource_type(4).with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = client.ask(ApiKey::IncrementalAlterConfigs, 1, &request).await;
    assert_eq!(answer.responses[0].error_code, 0);
}

#[tokio::test]
async fn only_what_a_rule_allows_is_done_once_authorization_is_on() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("open", 1, 1).await;
    client.create_topic("closed", 1, 1).await;
    let rules = vec![rule("open", LITERAL, "User:ANONYMOUS", WRITE), rule("op", PREFIXED, "User:eve", WRITE)];
    assert_eq!(create(&mut client, rules, 3).await, [0, 0]);
    authorization(&mut client, "true").await;

    let records = || batch(&["a"], Compression::None);
    assert_eq!(client.produce("open", 0, -1, records()).await.error_code, 0);
    let forbidden = ResponseError::TopicAuthorizationFailed;
    assert_eq!(error(client.produce("closed", 0, -1, records()).await.error_code), Some(forbidden));
    assert_eq!(error(client.fetch("open", 0, 0, 0).await.error_code), Some(forbidden));
    // To write includes to describe; the other topic is not to be seen, and not to be told from one that is missing.
    let metadata = client.metadata(None).await;
    let seen: Vec<String> =
        metadata.topics.iter().map(|topic| topic.name.clone().unwrap().to_string()).collect();
    assert_eq!(seen, ["open"]);
    let named = client.metadata(Some(&["closed", "nothing"])).await;
    assert!(named.topics.iter().all(|topic| error(topic.error_code) == Some(forbidden)));
    let partition = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-1);
    let topic =
        |topic| ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition.clone()]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic("open"), topic("closed")]);
    let answer = client.ask(ApiKey::ListOffsets, 7, &request).await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| error(topic.partitions[0].error_code)).collect();
    assert_eq!(codes, [None, Some(forbidden)]);

    assert_eq!(error(client.try_create_topic("new", 1, 1).await.topics[0].error_code), Some(forbidden));
    let cluster = ResponseError::ClusterAuthorizationFailed;
    let refused = create(&mut client, vec![rule("open", LITERAL, "User:eve", WRITE)], 3).await;
    assert_eq!(error(refused[0]), Some(cluster));
    let users = DescribeUserScramCredentialsRequest::default();
    let answer = client.ask(ApiKey::DescribeUserScramCredentials, 0, &users).await;
    assert_eq!(error(answer.error_code), Some(cluster));
}

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    let length = if mechanism == 1 { 32 } else { 64 };
    ScramCredentialUpsertion::default()
        .with_name(text(user))
        .with_mechanism(mechanism)
        .with_iterations(iterations)
        .with_salt(Bytes::from_static(b"salt"))
        .with_salted_password(Bytes::from(vec![7; length]))
}

#[tokio::test]
async fn users_are_altered_and_described_by_any_broker() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[2].client().await;
    let upsertions = vec![
        upsertion("ann", 1, 4096),
        upsertion("ann", 2, 8192),
        upsertion("bob", 1, 4096),
        upsertion("weak", 1, 1000),
        upsertion("odd", 7, 4096),
    ];
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(upsertions);
    let answer = client.ask(ApiKey::AlterUserScramCredentials, 0, &request).await;
    let results: Vec<_> =
        answer.results.iter().map(|result| (result.user.as_str(), error(result.error_code))).collect();
    let expected = [
        ("ann", None),
        ("bob", None),
        ("odd", Some(ResponseError::UnsupportedSaslMechanism)),
        ("weak", Some(ResponseError::UnacceptableCredential)),
    ];
    assert_eq!(results, expected);

    let mut other = brokers[0].client().await;
    let everybody = DescribeUserScramCredentialsRequest::default().with_users(None);
    let answer = other.ask(ApiKey::DescribeUserScramCredentials, 0, &everybody).await;
    let infos: Vec<_> = answer
        .results
        .iter()
        .flat_map(|user| {
            user.credential_infos.iter().map(|info| (user.user.as_str(), info.mechanism, info.iterations))
        })
        .collect();
    assert_eq!(infos, [("ann", 1, 4096), ("ann", 2, 8192), ("bob", 1, 4096)]);

    let deletion = |user| ScramCredentialDeletion::default().with_name(text(user)).with_mechanism(1);
    let request =
        AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion("bob"), deletion("eve")]);
    let answer = client.ask(ApiKey::AlterUserScramCredentials, 0, &request).await;
    let codes: Vec<_> = answer.results.iter().map(|result| error(result.error_code)).collect();
    assert_eq!(codes, [None, Some(ResponseError::ResourceNotFound)]);
    let asked = ["ann", "bob", "ann"].map(|user| UserName::default().with_name(text(user)));
    let request = DescribeUserScramCredentialsRequest::default().with_users(Some(asked.to_vec()));
    let answer = client.ask(ApiKey::DescribeUserScramCredentials, 0, &request).await;
    let codes: Vec<_> = answer.results.iter().map(|result| error(result.error_code)).collect();
    assert_eq!(codes, [Some(ResponseError::DuplicateResource), Some(ResponseError::ResourceNotFound)]);
}
