//! The requests of a group's member to its coordinator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};

use super::assignment;
use super::membership::Membership;
use crate::config::HostPort;
use crate::kafka_client::connection::Connections;
use crate::kafka_client::{KafkaClient, KafkaError, REQUEST_TIMEOUT, TopicPartition, topic_name};

const FIND_COORDINATOR_VERSION: i16 = 3;
const JOIN_GROUP_VERSION: i16 = 5;
const SYNC_GROUP_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const LEAVE_GROUP_VERSION: i16 = 3;
const OFFSET_COMMIT_VERSION: i16 = 7;
const OFFSET_FETCH_VERSION: i16 = 5;
/// FindCoordinator: of a group.
const GROUP: i8 = 0;
/// JoinGroup: the kind of protocol, and the one protocol that is offered.
const CONSUMER: StrBytes = StrBytes::from_static_str("consumer");
const RANGE: StrBytes = StrBytes::from_static_str("range");
/// A join is answered when every member has joined, and no sooner than the group's initial delay.
const JOIN_PATIENCE: Duration = Duration::from_secs(30);

/// A group's coordinator, as one member reaches it.
pub(super) struct Coordinator {
    client: Arc<KafkaClient>,
    connections: Connections,
    pub group: String,
    address: Mutex<Option<HostPort>>,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Coordinator {
    pub fn new(client: Arc<KafkaClient>, group: String) -> Coordinator {
        Coordinator { connections: client.own_connections(), client, group, address: Mutex::default() }
    }

    fn group_id(&self) -> GroupId {
        GroupId(text(&self.group))
    }

    /// Forgets where the coordinator is.
    pub fn forget(&self) {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn address(&self) -> Result<HostPort, KafkaError> {
        let known = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(address) = known {
            return Ok(address);
        }
        let request = FindCoordinatorRequest::default().with_key(text(&self.group)).with_key_type(GROUP);
        let found = self.client.ask_any(&request, FIND_COORDINATOR_VERSION).await?;
        KafkaError::check(found.error_code, found.error_message.as_deref())?;
        let port = u16::try_from(found.port)
            .map_err(|_| KafkaError::Malformed(format!("the coordinator's port is {}", found.port)))?;
        let address = HostPort::new(found.host.as_str(), port);
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.clone());
        Ok(address)
    }

    async fn ask<R: Request>(
        &self,
        request: &R,
        version: i16,
        patience: Duration,
    ) -> Result<R::Response, KafkaError> {
        let address = self.address().await?;
        self.connections.request(&address, request, version, patience).await
    }

    /// Joins; the answer comes when the other members have joined too.
    pub async fn join(
        &self,
        membership: &mut Membership,
        topics: &[String],
    ) -> Result<JoinGroupResponse, KafkaError> {
        let config = &self.client.config;
        let milliseconds = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(RANGE)
            .with_metadata(assignment::subscription(topics)?);
        let request = JoinGroupRequest::default()
            .with_group_id(self.group_id())
            .with_session_timeout_ms(milliseconds(config.consumer_session_timeout))
            .with_rebalance_timeout_ms(milliseconds(config.consumer_rebalance_timeout))
            .with_member_id(text(&membership.member_id))
            .with_protocol_type(CONSUMER)
            .with_protocols(vec![protocol]);
        let patience = JOIN_PATIENCE + config.consumer_rebalance_timeout;
        let response = self.ask(&request, JOIN_GROUP_VERSION, patience).await?;
        if !response.member_id.is_empty() {
            membership.member_id = response.member_id.to_string();
        }
        KafkaError::check(response.error_code, None)?;
        membership.generation = response.generation_id;
        Ok(response)
    }

    /// Gives the leader's shares and gets one's own.
    pub async fn sync(
        &self,
        membership: &Membership,
        shares: &BTreeMap<String, Vec<TopicPartition>>,
    ) -> Result<Vec<TopicPartition>, KafkaError> {
        let mut assignments = Vec::new();
        for (member, share) in shares {
            let share: Bytes = assignment::encode(share)?;
            assignments.push(
                SyncGroupRequestAssignment::default().with_member_id(text(member)).with_assignment(share),
            );
        }
        let request = SyncGroupRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(membership.generation)
            .with_member_id(text(&membership.member_id))
            .with_assignments(assignments);
        let response = self.ask(&request, SYNC_GROUP_VERSION, JOIN_PATIENCE).await?;
        KafkaError::check(response.error_code, None)?;
        assignment::decode(response.assignment)
    }

    pub async fn heartbeat(&self, membership: &Membership) -> Result<(), KafkaError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id(membership.generation)
            .with_member_id(text(&membership.member_id));
        let response = self.ask(&request, HEARTBEAT_VERSION, REQUEST_TIMEOUT).await?;
        KafkaError::check(response.error_code, None)
    }

    pub async fn leave(&self, membership: &Membership) -> Result<(), KafkaError> {
        let member = MemberIdentity::default().with_member_id(text(&membership.member_id));
        let request = LeaveGroupRequest::default().with_group_id(self.group_id()).with_members(vec![member]);
        let response = self.ask(&request, LEAVE_GROUP_VERSION, REQUEST_TIMEOUT).await?;
        KafkaError::check(response.error_code, None)
    }

    /// The offsets that the group has committed; -1 for none.
    pub async fn committed(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, i64>, KafkaError> {
        let topics = by_topic(partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition)))
            .into_iter()
            .map(|(topic, partitions)| {
                OffsetFetchRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partition_indexes(partitions)
            })
            .collect();
        let request = OffsetFetchRequest::default().with_group_id(self.group_id()).with_topics(Some(topics));
        let response = self.ask(&request, OFFSET_FETCH_VERSION, REQUEST_TIMEOUT).await?;
        KafkaError::check(response.error_code, None)?;
        let mut offsets = BTreeMap::new();
        for topic in response.topics {
            for partition in topic.partitions {
                KafkaError::check(partition.error_code, None)?;
                let key = (topic.name.to_string(), partition.partition_index);
                offsets.insert(key, partition.committed_offset);
            }
        }
        Ok(offsets)
    }

    pub async fn commit(
        &self,
        membership: &Membership,
        offsets: &BTreeMap<TopicPartition, i64>,
    ) -> Result<(), KafkaError> {
        let pairs =
            offsets.iter().map(|((topic, partition), offset)| (topic.as_str(), (*partition, *offset)));
        let topics = by_topic(pairs)
            .into_iter()
            .map(|(topic, partitions)| {
                let partition = |(index, offset): (i32, i64)| {
                    OffsetCommitRequestPartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(offset)
                };
                OffsetCommitRequestTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(partitions.into_iter().map(partition).collect())
            })
            .collect();
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(membership.generation)
            .with_member_id(text(&membership.member_id))
            .with_topics(topics);
        let response = self.ask(&request, OFFSET_COMMIT_VERSION, REQUEST_TIMEOUT).await?;
        let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.try_for_each(|partition| KafkaError::check(partition.error_code, None))
    }
}

fn by_topic<'a, T>(pairs: impl Iterator<Item = (&'a str, T)>) -> BTreeMap<&'a str, Vec<T>> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for (topic, value) in pairs {
        topics.entry(topic).or_default().push(value);
    }
    topics
}
