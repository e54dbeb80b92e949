//! Consumer groups over real sockets: membership, static members, offsets that stay.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse, GroupId,
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::support::{Client, TestBroker, name, new_cluster};

/// Long enough for two members that start together, short enough for a test.
const BOOTSTRAP: &str = "alive_timeout_ms: 1000\ngroup_initial_rebalance_delay: 200\n";

async fn start(count: usize) -> Vec<TestBroker> {
    let mut brokers = new_cluster(count);
    for broker in &mut brokers {
        broker.bootstrap = BOOTSTRAP.to_owned();
        broker.start();
    }
    for broker in &brokers {
        broker.ready().await;
    }
    brokers
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(group: &str) -> GroupId {
    GroupId(text(group))
}

fn code(error: ResponseError) -> i16 {
    error.code()
}

/// A connection to the group's coordinator, once it coordinates.
pub async fn coordinator(brokers: &[TestBroker], id: &str) -> Client {
    let mut any = brokers[0].client().await;
    for _ in 0..200 {
        let request = FindCoordinatorRequest::default().with_key(text(id));
        let found: FindCoordinatorResponse = any.ask(ApiKey::FindCoordinator, 2, &request).await;
        if let Some(broker) =
            brokers.iter().find(|broker| found.error_code == 0 && broker.id() == found.node_id.0)
        {
            let mut client = broker.client().await;
            let request = DescribeGroupsRequest::default().with_groups(vec![group(id)]);
            let answer: DescribeGroupsResponse = client.ask(ApiKey::DescribeGroups, 5, &request).await;
            if answer.groups[0].error_code == 0 {
                return client;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the group has no coordinator");
}

/// A member of a group, as its client keeps it.
struct Member {
    client: Client,
    group: GroupId,
    id: StrBytes,
    instance: Option<StrBytes>,
    generation: i32,
    leader: bool,
    protocols: Vec<(&'static str, &'static str)>,
}

impl Member {
    async fn new(brokers: &[TestBroker], id: &str, instance: Option<&str>) -> Member {
        Member {
            client: coordinator(brokers, id).await,
            group: group(id),
            id: StrBytes::default(),
            instance: instance.map(text),
            generation: -1,
            leader: false,
            protocols: vec![("range", "subscription")],
        }
    }

    async fn try_join(&mut self, version: i16) -> JoinGroupResponse {
        let protocol = |(name, metadata): &(&str, &'static str)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from_static(metadata.as_bytes()))
        };
        let request = JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(self.protocols.iter().map(protocol).collect());
        let answer: JoinGroupResponse = self.client.ask(ApiKey::JoinGroup, version, &request).await;
        self.id = answer.member_id.clone();
        if answer.error_code == 0 {
            self.generation = answer.generation_id;
            self.leader = answer.leader == answer.member_id;
        }
        answer
    }

    /// Joins, with the id that is given first if need be.
    async fn join(&mut self) -> JoinGroupResponse {
        let mut answer = self.try_join(9).await;
        if answer.error_code == code(ResponseError::MemberIdRequired) {
            answer = self.try_join(9).await;
        }
        assert_eq!(answer.error_code, 0);
        answer
    }

    async fn sync(&mut self, assignments: &[(&StrBytes, &'static str)]) -> SyncGroupResponse {
        let assignment = |(member, assignment): &(&StrBytes, &'static str)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*member).clone())
                .with_assignment(Bytes::from_static(assignment.as_bytes()))
        };
        let request = SyncGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
            .with_assignments(assignments.iter().map(assignment).collect());
        self.client.ask(ApiKey::SyncGroup, 5, &request).await
    }

    async fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        let answer: HeartbeatResponse = self.client.ask(ApiKey::Heartbeat, 4, &request).await;
        answer.error_code
    }

    async fn leave(&mut self) -> i16 {
        let member = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        let request =
            LeaveGroupRequest::default().with_group_id(self.group.clone()).with_members(vec![member]);
        let answer: LeaveGroupResponse = self.client.ask(ApiKey::LeaveGroup, 5, &request).await;
        assert_eq!(answer.error_code, 0);
        answer.members[0].error_code
    }

    async fn commit(&mut self, topic: &str, offset: i64) -> i16 {
        let (id, generation) = (self.id.clone(), self.generation);
        commit(&mut self.client, &self.group, (id, generation), topic, offset).await
    }
}

async fn commit(
    client: &mut Client,
    group: &GroupId,
    (member, generation): (StrBytes, i32),
    topic: &str,
    offset: i64,
) -> i16 {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text("note")));
    let topic = OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(generation)
        .with_member_id(member)
        .with_topics(vec![topic]);
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 8, &request).await;
    answer.topics[0].partitions[0].error_code
}

/// The offset and metadata of partition 0, or the error.
async fn committed(client: &mut Client, id: &str, topic: &str) -> (i16, i64, String) {
    let topics = OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(vec![0]);
    let one = OffsetFetchRequestGroup::default().with_group_id(group(id)).with_topics(Some(vec![topics]));
    let request = OffsetFetchRequest::default().with_groups(vec![one]).with_require_stable(true);
    let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 8, &request).await;
    let group = &answer.groups[0];
    if group.error_code != 0 {
        return (group.error_code, -1, String::new());
    }
    let partition = &group.topics[0].partitions[0];
    (
        partition.error_code,
        partition.committed_offset,
        partition.metadata.clone().unwrap_or_default().to_string(),
    )
}

#[tokio::test]
async fn two_members_share_a_group_until_one_leaves() {
    let brokers = start(3).await;
    let mut first = Member::new(&brokers, "g", None).await;
    let mut second = Member::new(&brokers, "g", None).await;
    let (one, two) = tokio::join!(first.join(), second.join());
    assert_eq!((first.generation, second.generation), (1, 1));
    assert!(first.leader ^ second.leader, "one leads");
    let (leading, following, answer) =
        if first.leader { (&mut first, &mut second, one) } else { (&mut second, &mut first, two) };
    assert_eq!(answer.members.len(), 2);
    assert_eq!(answer.protocol_name.unwrap(), text("range"));
    assert!(leading.id.starts_with("test-"), "the id begins with the client's: {}", leading.id);
    let assignments = [(&leading.id.clone(), "a"), (&following.id.clone(), "b")];
    let (a, b) = tokio::join!(leading.sync(&assignments), following.sync(&[]));
    assert_eq!((a.error_code, &a.assignment[..]), (0, &b"a"[..]));
    assert_eq!((b.error_code, &b.assignment[..]), (0, &b"b"[..]));
    assert_eq!((leading.heartbeat().await, following.heartbeat().await), (0, 0));

    assert_eq!(following.leave().await, 0);
    assert_eq!(following.heartbeat().await, code(ResponseError::UnknownMemberId));
    assert_eq!(leading.heartbeat().await, code(ResponseError::RebalanceInProgress));
    let answer = leading.join().await;
    assert_eq!((answer.generation_id, answer.members.len()), (2, 1));
    leading.generation = 1;
    assert_eq!(leading.heartbeat().await, code(ResponseError::IllegalGeneration));
}

#[tokio::test]
async fn a_static_member_takes_its_place_again_without_a_rebalance() {
    let brokers = start(1).await;
    let mut member = Member::new(&brokers, "g", Some("pod-0")).await;
    let joined = member.join().await;
    assert!(joined.member_id.starts_with("pod-0-"));
    member.sync(&[(&joined.member_id, "kept")]).await;

    let mut restarted = Member::new(&brokers, "g", Some("pod-0")).await;
    let joined = restarted.join().await;
    assert_eq!((joined.generation_id, joined.skip_assignment), (1, true));
    assert_ne!(joined.member_id, member.id);
    let synced = restarted.sync(&[]).await;
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"kept"[..]));
    assert_eq!(restarted.heartbeat().await, 0);
    assert_eq!(member.heartbeat().await, code(ResponseError::FencedInstanceId));
}

#[tokio::test]
async fn members_and_offsets_survive_a_restart() {
    let mut brokers = start(1).await;
    let mut member = Member::new(&brokers, "g", None).await;
    member.client.create_topic("orders", 1, 1).await;
    member.join().await;
    let own = member.id.clone();
    assert_eq!(member.sync(&[(&own, "a")]).await.error_code, 0);
    assert_eq!(member.commit("orders", 41).await, 0);
    assert_eq!(member.commit("orders", 42).await, 0);
    assert_eq!(member.commit("nothing", 1).await, code(ResponseError::UnknownTopicOrPartition));
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    member.client = coordinator(&brokers, "g").await;
    assert_eq!(committed(&mut member.client, "g", "orders").await, (0, 42, "note".to_owned()));
    assert_eq!(member.heartbeat().await, 0, "the generation is known");
    assert_eq!(member.commit("orders", 43).await, 0);
    member.generation += 1;
    assert_eq!(member.commit("orders", 44).await, code(ResponseError::IllegalGeneration));
    assert_eq!(committed(&mut member.client, "g", "orders").await.1, 43);
}

#[tokio::test]
async fn groups_are_listed_described_and_deleted() {
    let mut brokers = start(1).await;
    let mut member = Member::new(&brokers, "g", None).await;
    member.client.create_topic("orders", 1, 1).await;
    member.join().await;
    let own = member.id.clone();
    member.sync(&[(&own, "a")]).await;
    member.commit("orders", 7).await;
    let client = &mut member.client;
    let request = ListGroupsRequest::default().with_states_filter(vec![text("stable")]);
    let listed: ListGroupsResponse = client.ask(ApiKey::ListGroups, 5, &request).await;
    let names: Vec<&str> = listed.groups.iter().map(|group| group.group_id.as_str()).collect();
    assert_eq!((names, listed.groups[0].group_type.as_str()), (vec!["g"], "classic"));
    let request = DescribeGroupsRequest::default()
        .with_groups(vec![group("g"), group("none")])
        .with_include_authorized_operations(true);
    let described: DescribeGroupsResponse = client.ask(ApiKey::DescribeGroups, 6, &request).await;
    let one = &described.groups[0];
    assert_eq!(
        (one.group_state.as_str(), one.protocol_data.as_str(), one.members.len()),
        ("Stable", "range", 1)
    );
    assert_eq!(one.members[0].client_host.as_str(), "127.0.0.1");
    assert_eq!(&one.members[0].member_assignment[..], b"a");
    assert_eq!(described.groups[1].error_code, code(ResponseError::GroupIdNotFound));

    let request = DeleteGroupsRequest::default().with_groups_names(vec![group("g"), group("none")]);
    let deleted: DeleteGroupsResponse = client.ask(ApiKey::DeleteGroups, 2, &request).await;
    let codes: Vec<i16> = deleted.results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [code(ResponseError::NonEmptyGroup), code(ResponseError::GroupIdNotFound)]);
    assert_eq!(member.leave().await, 0);
    let client = &mut member.client;
    let deleted: DeleteGroupsResponse = client.ask(ApiKey::DeleteGroups, 2, &request).await;
    assert_eq!(deleted.results[0].error_code, 0);
    assert_eq!(committed(client, "g", "orders").await.1, -1);
    brokers[0].kill().await;
    brokers[0].start();
    brokers[0].ready().await;
    let mut client = coordinator(&brokers, "g").await;
    assert_eq!(committed(&mut client, "g", "orders").await.1, -1, "it stays deleted");
}

#[tokio::test]
async fn offsets_without_a_group_are_kept_and_deleted() {
    let brokers = start(1).await;
    let mut client = coordinator(&brokers, "tool").await;
    client.create_topic("orders", 1, 1).await;
    let nobody = || (StrBytes::default(), -1);
    assert_eq!(commit(&mut client, &group("tool"), nobody(), "orders", 5).await, 0);
    assert_eq!(committed(&mut client, "tool", "orders").await.1, 5);
    let request = OffsetFetchRequest::default().with_group_id(group("tool")).with_topics(None);
    let all: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 7, &request).await;
    assert_eq!(all.topics[0].partitions[0].committed_offset, 5);
    let partition = OffsetDeleteRequestPartition::default().with_partition_index(0);
    let topic =
        OffsetDeleteRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
    let request = OffsetDeleteRequest::default().with_group_id(group("tool")).with_topics(vec![topic]);
    let answer: OffsetDeleteResponse = client.ask(ApiKey::OffsetDelete, 0, &request).await;
    assert_eq!((answer.error_code, answer.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(committed(&mut client, "tool", "orders").await.1, -1);
    let answer = commit(&mut client, &group("tool"), (text("ghost"), 3), "orders", 5).await;
    assert_eq!(answer, code(ResponseError::UnknownMemberId));
}

/// The place in the list of the broker that coordinates the group.
async fn place_of_coordinator(brokers: &[TestBroker], id: &str) -> usize {
    let request = FindCoordinatorRequest::default().with_key(text(id));
    let found: FindCoordinatorResponse =
        brokers[0].client().await.ask(ApiKey::FindCoordinator, 2, &request).await;
    brokers.iter().position(|broker| broker.id() == found.node_id.0).expect("a coordinator")
}

#[tokio::test]
async fn a_group_outlives_its_coordinator() {
    let mut brokers = start(3).await;
    let mut member = Member::new(&brokers, "g", None).await;
    member.client.create_topic("orders", 1, 3).await;
    member.join().await;
    let own = member.id.clone();
    assert_eq!(member.sync(&[(&own, "a")]).await.error_code, 0);
    assert_eq!(member.commit("orders", 42).await, 0);
    let place = place_of_coordinator(&brokers, "g").await;
    let mut killed = brokers.remove(place);
    killed.kill().await;
    member.client = coordinator(&brokers, "g").await;
    assert_eq!(committed(&mut member.client, "g", "orders").await, (0, 42, "note".to_owned()));
    assert_eq!(member.heartbeat().await, 0);
    assert_eq!(&member.sync(&[]).await.assignment[..], b"a");
    assert_eq!(member.commit("orders", 43).await, 0);
    assert_eq!(committed(&mut member.client, "g", "orders").await.1, 43);
}

#[tokio::test]
async fn offsets_go_with_their_topic() {
    let brokers = start(1).await;
    let mut client = coordinator(&brokers, "tool").await;
    client.create_topic("orders", 1, 1).await;
    client.create_topic("others", 1, 1).await;
    for topic in ["orders", "others"] {
        let nobody = (StrBytes::default(), -1);
        assert_eq!(commit(&mut client, &group("tool"), nobody, topic, 5).await, 0);
    }
    // The topics are looked at every half second.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name("orders")]).with_timeout_ms(5000);
    let answer: DeleteTopicsResponse = client.ask(ApiKey::DeleteTopics, 5, &request).await;
    assert_eq!(answer.responses[0].error_code, 0);
    for _ in 0..100 {
        if committed(&mut client, "tool", "orders").await.1 == -1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(committed(&mut client, "tool", "orders").await.1, -1);
    assert_eq!(committed(&mut client, "tool", "others").await.1, 5);
}

#[tokio::test]
async fn another_broker_is_not_the_coordinator() {
    let brokers = start(3).await;
    let mut client = coordinator(&brokers, "g").await;
    client.create_topic("orders", 1, 1).await;
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g")]);
    let found: FindCoordinatorResponse = client.ask(ApiKey::FindCoordinator, 6, &request).await;
    let own = found.coordinators[0].node_id.0;
    let other = brokers.iter().find(|broker| broker.id() != own).unwrap();
    let mut client = other.client().await;
    let not_coordinator = code(ResponseError::NotCoordinator);
    let mut member = Member { client: other.client().await, ..Member::new(&brokers, "g", None).await };
    assert_eq!(member.try_join(9).await.error_code, not_coordinator);
    assert_eq!(member.heartbeat().await, not_coordinator);
    assert_eq!(committed(&mut client, "g", "orders").await.0, not_coordinator);
    assert_eq!(
        commit(&mut client, &group("g"), (StrBytes::default(), -1), "orders", 1).await,
        not_coordinator
    );
}

#[tokio::test]
async fn every_offered_version_is_answered() {
    let brokers = start(1).await;
    let mut client = coordinator(&brokers, "g").await;
    client.create_topic("orders", 1, 1).await;
    for version in 2..=9 {
        let mut member = Member::new(&brokers, &format!("join-{version}"), None).await;
        let mut answer = member.try_join(version).await;
        if version >= 4 {
            assert_eq!(answer.error_code, code(ResponseError::MemberIdRequired));
            answer = member.try_join(version).await;
        }
        assert_eq!((answer.error_code, answer.members.len()), (0, 1), "version {version}");
        member.generation = 9;
        assert_eq!(member.sync(&[]).await.error_code, code(ResponseError::IllegalGeneration));
    }
    for version in 1..=7 {
        let topics =
            OffsetFetchRequestTopic::default().with_name(name("orders")).with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(vec![topics]));
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].committed_offset, -1, "version {version}");
    }
    for version in 2..=9 {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(version.into());
        let topic =
            OffsetCommitRequestTopic::default().with_name(name("orders")).with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(group("g"))
            .with_generation_id_or_member_epoch(-1)
            .with_retention_time_ms(-1)
            .with_topics(vec![topic]);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, version, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "version {version}");
        assert_eq!(committed(&mut client, "g", "orders").await.1, i64::from(version));
    }
    for version in 0..=5 {
        let answer: ListGroupsResponse =
            client.ask(ApiKey::ListGroups, version, &ListGroupsRequest::default()).await;
        assert!(answer.groups.iter().any(|group| group.group_id.as_str() == "g"), "version {version}");
    }
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default().with_groups(vec![group("g")]);
        let answer: DescribeGroupsResponse = client.ask(ApiKey::DescribeGroups, version, &request).await;
        assert_eq!(answer.groups[0].group_state.as_str(), "Empty", "version {version}");
    }
    for version in 0..=5 {
        let request = LeaveGroupRequest::default().with_group_id(group("g"));
        let request = if version < 3 { request.with_member_id(text("m")) } else { request };
        let answer: LeaveGroupResponse = client.ask(ApiKey::LeaveGroup, version, &request).await;
        let expected = if version < 3 { code(ResponseError::UnknownMemberId) } else { 0 };
        assert_eq!(answer.error_code, expected, "version {version}");
    }
}
