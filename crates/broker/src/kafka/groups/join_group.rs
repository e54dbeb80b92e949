//! JoinGroup.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::{answered, member_shard, now, owned};
use crate::groups::request::{Answer, JoinAnswer, JoinRequest};
use crate::kafka::{Session, text};

/// From here on a client without an id is given one and joins again (KIP-394).
const ID_REQUIRED_FIRST: i16 = 4;
/// From here on a leader can be told not to assign (KIP-814).
const KNOWS_SKIP_ASSIGNMENT: i16 = 9;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let member = request.member_id.to_string();
    let answer = match join(session, request, version).await {
        Ok(answer) => answer,
        Err(error) => JoinAnswer::error(error, &member),
    };
    response(answer, version)
}

async fn join(
    session: &Session,
    request: JoinGroupRequest,
    version: i16,
) -> Result<JoinAnswer, ResponseError> {
    let shard = member_shard(session, &request.group_id)?;
    let peer = session.connection.peer;
    let session_timeout = millis(request.session_timeout_ms);
    let protocol = |protocol: &kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| {
        (protocol.name.to_string(), protocol.metadata.clone())
    };
    let join = JoinRequest {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        instance: owned(&request.group_instance_id),
        client_id: session.client_id.to_string(),
        client_host: peer.map(|peer| peer.ip().to_string()).unwrap_or_default(),
        session_timeout,
        // Version 0 has none; there the session's counts.
        rebalance_timeout: if version >= 1 { millis(request.rebalance_timeout_ms) } else { session_timeout },
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.iter().map(protocol).collect(),
        id_required_first: version >= ID_REQUIRED_FIRST,
        knows_skip_assignment: version >= KNOWS_SKIP_ASSIGNMENT,
        fresh: session.node.new_uuid(),
    };
    let waiting = shard.ask(now(session), |machine, now, ticket| machine.join(now, join, ticket))?;
    match answered(waiting).await? {
        Answer::Join(answer) => Ok(answer),
        Answer::Sync(_) | Answer::Heartbeat(_) | Answer::Done(_) => Err(ResponseError::UnknownServerError),
    }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn response(answer: JoinAnswer, version: i16) -> JoinGroupResponse {
    let members = answer.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.id))
            .with_group_instance_id(member.instance.map(text).filter(|_| version >= 5))
            .with_metadata(member.metadata)
    });
    // Before version 7 there is no null.
    let protocol = answer.protocol.or_else(|| (version < 7).then(String::new));
    JoinGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_generation_id(answer.generation)
        .with_protocol_type(answer.protocol_type.map(text).filter(|_| version >= 7))
        .with_protocol_name(protocol.map(text))
        .with_leader(text(answer.leader))
        .with_skip_assignment(answer.skip_assignment)
        .with_member_id(text(answer.member))
        .with_members(members.collect())
}
