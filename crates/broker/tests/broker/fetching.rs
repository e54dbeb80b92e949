//! Produce, Fetch, ListOffsets and OffsetForLeaderEpoch in every version; sessions, limits, reading nearby, and
//! several requests on one connection.

use std::time::Duration;

use bytes::{BufMut, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiKey, DeleteRecordsRequest, FetchRequest, FetchResponse, ListOffsetsRequest, MetadataRequest,
    MetadataResponse, OffsetForLeaderEpochRequest, ProduceRequest, ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use kafka_protocol::records::{Compression, RecordBatchDecoder};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{Client, TestBroker, batch, name, new_cluster, produce_request, start_cluster};

fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
}

fn records(values: &[&str]) -> Bytes {
    batch(values, Compression::None)
}

async fn topic_id(client: &mut Client, topic: &str) -> Uuid {
    client.metadata(Some(&[topic])).await.topics[0].topic_id
}

fn asked(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

fn fetch(topic: &str, id: Uuid, version: i16, partitions: Vec<FetchPartition>) -> FetchRequest {
    let wanted = FetchTopic::default().with_partitions(partitions);
    let wanted = if version >= 13 { wanted.with_topic_id(id) } else { wanted.with_topic(name(topic)) };
    FetchRequest::default().with_min_bytes(1).with_max_bytes(1 << 20).with_topics(vec![wanted])
}

#[tokio::test]
async fn records_are_produced_and_fetched_in_every_version() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let id = topic_id(&mut client, "orders").await;
    for version in 3..=13 {
        let data = PartitionProduceData::default().with_records(Some(records(&["v"])));
        let topic = TopicProduceData::default().with_partition_data(vec![data]);
        let topic = if version >= 13 { topic.with_topic_id(id) } else { topic.with_name(name("orders")) };
        let request =
            ProduceRequest::default().with_acks(-1).with_timeout_ms(3000).with_topic_data(vec![topic]);
        let answer = client.ask(ApiKey::Produce, version, &request).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, i64::from(version) - 3));
    }
    for version in 4..=18 {
        for isolation in [0, 1] {
            let request = fetch("orders", id, version, vec![asked(0, 5)]).with_isolation_level(isolation);
            let answer = client.ask(ApiKey::Fetch, version, &request).await;
            let data = &answer.responses[0].partitions[0];
            assert_eq!((data.error_code, data.high_watermark, data.last_stable_offset), (0, 11, 11));
            let batches = RecordBatchDecoder::decode_all(&mut data.records.clone().unwrap()).unwrap();
            assert_eq!(
                batches.iter().map(|batch| batch.records.len()).sum::<usize>(),
                6,
                "version {version}"
            );
        }
    }
}

#[tokio::test]
async fn formats_that_are_not_kept_are_refused_in_the_old_versions() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    for version in 0..=2i16 {
        let mut frame = Vec::new();
        frame.put_slice(&[0, 0]);
        frame.put_i16(version);
        frame.put_slice(&[0, 0, 0, 9, 0xff, 0xff]);
        frame.put_i16(1);
        frame.put_i32(1000);
        frame.put_i32(1);
        frame.put_i16(6);
        frame.put_slice(b"orders");
        frame.put_i32(1);
        frame.put_i32(0);
        frame.put_i32(4);
        frame.put_slice(b"old!");
        client.send_frame(&frame).await;
        let answer = client.receive().await.unwrap();
        assert_eq!(answer[..4], [0, 0, 0, 9]);
        let code = i16::from_be_bytes([answer[24], answer[25]]);
        assert_eq!(error(code), Some(ResponseError::UnsupportedForMessageFormat));
    }
    assert_eq!(client.metadata(Some(&[])).await.brokers.len(), 1);
}

#[tokio::test]
async fn offsets_are_listed_in_every_version() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    client.produce("orders", 0, -1, records(&["a", "b", "c"])).await;
    for version in 1..=10 {
        let specials = [(-1, 1, 3), (-2, 1, 0), (1001, 1, 1), (-3, 7, 2), (-4, 8, 0), (-5, 9, -1)];
        for (timestamp, first, expected) in specials {
            let partition =
                ListOffsetsPartition::default().with_timestamp(timestamp).with_current_leader_epoch(-1);
            let topic =
                ListOffsetsTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            let request = if version >= 2 { request.with_isolation_level(1) } else { request };
            let answer = client.ask(ApiKey::ListOffsets, version, &request).await;
            let found = &answer.topics[0].partitions[0];
            match version >= first {
                true => assert_eq!((found.error_code, found.offset), (0, expected), "{version} {timestamp}"),
                false => assert_eq!(error(found.error_code), Some(ResponseError::UnsupportedVersion)),
            }
        }
    }
}

#[tokio::test]
async fn records_are_deleted_on_every_replica() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    let leader = client.create_topic("orders", 1, 3).await[0];
    let mut client = brokers.iter().find(|broker| broker.id() == leader).unwrap().client().await;
    client.produce("orders", 0, -1, records(&["a", "b", "c", "d"])).await;
    let delete = |topic: &str, offset| {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000)
    };
    for (version, offset, low) in [(0, 1, 1), (1, 2, 2), (2, 1, 2), (2, -1, 4)] {
        let answer = client.ask(ApiKey::DeleteRecords, version, &delete("orders", offset)).await;
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.low_watermark), (0, low), "to {offset}");
    }
    for (topic, offset, expected) in [
        ("orders", 5, ResponseError::OffsetOutOfRange),
        ("orders", -2, ResponseError::OffsetOutOfRange),
        ("nothing", 0, ResponseError::UnknownTopicOrPartition),
    ] {
        let answer = client.ask(ApiKey::DeleteRecords, 2, &delete(topic, offset)).await;
        assert_eq!(error(answer.topics[0].partitions[0].error_code), Some(expected));
    }
    let gone = client.fetch("orders", 0, 1, 0).await.error_code;
    assert_eq!(error(gone), Some(ResponseError::OffsetOutOfRange));
    assert_eq!(client.fetch("orders", 0, 4, 0).await.log_start_offset, 4);
}

#[tokio::test]
async fn epochs_tell_where_they_end_and_who_is_behind() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    client.produce("orders", 0, -1, records(&["a", "b"])).await;
    let epoch = client.metadata(Some(&["orders"])).await.topics[0].partitions[0].leader_epoch;
    for version in 2..=4 {
        for (current, asked, expected) in [
            (-1, epoch, Ok((epoch, 2))),
            (-1, epoch + 5, Ok((epoch, 2))),
            (epoch + 1, epoch, Err(ResponseError::UnknownLeaderEpoch)),
            (epoch - 1, epoch, Err(ResponseError::FencedLeaderEpoch)),
        ] {
            let partition = OffsetForLeaderPartition::default()
                .with_current_leader_epoch(current)
                .with_leader_epoch(asked);
            let topic =
                OffsetForLeaderTopic::default().with_topic(name("orders")).with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            let answer = client.ask(ApiKey::OffsetForLeaderEpoch, version, &request).await;
            let found = &answer.topics[0].partitions[0];
            let result = match error(found.error_code) {
                None => Ok((found.leader_epoch, found.end_offset)),
                Some(error) => Err(error),
            };
            // With a first epoch of 0 the one before it means "unknown".
            if current >= 0 || expected.is_ok() {
                assert_eq!(result, expected);
            }
        }
    }
    // A reader whose last epoch ended before its offset is told so.
    let ahead = asked(0, 9).with_last_fetched_epoch(epoch);
    let answer: FetchResponse =
        client.ask(ApiKey::Fetch, 12, &fetch("orders", Uuid::nil(), 12, vec![ahead])).await;
    let data = &answer.responses[0].partitions[0];
    assert_eq!((data.error_code, data.diverging_epoch.epoch, data.diverging_epoch.end_offset), (0, epoch, 2));
}

async fn in_session(
    client: &mut Client,
    session: (i32, i32),
    partitions: Vec<FetchPartition>,
) -> FetchResponse {
    let mut request = fetch("orders", Uuid::nil(), 11, partitions);
    request.topics.retain(|topic| !topic.partitions.is_empty());
    let request = request.with_session_id(session.0).with_session_epoch(session.1);
    client.ask(ApiKey::Fetch, 11, &request).await
}

#[tokio::test]
async fn a_session_sends_changes_only() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 3, 1).await;
    let all = vec![asked(0, 0), asked(1, 0), asked(2, 0)];
    let opened = in_session(&mut client, (0, 0), all).await;
    assert!(opened.session_id > 0 && opened.responses[0].partitions.len() == 3);
    let id = opened.session_id;
    assert!(in_session(&mut client, (id, 1), vec![]).await.responses.is_empty());
    client.produce("orders", 1, -1, records(&["new"])).await;
    let changed = in_session(&mut client, (id, 2), vec![]).await;
    let partitions = &changed.responses[0].partitions;
    assert_eq!((partitions.len(), partitions[0].partition_index), (1, 1));
    assert!(!partitions[0].records.as_ref().unwrap().is_empty());
    // From behind the record there is nothing new.
    assert!(in_session(&mut client, (id, 3), vec![asked(1, 1)]).await.responses.is_empty());

    let forgotten = ForgottenTopic::default().with_topic(name("orders")).with_partitions(vec![2]);
    let request = FetchRequest::default().with_session_id(id).with_session_epoch(4).with_max_bytes(1 << 20);
    let request = request.with_forgotten_topics_data(vec![forgotten]);
    client.ask(ApiKey::Fetch, 11, &request).await;
    client.produce("orders", 2, -1, records(&["unseen"])).await;
    assert!(in_session(&mut client, (id, 5), vec![]).await.responses.is_empty());

    let wrong = in_session(&mut client, (id, 9), vec![]).await.error_code;
    assert_eq!(error(wrong), Some(ResponseError::InvalidFetchSessionEpoch));
    let unknown = in_session(&mut client, (id ^ 1, 1), vec![]).await.error_code;
    assert_eq!(error(unknown), Some(ResponseError::FetchSessionIdNotFound));
    assert_eq!(in_session(&mut client, (id, -1), vec![asked(0, 0)]).await.session_id, 0);
    let closed = in_session(&mut client, (id, 6), vec![]).await.error_code;
    assert_eq!(error(closed), Some(ResponseError::FetchSessionIdNotFound));
}

#[tokio::test]
async fn limits_hold_but_for_the_first_batch() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 2, 1).await;
    let large = records(&["x".repeat(5000).as_str()]);
    for partition in 0..2 {
        client.produce("orders", partition, -1, large.clone()).await;
        client.produce("orders", partition, -1, large.clone()).await;
    }
    let lengths = |answer: &FetchResponse| -> Vec<usize> {
        answer.responses[0].partitions.iter().map(|data| data.records.as_ref().unwrap().len()).collect()
    };
    let small = |partition| asked(partition, 0).with_partition_max_bytes(10);
    let request = fetch("orders", Uuid::nil(), 11, vec![small(0), small(1)]);
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).await;
    assert_eq!(lengths(&answer), [large.len(), 0]);
    let request = fetch("orders", Uuid::nil(), 11, vec![asked(0, 0), asked(1, 0)])
        .with_max_bytes(3 * large.len() as i32);
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).await;
    assert_eq!(lengths(&answer), [2 * large.len(), large.len()]);
    // More than there is: the answer comes at the end of the wait.
    let before = Instant::now();
    let request =
        fetch("orders", Uuid::nil(), 11, vec![asked(0, 0)]).with_min_bytes(1 << 20).with_max_wait_ms(200);
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).await;
    assert_eq!(lengths(&answer), [2 * large.len()]);
    assert!(before.elapsed() >= Duration::from_millis(190));
}

/// Three brokers in racks a, b and c that let clients read nearby.
async fn racks() -> Vec<TestBroker> {
    let mut brokers = new_cluster(3);
    for (broker, rack) in brokers.iter_mut().zip(["a", "b", "c"]) {
        broker.yaml = broker.yaml.replacen("redpanda:\n", &format!("redpanda:\n  rack: {rack}\n"), 1);
        broker.bootstrap.push_str("enable_rack_awareness: true\n");
    }
    brokers.iter_mut().for_each(TestBroker::start);
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

#[tokio::test]
async fn a_client_reads_in_its_own_rack() {
    let brokers = racks().await;
    let mut any = brokers[0].client().await;
    // The property is part of the cluster's configuration.
    crate::configurations::set_cluster_property(&mut any, "enable_rack_awareness", "true").await;
    let leader = any.create_topic("orders", 1, 3).await[0];
    let at = |id: i32| brokers.iter().find(|broker| broker.id() == id).unwrap();
    let mut client = at(leader).client().await;
    // A follower hears with the next records that those before are committed.
    for value in ["near", "next"] {
        assert_eq!(client.produce("orders", 0, -1, records(&[value])).await.error_code, 0);
    }
    let near = brokers.iter().position(|broker| broker.id() != leader).unwrap();
    let rack = ["a", "b", "c"][near];
    let request = |rack: &str| {
        let rack = StrBytes::from_string(rack.to_owned());
        fetch("orders", Uuid::nil(), 11, vec![asked(0, 0)]).with_rack_id(rack).with_max_wait_ms(2000)
    };
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request(rack)).await;
    let data = &answer.responses[0].partitions[0];
    assert_eq!((data.error_code, data.preferred_read_replica.0), (0, brokers[near].id()));
    assert!(data.records.as_ref().unwrap().is_empty());

    let mut follower = brokers[near].client().await;
    let answer: FetchResponse = follower.ask(ApiKey::Fetch, 11, &request(rack)).await;
    let data = &answer.responses[0].partitions[0];
    assert_eq!((data.error_code, data.preferred_read_replica.0), (0, -1));
    assert!(!data.records.as_ref().unwrap().is_empty());
    // Without a rack only the leader answers.
    let answer: FetchResponse = follower.ask(ApiKey::Fetch, 11, &request("")).await;
    assert_eq!(error(answer.responses[0].partitions[0].error_code), Some(ResponseError::NotLeaderOrFollower));
}

#[tokio::test]
async fn the_wrong_broker_names_the_right_one() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    let leader = client.create_topic("orders", 1, 3).await[0];
    let other = brokers.iter().find(|broker| broker.id() != leader).unwrap();
    let mut client = other.client().await;
    let answer: ProduceResponse =
        client.ask(ApiKey::Produce, 10, &produce_request("orders", 0, -1, records(&["a"]))).await;
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(error(partition.error_code), Some(ResponseError::NotLeaderOrFollower));
    assert_eq!(partition.current_leader.leader_id.0, leader);
    assert_eq!((answer.node_endpoints[0].node_id.0, answer.node_endpoints[0].port), (leader, 9093));
    let id = topic_id(&mut client, "orders").await;
    let answer: FetchResponse =
        client.ask(ApiKey::Fetch, 16, &fetch("orders", id, 16, vec![asked(0, 0)])).await;
    assert_eq!(answer.responses[0].partitions[0].current_leader.leader_id.0, leader);
    assert_eq!(answer.node_endpoints[0].node_id.0, leader);
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_their_order() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[0].client().await;
    let leader = client.create_topic("orders", 1, 3).await[0];
    let mut client = brokers.iter().find(|broker| broker.id() == leader).unwrap().client().await;
    let everything = MetadataRequest::default().with_topics(Some(Vec::new()));
    for index in 0..40 {
        let value = index.to_string();
        client.send(ApiKey::Produce, 9, &produce_request("orders", 0, -1, records(&[value.as_str()]))).await;
    }
    client.send(ApiKey::Metadata, 9, &everything).await;
    let mut correlation = None;
    for index in 0..40 {
        let mut bytes = client.receive().await.unwrap();
        let header = ResponseHeader::decode(&mut bytes, 1).unwrap();
        assert!(
            correlation.replace(header.correlation_id).is_none_or(|last| last + 1 == header.correlation_id)
        );
        let answer = ProduceResponse::decode(&mut bytes, 9).unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, index));
    }
    let mut bytes = client.receive().await.unwrap();
    ResponseHeader::decode(&mut bytes, 1).unwrap();
    assert_eq!(MetadataResponse::decode(&mut bytes, 9).unwrap().brokers.len(), 3);
    let values = client.values("orders", 0, 0).await;
    assert!(
        values
            .iter()
            .enumerate()
            .all(|(index, (offset, value))| { *offset == index as i64 && *value == index.to_string() })
    );
}

#[tokio::test]
async fn a_waiting_fetch_holds_up_nobody_else() {
    let brokers = start_cluster(1).await;
    let mut waiting = brokers[0].client().await;
    waiting.create_topic("orders", 1, 1).await;
    let request = fetch("orders", Uuid::nil(), 11, vec![asked(0, 0)]).with_max_wait_ms(60_000);
    waiting.send(ApiKey::Fetch, 11, &request).await;
    let before = Instant::now();
    let mut other = brokers[0].client().await;
    assert_eq!(other.metadata(Some(&[])).await.brokers.len(), 1);
    assert!(before.elapsed() < Duration::from_secs(5));
    other.produce("orders", 0, -1, records(&["at last"])).await;
    assert!(waiting.receive().await.is_some());
    assert!(before.elapsed() < Duration::from_secs(10));
}
