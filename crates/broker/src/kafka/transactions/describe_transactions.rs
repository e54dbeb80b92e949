//! DescribeTransactions (KIP-664).

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName, TransactionalId,
};

use super::{now, shard};
use crate::kafka::authorization::Operation;
use crate::kafka::{Session, text};
use crate::transactions::request::DescribedTransaction;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: DescribeTransactionsRequest,
    _version: i16,
) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| describe(session, id));
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe(session: &Session, id: TransactionalId) -> TransactionState {
    let found = shard(session, Operation::Describe, &id).and_then(|shard| {
        let found = shard.with(now(session), |machine, _| machine.describe(&id))?;
        found.ok_or(ResponseError::TransactionalIdNotFound)
    });
    match found {
        Ok(transaction) => state(id, transaction),
        Err(error) => TransactionState::default().with_transactional_id(id).with_error_code(error.code()),
    }
}

fn state(id: TransactionalId, transaction: DescribedTransaction) -> TransactionState {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    for partition in transaction.partitions {
        topics.entry(partition.topic).or_default().push(partition.partition);
    }
    let topic = |(name, partitions): (String, Vec<i32>)| {
        TopicData::default().with_topic(TopicName(text(name))).with_partitions(partitions)
    };
    TransactionState::default()
        .with_transactional_id(id)
        .with_transaction_state(text(transaction.state))
        .with_transaction_timeout_ms(i32::try_from(transaction.timeout.as_millis()).unwrap_or(i32::MAX))
        .with_transaction_start_time_ms(transaction.start_ms)
        .with_producer_id(ProducerId(transaction.producer.id))
        .with_producer_epoch(transaction.producer.epoch)
        .with_topics(topics.into_iter().map(topic).collect())
}
