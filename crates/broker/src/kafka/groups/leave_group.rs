//! LeaveGroup: one member until version 2, several from version 3 on.

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::{code, member_shard, now, owned};
use crate::groups::request::Leaving;
use crate::kafka::Session;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    let leaving: Vec<Leaving> = if version >= 3 {
        let members = request.members.iter();
        members
            .map(|member| Leaving {
                member: member.member_id.to_string(),
                instance: owned(&member.group_instance_id),
            })
            .collect()
    } else {
        vec![Leaving { member: request.member_id.to_string(), instance: None }]
    };
    let results = member_shard(session, &request.group_id).and_then(|shard| {
        let left = shard.with(now(session), |machine, now| machine.leave(now, &request.group_id, &leaving));
        left.and_then(|results| results)
    });
    let response = LeaveGroupResponse::default();
    match results {
        Err(error) => response.with_error_code(error.code()),
        Ok(results) if version < 3 => response.with_error_code(results.into_iter().next().map_or(0, code)),
        Ok(results) => {
            let members = request.members.into_iter().zip(results).map(|(member, result)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(code(result))
            });
            response.with_members(members.collect())
        }
    }
}
