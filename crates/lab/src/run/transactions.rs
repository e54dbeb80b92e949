//! A workload's producers that write in transactions: each to several partitions, most committed, some aborted.
//!
//! A transaction that the coordinator has ended by itself, because its time was over while brokers were away, is aborted and
//! no failure: an application begins another.

use hopwise_client::{ClientError, IdempotentProducer, Operation, Record};
use tokio::time::Instant;

use super::checks::transactions::{Fate, Transaction};
use super::clients::RunningClient;
use super::sizes;
use super::workload::{Partition, Request, Sent, record, ticks};
use crate::scenario::{Producers, Transactions};

/// INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING and PRODUCER_FENCED (Kafka protocol guide): the
/// transaction has been ended by somebody else.
const ENDED_ELSEWHERE: [i16; 4] = [47, 48, 49, 90];

/// Sends all requests of a producer in transactions of the `shape`.
pub(super) async fn produce(
    client: &RunningClient,
    producers: &Producers,
    shape: &Transactions,
    partitions: &[Partition],
    start: Instant,
) {
    let mut producer = IdempotentProducer::transactional(client.client.clone(), &client.name);
    let mut ticks = ticks(start, producers.interval);
    let mut places = partitions.iter().cycle();
    let mut left = producers.requests;
    let mut sequence = 0;
    while left > 0 {
        let requests = left.min(shape.partitions);
        left -= requests;
        let number = begin(client);
        let mut sound = true;
        for partition in (0..requests).map_while(|_| places.next()) {
            ticks.tick().await;
            // What is lost with its transaction is not sent.
            if sound {
                let records = (0..u64::from(producers.records))
                    .map(|index| record(client, sequence + index, producers.record_size));
                let records: Vec<Record> = records.collect();
                sound = send(client, &mut producer, partition, (number, sequence), &records).await;
                sequence += u64::from(producers.records);
            }
        }
        let aborts = shape.abort_every.is_some_and(|every| (number + 1).is_multiple_of(every as usize));
        match sound {
            true => end(client, &mut producer, number, !aborts).await,
            false => producer.forget(),
        }
    }
    // A new identity ends what was left open, so that consumers are not held up by it.
    if let Err(error) = producer.identified().await {
        note(client, &error);
    }
}

fn begin(client: &RunningClient) -> usize {
    let mut tally = client.tally.borrow_mut();
    tally.transactions.push(Transaction { fate: Fate::Aborted, ended: None });
    tally.transactions.len() - 1
}

/// One request of a transaction; whether the transaction goes on.
async fn send(
    client: &RunningClient,
    producer: &mut IdempotentProducer,
    partition: &Partition,
    (number, first): (usize, u64),
    records: &[Record],
) -> bool {
    let request = Request::begin(client);
    let result = producer.send(&partition.0, partition.1, records).await;
    let repeated = client.journal.may_have_written(request.attempts_before);
    if result.is_ok() {
        let moved = sizes::produce(&partition.0, records, hopwise_client::Acks::All);
        client.journal.note_moved(Operation::Produce, moved);
    }
    let failure = result.as_ref().err().filter(|error| !ended_elsewhere(error));
    request.end(client, Operation::Produce, failure, records);
    let mut tally = client.tally.borrow_mut();
    for (sequence, index) in (first..).zip(0..records.len() as i64) {
        let offset = result.as_ref().ok().map(|base| base + index);
        let partition = partition.clone();
        // Nothing is acknowledged before the transaction is committed.
        let transaction = Some(number);
        tally.sent.push(Sent { sequence, partition, acknowledged: false, repeated, offset, transaction });
    }
    result.is_ok()
}

async fn end(client: &RunningClient, producer: &mut IdempotentProducer, number: usize, commit: bool) {
    let asked = Some(hopwise_engine::now());
    let set = |fate| client.tally.borrow_mut().transactions[number] = Transaction { fate, ended: asked };
    set(if commit { Fate::Unknown } else { Fate::Aborted });
    match producer.end(commit).await {
        Ok(()) if commit => {
            set(Fate::Committed);
            let mut tally = client.tally.borrow_mut();
            let of_it = tally.sent.iter_mut().rev().take_while(|sent| sent.transaction == Some(number));
            of_it.for_each(|sent| sent.acknowledged = true);
        }
        Ok(()) => {}
        Err(error) if ended_elsewhere(&error) => {}
        Err(error) => note(client, &error),
    }
}

fn ended_elsewhere(error: &ClientError) -> bool {
    error.error_code().is_some_and(|code| ENDED_ELSEWHERE.contains(&code))
}

fn note(client: &RunningClient, error: &ClientError) {
    let mut tally = client.tally.borrow_mut();
    tally.given_up += 1;
    tally.first_error.get_or_insert_with(|| error.to_string());
}
