//! AddOffsetsToTxn: the partition of `__consumer_offsets` that the group's offsets lie in becomes part of the
//! transaction. Clients at `transaction.version` 2 do not send it.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use super::{add, code, producer};
use crate::kafka::Session;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::transactions::markers::partition_of_group;
use crate::transactions::request::AddRequest;

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 2;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AddOffsetsToTxnRequest,
    version: i16,
) -> AddOffsetsToTxnResponse {
    let result = add_offsets(session, &request).await;
    AddOffsetsToTxnResponse::default().with_error_code(code(result, version, FENCED_FROM))
}

async fn add_offsets(session: &Session, request: &AddOffsetsToTxnRequest) -> Result<(), ResponseError> {
    authorize(session, Operation::Read, Resource::Group(&request.group_id))?;
    // The producer may come before any member of the group.
    let made = crate::groups::ensure_topic(&session.node).await;
    made.map_err(|_| ResponseError::CoordinatorNotAvailable)?;
    let partition = partition_of_group(&session.node, &request.group_id);
    let partition = partition.ok_or(ResponseError::CoordinatorNotAvailable)?;
    let add_request = AddRequest {
        transactional_id: request.transactional_id.to_string(),
        producer: producer(request.producer_id, request.producer_epoch),
        partitions: BTreeSet::from([partition]),
        client_version: 0,
    };
    add(session, add_request).await
}
