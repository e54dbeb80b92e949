//! One Kafka request of each key and version, and fuller ones of those that carry the most.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Encodable, Request, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use create_topics_request::CreatableTopic;
use fetch_request::{FetchPartition, FetchTopic};
use metadata_request::MetadataRequestTopic;
use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use produce_request::{PartitionProduceData, TopicProduceData};

/// The topic that the requests name. It is not the one whose records must stay.
pub(crate) const TOPIC: &str = "victim";

/// Frames, each with its length.
pub fn kafka() -> Vec<Vec<u8>> {
    let mut frames = empty();
    for compression in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        add(&mut frames, &produce(compression));
    }
    let topic = || TopicName(StrBytes::from_static_str(TOPIC));
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let fetch = FetchTopic::default().with_topic(topic()).with_partitions(vec![partition; 3]);
    add(&mut frames, &FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![fetch]));
    let asked = MetadataRequestTopic::default().with_name(Some(topic()));
    add(&mut frames, &MetadataRequest::default().with_topics(Some(vec![asked; 3])));
    let created =
        CreatableTopic::default().with_name(topic()).with_num_partitions(3).with_replication_factor(1);
    add(&mut frames, &CreateTopicsRequest::default().with_topics(vec![created]).with_timeout_ms(100));
    let group = || GroupId(StrBytes::from_static_str("group"));
    let committed = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let committed = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![committed]);
    add(&mut frames, &OffsetCommitRequest::default().with_group_id(group()).with_topics(vec![committed]));
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(&[0, 3, 0, 0, 0, 0]));
    let join = JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(6000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol]);
    add(&mut frames, &join);
    let first = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from_static(b"n,,n=user,r=nonce"));
    add(&mut frames, &first);
    frames
}

/// Adds a request in every version that can hold it.
pub(super) fn add<Q: Request>(frames: &mut Vec<Vec<u8>>, request: &Q) {
    for version in Q::VERSIONS.min..=Q::VERSIONS.max {
        let header = RequestHeader::default()
            .with_request_api_key(Q::KEY)
            .with_request_api_version(version)
            .with_correlation_id(7)
            .with_client_id(Some(StrBytes::from_static_str("hostile")));
        let mut frame = BytesMut::zeroed(4);
        let whole = header
            .encode(&mut frame, Q::header_version(version))
            .and_then(|()| request.encode(&mut frame, version));
        if whole.is_ok() {
            let length = (frame.len() - 4) as u32;
            frame[..4].copy_from_slice(&length.to_be_bytes());
            frames.push(frame.to_vec());
        }
    }
}

macro_rules! default_of {
    ($frames:ident: $($request:ident)+) => { $(add(&mut $frames, &$request::default());)+ };
}

/// Every request without content. Those that would rightly take the brokers apart are left out.
fn empty() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    default_of! { frames:
        AddOffsetsToTxnRequest AddPartitionsToTxnRequest AlterClientQuotasRequest AlterConfigsRequest
        AlterUserScramCredentialsRequest ApiVersionsRequest ConsumerGroupDescribeRequest
        ConsumerGroupHeartbeatRequest CreateAclsRequest CreatePartitionsRequest CreateTopicsRequest
        DeleteAclsRequest DeleteGroupsRequest DeleteRecordsRequest DeleteTopicsRequest DescribeAclsRequest
        DescribeClientQuotasRequest DescribeClusterRequest DescribeConfigsRequest DescribeGroupsRequest
        DescribeLogDirsRequest DescribeProducersRequest DescribeTopicPartitionsRequest
        DescribeTransactionsRequest DescribeUserScramCredentialsRequest ElectLeadersRequest EndTxnRequest
        FetchRequest FindCoordinatorRequest GetTelemetrySubscriptionsRequest HeartbeatRequest
        IncrementalAlterConfigsRequest InitProducerIdRequest JoinGroupRequest LeaveGroupRequest
        ListConfigResourcesRequest ListGroupsRequest ListOffsetsRequest ListPartitionReassignmentsRequest
        ListTransactionsRequest MetadataRequest OffsetCommitRequest OffsetDeleteRequest OffsetFetchRequest
        OffsetForLeaderEpochRequest ProduceRequest PushTelemetryRequest SaslAuthenticateRequest
        SaslHandshakeRequest SyncGroupRequest TxnOffsetCommitRequest WriteTxnMarkersRequest
    }
    frames
}

fn produce(compression: Compression) -> ProduceRequest {
    let record = |index: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: index,
        sequence: index as i32,
        timestamp: 1_700_000_000_000,
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::from(vec![7; 300])),
        headers: [("header".into(), Some(Bytes::from_static(b"value")))].into_iter().collect(),
    };
    let records: Vec<Record> = (0..10).map(record).collect();
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    // Without records the request still is one.
    let _ = RecordBatchEncoder::encode(&mut batch, &records, &options);
    let data = PartitionProduceData::default().with_records(Some(batch.freeze()));
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1000).with_topic_data(vec![topic])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_length_and_there_are_many() {
        let frames = kafka();
        assert!(frames.len() > 200, "{}", frames.len());
        for frame in &frames {
            assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        }
        let largest = frames.iter().map(Vec::len).max().unwrap();
        assert!(largest > 3000, "{largest}");
    }
}
