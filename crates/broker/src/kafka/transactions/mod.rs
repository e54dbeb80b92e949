//! The keys of idempotent and transactional producers: from a request to the coordinator
//! ([`crate::transactions`]) and back.
//!
//! Clients that see the feature `transaction.version` at 2 use EndTxn 5, Produce 12 and TxnOffsetCommit 5 (KIP-890);
//! from those versions on a producer's transactions have an epoch each. Others go on as before.

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

use super::Session;
use super::authorization::{Operation, Resource, authorize};
use crate::coordinator::{Now, Shard, Ticket};
use crate::transactions::machine::TransactionMachine;
use crate::transactions::request::{AddRequest, Answer, NotDone, ProducerEpoch};
use crate::transactions::verification;

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

fn producer(id: ProducerId, epoch: i16) -> ProducerEpoch {
    ProducerEpoch { id: id.0, epoch }
}

/// A producer id that nobody has.
async fn fresh_id(session: &Session) -> Result<i64, ResponseError> {
    session.node.producer_ids.next(&session.node).await.map_err(|refusal| {
        tracing::debug!(%refusal, "no producer id");
        ResponseError::CoordinatorNotAvailable
    })
}

/// Asks a transactional id's coordinator what its producer goes on with; again with a fresh producer id if one is
/// needed.
async fn ask_for_producer(
    session: &Session,
    id: &str,
    ask: impl Fn(&mut TransactionMachine, Now, Option<i64>, Ticket),
) -> Result<ProducerEpoch, ResponseError> {
    let mut fresh = None;
    loop {
        let shard = shard(session, Operation::Write, id)?;
        let waiting = shard.ask(now(session), |machine, now, ticket| ask(machine, now, fresh, ticket))?;
        match waiting.await {
            Ok(Answer::Producer(Ok(producer))) => return Ok(producer),
            Ok(Answer::Producer(Err(NotDone::Kafka(error)))) => return Err(error),
            Ok(Answer::Producer(Err(NotDone::NeedsProducerId))) if fresh.is_none() => {
                fresh = Some(fresh_id(session).await?);
            }
            Ok(_) => return Err(ResponseError::UnknownServerError),
            // The broker has ceased to be the coordinator.
            Err(_) => return Err(ResponseError::NotCoordinator),
        }
    }
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
    shard(session, Operation::Write, &request.transactional_id)?;
    verification::add(&session.node, request).await
}
