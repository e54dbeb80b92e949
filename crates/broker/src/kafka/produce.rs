//! Produce: a batch per partition, written at its leader.
//!
//! Source: redpanda.md 4.3. acks -1 waits for a majority's disks, 1 for the leader's, 0 for nobody and gets
//! no answer. Sequence numbers of idempotent producers are kept in the batch but not checked.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::time::Instant;

use super::{LEADER_WAIT_MAX, Session, partition_error, text};
use crate::cluster::topics::Topic;
use crate::log::batch::BatchHeader;
use crate::replication::partition::Acks;
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

pub(super) async fn answer(
    session: &Session,
    request: ProduceRequest,
    version: i16,
) -> Option<ProduceResponse> {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let mut topics = Vec::new();
    for topic_data in request.topic_data {
        let topic = session.node.with_cluster(|cluster| match version {
            13.. => cluster.state.topics.by_id(topic_data.topic_id).cloned(),
            _ => cluster.state.topics.get(&topic_data.name).cloned(),
        });
        topics.push((topic, topic_data));
    }
    // All partitions are appended to before any is waited for.
    let answers = join_all(topics.into_iter().map(|(topic, data)| async move {
        let topic = topic.as_ref();
        let partitions = data.partition_data.iter().map(|data| async move {
            let outcome = append(session, topic, data, request.acks, version, deadline).await;
            response(data.index, outcome.unwrap_or_else(|outcome| outcome))
        });
        let answers = join_all(partitions).await;
        topic_response(data, answers)
    }));
    let responses = answers.await;
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
    deadline: Instant,
) -> Result<Outcome, Outcome> {
    let acks = match acks {
        -1 => Acks::All,
        0 => Acks::None,
        1 => Acks::Leader,
        _ => {
            let message = format!("acks {acks}; use -1, 0 or 1");
            return Err(Outcome::error(ResponseError::InvalidRequiredAcks, message));
        }
    };
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
    let produced =
        partition.produce(Vec::from(batch), append_time_ms, acks, deadline).await.map_err(failed)?;
    node.status.add(Counter::BatchesProduced, 1);
    Ok(Outcome {
        error: None,
        base_offset: produced.base_offset,
        append_time_ms: append_time_ms.unwrap_or(-1),
        start_offset: produced.start_offset,
    })
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
