//! Whether the batches of a transactional request may begin transactions in their partitions (KIP-890).
//!
//! The transaction coordinator is asked once per request and producer, for all partitions together in which no
//! transaction of the producer's epoch is open yet. Source: Kafka's `ReplicaManager.handleProduceAppend`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use tokio::sync::oneshot;

use super::check::Refused;
use super::{Session, Target};
use crate::log::batch::BatchHeader;
use crate::node::PartitionKey;
use crate::producers::{LastEnd, Standing};
use crate::transactions::request::ProducerEpoch;
use crate::transactions::verification::{self, Support};

/// What the coordinator says of the partitions that it was asked about.
#[derive(Default)]
pub(super) struct Asked(BTreeMap<PartitionKey, Result<LastEnd, ResponseError>>);

/// The partitions of one producer, by topic and index.
type OfProducer = BTreeMap<(String, i32), (PartitionKey, LastEnd)>;

impl Asked {
    /// What is known of the transaction of a partition's batch.
    ///
    /// # Errors
    /// The batch must not be appended.
    pub fn standing(&self, key: PartitionKey) -> Result<Standing, Refused> {
        match self.0.get(&key) {
            None => Ok(Standing::Plain),
            Some(Ok(last_end)) => Ok(Standing::Begins(*last_end)),
            Some(Err(error)) => {
                Err((*error, format!("the partition does not belong to an open transaction: {error}")))
            }
        }
    }
}

/// Asks for the partitions of a request that this broker leads.
pub(super) async fn ask(
    session: &Session,
    request: &ProduceRequest,
    targets: &[Result<Target, Refused>],
    version: i16,
) -> Asked {
    let Some(id) = &request.transactional_id else { return Asked::default() };
    let support = Support::of_produce(version);
    let answers =
        by_producer(session, request, targets).into_iter().map(|(producer, partitions)| async move {
            let (id_of_partition, of_partition): (_, Vec<_>) = partitions.into_iter().unzip();
            let producer = ProducerEpoch { id: producer.0, epoch: producer.1 };
            let results = verification::ask(&session.node, id, producer, id_of_partition, support).await;
            let answer = |((key, last_end), result): (_, Result<(), ResponseError>)| {
                (key, result.map(|()| last_end).map_err(|error| for_client(error, support)))
            };
            of_partition.into_iter().zip(results).map(answer).collect::<Vec<_>>()
        });
    Asked(join_all(answers).await.into_iter().flatten().collect())
}

/// The partitions whose batch begins a transaction, by their producer's id and epoch.
fn by_producer(
    session: &Session,
    request: &ProduceRequest,
    targets: &[Result<Target, Refused>],
) -> BTreeMap<(i64, i16), OfProducer> {
    let mut producers: BTreeMap<(i64, i16), OfProducer> = BTreeMap::new();
    for (data, target) in request.topic_data.iter().zip(targets) {
        let Ok(target) = target else { continue };
        for partition in &data.partition_data {
            let key = (target.topic.id, partition.index);
            if let Some((producer, last_end)) = begins(session, key, partition.records.as_ref()) {
                let place = (target.topic.name.clone(), partition.index);
                producers.entry(producer).or_default().insert(place, (key, last_end));
            }
        }
    }
    producers
}

/// The producer of a batch that begins a transaction in its partition, and after which end of its transactions.
fn begins(session: &Session, key: PartitionKey, records: Option<&Bytes>) -> Option<((i64, i16), LastEnd)> {
    let batch = BatchHeader::read(records?).ok().filter(BatchHeader::transactional)?;
    let partition = session.node.partition(key).filter(|partition| partition.leads())?;
    let producer = (batch.producer_id, batch.producer_epoch);
    let before = partition.with_log(|log| Ok(log.producers().before_transaction(producer.0, producer.1)));
    Some((producer, before.ok().flatten()?))
}

/// Producers repeat what was answered with `NOT_ENOUGH_REPLICAS`; not all know that errors of coordinators pass.
fn for_client(error: ResponseError, support: Support) -> ResponseError {
    match error {
        ResponseError::ConcurrentTransactions if support == Support::Adds => error,
        ResponseError::ConcurrentTransactions
        | ResponseError::CoordinatorLoadInProgress
        | ResponseError::CoordinatorNotAvailable
        | ResponseError::NetworkException
        | ResponseError::NotCoordinator => ResponseError::NotEnoughReplicas,
        error => error,
    }
}

/// The order of a connection's transactional requests. They overlap ([`crate::kafka::connection`]), and one must not
/// be appended before another that came earlier and whose coordinator is still being asked.
#[derive(Default)]
pub(in crate::kafka) struct Turns(Mutex<Option<oneshot::Receiver<()>>>);

/// A request's place in the order; dropped when the next may go on.
pub(super) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    _passes: oneshot::Sender<()>,
}

impl Turns {
    /// The place after all that were taken before.
    pub(super) fn take(&self) -> Turn {
        let (passes, next) = oneshot::channel();
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
        Turn { before, _passes: passes }
    }
}

impl Turn {
    /// Waits until those before have passed.
    pub(super) async fn comes(&mut self) {
        if let Some(before) = self.before.take() {
            // It never sends: it fails when the place before is given up.
            let _ = before.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;

    #[test]
    fn older_clients_repeat_what_passes() {
        let busy = ResponseError::ConcurrentTransactions;
        assert_eq!(for_client(busy, Support::Adds), busy);
        for support in [Support::Abortable, Support::Neither] {
            assert_eq!(for_client(busy, support), ResponseError::NotEnoughReplicas);
            let moved = for_client(ResponseError::NotCoordinator, support);
            assert_eq!(moved, ResponseError::NotEnoughReplicas);
            let fenced = ResponseError::InvalidProducerEpoch;
            assert_eq!(for_client(fenced, support), fenced);
        }
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_taken() {
        let turns = Turns::default();
        let (mut first, mut second, mut third) = (turns.take(), turns.take(), turns.take());
        assert_eq!(poll_immediate(first.comes()).await, Some(()));
        let mut waits = (pin!(second.comes()), pin!(third.comes()));
        assert_eq!(poll_immediate(waits.0.as_mut()).await, None);
        drop(first);
        assert_eq!(poll_immediate(waits.0.as_mut()).await, Some(()));
        assert_eq!(poll_immediate(waits.1.as_mut()).await, None, "the second has not passed yet");
    }
}
