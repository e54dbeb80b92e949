//! DeleteGroups.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::{code, done, now, shard};
use crate::kafka::Session;
use crate::kafka::authorization::Operation;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DeleteGroupsRequest,
    _version: i16,
) -> DeleteGroupsResponse {
    let mut results = Vec::new();
    for group in request.groups_names {
        let result = delete(session, &group).await;
        results.push(DeletableGroupResult::default().with_group_id(group).with_error_code(code(result)));
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete(session: &Session, group: &str) -> Result<(), ResponseError> {
    let shard = shard(session, Operation::Delete, group)?;
    done(shard.ask(now(session), |machine, now, ticket| machine.delete(now, group, ticket))?).await
}
