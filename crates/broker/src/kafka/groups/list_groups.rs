//! ListGroups: the groups that this broker coordinates.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::now;
use crate::groups::request;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let states = &request.states_filter;
    let types = &request.types_filter;
    let wanted = |group: &request::ListedGroup| named(states, group.state) && named(types, group.kind.name());
    let mut groups = Vec::new();
    let mut error = 0;
    for shard in session.node.groups.shards(&session.node) {
        let listed = shard.with(now(session), |machine, _| machine.list().filter(wanted).collect::<Vec<_>>());
        match listed {
            Ok(listed) => groups.extend(listed),
            Err(ResponseError::CoordinatorLoadInProgress) => {
                error = ResponseError::CoordinatorLoadInProgress.code();
            }
            // Another broker lists those.
            Err(_) => {}
        }
    }
    if authorize(session, Operation::Describe, Resource::Cluster).is_err() {
        let may = |group: &str| authorize(session, Operation::Describe, Resource::Group(group)).is_ok();
        groups.retain(|group| may(&group.id));
    }
    groups.sort_by(|a, b| a.id.cmp(&b.id));
    let listed = groups.into_iter().map(|group| {
        let kind = group.kind.name();
        let listed = ListedGroup::default()
            .with_group_id(GroupId(text(group.id)))
            .with_protocol_type(text(group.protocol_type));
        let listed = if version >= 4 { listed.with_group_state(text(group.state)) } else { listed };
        if version >= 5 { listed.with_group_type(text(kind)) } else { listed }
    });
    ListGroupsResponse::default().with_error_code(error).with_groups(listed.collect())
}

/// An empty filter takes all; names are compared without regard to case (KIP-518).
fn named(filter: &[StrBytes], name: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
}
