//! DescribeGroups.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::{now, shard};
use crate::groups::request;
use crate::kafka::authorization::{OPERATIONS_NOT_ASKED, Operation, Resource, authorized_operations};
use crate::kafka::{Session, text};

/// From here on a group that does not exist is an error; before it is a group in state Dead.
const TELLS_NOT_FOUND: i16 = 6;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let asked = request.include_authorized_operations;
    let described = request.groups.into_iter().map(|group| {
        let operations = if asked { operations(session, &group) } else { OPERATIONS_NOT_ASKED };
        describe(session, group, version).with_authorized_operations(operations)
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

fn operations(session: &Session, group: &GroupId) -> i32 {
    let group = Resource::Group(group);
    session.node.with_cluster(|cluster| authorized_operations(session, &cluster.state, group))
}

fn describe(session: &Session, id: GroupId, version: i16) -> DescribedGroup {
    let found = shard(session, Operation::Describe, &id)
        .and_then(|shard| shard.with(now(session), |machine, _| machine.describe(&id)));
    let described = DescribedGroup::default().with_group_id(id.clone());
    match found {
        Err(error) => described.with_error_code(error.code()),
        Ok(None) if version >= TELLS_NOT_FOUND => described
            .with_group_state(text("Dead"))
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(text(format!("there is no group '{}'", id.as_str())))),
        Ok(None) => described.with_group_state(text("Dead")),
        Ok(Some(group)) => described
            .with_group_state(text(group.state))
            .with_protocol_type(text(group.protocol_type))
            .with_protocol_data(text(group.protocol))
            .with_members(group.members.into_iter().map(|one| member(one, version)).collect()),
    }
}

fn member(member: request::DescribedMember, version: i16) -> DescribedGroupMember {
    DescribedGroupMember::default()
        .with_member_id(text(member.id))
        .with_group_instance_id(member.instance.map(text).filter(|_| version >= 4))
        .with_client_id(text(member.client_id))
        .with_client_host(text(member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}
