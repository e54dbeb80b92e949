//! The workload: every client produces and fetches at the same time, spread over the partitions in turn.
//!
//! A record's key is `client/sequence`, so that afterwards each record can be told from every other: what was
//! acknowledged and is not there is lost, what is there twice is duplicated.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use hopwise_client::{Acks, ClientError, FetchOptions, IdempotentProducer, Operation, Record};
use hopwise_engine::{Span, Time};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::checks::consumed::{Consumed, Polled};
use super::checks::transactions::Transaction;
use super::clients::RunningClient;
use super::verify::key_in;
use super::{sizes, transactions};
use crate::scenario;
use crate::scenario::{Consumers, Producers, Topic, Workload};

/// A partition of a topic.
pub(super) type Partition = (String, i32);

/// What came of one client's requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Requests begun.
    pub begun: u64,
    /// Requests given up.
    pub given_up: u64,
    /// Why the first one was.
    pub first_error: Option<String>,
    /// Requests that needed more than one attempt: which, and how long they took in all.
    pub retried: Vec<(Operation, Span)>,
    /// The records sent, in order.
    pub sent: Vec<Sent>,
    /// Bytes of records produced and fetched, keys and values.
    pub record_bytes: u64,
    /// The transactions, in order.
    pub transactions: Vec<Transaction>,
    /// When all requests of a kind had ended.
    pub done: Vec<(Operation, Time)>,
}

/// A record that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// Its number among its client's records.
    pub sequence: u64,
    /// Its partition.
    pub partition: Partition,
    /// Whether a broker acknowledged it.
    pub acknowledged: bool,
    /// Whether an attempt before may have written it too.
    pub repeated: bool,
    /// The offset that the acknowledgement names, if there was one.
    pub offset: Option<i64>,
    /// Its transaction's place among its client's; none if it was sent in none.
    pub transaction: Option<usize>,
}

/// Who sent which record, by its key.
pub(super) struct Writers<'a> {
    sent: &'a [(String, Vec<Sent>)],
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Writers<'a> {
    /// The senders of these records, each with its own in the order of their numbers, which count from 0.
    pub fn of(sent: &'a [(String, Vec<Sent>)]) -> Writers<'a> {
        let places = sent.iter().enumerate().map(|(place, (name, _))| (name.as_str(), place)).collect();
        Writers { sent, places }
    }

    /// The sender's place and the record's number; none if no sender tells of it.
    pub fn find(&self, key: &str) -> Option<(usize, u64)> {
        let (name, number) = key.rsplit_once('/')?;
        let (place, sequence) = (*self.places.get(name)?, number.parse().ok()?);
        let is_known = key_of(name, sequence) == key && self.sent((place, sequence)).is_some();
        is_known.then_some((place, sequence))
    }

    /// What the sender tells of it.
    pub fn sent(&self, (place, sequence): (usize, u64)) -> Option<&'a Sent> {
        let record = self.sent.get(place)?.1.get(usize::try_from(sequence).ok()?)?;
        Some(record).filter(|record| record.sequence == sequence)
    }

    /// The sender's name.
    pub fn name(&self, place: usize) -> &'a str {
        self.sent.get(place).map_or("", |(name, _)| name.as_str())
    }
}

/// Every partition of every topic, in order.
pub(super) fn partitions_of(topics: &[Topic]) -> Vec<Partition> {
    let partitions = |topic: &Topic| {
        let name = topic.name.clone();
        (0..i32::try_from(topic.partitions).unwrap_or(i32::MAX)).map(move |index| (name.clone(), index))
    };
    topics.iter().flat_map(partitions).collect()
}

/// The key of a record.
pub(super) fn key_of(client: &str, sequence: u64) -> String {
    format!("{client}/{sequence}")
}

/// Runs the whole workload of `client` from `start` on, to its end.
///
/// What it reads is told to `consumed`.
pub(super) async fn run(
    client: RunningClient,
    workload: Workload,
    start: Instant,
    consumed: Rc<RefCell<Consumed>>,
) {
    let partitions = partitions_of(&workload.topics);
    let produce = async {
        if let Some(producers) = &workload.producers {
            match &producers.transactions {
                Some(shape) => transactions::produce(&client, producers, shape, &partitions, start).await,
                None => produce(&client, producers, &partitions, start).await,
            }
            done(&client, Operation::Produce);
        }
    };
    let fetch = async {
        if let Some(consumers) = &workload.consumers {
            let read_committed = workload.reads_committed();
            let options = FetchOptions {
                max_wait: consumers.max_wait.span().into(),
                read_committed,
                ..FetchOptions::default()
            };
            fetch(&client, (consumers, options), &partitions, start, &consumed).await;
            done(&client, Operation::Fetch);
        }
    };
    tokio::join!(produce, fetch);
}

fn done(client: &RunningClient, operation: Operation) {
    client.tally.borrow_mut().done.push((operation, hopwise_engine::now()));
}

async fn produce(client: &RunningClient, producers: &Producers, partitions: &[Partition], start: Instant) {
    let acks = match producers.acks {
        scenario::Acks::None => Acks::None,
        scenario::Acks::Leader => Acks::Leader,
        scenario::Acks::All => Acks::All,
    };
    let mut ticks = ticks(start, producers.interval);
    let mut idempotent = producers.idempotent.then(|| IdempotentProducer::new(client.client.clone()));
    let mut sequence = 0;
    for (_, partition) in (0..producers.requests).zip(partitions.iter().cycle()) {
        ticks.tick().await;
        let records: Vec<Record> = (0..u64::from(producers.records))
            .map(|index| record(client, sequence + index, producers.record_size))
            .collect();
        let request = Request::begin(client);
        let result = match &mut idempotent {
            Some(producer) => producer.send(&partition.0, partition.1, &records).await,
            None => client.client.produce(&partition.0, partition.1, &records, acks).await,
        };
        let repeated = client.journal.may_have_written(request.attempts_before);
        if result.is_ok() {
            client.journal.note_moved(Operation::Produce, sizes::produce(&partition.0, &records, acks));
        }
        let acknowledged = result.is_ok() && acks != Acks::None;
        request.end(client, Operation::Produce, result.as_ref().err(), &records);
        let mut tally = client.tally.borrow_mut();
        let base = result.ok().filter(|base| *base >= 0);
        for index in 0..records.len() as i64 {
            let offset = base.map(|base| base + index);
            let partition = partition.clone();
            tally.sent.push(Sent { sequence, partition, acknowledged, repeated, offset, transaction: None });
            sequence += 1;
        }
    }
}

async fn fetch(
    client: &RunningClient,
    (consumers, options): (&Consumers, FetchOptions),
    partitions: &[Partition],
    start: Instant,
    consumed: &RefCell<Consumed>,
) {
    let mut ticks = ticks(start, consumers.interval);
    let mut offsets = vec![0; partitions.len()];
    for (_, index) in (0..consumers.requests).zip((0..partitions.len()).cycle()) {
        ticks.tick().await;
        let (topic, partition) = &partitions[index];
        let request = Request::begin(client);
        let result = client.client.fetch(topic, *partition, offsets[index], options).await;
        let error = result.as_ref().err().cloned();
        let records: Vec<Record> = match result {
            Ok(fetched) => {
                let records = fetched.records.iter().map(|it| (it.offset, key_in(it))).collect();
                consumed.borrow_mut().polled(Polled {
                    client: &client.name,
                    partition: &partitions[index],
                    at: hopwise_engine::now(),
                    from: offsets[index],
                    next: fetched.next_offset,
                    records,
                });
                offsets[index] = fetched.next_offset;
                fetched.records.into_iter().map(|fetched| fetched.record).collect()
            }
            Err(_) => Vec::new(),
        };
        if error.is_none() {
            client.journal.note_moved(Operation::Fetch, sizes::fetch(topic, &records));
        }
        request.end(client, Operation::Fetch, error.as_ref(), &records);
    }
}

/// Ticks from `start` on; one that comes late delays those after it.
pub(super) fn ticks(start: Instant, period: scenario::Duration) -> tokio::time::Interval {
    // Tokio knows no interval of zero; its clock's step is one millisecond.
    let period = std::time::Duration::from(period.span()).max(std::time::Duration::from_nanos(1));
    let mut ticks = interval_at(start, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

pub(super) fn record(client: &RunningClient, sequence: u64, size: u32) -> Record {
    let letter = b'a' + (sequence % 26) as u8;
    Record::new(key_of(&client.name, sequence), Bytes::from(vec![letter; size as usize]))
}

/// A request that is under way.
pub(super) struct Request {
    began: Time,
    pub attempts_before: usize,
}

impl Request {
    pub(super) fn begin(client: &RunningClient) -> Request {
        client.tally.borrow_mut().begun += 1;
        Request { began: hopwise_engine::now(), attempts_before: client.journal.len() }
    }

    pub(super) fn end(
        &self,
        client: &RunningClient,
        operation: Operation,
        error: Option<&ClientError>,
        records: &[Record],
    ) {
        let retried = client.journal.any_from(self.attempts_before, |attempt| {
            attempt.record.operation == operation && attempt.record.attempt > 1
        });
        let mut tally = client.tally.borrow_mut();
        match error {
            None => {
                tally.record_bytes += records.iter().map(sizes::content).sum::<u64>();
                if retried {
                    tally.retried.push((operation, hopwise_engine::now() - self.began));
                }
            }
            Some(error) => {
                tally.given_up += 1;
                tally.first_error.get_or_insert_with(|| error.to_string());
            }
        }
    }
}
