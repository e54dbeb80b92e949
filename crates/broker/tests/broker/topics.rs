//! Topics, partitions and brokers: created, changed and described, in every version that is offered.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, ApiKey, BrokerId, CreatePartitionsRequest, CreateTopicsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    ElectLeadersRequest, ListPartitionReassignmentsRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::{Client, batch, name, start_cluster};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

fn creatable(topic: &str, partitions: i32, replication: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(replication)
}

async fn create(client: &mut Client, topic: CreatableTopic, validate_only: bool, version: i16) -> i16 {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    let request = request.with_validate_only(validate_only);
    let answer = client.ask(ApiKey::CreateTopics, version, &request).await;
    assert!(version < 5 || answer.topics[0].configs.is_some());
    answer.topics[0].error_code
}

#[tokio::test]
async fn topics_come_and_go_in_every_version() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[1].client().await;
    for version in 2..=7 {
        let topic = format!("topic-{version}");
        assert_eq!(create(&mut client, creatable(&topic, 2, 3), true, version).await, 0);
        assert_eq!(create(&mut client, creatable(&topic, 2, 3), false, version).await, 0);
        let again = create(&mut client, creatable(&topic, 2, 3), false, version).await;
        assert_eq!(error(again), Some(ResponseError::TopicAlreadyExists));
    }
    for version in 1..=5 {
        let names = vec![name(&format!("topic-{}", version + 1)), name("nothing")];
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(5000);
        let answer = client.ask(ApiKey::DeleteTopics, version, &request).await;
        let codes: Vec<_> = answer.responses.iter().map(|topic| error(topic.error_code)).collect();
        assert_eq!(codes, [None, Some(ResponseError::UnknownTopicOrPartition)], "version {version}");
    }
    let left = client.metadata(None).await.topics;
    assert_eq!(left.len(), 1);
    let by_id = |id| DeleteTopicState::default().with_name(None).with_topic_id(id);
    let topics = vec![by_id(left[0].topic_id), by_id(uuid::Uuid::from_u128(9))];
    let request = DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(5000);
    let answer = client.ask(ApiKey::DeleteTopics, 6, &request).await;
    assert_eq!(
        (answer.responses[0].error_code, answer.responses[0].name.clone()),
        (0, Some(name("topic-7")))
    );
    assert_eq!(error(answer.responses[1].error_code), Some(ResponseError::UnknownTopicId));
    assert!(client.metadata(None).await.topics.is_empty());
}

#[tokio::test]
async fn assignments_and_properties_are_checked_and_kept() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    let assignment = |index, ids: &[i32]| {
        CreatableReplicaAssignment::default()
            .with_partition_index(index)
            .with_broker_ids(ids.iter().copied().map(BrokerId).collect())
    };
    let assigned =
        creatable("assigned", -1, -1).with_assignments(vec![assignment(1, &[0, 2]), assignment(0, &[2, 1])]);
    assert_eq!(create(&mut client, assigned.clone(), false, 7).await, 0);
    let partitions = &client.metadata(Some(&["assigned"])).await.topics[0].partitions;
    assert_eq!(partitions[0].replica_nodes, [BrokerId(2), BrokerId(1)]);
    assert_eq!(partitions[1].replica_nodes, [BrokerId(0), BrokerId(2)]);
    let gap = assigned.clone().with_name(name("gap")).with_assignments(vec![assignment(1, &[0])]);
    let wrong = create(&mut client, gap, false, 7).await;
    assert_eq!(error(wrong), Some(ResponseError::InvalidReplicaAssignment));
    let both = assigned.with_name(name("both")).with_num_partitions(2);
    assert_eq!(error(create(&mut client, both, false, 7).await), Some(ResponseError::InvalidRequest));

    let config = |key: &str, value: &str| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    };
    for (key, value) in [("retention.ms", "soon"), ("no.such", "1"), ("cleanup.policy", "shred")] {
        let topic = creatable("wrong", 1, 1).with_configs(vec![config(key, value)]);
        assert_eq!(error(create(&mut client, topic, false, 7).await), Some(ResponseError::InvalidConfig));
    }
    let default = create(&mut client, creatable("default", -1, -1), false, 3).await;
    assert_eq!(error(default), Some(ResponseError::InvalidRequest));
    let twice = vec![creatable("twice", 1, 1); 2];
    let request = CreateTopicsRequest::default().with_topics(twice).with_timeout_ms(5000);
    let answer = client.ask(ApiKey::CreateTopics, 7, &request).await;
    assert!(answer.topics.iter().all(|topic| error(topic.error_code) == Some(ResponseError::InvalidRequest)));
}

#[tokio::test]
async fn partitions_are_added_in_every_version() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[2].client().await;
    client.create_topic("orders", 1, 1).await;
    let grow = |topic: &str, count| CreatePartitionsTopic::default().with_name(name(topic)).with_count(count);
    let request = |topic| CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000);
    for version in 0..=3 {
        let wanted = request(grow("orders", 2 + i32::from(version)).with_assignments(None));
        let answer = client.ask(ApiKey::CreatePartitions, version, &wanted).await;
        assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
    }
    assert_eq!(client.metadata(Some(&["orders"])).await.topics[0].partitions.len(), 5);
    let chosen = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
    let good = grow("orders", 6).with_assignments(Some(vec![chosen.clone()]));
    let cases = [
        (grow("orders", 5).with_assignments(None), Some(ResponseError::InvalidPartitions)),
        (grow("nothing", 5).with_assignments(None), Some(ResponseError::UnknownTopicOrPartition)),
        (
            grow("orders", 8).with_assignments(Some(vec![chosen])),
            Some(ResponseError::InvalidReplicaAssignment),
        ),
        (good, None),
    ];
    for (topic, expected) in cases {
        let answer = client.ask(ApiKey::CreatePartitions, 3, &request(topic)).await;
        assert_eq!(error(answer.results[0].error_code), expected);
    }
    let partitions = &client.metadata(Some(&["orders"])).await.topics[0].partitions;
    assert_eq!(partitions[5].replica_nodes, [BrokerId(1)]);
}

#[tokio::test]
async fn the_cluster_is_described_in_every_version() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    for version in 0..=2 {
        let mut request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        if version >= 1 {
            request = request.with_endpoint_type(1);
        }
        let answer = client.ask(ApiKey::DescribeCluster, version, &request).await;
        let ids: Vec<i32> = answer.brokers.iter().map(|broker| broker.broker_id.0).collect();
        assert_eq!((answer.error_code, ids), (0, vec![0, 1, 2]));
        assert!(answer.cluster_id.starts_with("redpanda.") && answer.controller_id.0 >= 0);
        // Create, alter, describe and the rest: bit 5 and above.
        assert!(answer.cluster_authorized_operations > 0);
    }
    let controllers = DescribeClusterRequest::default().with_endpoint_type(2);
    let answer = client.ask(ApiKey::DescribeCluster, 1, &controllers).await;
    assert_eq!(error(answer.error_code), Some(ResponseError::MismatchedEndpointType));
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    for topic in ["a", "b", "c"] {
        client.create_topic(topic, 3, 1).await;
    }
    let mut request =
        DescribeTopicPartitionsRequest::default().with_response_partition_limit(4).with_cursor(None);
    let mut seen = Vec::new();
    loop {
        let answer = client.ask(ApiKey::DescribeTopicPartitions, 0, &request).await;
        for topic in &answer.topics {
            for partition in &topic.partitions {
                assert!(partition.eligible_leader_replicas.is_some() && partition.last_known_elr.is_some());
                assert_eq!((partition.error_code, partition.leader_id.0), (0, brokers[0].id()));
                seen.push((topic.name.clone().unwrap().to_string(), partition.partition_index));
            }
        }
        let Some(next) = answer.next_cursor else { break };
        let cursor =
            Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        request = request.with_cursor(Some(cursor));
    }
    let all =
        ["a", "b", "c"].into_iter().flat_map(|topic| (0..3).map(move |index| (topic.to_owned(), index)));
    assert_eq!(seen, all.collect::<Vec<_>>());
    let asked = |topic| TopicRequest::default().with_name(name(topic));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![asked("b"), asked("nothing")])
        .with_response_partition_limit(2000)
        .with_cursor(None);
    let answer = client.ask(ApiKey::DescribeTopicPartitions, 0, &request).await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| error(topic.error_code)).collect();
    assert_eq!(codes, [None, Some(ResponseError::UnknownTopicOrPartition)]);
}

#[tokio::test]
async fn log_directories_tell_what_they_hold() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 2, 1).await;
    client.produce("orders", 1, -1, batch(&["a"], Compression::None)).await;
    for version in 1..=4 {
        let request = DescribeLogDirsRequest::default().with_topics(None);
        let answer = client.ask(ApiKey::DescribeLogDirs, version, &request).await;
        let directory = &answer.results[0];
        assert_eq!((directory.error_code, directory.log_dir.as_str()), (0, "/var/lib/redpanda/data"));
        let topic = directory.topics.iter().find(|topic| topic.name == name("orders")).unwrap();
        assert_eq!(topic.partitions.len(), 2);
        assert!(topic.partitions[1].partition_size > 60, "{:?}", topic.partitions[1]);
    }
}

#[tokio::test]
async fn the_preferred_replica_is_elected_in_every_version() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 3).await;
    let partition = TopicPartitions::default().with_topic(name("orders")).with_partitions(vec![0, 7]);
    let request =
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![partition])).with_timeout_ms(5000);
    for version in 0..=2 {
        let answer = client.ask(ApiKey::ElectLeaders, version, &request).await;
        let results = &answer.replica_election_results[0].partition_result;
        let first = error(results[0].error_code);
        // It leads already, or does from now on.
        assert!(matches!(first, None | Some(ResponseError::ElectionNotNeeded)), "{first:?}");
        assert_eq!(error(results[1].error_code), Some(ResponseError::UnknownTopicOrPartition));
    }
    let partition = client.metadata(Some(&["orders"])).await.topics[0].partitions[0].clone();
    assert_eq!(partition.leader_id, partition.replica_nodes[0]);
    let unclean = request.with_election_type(1);
    let answer = client.ask(ApiKey::ElectLeaders, 2, &unclean).await;
    let code = answer.replica_election_results[0].partition_result[0].error_code;
    assert_eq!(error(code), Some(ResponseError::InvalidRequest));
}

#[tokio::test]
async fn reassignments_begin_are_listed_and_are_given_up() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let now = client.metadata(Some(&["orders"])).await.topics[0].partitions[0].replica_nodes[0];
    let other = BrokerId((now.0 + 1) % 3);
    let alter = |replicas: Option<Vec<BrokerId>>, topic: &str| {
        let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(replicas);
        let topic = ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        AlterPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(vec![topic])
    };
    let cases = [
        (alter(None, "orders"), ResponseError::NoReassignmentInProgress),
        (alter(Some(vec![other, other]), "orders"), ResponseError::InvalidReplicaAssignment),
        (alter(Some(vec![BrokerId(9)]), "orders"), ResponseError::InvalidReplicaAssignment),
        (alter(Some(vec![other]), "nothing"), ResponseError::UnknownTopicOrPartition),
    ];
    for (request, expected) in cases {
        let answer = client.ask(ApiKey::AlterPartitionReassignments, 0, &request).await;
        assert_eq!(error(answer.responses[0].partitions[0].error_code), Some(expected));
    }
    let fixed = alter(Some(vec![now, other]), "orders").with_allow_replication_factor_change(false);
    let answer = client.ask(ApiKey::AlterPartitionReassignments, 1, &fixed).await;
    let code = answer.responses[0].partitions[0].error_code;
    assert_eq!(error(code), Some(ResponseError::InvalidReplicationFactor));

    let answer =
        client.ask(ApiKey::AlterPartitionReassignments, 0, &alter(Some(vec![other]), "orders")).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    let request = ListPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(None);
    let answer = client.ask(ApiKey::ListPartitionReassignments, 0, &request).await;
    // The move may be over already; while it lasts it is told.
    for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
        assert_eq!(
            (&partition.adding_replicas[..], &partition.removing_replicas[..]),
            (&[other][..], &[now][..])
        );
    }
}
