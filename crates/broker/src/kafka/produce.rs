//! Produce: a batch per partition, written at its leader.
//!
//! Source: redpanda.md 4.3. acks -1 waits for a majority's disks, 1 for the leader's, 0 for nobody and gets
//! no answer. Sequence numbers of idempotent producers are kept in the batch but not checked.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::time::Instant;

use super::{LEADER_WAIT_MAX, Session, partition_error, text};
use crate::cluster::topics::Topic;
use crate::log::batch::BatchHeader;
use crate::status::Counter;

/// What a partition's batch came to.
struct Outcome {
    error: Option<(ResponseError, String)>,
    base_offset: i64,
    append_time_ms: i64,
    start_offset: i64,
}

impl Outcome {
    fn error(error: ResponseError, message: impl Into<String>) -> Outcome {
        let error = Some((error, message.into()));
        Outcome { error, base_offset: -1, append_time_ms: -1, start_offset: -1 }
    }
}

/// What stays to be waited for.
struct Pending {
    partition: std::sync::Arc<crate::replication::partition::Partition>,
    last_offset: i64,
}

pub(super) async fn answer(
    session: &Session,
    request: ProduceRequest,
    version: i16,
) -> Option<ProduceResponse> {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut results = Vec::new();
    for topic_data in request.topic_data {
        let topic = session.node.with_cluster(|cluster| match version {
            13.. => cluster.topics.by_id(topic_data.topic_id).cloned(),
            _ => cluster.topics.get(&topic_data.name).cloned(),
        });
        let mut partitions = Vec::new();
        for data in &topic_data.partition_data {
            partitions.push((data.index, append(session, topic.as_ref(), data, request.acks, version).await));
        }
        results.push((topic_data, partitions));
    }
    let mut responses = Vec::new();
    for (topic_data, partitions) in results {
        let mut answers = Vec::new();
        for (index, (mut outcome, pending)) in partitions {
            if let Some(pending) = pending.filter(|_| request.acks == -1)
                && !pending.partition.committed(pending.last_offset, deadline).await
            {
                let message = "a majority of the replicas did not write the batch in time";
                outcome = Outcome::error(ResponseError::RequestTimedOut, message);
            }
            answers.push(response(index, outcome));
        }
        responses.push(topic_response(topic_data, answers));
    }
    (request.acks != 0).then(|| ProduceResponse::default().with_responses(responses))
}

fn topic_response(data: TopicProduceData, answers: Vec<PartitionProduceResponse>) -> TopicProduceResponse {
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_topic_id(data.topic_id)
        .with_partition_responses(answers)
}

fn response(index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let (code, message) = match outcome.error {
        Some((error, message)) => (error.code(), Some(text(message))),
        None => (0, None),
    };
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(code)
        .with_error_message(message)
        .with_base_offset(outcome.base_offset)
        .with_log_append_time_ms(outcome.append_time_ms)
        .with_log_start_offset(outcome.start_offset)
}

async fn append(
    session: &Session,
    topic: Option<&Topic>,
    data: &PartitionProduceData,
    acks: i16,
    version: i16,
) -> (Outcome, Option<Pending>) {
    match try_append(session, topic, data, acks, version).await {
        Ok((outcome, pending)) => (outcome, Some(pending)),
        Err(outcome) => (outcome, None),
    }
}

async fn try_append(
    session: &Session,
    topic: Option<&Topic>,
    data: &PartitionProduceData,
    acks: i16,
    version: i16,
) -> Result<(Outcome, Pending), Outcome> {
    if !(-1..=1).contains(&acks) {
        return Err(Outcome::error(
            ResponseError::InvalidRequiredAcks,
            format!("acks {acks}; use -1, 0 or 1"),
        ));
    }
    let node = &session.node;
    let unknown =
        if version >= 13 { ResponseError::UnknownTopicId } else { ResponseError::UnknownTopicOrPartition };
    let topic = topic.ok_or_else(|| Outcome::error(unknown, "there is no such topic"))?;
    if usize::try_from(data.index).map_or(true, |index| index >= topic.partitions.len()) {
        return Err(Outcome::error(ResponseError::UnknownTopicOrPartition, "there is no such partition"));
    }
    let Some(partition) = node.partition((topic.id, data.index)).filter(|partition| partition.leads()) else {
        node.status.add(Counter::NotLeader, 1);
        return Err(Outcome::error(ResponseError::NotLeaderOrFollower, "another broker leads the partition"));
    };
    let failed = |error| Outcome::error(partition_error(session, &error), error.to_string());
    let batch = batch(data.records.as_ref(), node.config.cluster.kafka_batch_max_bytes)?;
    partition.wait_leading(Instant::now() + LEADER_WAIT_MAX).await.map_err(failed)?;
    let append_time_ms = topic.log_append_time().then(|| (node.clock)());
    let (base_offset, last_offset) =
        partition.produce(&mut Vec::from(batch), append_time_ms).map_err(failed)?;
    node.status.add(Counter::BatchesProduced, 1);
    let outcome = Outcome {
        error: None,
        base_offset,
        append_time_ms: append_time_ms.unwrap_or(-1),
        start_offset: partition.start_offset(),
    };
    Ok((outcome, Pending { partition, last_offset }))
}

/// The one batch that a partition's records are (Kafka: Produce 3 and later carry exactly one).
fn batch(records: Option<&Bytes>, bytes_max: u32) -> Result<Bytes, Outcome> {
    let records = records.filter(|records| !records.is_empty());
    let records = records.ok_or_else(|| Outcome::error(ResponseError::InvalidRecord, "there is no batch"))?;
    if records.len() > bytes_max as usize {
        let message = format!("the batch has {} bytes, at most {bytes_max} are taken", records.len());
        return Err(Outcome::error(ResponseError::MessageTooLarge, message));
    }
    let header = BatchHeader::check(records)
        .map_err(|error| Outcome::error(ResponseError::CorruptMessage, error.to_string()))?;
    if header.size != records.len() {
        return Err(Outcome::error(ResponseError::InvalidRecord, "there is more than one batch"));
    }
    if header.record_count < 1 || header.record_count - 1 != header.last_offset_delta {
        let message = "the record count does not fit the batch's last offset";
        return Err(Outcome::error(ResponseError::InvalidRecord, message));
    }
    Ok(records.clone())
}
