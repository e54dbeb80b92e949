//! EndTxn: commits or aborts.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use super::{code, done, now, producer, shard};
use crate::kafka::Session;
use crate::kafka::authorization::Operation;
use crate::transactions::request::EndRequest;

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 2;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: EndTxnRequest,
    version: i16,
) -> EndTxnResponse {
    let result = end(session, &request).await;
    EndTxnResponse::default()
        .with_error_code(code(result, version, FENCED_FROM))
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
}

async fn end(session: &Session, request: &EndTxnRequest) -> Result<(), ResponseError> {
    let shard = shard(session, Operation::Write, &request.transactional_id)?;
    let end = EndRequest {
        transactional_id: request.transactional_id.to_string(),
        producer: producer(request.producer_id, request.producer_epoch),
        commit: request.committed,
    };
    done(shard.ask(now(session), |machine, now, ticket| machine.end(now, &end, ticket))?).await
}
