//! SyncGroup.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{answered, caller, member_shard, now, owned};
use crate::groups::request::{Answer, SyncAnswer, SyncRequest};
use crate::kafka::{Session, text};

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let answer = sync(session, request).await.unwrap_or_else(|error| {
        // A coordinator that loads does not know the rebalance any more: the member has to join again.
        let loading = error == ResponseError::CoordinatorLoadInProgress;
        SyncAnswer::error(if loading { ResponseError::RebalanceInProgress } else { error })
    });
    SyncGroupResponse::default()
        .with_error_code(answer.error.map_or(0, |error| error.code()))
        .with_protocol_type(answer.protocol_type.map(text).filter(|_| version >= 5))
        .with_protocol_name(answer.protocol.map(text).filter(|_| version >= 5))
        .with_assignment(answer.assignment)
}

async fn sync(session: &Session, request: SyncGroupRequest) -> Result<SyncAnswer, ResponseError> {
    let shard = member_shard(session, &request.group_id)?;
    let assignments = request.assignments.into_iter();
    let sync = SyncRequest {
        group: request.group_id.to_string(),
        caller: caller(&request.member_id, &request.group_instance_id, request.generation_id),
        protocol_type: owned(&request.protocol_type),
        protocol: owned(&request.protocol_name),
        assignments: assignments.map(|entry| (entry.member_id.to_string(), entry.assignment)).collect(),
    };
    let waiting = shard.ask(now(session), |machine, now, ticket| machine.sync(now, sync, ticket))?;
    match answered(waiting).await? {
        Answer::Sync(answer) => Ok(answer),
        Answer::Join(_) | Answer::Heartbeat(_) | Answer::Done(_) => Err(ResponseError::UnknownServerError),
    }
}
