//! The keys of idempotent and transactional producers: from a request to the coordinator
//! ([`crate::transactions`]) and back.
//!
//! Versions from those of KIP-890's second part on are not offered: without the feature
//! `transaction.version` clients do not use them.

pub(super) mod add_offsets_to_txn;
pub(super) mod add_partitions_to_txn;
pub(super) mod describe_producers;
pub(super) mod describe_transactions;
pub(super) mod end_txn;
pub(super) mod init_producer_id;
pub(super) mod list_transactions;
pub(super) mod txn_offset_commit;

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProducerId;
use tokio::sync::oneshot;

use super::Session;
use super::authorization::{Operation, Resource, authorize};
use crate::coordinator::{Now, Shard};
use crate::transactions::machine::TransactionMachine;
use crate::transactions::request::{AddRequest, Answer, ProducerEpoch};

type TransactionShard = Arc<Shard<TransactionMachine>>;

fn now(session: &Session) -> Now {
    Now::of(&session.node)
}

/// The shard of a transactional id, which is not empty, if the client may do this with it.
fn shard(session: &Session, operation: Operation, id: &str) -> Result<TransactionShard, ResponseError> {
    authorize(session, operation, Resource::TransactionalId(id))?;
    if id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    session.node.transactions.shard(&session.node, id)
}

/// Waits until something is written. If the broker ceases to be the coordinator there is no answer.
async fn done(waiting: oneshot::Receiver<Answer>) -> Result<(), ResponseError> {
    match waiting.await {
        Ok(Answer::Done(result)) => result,
        Ok(Answer::Init(_)) => Err(ResponseError::UnknownServerError),
        Err(_) => Err(ResponseError::NotCoordinator),
    }
}

fn producer(id: ProducerId, epoch: i16) -> ProducerEpoch {
    ProducerEpoch { id: id.0, epoch }
}

/// The code of a result; `PRODUCER_FENCED` is known from version `fenced_from` on (KIP-588), and is
/// `INVALID_PRODUCER_EPOCH` before.
fn code(result: Result<(), ResponseError>, version: i16, fenced_from: i16) -> i16 {
    match result {
        Ok(()) => 0,
        Err(ResponseError::ProducerFenced) if version < fenced_from => {
            ResponseError::InvalidProducerEpoch.code()
        }
        Err(error) => error.code(),
    }
}

/// Adds partitions to a producer's transaction.
async fn add(session: &Session, request: AddRequest) -> Result<(), ResponseError> {
    let shard = shard(session, Operation::Write, &request.transactional_id)?;
    done(shard.ask(now(session), |machine, now, ticket| machine.add(now, &request, ticket))?).await
}
