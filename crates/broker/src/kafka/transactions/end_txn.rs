//! EndTxn: commits or aborts. From version 5 on the producer's epoch is raised by it, and the answer tells what the
//! producer goes on with (KIP-890).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::{ask_for_producer, code, producer};
use crate::kafka::Session;
use crate::transactions::EPOCH_PER_TRANSACTION;
use crate::transactions::request::{EndRequest, ProducerEpoch};

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 2;
/// From here on the client is at `transaction.version` 2.
const RAISES_EPOCH: i16 = 5;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: EndTxnRequest,
    version: i16,
) -> EndTxnResponse {
    let result = end(session, &request, version).await;
    let none = ProducerEpoch { id: -1, epoch: -1 };
    let producer = result.unwrap_or(none);
    EndTxnResponse::default()
        .with_error_code(code(result.map(drop), version, FENCED_FROM))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
}

async fn end(
    session: &Session,
    request: &EndTxnRequest,
    version: i16,
) -> Result<ProducerEpoch, ResponseError> {
    let id = &request.transactional_id;
    ask_for_producer(session, id, |machine, now, fresh, ticket| {
        let end = EndRequest {
            transactional_id: id.to_string(),
            producer: producer(request.producer_id, request.producer_epoch),
            commit: request.committed,
            client_version: if version >= RAISES_EPOCH { EPOCH_PER_TRANSACTION } else { 0 },
            fresh,
        };
        machine.end(now, &end, ticket);
    })
    .await
}
