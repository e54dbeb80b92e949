//! Whether the batches of a transactional request may begin transactions in their partitions (KIP-890).
//!
//! The transaction coordinator is asked once per request and producer, for all partitions together in which no
//! transaction of the producer's epoch is open yet. Source: Kafka's `ReplicaManager.handleProduceAppend`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use tokio::sync::oneshot;

use super::check::Refused;
use super::{Session, Target};
use crate::log::batch::BatchHeader;
use crate::node::PartitionKey;
use crate::producers::Standing;
use crate::transactions::request::ProducerEpoch;
use crate::transactions::verification::{self, Asker, Place};

/// What the coordinator says of the partitions that it was asked about.
#[derive(Default)]
pub(super) struct Asked(BTreeMap<PartitionKey, Result<Standing, ResponseError>>);

impl Asked {
    /// What is known of the transaction of a partition's batch.
    ///
    /// # Errors
    /// The batch must not be appended.
    pub fn standing(&self, key: PartitionKey) -> Result<Standing, Refused> {
        self.0.get(&key).copied().unwrap_or(Ok(Standing::Plain)).map_err(|error| {
            (error, format!("the partition does not belong to an open transaction: {error}"))
        })
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
    let asker = Asker::produce(version);
    let by_producer = by_producer(session, request, targets).into_iter();
    let answers = by_producer.map(|((producer_id, epoch), places)| async move {
        let producer = ProducerEpoch { id: producer_id, epoch };
        let results = verification::ask(&session.node, id, producer, &places, asker).await;
        places.into_iter().map(|place| place.partition.key).zip(results).collect::<Vec<_>>()
    });
    Asked(join_all(answers).await.into_iter().flatten().collect())
}

/// The places that transactional batches are for, by their producer's id and epoch.
fn by_producer(
    session: &Session,
    request: &ProduceRequest,
    targets: &[Result<Target, Refused>],
) -> BTreeMap<(i64, i16), Vec<Place>> {
    let mut producers: BTreeMap<(i64, i16), Vec<Place>> = BTreeMap::new();
    for (data, target) in request.topic_data.iter().zip(targets) {
        let Ok(target) = target else { continue };
        for data in &data.partition_data {
            let batch = data.records.as_ref().and_then(|records| BatchHeader::read(records).ok());
            let Some(batch) = batch.filter(BatchHeader::transactional) else { continue };
            let partition = session.node.partition((target.topic.id, data.index));
            let Some(partition) = partition.filter(|partition| partition.leads()) else { continue };
            let place = Place { topic: target.topic.name.clone(), partition };
            producers.entry((batch.producer_id, batch.producer_epoch)).or_default().push(place);
        }
    }
    producers
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
