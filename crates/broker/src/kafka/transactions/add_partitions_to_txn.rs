//! AddPartitionsToTxn: until version 3 of one transaction, for clients. From version 4 on it is for brokers (KIP-890):
//! many transactions, whose partitions are added or merely verified. The brokers here ask each other over RPC
//! ([`verification`]); a client that has the right of a broker is answered as Kafka does.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::{add, code, producer};
use crate::groups::offsets::TopicPartition;
use crate::kafka::Session;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::groups::usable;
use crate::transactions::EPOCH_PER_TRANSACTION;
use crate::transactions::request::AddRequest;
use crate::transactions::verification;

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 2;
/// From here on brokers ask.
const FOR_BROKERS: i16 = 4;
/// From here on a partition that is not in the transaction is `TRANSACTION_ABORTABLE`.
const ABORTABLE_FROM: i16 = 5;

type Results = BTreeMap<TopicPartition, Result<(), ResponseError>>;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if version >= FOR_BROKERS {
        for_brokers(session, request, version).await
    } else {
        for_client(session, request, version).await
    }
}

async fn for_client(
    session: &Session,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let partitions = named(&request.v3_and_below_topics);
    let problem = |partition: &TopicPartition| {
        let error = usable(session, Operation::Write, partition).err()?;
        Some((partition.clone(), Err(error)))
    };
    let problems: Results = partitions.iter().filter_map(problem).collect();
    let result = if problems.is_empty() {
        let add_request = AddRequest {
            transactional_id: request.v3_and_below_transactional_id.to_string(),
            producer: producer(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch),
            partitions,
            client_version: 0,
        };
        add(session, add_request).await
    } else {
        // All or none.
        Err(ResponseError::OperationNotAttempted)
    };
    let result_of = |partition: &TopicPartition| problems.get(partition).copied().unwrap_or(result);
    let results = results(request.v3_and_below_topics, version, result_of);
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

async fn for_brokers(
    session: &Session,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    if let Err(error) = authorize(session, Operation::ClusterAction, Resource::Cluster) {
        return AddPartitionsToTxnResponse::default().with_error_code(error.code());
    }
    let mut answers = Vec::new();
    for transaction in request.transactions {
        let results_of = of_transaction(session, &transaction).await;
        let result_of =
            |partition: &TopicPartition| match results_of.get(partition).copied().unwrap_or(Ok(())) {
                Err(ResponseError::TransactionAbortable) if version < ABORTABLE_FROM => {
                    Err(ResponseError::InvalidTxnState)
                }
                result => result,
            };
        let answer = AddPartitionsToTxnResult::default()
            .with_transactional_id(transaction.transactional_id)
            .with_topic_results(results(transaction.topics, version, result_of));
        answers.push(answer);
    }
    AddPartitionsToTxnResponse::default().with_results_by_transaction(answers)
}

async fn of_transaction(session: &Session, transaction: &AddPartitionsToTxnTransaction) -> Results {
    let add_request = AddRequest {
        transactional_id: transaction.transactional_id.to_string(),
        producer: producer(transaction.producer_id, transaction.producer_epoch),
        partitions: named(&transaction.topics),
        client_version: EPOCH_PER_TRANSACTION,
    };
    let partitions = add_request.partitions.clone();
    let all = |result| vec![result; partitions.len()];
    let results = match transaction.verify_only {
        true => verification::verify(&session.node, &add_request).unwrap_or_else(|error| all(Err(error))),
        false => all(verification::add(&session.node, add_request).await),
    };
    partitions.into_iter().zip(results).collect()
}

fn named(topics: &[AddPartitionsToTxnTopic]) -> BTreeSet<TopicPartition> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name = topic.name.to_string();
        topic
            .partitions
            .iter()
            .map(move |index| TopicPartition::new(name.clone(), *index))
            .collect::<Vec<_>>()
    };
    topics.iter().flat_map(of_topic).collect()
}

fn results(
    topics: Vec<AddPartitionsToTxnTopic>,
    version: i16,
    result_of: impl Fn(&TopicPartition) -> Result<(), ResponseError>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let of_topic = |topic: AddPartitionsToTxnTopic| {
        let partitions = topic.partitions.iter().map(|index| {
            let partition = TopicPartition::new(topic.name.to_string(), *index);
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(result_of(&partition), version, FENCED_FROM))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    };
    topics.into_iter().map(of_topic).collect()
}
