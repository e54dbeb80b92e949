//! Whether a partition belongs to a producer's open transaction: what the partition's leader asks the coordinator before
//! it appends the transaction's first record (KIP-890).
//!
//! Producers of `transaction.version` 2 add their partitions like that. Those of others have added them themselves, and
//! a record that comes when its transaction is over (a request that was delayed) must not begin one that nobody ends. In
//! Kafka this is AddPartitionsToTxn 4 and 5 between brokers (`AddPartitionsToTxnManager`); here it crosses the brokers'
//! own RPC.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::request::{AddRequest, Answer, ProducerEpoch};
use super::{EPOCH_PER_TRANSACTION, TOPIC};
use crate::coordinator::Now;
use crate::groups::offsets::TopicPartition;
use crate::node::Node;
use crate::rpc::{Reply, Request};

/// How long a coordinator may take. Kafka: as long as its `request.timeout.ms`; writes of coordinators take up to 5 s here.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Kafka's `add.partitions.to.txn.retry.backoff.ms`: before asking again while an earlier change is under way.
const RETRY: Duration = Duration::from_millis(20);
/// Kafka's `add.partitions.to.txn.max.timeout.ms`: how long to ask again for.
const RETRY_MAX: Duration = Duration::from_millis(100);

/// What a request's version lets the leader do and say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Support {
    /// The partition is added (Produce 12, TxnOffsetCommit 5).
    Adds,
    /// The client knows `TRANSACTION_ABORTABLE` (Produce 11, TxnOffsetCommit 4).
    Abortable,
    /// The client knows neither.
    Neither,
}

/// Partitions of one producer's transaction, for its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionCheck {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Add them, and not merely tell whether they have been added.
    pub adds: bool,
    /// Topics and partitions, each once.
    pub partitions: BTreeSet<(String, i32)>,
}

/// Results for the partitions of a [`PartitionCheck`], in their order: Kafka's codes.
pub(crate) type Codes = Vec<i16>;

impl Support {
    /// Of a Produce request (Kafka: `produceRequestVersionToTransactionSupportedOperation`).
    pub fn of_produce(version: i16) -> Support {
        Support::of(version, 12)
    }

    /// Of a TxnOffsetCommit request (Kafka: `txnOffsetCommitRequestVersionToTransactionSupportedOperation`).
    pub fn of_offset_commit(version: i16) -> Support {
        Support::of(version, 5)
    }

    fn of(version: i16, adds_from: i16) -> Support {
        match version {
            _ if version >= adds_from => Support::Adds,
            _ if version == adds_from - 1 => Support::Abortable,
            _ => Support::Neither,
        }
    }

    /// What the coordinator's error is for the client (Kafka: `AddPartitionsToTxnHandler`): producers expect
    /// `INVALID_PRODUCER_EPOCH` where a newer one is known, and abort their transaction.
    fn for_client(self, error: ResponseError) -> ResponseError {
        match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            ResponseError::TransactionAbortable if self == Support::Neither => ResponseError::InvalidTxnState,
            error => error,
        }
    }
}

/// Whether the producer's open transaction has, or gets, the partitions: a result for each, in their order.
pub(crate) async fn ask(
    node: &Arc<Node>,
    transactional_id: &str,
    producer: ProducerEpoch,
    partitions: BTreeSet<(String, i32)>,
    support: Support,
) -> Vec<Result<(), ResponseError>> {
    let check = PartitionCheck {
        transactional_id: transactional_id.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        adds: support == Support::Adds,
        partitions,
    };
    let again_until = Instant::now() + RETRY_MAX;
    loop {
        let codes = ask_coordinator(node, &check).await;
        let busy = codes.contains(&ResponseError::ConcurrentTransactions.code());
        if busy && check.adds && Instant::now() + RETRY <= again_until {
            sleep(RETRY).await;
            continue;
        }
        let result = |code| match ResponseError::try_from_code(code) {
            None => Ok(()),
            Some(error) => Err(support.for_client(error)),
        };
        return codes.into_iter().map(result).collect();
    }
}

async fn ask_coordinator(node: &Arc<Node>, check: &PartitionCheck) -> Codes {
    let all = |error: ResponseError| vec![error.code(); check.partitions.len()];
    let coordinator = node.transactions.partition_of(node, &check.transactional_id);
    let leader = coordinator.and_then(|key| node.leader_of(key));
    let Some((leader, _)) = leader else { return all(ResponseError::CoordinatorNotAvailable) };
    if leader == node.id() {
        return timeout(TIMEOUT, answer(node, check))
            .await
            .unwrap_or_else(|_| all(ResponseError::NetworkException));
    }
    let Some(member) = node.with_cluster(|cluster| cluster.members.get(leader).cloned()) else {
        return all(ResponseError::CoordinatorNotAvailable);
    };
    match node.call(&member, Request::CheckTransaction(check.clone()), &[], TIMEOUT).await {
        Ok((Reply::TransactionChecked(codes), _)) if codes.len() == check.partitions.len() => codes,
        Ok(_) => all(ResponseError::UnknownServerError),
        Err(error) => {
            tracing::debug!(leader, %error, topic = TOPIC, "the coordinator of a transaction does not answer");
            all(ResponseError::NetworkException)
        }
    }
}

/// Answers as the coordinator.
pub(crate) async fn answer(node: &Arc<Node>, check: &PartitionCheck) -> Codes {
    let partitions = check.partitions.iter().map(|(topic, index)| TopicPartition::new(topic.clone(), *index));
    let request = AddRequest {
        transactional_id: check.transactional_id.clone(),
        producer: ProducerEpoch { id: check.producer_id, epoch: check.producer_epoch },
        partitions: partitions.collect(),
        client_version: EPOCH_PER_TRANSACTION,
    };
    let results = if check.adds {
        add(node, request).await.map(|()| vec![Ok(()); check.partitions.len()])
    } else {
        verify(node, &request)
    };
    let code = |result: Result<(), ResponseError>| result.err().map_or(0, |error| error.code());
    match results {
        Ok(results) => results.into_iter().map(code).collect(),
        Err(error) => vec![error.code(); check.partitions.len()],
    }
}

/// Adds partitions as the coordinator, if it is that of the transactional id.
///
/// # Errors
/// Why they are not added.
pub(crate) async fn add(node: &Arc<Node>, request: AddRequest) -> Result<(), ResponseError> {
    let shard = node.transactions.shard(node, &request.transactional_id)?;
    let waiting = shard.ask(Now::of(node), |machine, now, ticket| machine.add(now, &request, ticket))?;
    match waiting.await {
        Ok(Answer::Done(result)) => result,
        Ok(Answer::Producer(_)) => Err(ResponseError::UnknownServerError),
        // The broker has ceased to be the coordinator.
        Err(_) => Err(ResponseError::NotCoordinator),
    }
}

/// Tells which partitions the open transaction has, as the coordinator.
///
/// # Errors
/// The producer has no such transaction, or this broker is not its coordinator.
pub(crate) fn verify(
    node: &Arc<Node>,
    request: &AddRequest,
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    let shard = node.transactions.shard(node, &request.transactional_id)?;
    shard.with(Now::of(node), |machine, _| machine.verify(request))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_say_what_a_client_can_be_told() {
        let produce = [9, 10, 11, 12, 13].map(Support::of_produce);
        let expected = [Support::Neither, Support::Neither, Support::Abortable, Support::Adds, Support::Adds];
        assert_eq!(produce, expected);
        assert_eq!([3, 4, 5].map(Support::of_offset_commit), expected[1..4]);
        for support in [Support::Neither, Support::Abortable, Support::Adds] {
            let told = support.for_client(ResponseError::ProducerFenced);
            assert_eq!(told, ResponseError::InvalidProducerEpoch, "{support:?}");
        }
        let abortable = ResponseError::TransactionAbortable;
        assert_eq!(Support::Neither.for_client(abortable), ResponseError::InvalidTxnState);
        assert_eq!(Support::Abortable.for_client(abortable), abortable);
    }
}
