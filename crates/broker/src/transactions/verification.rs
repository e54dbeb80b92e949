//! Whether a partition belongs to a producer's open transaction: what the partition's leader asks the coordinator before
//! it appends the transaction's first record (KIP-890).
//!
//! Producers of `transaction.version` 2 add their partitions like that. Those of others have added them themselves, and
//! a record that comes when its transaction is over (a request that was delayed) must not begin one that nobody ends. In
//! Kafka this is AddPartitionsToTxn 4 and 5 between brokers (`AddPartitionsToTxnManager`); here it crosses the brokers'
//! own RPC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout};

use super::request::{AddRequest, Answer, ProducerEpoch};
use super::{EPOCH_PER_TRANSACTION, TOPIC};
use crate::coordinator::Now;
use crate::groups::offsets::TopicPartition;
use crate::log::Log;
use crate::node::Node;
use crate::producers::{LastEnd, Standing};
use crate::replication::partition::Partition;
use crate::rpc::{Reply, Request};

/// How long a coordinator may take. Kafka: as long as its `request.timeout.ms`; writes of coordinators take up to 5 s
/// here.
const TIMEOUT: Duration = Duration::from_secs(6);
/// Kafka's `add.partitions.to.txn.retry.backoff.ms`: before asking again while an earlier change is under way.
const RETRY: Duration = Duration::from_millis(20);
/// Kafka's `add.partitions.to.txn.max.timeout.ms`: how long to ask again for.
const RETRY_MAX: Duration = Duration::from_millis(100);

/// The coordinator has an earlier change of the id under way, or the transaction before is not complete.
const BUSY: Result<Standing, ResponseError> = Err(ResponseError::ConcurrentTransactions);

/// What a request's version lets the leader do and say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    /// The partition is added (Produce 12, TxnOffsetCommit 5).
    Adds,
    /// The client knows `TRANSACTION_ABORTABLE` (Produce 11, TxnOffsetCommit 4).
    Abortable,
    /// The client knows neither.
    Neither,
}

/// The request that a leader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    support: Support,
    /// What the client is told where a coordinator's error passes, for it may not know that of the error itself.
    passing: ResponseError,
}

/// A partition that this broker leads, and a producer has a record for.
pub(crate) struct Place {
    pub topic: String,
    pub partition: Arc<Partition>,
}

/// Partitions of one producer's transaction, for its coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartitionCheck {
    pub transactional_id: String,
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Add them, and not merely tell whether they have been added.
    pub adds: bool,
    /// Topics and partitions.
    pub partitions: Vec<(String, i32)>,
}

/// Results for the partitions of a [`PartitionCheck`], in their order: Kafka's codes.
pub(crate) type Codes = Vec<i16>;

impl Asker {
    /// A Produce request (Kafka: `produceRequestVersionToTransactionSupportedOperation`). Producers repeat what was answered
    /// with `NOT_ENOUGH_REPLICAS` (Kafka: `ReplicaManager.handleProduceAppend`).
    pub fn produce(version: i16) -> Asker {
        Asker { support: Support::of(version, 12), passing: ResponseError::NotEnoughReplicas }
    }

    /// A TxnOffsetCommit request (Kafka: `txnOffsetCommitRequestVersionToTransactionSupportedOperation`). Clients repeat
    /// what was answered with `COORDINATOR_LOAD_IN_PROGRESS`, without looking for another coordinator of the group
    /// (Kafka, for `NETWORK_EXCEPTION`: `GroupCoordinatorService`).
    pub fn offset_commit(version: i16) -> Asker {
        Asker { support: Support::of(version, 5), passing: ResponseError::CoordinatorLoadInProgress }
    }

    /// What the coordinator's error is for the client (Kafka: `AddPartitionsToTxnHandler`): producers expect
    /// `INVALID_PRODUCER_EPOCH` where a newer one is known, and abort their transaction.
    fn for_client(self, error: ResponseError) -> ResponseError {
        match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            ResponseError::TransactionAbortable if self.support == Support::Neither => {
                ResponseError::InvalidTxnState
            }
            ResponseError::ConcurrentTransactions if self.support == Support::Adds => error,
            ResponseError::ConcurrentTransactions
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::NetworkException
            | ResponseError::NotCoordinator => self.passing,
            error => error,
        }
    }
}

impl Support {
    fn of(version: i16, adds_from: i16) -> Support {
        match version {
            _ if version >= adds_from => Support::Adds,
            _ if version == adds_from - 1 => Support::Abortable,
            _ => Support::Neither,
        }
    }
}

/// What is known of the producer's transaction in each of the places, in their order. The coordinator is asked about
/// those where the transaction is not open yet.
///
/// The coordinator's word is bound to the producer's newest marker in the place. If another one comes while it is asked,
/// the word may be that of the transaction that the marker ends, or of the one after; then it is asked again.
pub(crate) async fn ask(
    node: &Arc<Node>,
    transactional_id: &str,
    producer: ProducerEpoch,
    places: &[Place],
    asker: Asker,
) -> Vec<Result<Standing, ResponseError>> {
    let mut results = vec![BUSY; places.len()];
    let again_until = Instant::now() + RETRY_MAX;
    loop {
        let waiting: Vec<usize> = (0..places.len()).filter(|index| results[*index] == BUSY).collect();
        let waiting_places: Vec<&Place> = waiting.iter().map(|index| &places[*index]).collect();
        let answers = ask_once(node, transactional_id, producer, &waiting_places, asker).await;
        for (index, answer) in waiting.into_iter().zip(answers) {
            results[index] = answer;
        }
        if !results.contains(&BUSY) || Instant::now() + RETRY > again_until {
            let for_client = |result: Result<_, _>| result.map_err(|error| asker.for_client(error));
            return results.into_iter().map(for_client).collect();
        }
        sleep(RETRY).await;
    }
}

async fn ask_once(
    node: &Arc<Node>,
    transactional_id: &str,
    producer: ProducerEpoch,
    places: &[&Place],
    asker: Asker,
) -> Vec<Result<Standing, ResponseError>> {
    let before: Vec<_> = places.iter().map(|place| place.before(producer)).collect();
    let asked = places.iter().zip(&before).filter(|(_, before)| matches!(before, Ok(Some(_))));
    let check = PartitionCheck {
        transactional_id: transactional_id.to_owned(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        adds: asker.support == Support::Adds,
        partitions: asked.map(|(place, _)| (place.topic.clone(), place.partition.key.1)).collect(),
    };
    let codes = if check.partitions.is_empty() { Vec::new() } else { ask_coordinator(node, &check).await };
    let mut codes = codes.into_iter();
    let standing = |(place, before): (&&Place, Result<Option<LastEnd>, ResponseError>)| {
        let Some(last_end) = before? else { return Ok(Standing::Plain) };
        match codes.next().and_then(ResponseError::try_from_code) {
            Some(error) => Err(error),
            None => yes(last_end, place.before(producer)?),
        }
    };
    places.iter().zip(before).map(standing).collect()
}

/// What the coordinator's yes means for a place where `before` was the newest marker when it was asked, and `now` is what
/// [`Place::before`] says since.
fn yes(before: LastEnd, now: Option<LastEnd>) -> Result<Standing, ResponseError> {
    match now {
        None => Ok(Standing::Plain),
        Some(now) if now == before => Ok(Standing::Begins(before)),
        Some(_) => BUSY,
    }
}

impl Place {
    /// What the coordinator's word is bound to; `None` if the transaction is open here.
    fn before(&self, producer: ProducerEpoch) -> Result<Option<LastEnd>, ResponseError> {
        let before = |log: &mut Log| Ok(log.producers().before_transaction(producer.id, producer.epoch));
        self.partition.with_log(before).map_err(|_| ResponseError::NotLeaderOrFollower)
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
    let named = |(topic, index): &(String, i32)| TopicPartition::new(topic.clone(), *index);
    let partitions: BTreeSet<TopicPartition> = check.partitions.iter().map(named).collect();
    let request = AddRequest {
        transactional_id: check.transactional_id.clone(),
        producer: ProducerEpoch { id: check.producer_id, epoch: check.producer_epoch },
        partitions,
        client_version: EPOCH_PER_TRANSACTION,
    };
    let all = |result: Result<(), ResponseError>| {
        vec![result.err().map_or(0, |error| error.code()); check.partitions.len()]
    };
    if check.adds {
        return all(add(node, request).await);
    }
    match verify(node, &request) {
        Ok(results) => {
            let is_in: BTreeMap<_, _> = request.partitions.into_iter().zip(results).collect();
            let code = |result: &Result<(), ResponseError>| result.err().map_or(0, |error| error.code());
            check.partitions.iter().map(|place| is_in.get(&named(place)).map_or(0, code)).collect()
        }
        Err(error) => all(Err(error)),
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
    fn a_word_is_good_for_the_marker_that_it_was_given_at() {
        let [before, later] = [4, 9].map(LastEnd::at);
        assert_eq!(yes(before, Some(before)), Ok(Standing::Begins(before)));
        assert_eq!(yes(before, None), Ok(Standing::Plain), "another request has begun the transaction");
        assert_eq!(yes(before, Some(later)), BUSY, "it is not known whose end has come");
        assert_eq!(yes(LastEnd::default(), Some(later)), BUSY);
    }

    #[test]
    fn versions_say_what_a_client_can_be_told() {
        let (busy, abortable) = (ResponseError::ConcurrentTransactions, ResponseError::TransactionAbortable);
        let (invalid, again) = (ResponseError::InvalidTxnState, ResponseError::NotEnoughReplicas);
        let loading = ResponseError::CoordinatorLoadInProgress;
        let cases = [
            (Asker::produce(9), false, invalid, again),
            (Asker::produce(10), false, invalid, again),
            (Asker::produce(11), false, abortable, again),
            (Asker::produce(12), true, abortable, busy),
            (Asker::produce(13), true, abortable, busy),
            (Asker::offset_commit(3), false, invalid, loading),
            (Asker::offset_commit(4), false, abortable, loading),
            (Asker::offset_commit(5), true, abortable, busy),
        ];
        for (asker, adds, not_in, while_busy) in cases {
            assert_eq!(asker.support == Support::Adds, adds, "{asker:?}");
            assert_eq!(asker.for_client(abortable), not_in, "{asker:?}");
            assert_eq!(asker.for_client(busy), while_busy, "{asker:?}");
            assert_eq!(asker.for_client(ResponseError::NotCoordinator), asker.passing);
            let fenced = asker.for_client(ResponseError::ProducerFenced);
            assert_eq!(fenced, ResponseError::InvalidProducerEpoch);
        }
    }
}
