//! Producing, fetching and looking for offsets.

use bytes::{Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};
use kafka_protocol::records::Compression;
use tokio::time::{Duration, Instant};

use crate::support::{Client, batch, name, new_cluster, produce_request, start_cluster};

async fn offset_at(client: &mut Client, topic: &str, timestamp: i64) -> (i16, i64) {
    let partition = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_topics(vec![topic]);
    let answer: ListOffsetsResponse = client.ask(ApiKey::ListOffsets, 7, &request).await;
    let answer = &answer.topics[0].partitions[0];
    (answer.error_code, answer.offset)
}

#[tokio::test]
async fn records_are_written_at_the_leader_and_nowhere_else() {
    let brokers = start_cluster(3).await;
    let leaders = brokers[2].client().await.create_topic("orders", 6, 3).await;
    assert_eq!(leaders, [0, 1, 2, 0, 1, 2]);
    for broker in &brokers {
        let mut client = broker.client().await;
        for (partition, leader) in leaders.iter().enumerate() {
            let answer =
                client.produce("orders", partition as i32, -1, batch(&["a", "b"], Compression::None)).await;
            if *leader == broker.id() {
                assert_eq!((answer.error_code, answer.base_offset), (0, 0));
                let values = client.values("orders", partition as i32, 0).await;
                assert_eq!(values, [(0, "a".to_owned()), (1, "b".to_owned())]);
            } else {
                assert_eq!(answer.error_code, ResponseError::NotLeaderOrFollower.code());
                let data = client.fetch("orders", partition as i32, 0, 0).await;
                assert_eq!(data.error_code, ResponseError::NotLeaderOrFollower.code());
            }
        }
    }
    use hopwise_broker::Counter;
    assert_eq!(brokers[0].status.count(Counter::BatchesProduced), 2);
    assert_eq!(brokers[0].status.count(Counter::NotLeader), 8);
}

#[tokio::test]
async fn every_codec_and_acks_keeps_the_records() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let codecs =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for (index, codec) in codecs.into_iter().enumerate() {
        let answer = client.produce("orders", 0, 1, batch(&["x", "y"], codec)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 2 * index as i64));
    }
    client
        .send(ApiKey::Produce, 9, &produce_request("orders", 0, 0, batch(&["last"], Compression::None)))
        .await;
    // acks 0 has no answer: the next answer is that of the next request.
    let values = client.values("orders", 0, 3).await;
    assert_eq!(values.last().unwrap(), &(10, "last".to_owned()));
    assert_eq!(offset_at(&mut client, "orders", -1).await, (0, 11));
}

#[tokio::test]
async fn fetch_waits_for_records_and_knows_its_range() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let before = Instant::now();
    let data = client.fetch("orders", 0, 0, 300).await;
    assert!(before.elapsed() >= Duration::from_millis(290));
    assert_eq!((data.error_code, data.high_watermark, data.records), (0, 0, Some(Bytes::new())));

    let mut waiting = brokers[0].client().await;
    let waits = async { waiting.values("orders", 0, 0).await };
    let produces = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.produce("orders", 0, 1, batch(&["now"], Compression::None)).await
    };
    let before = Instant::now();
    let (values, _) = tokio::join!(waits, produces);
    assert_eq!(values, [(0, "now".to_owned())]);
    assert!(before.elapsed() < Duration::from_millis(1500));

    let out_of_range = ResponseError::OffsetOutOfRange.code();
    assert_eq!(client.fetch("orders", 0, 5, 0).await.error_code, out_of_range);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(client.fetch("orders", 9, 0, 0).await.error_code, unknown);
    assert_eq!(client.fetch("nothing", 0, 0, 0).await.error_code, unknown);
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    client.produce("orders", 0, -1, batch(&["1000", "1001", "1002"], Compression::None)).await;
    assert_eq!(offset_at(&mut client, "orders", -2).await, (0, 0));
    assert_eq!(offset_at(&mut client, "orders", 0).await, (0, 0));
    assert_eq!(offset_at(&mut client, "orders", 1001).await, (0, 1));
    assert_eq!(offset_at(&mut client, "orders", 1003).await, (0, -1));
    assert_eq!(offset_at(&mut client, "orders", -3).await, (0, 2));
    assert_eq!(offset_at(&mut client, "nothing", -1).await.0, ResponseError::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn bad_batches_are_refused() {
    let brokers = start_cluster(1).await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let good = batch(&["a"], Compression::None);
    let mut damaged = BytesMut::from(&good[..]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let two = Bytes::from([&good[..], &good[..]].concat());
    let large = batch(&["x".repeat(2 << 20).as_str()], Compression::None);
    let cases = [
        (damaged.freeze(), ResponseError::CorruptMessage),
        (two, ResponseError::InvalidRecord),
        (good.slice(..30), ResponseError::CorruptMessage),
        (Bytes::new(), ResponseError::InvalidRecord),
        (large, ResponseError::MessageTooLarge),
    ];
    for (records, expected) in cases {
        let answer = client.produce("orders", 0, -1, records).await;
        assert_eq!(ResponseError::try_from_code(answer.error_code), Some(expected));
    }
    let answer = client.produce("nothing", 0, -1, good).await;
    assert_eq!(answer.error_code, ResponseError::UnknownTopicOrPartition.code());
    assert_eq!(offset_at(&mut client, "orders", -1).await, (0, 0));
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused() {
    let brokers = start_cluster(3).await;
    let mut client = brokers[1].client().await;
    let created = client.try_create_topic("orders", -1, -1).await.topics[0].clone();
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 1, 1));
    // clients.md: not null, and each with a source.
    let configs = created.configs.unwrap();
    assert!(configs.iter().any(|config| config.name.as_str() == "cleanup.policy"));
    assert!(configs.iter().all(|config| config.config_source >= 1 && config.value.is_some()));
    let cases = [
        ("orders", 1, 1, ResponseError::TopicAlreadyExists),
        ("or ders", 1, 1, ResponseError::InvalidTopicException),
        ("..", 1, 1, ResponseError::InvalidTopicException),
        ("many", 1_000_000, 1, ResponseError::InvalidPartitions),
        ("none", 0, 1, ResponseError::InvalidPartitions),
        ("wide", 1, 4, ResponseError::InvalidReplicationFactor),
    ];
    for (topic, partitions, replication, expected) in cases {
        let answer = client.try_create_topic(topic, partitions, replication).await;
        assert_eq!(ResponseError::try_from_code(answer.topics[0].error_code), Some(expected), "{topic}");
        assert!(answer.topics[0].error_message.is_some());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_to_the_client() {
    let mut brokers = new_cluster(1);
    brokers[0].volume = turmoil_fs::Fs::builder().seed(9).capacity(40_000).build();
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    client.create_topic("orders", 1, 1).await;
    let value = "x".repeat(5000);
    let mut written = 0;
    let error = loop {
        let answer = client.produce("orders", 0, 1, batch(&[&value], Compression::None)).await;
        if answer.error_code != 0 {
            break answer.error_code;
        }
        written += 1;
        assert!(written < 20, "the volume never fills up");
    };
    assert_eq!(error, ResponseError::KafkaStorageError.code());
    // What was acknowledged is still there.
    assert_eq!(client.values("orders", 0, 0).await.len(), written);
    assert_eq!(offset_at(&mut client, "orders", -1).await, (0, written as i64));
}
