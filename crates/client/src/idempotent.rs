//! A producer with an identity: what it sends twice is written once, and with a transactional id it writes to several
//! partitions all or nothing (KIP-98).
//!
//! It sends one batch after the other. After a batch that was given up, its sequence is not known any more: the producer
//! forgets its identity and takes a new one, which aborts a transaction that it left open. Left out are offsets in
//! transactions, and the shorter way to a partition of KIP-890.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    InitProducerIdRequest, InitProducerIdResponse, ProducerId, TransactionalId,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::time::{Instant, sleep};

use crate::attempt::{Exchange, Judge, Subject};
use crate::batch::{self, Batch, Stamp};
use crate::behaviour::Patience;
use crate::call::Destination;
use crate::operations::{TRANSACTIONAL_ID, UNKNOWN_SERVER_ERROR, millis, topic_name};
use crate::{Acks, Client, ClientError, Operation, Record};

/// The newest versions before the second part of KIP-890, which Redpanda does not offer.
const INIT_PRODUCER_ID_VERSION_MAX: i16 = 4;
const ADD_PARTITIONS_VERSION_MAX: i16 = 3;
const END_TXN_VERSION_MAX: i16 = 3;
/// Java's and franz-go's default of `transaction.timeout.ms` (Java: 60 s; clients.md).
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
/// CONCURRENT_TRANSACTIONS (Kafka protocol guide): the last transaction's markers are still being written.
const CONCURRENT_TRANSACTIONS: i16 = 51;

/// A producer of one client.
#[derive(Debug)]
pub struct IdempotentProducer {
    client: Client,
    transactional_id: Option<String>,
    identity: Option<(i64, i16)>,
    coordinator: Option<i32>,
    /// The sequence of the next record of each partition.
    sequences: BTreeMap<(String, i32), i32>,
    /// The partitions of the transaction.
    joined: BTreeSet<(String, i32)>,
}

impl IdempotentProducer {
    /// A producer without transactions.
    pub fn new(client: Client) -> IdempotentProducer {
        IdempotentProducer {
            client,
            transactional_id: None,
            identity: None,
            coordinator: None,
            sequences: BTreeMap::new(),
            joined: BTreeSet::new(),
        }
    }

    /// A producer whose batches belong to transactions.
    pub fn transactional(client: Client, id: impl Into<String>) -> IdempotentProducer {
        IdempotentProducer { transactional_id: Some(id.into()), ..IdempotentProducer::new(client) }
    }

    /// Appends records to a partition at its leader, acknowledged by all in sync, as one batch; gives the first one's
    /// offset. In a transaction it begins the transaction if none is open.
    ///
    /// # Errors
    /// As [`Client::produce`]. The batch may have been written; a transaction has to be given up.
    pub async fn send(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[Record],
    ) -> Result<i64, ClientError> {
        let sent = self.send_patiently(topic, partition, records, self.client.patience_at_first()).await;
        match self.client.elsewhere(topic, partition, &sent) {
            Some((partition, patience)) => self.send_patiently(topic, partition, records, patience).await,
            None => sent,
        }
    }

    async fn send_patiently(
        &mut self,
        topic: &str,
        partition: i32,
        records: &[Record],
        patience: Patience,
    ) -> Result<i64, ClientError> {
        let place = (topic.to_owned(), partition);
        let (producer_id, epoch) = self.identified().await?;
        if self.transactional_id.is_some() && !self.joined.contains(&place) {
            self.add_partition(topic, partition).await?;
            self.joined.insert(place.clone());
        }
        let sequence = self.sequences.get(&place).copied().unwrap_or(0);
        let transactional = self.transactional_id.is_some();
        let now_ms = hopwise_engine::clock::unix_ms();
        let stamp = Stamp { producer_id, epoch, sequence, transactional };
        let records_sent = batch::encode(records, now_ms, Some(stamp))?;
        let batch = Batch { records: records_sent, transactional_id: self.transactional_id.clone() };
        let sent = self.client.append(topic, partition, &batch, Acks::All, patience).await;
        match sent {
            // Sequences go round at 2^31 (KIP-98).
            Ok(_) => {
                let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
                self.sequences.insert(place, sequence.wrapping_add(count) & i32::MAX);
            }
            Err(_) => self.forget(),
        }
        sent
    }

    /// Ends the transaction; nothing happens if none is open.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] if the coordinator has ended it already (its time was over) or another producer has taken
    /// the id; [`ClientError::GaveUp`] if no answer came: then it may have ended or not.
    pub async fn end(&mut self, commit: bool) -> Result<(), ClientError> {
        let (Some((producer_id, epoch)), false) = (self.identity, self.joined.is_empty()) else {
            return Ok(());
        };
        let id = self.id();
        let request = EndTxnRequest::default()
            .with_transactional_id(id)
            .with_producer_id(ProducerId(producer_id))
            .with_producer_epoch(epoch)
            .with_committed(commit);
        let judge = |response: &EndTxnResponse| (response.error_code, None);
        let ended = self.coordinate(Operation::EndTxn, &request, &judge, END_TXN_VERSION_MAX).await;
        self.joined.clear();
        if ended.is_err() {
            self.forget();
        }
        ended.map(drop)
    }

    /// Gives up whatever is open, and starts anew with the next batch.
    pub fn forget(&mut self) {
        self.identity = None;
        self.sequences.clear();
        self.joined.clear();
    }

    /// Takes an identity unless there is one. With a transactional id this aborts a transaction that was left open.
    ///
    /// # Errors
    /// [`ClientError::GaveUp`] if no broker gives one in time.
    pub async fn identified(&mut self) -> Result<(i64, i16), ClientError> {
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(self.transactional_id.is_some().then(|| self.id()))
            .with_transaction_timeout_ms(millis(TRANSACTION_TIMEOUT))
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let judge = |response: &InitProducerIdResponse| (response.error_code, None);
        let newest = INIT_PRODUCER_ID_VERSION_MAX;
        let response = self.coordinate(Operation::InitProducerId, &request, &judge, newest).await?;
        let identity = (response.producer_id.0, response.producer_epoch);
        self.identity = Some(identity);
        Ok(identity)
    }

    async fn add_partition(&mut self, topic: &str, partition: i32) -> Result<(), ClientError> {
        let (producer_id, epoch) = self.identity.unwrap_or((-1, -1));
        let wanted =
            AddPartitionsToTxnTopic::default().with_name(topic_name(topic)).with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(self.id())
            .with_v3_and_below_producer_id(ProducerId(producer_id))
            .with_v3_and_below_producer_epoch(epoch)
            .with_v3_and_below_topics(vec![wanted]);
        let judge = |response: &AddPartitionsToTxnResponse| {
            let results = response.results_by_topic_v3_and_below.iter();
            let code = results.flat_map(|topic| &topic.results_by_partition).next();
            (code.map_or(UNKNOWN_SERVER_ERROR, |result| result.partition_error_code), None)
        };
        let newest = ADD_PARTITIONS_VERSION_MAX;
        let added = self.coordinate(Operation::AddPartitionsToTxn, &request, &judge, newest).await;
        if added.is_err() {
            self.forget();
        }
        added.map(drop)
    }

    fn id(&self) -> TransactionalId {
        TransactionalId(StrBytes::from_string(self.transactional_id.clone().unwrap_or_default()))
    }

    /// Asks the transaction's coordinator, or any broker without transactions, for as long as a batch is tried.
    async fn coordinate<R>(
        &mut self,
        operation: Operation,
        request: &R,
        judge: &Judge<'_, R::Response>,
        newest: i16,
    ) -> Result<R::Response, ClientError>
    where
        R: Request + Clone + Send + Sync,
        R::Response: Send,
    {
        let behaviour = &self.client.inner.options.behaviour;
        let (patience, backoff) = (behaviour.produce, behaviour.retry_backoff);
        let deadline = patience.within.map(|within| Instant::now() + within);
        let subject = Subject { operation, topic: None, partition: None };
        let exchange = Exchange {
            build: &|_| request.clone(),
            judge,
            newest,
            answered: true,
            server_wait: Duration::ZERO,
            hint: None,
        };
        let mut tries = 0;
        loop {
            let destination = match (&self.transactional_id, self.coordinator) {
                (None, _) => Destination::Any,
                (Some(_), Some(coordinator)) => Destination::Broker(coordinator),
                (Some(id), None) => {
                    let found = self.client.coordinator_of(id, TRANSACTIONAL_ID).await?;
                    self.coordinator = Some(found.id);
                    Destination::Broker(found.id)
                }
            };
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let once = Patience { retries: Some(0), within: left };
            let error = match self.client.call(&subject, &destination, &exchange, once).await {
                Ok((Some(response), _)) => return Ok(response),
                Ok((None, _)) => ClientError::Incomplete { operation, about: "the producer".to_owned() },
                Err(error) => error,
            };
            tries += 1;
            let busy = error.error_code() == Some(CONCURRENT_TRANSACTIONS);
            let passing = busy || matches!(error, ClientError::GaveUp { .. });
            let wait = self.client.wait(backoff, tries);
            let late = deadline.is_some_and(|deadline| Instant::now() + wait >= deadline)
                || patience.retries.is_some_and(|retries| tries > retries);
            if !passing || late {
                return Err(error);
            }
            if !busy {
                self.coordinator = None;
            }
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HostPort, Options};

    #[tokio::test(start_paused = true)]
    async fn a_producer_that_finds_nobody_gives_up_and_has_no_identity() {
        let client =
            Client::new(Options::new(vec![HostPort::new("127.0.0.1", 1)])).expect("it has an address");
        let mut producer = IdempotentProducer::transactional(client, "t");
        assert!(matches!(
            producer.send("topic", 0, &[Record::new("k", "v")]).await,
            Err(ClientError::GaveUp { .. })
        ));
        assert_eq!((producer.identity, producer.end(true).await), (None, Ok(())));
    }

    /// Callers spawn what they ask of a client on runtimes with several threads.
    #[test]
    fn futures_of_requests_are_send() {
        fn is_send<T: Send>(_: &T) {}
        let client =
            Client::new(Options::new(vec![HostPort::new("127.0.0.1", 1)])).expect("it has an address");
        is_send(&client.produce("topic", 0, &[], Acks::All));
        is_send(&client.fetch("topic", 0, 0, crate::FetchOptions::default()));
        is_send(&IdempotentProducer::new(client.clone()).send("topic", 0, &[]));
    }
}
