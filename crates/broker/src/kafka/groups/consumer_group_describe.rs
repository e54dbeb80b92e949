//! ConsumerGroupDescribe (KIP-848).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
};
use uuid::Uuid;

use super::{now, shard};
use crate::groups::consumer_protocol::{self, ConsumerGroup};
use crate::kafka::authorization::{
    OPERATIONS_NOT_ASKED, Operation, Resource, authorize, authorized_operations,
};
use crate::kafka::{Session, text};

/// The kind of every member: there are none of the classic protocol in these groups.
const OF_CONSUMER_PROTOCOL: i8 = 1;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let names = names(session);
    let asked = request.include_authorized_operations;
    let groups = request.group_ids.into_iter().map(|id| {
        let group = Resource::Group(&id);
        let operations = match asked {
            true => {
                session.node.with_cluster(|cluster| authorized_operations(session, &cluster.state, group))
            }
            false => OPERATIONS_NOT_ASKED,
        };
        let described = match find(session, &id) {
            Ok(found) => describe(&found, &names, version),
            Err((error, message)) => {
                DescribedGroup::default().with_error_code(error.code()).with_error_message(message.map(text))
            }
        };
        described.with_group_id(id).with_authorized_operations(operations)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

/// The names of the topics.
fn names(session: &Session) -> BTreeMap<Uuid, TopicName> {
    let image = session.node.kafka.topic_image(&session.node);
    image.topics.iter().map(|(name, topic)| (topic.id, TopicName(text(name.as_str())))).collect()
}

fn find(session: &Session, id: &GroupId) -> Result<ConsumerGroup, (ResponseError, Option<String>)> {
    let shard = shard(session, Operation::Describe, id).map_err(|error| (error, None))?;
    let found = shard.with(now(session), |machine, _| machine.consumer_group(id).cloned());
    let group = found.map_err(|error| (error, None))?.ok_or_else(|| {
        let message = format!("there is no group '{}' of the consumer protocol", id.as_str());
        (ResponseError::GroupIdNotFound, Some(message))
    })?;
    for topic in group.subscribed_topics() {
        authorize(session, Operation::Describe, Resource::Topic(&topic)).map_err(|error| (error, None))?;
    }
    Ok(group)
}

fn describe(group: &ConsumerGroup, names: &BTreeMap<Uuid, TopicName>, version: i16) -> DescribedGroup {
    let member = |(id, member): (&String, &consumer_protocol::Member)| {
        let wants = &member.subscription;
        let target = group.targets.get(id).cloned().unwrap_or_default();
        let described = Member::default()
            .with_member_id(text(id.as_str()))
            .with_instance_id(wants.instance.clone().map(text))
            .with_rack_id(wants.rack.clone().map(text))
            .with_member_epoch(member.current.epoch)
            .with_client_id(text(wants.client_id.as_str()))
            .with_client_host(text(wants.client_host.as_str()))
            .with_subscribed_topic_names(
                wants.topics.iter().map(|topic| TopicName(text(topic.as_str()))).collect(),
            )
            .with_subscribed_topic_regex(wants.regex.clone().map(text))
            .with_assignment(assignment(&member.current.assigned, names))
            .with_target_assignment(assignment(&target, names));
        if version >= 1 { described.with_member_type(OF_CONSUMER_PROTOCOL) } else { described }
    };
    DescribedGroup::default()
        .with_group_state(text(group.state()))
        .with_group_epoch(group.epoch)
        .with_assignment_epoch(group.target_epoch)
        .with_assignor_name(text(group.assignor()))
        .with_members(group.members.iter().map(member).collect())
}

/// Topics that are no more have no name and are left out.
fn assignment(assignment: &consumer_protocol::Assignment, names: &BTreeMap<Uuid, TopicName>) -> Assignment {
    let topics = assignment.iter().filter_map(|(topic, indexes)| {
        let name = names.get(topic)?.clone();
        let partitions = indexes.iter().copied().collect();
        let topic = TopicPartitions::default().with_topic_id(*topic).with_topic_name(name);
        Some(topic.with_partitions(partitions))
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
