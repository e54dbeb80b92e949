//! Consumer groups of KIP-848 over real sockets.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse, DescribeGroupsRequest, GroupId, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::groups::coordinator;
use crate::support::{Client, TestBroker, name, new_cluster, start_cluster};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(text("g"))
}

/// A member of the group `g`, as its client keeps it.
struct Member {
    client: Client,
    id: StrBytes,
    epoch: i32,
    topic: Uuid,
    owned: BTreeSet<i32>,
}

impl Member {
    async fn new(brokers: &[TestBroker], topic: &str) -> Member {
        let mut client = coordinator(brokers, "g").await;
        let topic = client.metadata(Some(&[topic])).await.topics[0].topic_id;
        let id = text(&Uuid::from_u128(rand_id()).to_string());
        Member { client, id, epoch: 0, topic, owned: BTreeSet::new() }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let owned = match self.owned.is_empty() {
            true => Vec::new(),
            false => vec![
                TopicPartitions::default()
                    .with_topic_id(self.topic)
                    .with_partitions(self.owned.iter().copied().collect()),
            ],
        };
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(Some(owned))
    }

    fn joining(&self, topic: &str) -> ConsumerGroupHeartbeatRequest {
        self.request()
            .with_member_epoch(0)
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![name(topic)]))
    }

    async fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        let answer: ConsumerGroupHeartbeatResponse =
            self.client.ask(ApiKey::ConsumerGroupHeartbeat, 1, request).await;
        if answer.error_code == 0 {
            self.epoch = answer.member_epoch;
            if let Some(assignment) = &answer.assignment {
                assert!(assignment.topic_partitions.iter().all(|topic| topic.topic_id == self.topic));
                self.owned = assignment
                    .topic_partitions
                    .iter()
                    .flat_map(|topic| topic.partitions.iter().copied())
                    .collect();
            }
        }
        answer
    }

    async fn join(&mut self, topic: &str) {
        let request = self.joining(topic);
        let answer = self.send(&request).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        assert!(answer.heartbeat_interval_ms > 0 && answer.assignment.is_some());
    }

    async fn beat(&mut self) -> i16 {
        let request = self.request();
        self.send(&request).await.error_code
    }

    async fn commit(&mut self, epoch: i32, version: i16) -> i16 {
        let partition =
            OffsetCommitRequestPartition::default().with_committed_offset(7).with_committed_leader_epoch(-1);
        let topic =
            OffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(self.id.clone())
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let answer = self.client.ask(ApiKey::OffsetCommit, version, &request).await;
        answer.topics[0].partitions[0].error_code
    }

    /// The error, or the offset of partition 0.
    async fn committed(&mut self, epoch: i32) -> Result<i64, i16> {
        let topic =
            OffsetFetchRequestTopics::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let asked = OffsetFetchRequestGroup::default()
            .with_group_id(group())
            .with_member_id(Some(self.id.clone()))
            .with_member_epoch(epoch)
            .with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![asked]);
        let answer = self.client.ask(ApiKey::OffsetFetch, 9, &request).await;
        let group = &answer.groups[0];
        if group.error_code == 0 {
            Ok(group.topics[0].partitions[0].committed_offset)
        } else {
            Err(group.error_code)
        }
    }

    async fn describe(&mut self) -> DescribedGroup {
        let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group()]);
        self.client.ask(ApiKey::ConsumerGroupDescribe, 1, &request).await.groups.remove(0)
    }
}

/// Ids that differ within a test run; which they are is no matter.
fn rand_id() -> u128 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).into()
}

/// Two members that have come to rest.
async fn two(brokers: &[TestBroker]) -> (Member, Member) {
    brokers[0].client().await.create_topic("orders", 4, 1).await;
    let mut one = Member::new(brokers, "orders").await;
    let mut two = Member::new(brokers, "orders").await;
    one.join("orders").await;
    assert_eq!((one.epoch, one.owned.len()), (1, 4), "it is alone");
    two.join("orders").await;
    assert_eq!((two.epoch, two.owned.len()), (2, 0), "the first has everything yet");
    assert_eq!((one.beat().await, one.epoch, one.owned.len()), (0, 1, 2), "it is to give up two");
    assert_eq!((two.beat().await, two.owned.len()), (0, 0), "and has not said that it did");
    assert_eq!((one.beat().await, one.epoch), (0, 2));
    assert_eq!((two.beat().await, two.owned.len()), (0, 2));
    assert!(one.owned.is_disjoint(&two.owned));
    (one, two)
}

#[tokio::test]
async fn two_members_share_a_topic_until_one_leaves() {
    let brokers = start_cluster(3).await;
    let (mut one, mut two) = two(&brokers).await;
    let described = one.describe().await;
    assert_eq!((described.error_code, described.group_state.as_str()), (0, "Stable"));
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.assignor_name.as_str(), "uniform");
    assert_eq!(described.members.len(), 2);
    for member in &described.members {
        assert_eq!(member.assignment, member.target_assignment);
        assert_eq!(member.assignment.topic_partitions[0].topic_name, name("orders"));
        assert_eq!(
            (member.member_type, member.subscribed_topic_names.as_slice()),
            (1, &[name("orders")][..])
        );
    }
    let listed = one.client.ask(ApiKey::ListGroups, 5, &ListGroupsRequest::default()).await.groups;
    let listed: Vec<_> =
        listed.iter().map(|group| (group.group_type.as_str(), group.group_state.as_str())).collect();
    assert_eq!(listed, [("consumer", "Stable")]);
    let classic = DescribeGroupsRequest::default().with_groups(vec![group()]);
    let classic = one.client.ask(ApiKey::DescribeGroups, 6, &classic).await;
    assert_eq!(classic.groups[0].error_code, ResponseError::GroupIdNotFound.code());

    let request = two.request().with_member_epoch(-1);
    assert_eq!(two.send(&request).await.member_epoch, -1);
    two.epoch = 2;
    assert_eq!(two.beat().await, ResponseError::UnknownMemberId.code());
    assert_eq!((one.beat().await, one.owned.len(), one.epoch), (0, 4, 3));
    let strange = one.request().with_server_assignor(Some(text("sticky")));
    assert_eq!(one.send(&strange).await.error_code, ResponseError::UnsupportedAssignor.code());
    let broken = one.request().with_subscribed_topic_regex(Some(text("(")));
    assert_eq!(one.send(&broken).await.error_code, ResponseError::InvalidRegularExpression.code());
}

#[tokio::test]
async fn offsets_belong_to_members_and_the_group_outlives_its_coordinator() {
    let mut brokers = start_cluster(1).await;
    let (mut one, mut two) = two(&brokers).await;
    assert_eq!(one.commit(2, 9).await, 0);
    assert_eq!(one.commit(1, 9).await, ResponseError::StaleMemberEpoch.code());
    assert_eq!(one.commit(2, 8).await, ResponseError::UnsupportedVersion.code());
    assert_eq!(one.committed(2).await, Ok(7));
    assert_eq!(one.committed(3).await, Err(ResponseError::StaleMemberEpoch.code()));
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    for member in [&mut one, &mut two] {
        member.client = coordinator(&brokers, "g").await;
        let before = member.owned.clone();
        assert_eq!((member.beat().await, member.epoch, &member.owned), (0, 2, &before));
    }
    assert_eq!(one.committed(2).await, Ok(7));
    assert_eq!(one.describe().await.group_state.as_str(), "Stable");
}

#[tokio::test]
async fn the_protocol_can_be_switched_off() {
    let mut brokers = new_cluster(1);
    brokers[0].bootstrap += "group_coordinator_rebalance_protocols: [classic]\n";
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = brokers[0].client().await;
    let offered = client.ask(ApiKey::ApiVersions, 3, &ApiVersionsRequest::default()).await.api_keys;
    let keys: BTreeSet<i16> = offered.iter().map(|offered| offered.api_key).collect();
    assert!(keys.contains(&(ApiKey::JoinGroup as i16)));
    assert!(!keys.contains(&68) && !keys.contains(&69), "{keys:?}");
    let request = ConsumerGroupHeartbeatRequest::default().with_group_id(group());
    client.send(ApiKey::ConsumerGroupHeartbeat, 1, &request).await;
    assert_eq!(client.receive().await, None, "the connection is closed, as for any key that is not offered");
}
