//! AddPartitionsToTxn, of one transaction (until version 3; later ones are for brokers).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use super::{add, code, producer};
use crate::groups::offsets::TopicPartition;
use crate::kafka::Session;
use crate::kafka::authorization::Operation;
use crate::kafka::groups::usable;
use crate::transactions::request::AddRequest;

/// From here on a fenced producer is told so (KIP-588).
const FENCED_FROM: i16 = 2;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let topics = &request.v3_and_below_topics;
    let partitions: BTreeSet<TopicPartition> = topics
        .iter()
        .flat_map(|topic| {
            topic.partitions.iter().map(|index| TopicPartition::new(topic.name.to_string(), *index))
        })
        .collect();
    let problem = |partition: &TopicPartition| {
        let error = usable(session, Operation::Write, partition).err()?;
        Some((partition.clone(), error))
    };
    let problems: BTreeMap<TopicPartition, ResponseError> = partitions.iter().filter_map(problem).collect();
    let result = if problems.is_empty() {
        let add_request = AddRequest {
            transactional_id: request.v3_and_below_transactional_id.to_string(),
            producer: producer(request.v3_and_below_producer_id, request.v3_and_below_producer_epoch),
            partitions,
        };
        add(session, add_request).await
    } else {
        // All or none.
        Err(ResponseError::OperationNotAttempted)
    };
    let results = request.v3_and_below_topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|index| {
            let partition = TopicPartition::new(topic.name.to_string(), *index);
            let result = problems.get(&partition).map_or(result, |error| Err(*error));
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(result, version, FENCED_FROM))
        });
        let partitions = partitions.collect();
        AddPartitionsToTxnTopicResult::default().with_name(topic.name).with_results_by_partition(partitions)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
}
