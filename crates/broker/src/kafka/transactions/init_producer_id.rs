//! InitProducerId: an id for an idempotent producer; an id and an epoch for a transactional one.

use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{ask_for_producer, code, fresh_id, producer};
use crate::kafka::Session;
use crate::kafka::authorization::{Operation, Resource, allowed, authorize};
use crate::transactions::request::{InitRequest, ProducerEpoch};

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 4;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let result = match &request.transactional_id {
        None => idempotent(session).await,
        Some(id) => init(session, id, &request).await,
    };
    let response = InitProducerIdResponse::default();
    match result {
        Ok(producer) => {
            response.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch)
        }
        Err(error) => response
            .with_error_code(code(Err(error), version, FENCED_FROM))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1),
    }
}

/// A producer without transactions. Who may write to any topic may be one (KAFKA-10618, from Kafka 2.8 on).
async fn idempotent(session: &Session) -> Result<ProducerEpoch, ResponseError> {
    if let Err(error) = authorize(session, Operation::IdempotentWrite, Resource::Cluster) {
        let writes = session.node.with_cluster(|cluster| {
            let mut topics = cluster.state.topics.visible();
            topics
                .any(|topic| allowed(session, &cluster.state, Operation::Write, Resource::Topic(&topic.name)))
        });
        if !writes {
            return Err(error);
        }
    }
    fresh_id(session).await.map(|id| ProducerEpoch { id, epoch: 0 })
}

async fn init(
    session: &Session,
    id: &str,
    request: &InitProducerIdRequest,
) -> Result<ProducerEpoch, ResponseError> {
    // Until version 2, and where a producer starts anew, both are -1.
    let given = (request.producer_id.0, request.producer_epoch);
    let current = match given {
        (-1, -1) => None,
        (id, epoch) if id >= 0 && epoch >= 0 => Some(producer(request.producer_id, epoch)),
        _ => return Err(ResponseError::InvalidRequest),
    };
    let timeout = Duration::from_millis(u64::try_from(request.transaction_timeout_ms).unwrap_or(0));
    ask_for_producer(session, id, |machine, now, fresh, ticket| {
        let init = InitRequest { transactional_id: id.to_owned(), timeout, current, fresh };
        machine.init(now, init, ticket);
    })
    .await
}
