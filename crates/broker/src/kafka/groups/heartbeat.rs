//! Heartbeat.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{caller, code, member_shard, now};
use crate::kafka::Session;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: HeartbeatRequest,
    _version: i16,
) -> HeartbeatResponse {
    let caller = caller(&request.member_id, &request.group_instance_id, request.generation_id);
    let result = member_shard(session, &request.group_id).and_then(|shard| {
        let beat =
            shard.with(now(session), |machine, now| machine.heartbeat(now, &request.group_id, &caller));
        beat.and_then(|result| result)
    });
    // A coordinator that loads does not know yet; the member will be asked when it does.
    let result = match result {
        Err(ResponseError::CoordinatorLoadInProgress) => Ok(()),
        result => result,
    };
    HeartbeatResponse::default().with_error_code(code(result))
}
