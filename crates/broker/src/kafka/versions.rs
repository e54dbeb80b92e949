//! Which requests are offered, in which versions.
//!
//! Each key from the lowest version that present clients send (clients.md, version table) or that
//! `kafka-protocol` reads, to the highest that it reads. Produce is offered from 0 though read from 3:
//! librdkafka turns compression off where Produce 0 is missing (Apache Kafka 4.0 does the same, KAFKA-18659).
//! AlterConfigs ends at 1, because a client encodes version 2 wrongly (clients.md, last section). Versions that
//! `kafka-protocol` does not read, though old clients send them, are not offered: Fetch 0 to 3, ListOffsets 0,
//! OffsetCommit 1. Nor are OffsetCommit and OffsetFetch 10 (topic ids) and InitProducerId 6 (KIP-939), which it does not
//! read either. Produce 12, EndTxn 5 and TxnOffsetCommit 5 are for clients at `transaction.version` 2 (KIP-890), which they
//! see in ApiVersions; AddPartitionsToTxn 4 and 5 are for brokers.

use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Message, VersionRange};

/// A key that is offered.
pub(super) struct Offered {
    pub key: ApiKey,
    /// The lowest version that is offered.
    pub least: i16,
    /// The versions that are answered.
    pub read: VersionRange,
}

impl Offered {
    /// Whether a request of this version can be read.
    pub fn answers(&self, version: i16) -> bool {
        (self.read.min.max(self.least)..=self.read.max).contains(&version)
    }
}

const fn key<T: Message>(key: ApiKey, least: i16) -> Offered {
    Offered { key, least, read: T::VERSIONS }
}

/// A key of which versions above `most` are not answered.
const fn up_to<T: Message>(key: ApiKey, least: i16, most: i16) -> Offered {
    Offered { key, least, read: VersionRange { min: T::VERSIONS.min, max: most } }
}

/// Every key that is offered, by number.
#[rustfmt::skip]
pub(super) const OFFERED: &[Offered] = &[
    key::<ProduceRequest>(ApiKey::Produce, 0),
    key::<FetchRequest>(ApiKey::Fetch, 4),
    key::<ListOffsetsRequest>(ApiKey::ListOffsets, 1),
    key::<MetadataRequest>(ApiKey::Metadata, 0),
    key::<OffsetCommitRequest>(ApiKey::OffsetCommit, 2),
    key::<OffsetFetchRequest>(ApiKey::OffsetFetch, 1),
    key::<FindCoordinatorRequest>(ApiKey::FindCoordinator, 0),
    key::<JoinGroupRequest>(ApiKey::JoinGroup, 2),
    key::<HeartbeatRequest>(ApiKey::Heartbeat, 0),
    key::<LeaveGroupRequest>(ApiKey::LeaveGroup, 0),
    key::<SyncGroupRequest>(ApiKey::SyncGroup, 0),
    key::<DescribeGroupsRequest>(ApiKey::DescribeGroups, 0),
    key::<ListGroupsRequest>(ApiKey::ListGroups, 0),
    key::<SaslHandshakeRequest>(ApiKey::SaslHandshake, 0),
    key::<ApiVersionsRequest>(ApiKey::ApiVersions, 0),
    key::<CreateTopicsRequest>(ApiKey::CreateTopics, 2),
    key::<DeleteTopicsRequest>(ApiKey::DeleteTopics, 1),
    key::<DeleteRecordsRequest>(ApiKey::DeleteRecords, 0),
    key::<InitProducerIdRequest>(ApiKey::InitProducerId, 0),
    key::<OffsetForLeaderEpochRequest>(ApiKey::OffsetForLeaderEpoch, 2),
    key::<AddPartitionsToTxnRequest>(ApiKey::AddPartitionsToTxn, 0),
    key::<AddOffsetsToTxnRequest>(ApiKey::AddOffsetsToTxn, 0),
    key::<EndTxnRequest>(ApiKey::EndTxn, 0),
    key::<TxnOffsetCommitRequest>(ApiKey::TxnOffsetCommit, 0),
    key::<DescribeAclsRequest>(ApiKey::DescribeAcls, 1),
    key::<CreateAclsRequest>(ApiKey::CreateAcls, 1),
    key::<DeleteAclsRequest>(ApiKey::DeleteAcls, 1),
    key::<DescribeConfigsRequest>(ApiKey::DescribeConfigs, 1),
    up_to::<AlterConfigsRequest>(ApiKey::AlterConfigs, 0, 1),
    key::<DescribeLogDirsRequest>(ApiKey::DescribeLogDirs, 1),
    key::<SaslAuthenticateRequest>(ApiKey::SaslAuthenticate, 0),
    key::<CreatePartitionsRequest>(ApiKey::CreatePartitions, 0),
    key::<DeleteGroupsRequest>(ApiKey::DeleteGroups, 0),
    key::<ElectLeadersRequest>(ApiKey::ElectLeaders, 0),
    key::<IncrementalAlterConfigsRequest>(ApiKey::IncrementalAlterConfigs, 0),
    key::<AlterPartitionReassignmentsRequest>(ApiKey::AlterPartitionReassignments, 0),
    key::<ListPartitionReassignmentsRequest>(ApiKey::ListPartitionReassignments, 0),
    key::<OffsetDeleteRequest>(ApiKey::OffsetDelete, 0),
    key::<DescribeClientQuotasRequest>(ApiKey::DescribeClientQuotas, 0),
    key::<AlterClientQuotasRequest>(ApiKey::AlterClientQuotas, 0),
    key::<DescribeUserScramCredentialsRequest>(ApiKey::DescribeUserScramCredentials, 0),
    key::<AlterUserScramCredentialsRequest>(ApiKey::AlterUserScramCredentials, 0),
    key::<DescribeClusterRequest>(ApiKey::DescribeCluster, 0),
    key::<DescribeProducersRequest>(ApiKey::DescribeProducers, 0),
    key::<DescribeTransactionsRequest>(ApiKey::DescribeTransactions, 0),
    up_to::<ListTransactionsRequest>(ApiKey::ListTransactions, 0, 1),
    key::<ConsumerGroupHeartbeatRequest>(ApiKey::ConsumerGroupHeartbeat, 0),
    key::<ConsumerGroupDescribeRequest>(ApiKey::ConsumerGroupDescribe, 0),
    key::<GetTelemetrySubscriptionsRequest>(ApiKey::GetTelemetrySubscriptions, 0),
    key::<PushTelemetryRequest>(ApiKey::PushTelemetry, 0),
    key::<DescribeTopicPartitionsRequest>(ApiKey::DescribeTopicPartitions, 0),
];

/// Whether a key is one of the consumer group protocol, which can be switched off
/// (`group_coordinator_rebalance_protocols`).
pub(super) fn is_of_consumer_protocol(key: ApiKey) -> bool {
    matches!(key, ApiKey::ConsumerGroupHeartbeat | ApiKey::ConsumerGroupDescribe)
}

/// The entry of a key.
pub(super) fn offered(key: i16) -> Option<&'static Offered> {
    OFFERED.iter().find(|offered| offered.key as i16 == key)
}
