//! The keys of consumer groups: from a request to the coordinator ([`crate::groups`]) and back.
//!
//! A request that comes to another broker than the group's coordinator is answered with `NOT_COORDINATOR`
//! (redpanda.md 4.3).

pub(super) mod consumer_group_describe;
pub(super) mod consumer_group_heartbeat;
pub(super) mod delete_groups;
pub(super) mod describe_groups;
pub(super) mod heartbeat;
pub(super) mod join_group;
pub(super) mod leave_group;
pub(super) mod list_groups;
pub(super) mod offset_commit;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod sync_group;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::Session;
use super::authorization::{Operation, Resource, authorize};
use crate::coordinator::{Now, Shard};
use crate::groups::machine::GroupMachine;
use crate::groups::offsets::TopicPartition;
use crate::groups::request::{Answer, Caller};

pub(super) type GroupShard = Arc<Shard<GroupMachine>>;

/// The shard of a group that a member, or a transaction, works with: its id is not empty.
pub(super) fn member_shard(session: &Session, group: &str) -> Result<GroupShard, ResponseError> {
    let shard = shard(session, Operation::Read, group);
    if group.is_empty() { Err(ResponseError::InvalidGroupId) } else { shard }
}

/// The shard of a group, if the client may do this with the group.
fn shard(session: &Session, operation: Operation, group: &str) -> Result<GroupShard, ResponseError> {
    authorize(session, operation, Resource::Group(group))?;
    session.node.groups.shard(&session.node, group)
}

/// Whether the client may do this with the partition, and there is one.
pub(super) fn usable(
    session: &Session,
    operation: Operation,
    partition: &TopicPartition,
) -> Result<(), ResponseError> {
    authorize(session, operation, Resource::Topic(&partition.topic))?;
    if exists(session, partition) { Ok(()) } else { Err(ResponseError::UnknownTopicOrPartition) }
}

fn now(session: &Session) -> Now {
    Now::of(&session.node)
}

/// Waits for an answer. If the broker ceases to be the coordinator there is none.
async fn answered(waiting: oneshot::Receiver<Answer>) -> Result<Answer, ResponseError> {
    waiting.await.map_err(|_| ResponseError::NotCoordinator)
}

/// Waits until something is written.
pub(super) async fn done(waiting: oneshot::Receiver<Answer>) -> Result<(), ResponseError> {
    match answered(waiting).await? {
        Answer::Done(result) => result,
        Answer::Join(_) | Answer::Sync(_) | Answer::Heartbeat(_) => Err(ResponseError::UnknownServerError),
    }
}

fn code(result: Result<(), ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

fn owned(text: &Option<StrBytes>) -> Option<String> {
    text.as_ref().map(|text| text.to_string())
}

pub(super) fn caller(member: &StrBytes, instance: &Option<StrBytes>, generation: i32) -> Caller {
    Caller { member: member.to_string(), instance: owned(instance), generation }
}

/// Whether a topic that clients see has the partition.
fn exists(session: &Session, partition: &TopicPartition) -> bool {
    session.node.with_cluster(|cluster| {
        let topic = cluster.state.topics.get(&partition.topic).filter(|topic| topic.is_visible());
        let count = topic.map_or(0, |topic| topic.partitions.len());
        usize::try_from(partition.partition).is_ok_and(|index| index < count)
    })
}
