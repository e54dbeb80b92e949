//! The state machine of one partition of `kafka_internal/tx`: its transactional ids.
//!
//! A change is decided, written, and counts when it is written. While it is being written the id's other
//! requests are answered with `CONCURRENT_TRANSACTIONS`, which clients repeat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::Settings;
use super::markers;
use super::records;
use super::request::{AddRequest, Answer, DescribedTransaction, EndRequest, Ending, InitRequest, NotDone};
use super::transaction::{NO_EPOCH, Transaction, TransactionState};
use crate::coordinator::{
    Machine, Now, Replayed, Shard, Ticket, Timers, Write, WriteError, WriteKind, WriteQueue,
};
use crate::node::Node;

/// The transactional ids of a partition.
pub(crate) struct TransactionMachine {
    settings: Settings,
    ids: BTreeMap<String, Entry>,
    /// When open transactions are over their time.
    timers: Timers<String>,
    writes: WriteQueue<Then>,
    answers: Vec<(Ticket, Answer)>,
    endings: Vec<Ending>,
    epoch: i32,
}

struct Entry {
    transaction: Transaction,
    /// A change is being written.
    changing: bool,
    /// When its open transaction is aborted.
    deadline: Option<Instant>,
}

/// What happens when a change is written.
#[derive(Debug)]
pub(crate) struct Then {
    id: String,
    /// `None` when the id is removed.
    next: Option<Transaction>,
    waits: Waits,
}

/// Who waits for a change.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Nobody,
    /// Is told the producer id and epoch to go on with.
    Producer(Ticket),
    /// InitProducerId found a transaction open, which is aborted first; its client is to ask again.
    Fence(Ticket),
    Done(Ticket),
}

impl TransactionMachine {
    /// Without ids.
    pub fn new(settings: Settings) -> TransactionMachine {
        TransactionMachine {
            settings,
            ids: BTreeMap::new(),
            timers: Timers::default(),
            writes: WriteQueue::default(),
            answers: Vec::new(),
            endings: Vec::new(),
            epoch: -1,
        }
    }

    /// InitProducerId: the producer gets its id and a new epoch, which fences earlier instances. An open
    /// transaction of theirs is aborted first.
    pub fn init(&mut self, now: Now, request: InitRequest, ticket: Ticket) {
        if let Err(error) = self.try_init(now, request, ticket) {
            self.answers.push((ticket, Answer::Producer(Err(error))));
        }
    }

    fn try_init(&mut self, now: Now, request: InitRequest, ticket: Ticket) -> Result<(), NotDone> {
        let kafka = |error| Err(NotDone::Kafka(error));
        if request.timeout.is_zero() || request.timeout > self.settings.timeout_max {
            return kafka(ResponseError::InvalidTransactionTimeout);
        }
        let id = request.transactional_id.clone();
        let Some(entry) = self.ids.get(&id) else {
            if self.ids.len() >= self.settings.ids_max {
                return kafka(ResponseError::CoordinatorNotAvailable);
            }
            let next = Transaction::new(now.unix_ms).after_init(&request, now.unix_ms)?;
            let transaction = Transaction::new(now.unix_ms);
            self.ids.insert(id.clone(), Entry { transaction, changing: false, deadline: None });
            self.change(id, Some(next), Waits::Producer(ticket));
            return Ok(());
        };
        let transaction = &entry.transaction;
        if entry.changing || transaction.state.is_ending() {
            return kafka(ResponseError::ConcurrentTransactions);
        }
        let next = transaction.after_init(&request, now.unix_ms)?;
        if transaction.state == TransactionState::Ongoing {
            let aborted = transaction.fenced_off(now.unix_ms);
            self.change(id, Some(aborted), Waits::Fence(ticket));
        } else {
            self.change(id, Some(next), Waits::Producer(ticket));
        }
        Ok(())
    }

    /// AddPartitionsToTxn: the partitions belong to the producer's transaction, which begins if none is open.
    pub fn add(&mut self, now: Now, request: &AddRequest, ticket: Ticket) {
        let next = self
            .settled(&request.transactional_id)
            .and_then(|transaction| transaction.after_add(request, now.unix_ms));
        match next {
            Ok(Some(next)) => self.change(request.transactional_id.clone(), Some(next), Waits::Done(ticket)),
            Ok(None) => self.answers.push((ticket, Answer::Done(Ok(())))),
            Err(error) => self.answers.push((ticket, Answer::Done(Err(error)))),
        }
    }

    /// Whether partitions belong to the producer's open transaction: a result for each, in their order. A change that
    /// is being written does not count; what has been written counts while the next is.
    ///
    /// # Errors
    /// The producer has no such transaction.
    pub fn verify(&self, request: &AddRequest) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let entry = self.ids.get(&request.transactional_id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        entry.transaction.verify(request)
    }

    /// EndTxn. The answer comes when the decision is durable; the partitions learn it afterwards.
    pub fn end(&mut self, now: Now, request: &EndRequest, ticket: Ticket) {
        let id = &request.transactional_id;
        let ended = self.settled(id).map_err(NotDone::Kafka).and_then(|transaction| {
            let next = transaction.after_end(request, now.unix_ms)?;
            Ok(next.ok_or(transaction.successor()))
        });
        match ended {
            Ok(Ok(next)) => self.change(id.clone(), Some(next), Waits::Producer(ticket)),
            Ok(Err(already)) => self.answers.push((ticket, Answer::Producer(Ok(already)))),
            Err(error) => self.answers.push((ticket, Answer::Producer(Err(error)))),
        }
    }

    /// The id's transaction, of which no change is being written.
    fn settled(&self, id: &str) -> Result<&Transaction, ResponseError> {
        let entry = self.ids.get(id).ok_or(ResponseError::InvalidProducerIdMapping)?;
        if entry.changing { Err(ResponseError::ConcurrentTransactions) } else { Ok(&entry.transaction) }
    }

    fn change(&mut self, id: String, next: Option<Transaction>, waits: Waits) {
        if let Some(entry) = self.ids.get_mut(&id) {
            entry.changing = true;
        }
        let records = vec![records::record(&id, next.as_ref())];
        self.writes.push(Write { kind: WriteKind::Plain, records, then: Then { id, next, waits } });
    }

    /// Every partition of the transaction has its marker.
    pub fn markers_written(&mut self, now: Now, ending: &Ending) {
        let Ok(transaction) = self.settled(&ending.transactional_id) else { return };
        if transaction.state.is_ending() && transaction.producer == ending.producer {
            let next = transaction.completed(now.unix_ms);
            self.change(ending.transactional_id.clone(), Some(next), Waits::Nobody);
        }
    }

    /// Whether the transaction still waits for its markers under this coordinator.
    pub fn awaits(&self, ending: &Ending) -> bool {
        let entry = self.ids.get(&ending.transactional_id);
        ending.coordinator_epoch == self.epoch
            && entry.is_some_and(|entry| {
                entry.transaction.state.is_ending() && entry.transaction.producer == ending.producer
            })
    }

    /// DescribeTransactions, for one id.
    pub fn describe(&self, id: &str) -> Option<DescribedTransaction> {
        let transaction = &self.ids.get(id)?.transaction;
        (transaction.producer.epoch != NO_EPOCH).then(|| DescribedTransaction {
            transactional_id: id.to_owned(),
            state: transaction.state.name(),
            timeout: transaction.timeout,
            start_ms: transaction.start_ms,
            producer: transaction.producer,
            partitions: transaction.partitions.clone(),
        })
    }

    /// Every transactional id, in order.
    pub fn list(&self) -> impl Iterator<Item = DescribedTransaction> {
        self.ids.keys().filter_map(|id| self.describe(id))
    }

    /// The change counts: its transaction is timed, or its partitions are told.
    fn set(&mut self, now: Now, id: &str, next: Transaction) {
        let Some(entry) = self.ids.get_mut(id) else { return };
        entry.changing = false;
        let goes_on = entry.transaction.state == next.state && entry.deadline.is_some();
        entry.transaction = next;
        let transaction = &entry.transaction;
        if transaction.state == TransactionState::Ongoing {
            if goes_on {
                return;
            }
            let open_ms = u64::try_from(now.unix_ms.saturating_sub(transaction.start_ms)).unwrap_or(0);
            let limit = transaction.timeout + self.settings.timeout_delay;
            let deadline = now.instant + limit.saturating_sub(Duration::from_millis(open_ms));
            entry.deadline = Some(deadline);
            self.timers.set(deadline, id.to_owned());
            return;
        }
        entry.deadline = None;
        if transaction.state.is_ending() {
            self.endings.push(Ending {
                transactional_id: id.to_owned(),
                producer: transaction.producer,
                raised_epoch: transaction.raises_epoch(),
                coordinator_epoch: self.epoch,
                commit: transaction.state == TransactionState::PrepareCommit,
                partitions: transaction.partitions.clone(),
            });
        }
    }

    /// Aborts the id's transaction if it is over its time.
    fn time_out(&mut self, now: Now, at: Instant, id: String) {
        let Some(entry) = self.ids.get_mut(&id).filter(|entry| entry.deadline == Some(at)) else { return };
        if entry.changing {
            // Its producer has just asked for something; it is looked at again when that is done, and soon.
            let again = now.instant + self.settings.timeout_delay.max(Duration::from_millis(100));
            entry.deadline = Some(again);
            self.timers.set(again, id);
            return;
        }
        tracing::debug!(id, "a transaction is over its time and is aborted");
        let next = entry.transaction.fenced_off(now.unix_ms);
        self.change(id, Some(next), Waits::Nobody);
    }

    /// Removes ids that have not been used for long.
    fn expire(&mut self, now: Now) {
        let expiration_ms = i64::try_from(self.settings.expiration.as_millis()).unwrap_or(i64::MAX);
        let expired = |entry: &Entry| {
            let transaction = &entry.transaction;
            let idle_ms = now.unix_ms.saturating_sub(transaction.updated_ms);
            let open = transaction.state.is_ending() || transaction.state == TransactionState::Ongoing;
            !entry.changing && !open && idle_ms >= expiration_ms
        };
        let expired = self.ids.iter().filter(|(_, entry)| expired(entry)).map(|(id, _)| id.clone());
        for id in expired.collect::<Vec<_>>() {
            self.change(id, None, Waits::Nobody);
        }
    }

    pub(super) fn take_endings(&mut self) -> Vec<Ending> {
        std::mem::take(&mut self.endings)
    }
}

fn write_error(error: WriteError) -> ResponseError {
    match error {
        WriteError::TooLarge => ResponseError::InvalidRequest,
        WriteError::Storage => ResponseError::CoordinatorNotAvailable,
        WriteError::Producer(error) => error,
    }
}

impl Machine for TransactionMachine {
    type Answer = Answer;
    type Then = Then;

    fn replay(&mut self, batch: Replayed) {
        for record in batch.records {
            match records::read(record) {
                Ok((id, Some(transaction))) => {
                    self.ids.insert(id, Entry { transaction, changing: false, deadline: None });
                }
                Ok((id, None)) => drop(self.ids.remove(&id)),
                Err(error) => {
                    tracing::error!(offset = batch.base_offset, %error, "a transaction's record cannot be read");
                }
            }
        }
    }

    fn start(&mut self, now: Now, epoch: i32) {
        self.epoch = epoch;
        self.timers.set_expiry(now.instant + self.settings.expiration_check);
        let open: Vec<(String, Transaction)> =
            self.ids.iter().map(|(id, entry)| (id.clone(), entry.transaction.clone())).collect();
        for (id, transaction) in open {
            self.set(now, &id, transaction);
        }
    }

    fn writes(&mut self) -> &mut WriteQueue<Then> {
        &mut self.writes
    }

    fn written(&mut self, now: Now, then: Then, result: Result<i64, WriteError>) {
        let Then { id, next, waits } = then;
        let result = result.map(drop).map_err(write_error);
        let producer = next.as_ref().map(Transaction::successor);
        match (&result, next) {
            (Ok(()), Some(next)) => self.set(now, &id, next),
            (Ok(()), None) => drop(self.ids.remove(&id)),
            (Err(_), next) => self.not_changed(now, &id, next),
        }
        match (waits, producer) {
            (Waits::Producer(ticket), Some(producer)) => {
                let answer = result.map(|()| producer).map_err(NotDone::Kafka);
                self.answers.push((ticket, Answer::Producer(answer)));
            }
            (Waits::Fence(ticket), _) => {
                let error = result.err().unwrap_or(ResponseError::ConcurrentTransactions);
                self.answers.push((ticket, Answer::Producer(Err(NotDone::Kafka(error)))));
            }
            (Waits::Done(ticket), _) => self.answers.push((ticket, Answer::Done(result))),
            (Waits::Nobody | Waits::Producer(_), _) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    fn tick(&mut self, now: Now) {
        while let Some((at, id)) = self.timers.pop_due(now) {
            self.time_out(now, at, id);
        }
        if self.timers.expiry_is_due(now) {
            self.expire(now);
            self.timers.set_expiry(now.instant + self.settings.expiration_check);
        }
    }

    fn configure(&mut self, node: &Node) {
        self.settings = Settings::of(node);
    }

    fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }

    fn follow_up(&mut self, node: &Arc<Node>, shard: &Arc<Shard<Self>>) {
        for ending in self.take_endings() {
            let (node, shard) = (Arc::clone(node), Arc::downgrade(shard));
            node.clone().tasks.spawn(markers::end(node, shard, ending));
        }
    }
}

impl TransactionMachine {
    /// A change could not be written. What the coordinator itself has to do is done again a little later.
    fn not_changed(&mut self, now: Now, id: &str, next: Option<Transaction>) {
        let Some(entry) = self.ids.get_mut(id) else { return };
        entry.changing = false;
        if entry.transaction.producer.epoch == NO_EPOCH {
            self.ids.remove(id);
            return;
        }
        let again = now.instant + Duration::from_secs(1);
        match (entry.transaction.state, next) {
            (TransactionState::Ongoing, _) => {
                let deadline = entry.deadline.map_or(again, |deadline| deadline.max(again));
                entry.deadline = Some(deadline);
                self.timers.set(deadline, id.to_owned());
            }
            (state, Some(_)) if state.is_ending() => {
                // The partitions have their markers; writing them again does no harm.
                let transaction = entry.transaction.clone();
                self.set(now, id, transaction);
            }
            _ => {}
        }
    }
}
