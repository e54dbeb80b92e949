//! OffsetDelete (KIP-496).

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::offset_commit::named;
use super::{code, done, now, shard, usable};
use crate::groups::offsets::TopicPartition;
use crate::kafka::Session;
use crate::kafka::authorization::Operation;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: OffsetDeleteRequest,
    _version: i16,
) -> OffsetDeleteResponse {
    let wanted: Vec<TopicPartition> = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|entry| named(&topic.name, entry.partition_index)))
        .collect();
    let results = match delete(session, &request.group_id, &wanted).await {
        Ok(results) => results,
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let mut results = results.into_iter();
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|entry| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(entry.partition_index)
                .with_error_code(code(results.next().unwrap_or(Ok(()))))
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

/// A result per partition.
async fn delete(
    session: &Session,
    group: &str,
    wanted: &[TopicPartition],
) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
    if group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let shard = shard(session, Operation::Delete, group)?;
    let problem = |partition: &TopicPartition| usable(session, Operation::Read, partition).err();
    let problems: Vec<Option<ResponseError>> = wanted.iter().map(problem).collect();
    let known = wanted.iter().zip(&problems).filter(|(_, problem)| problem.is_none());
    let known: Vec<TopicPartition> = known.map(|(partition, _)| partition.clone()).collect();
    let mut checked = Err(ResponseError::UnknownServerError);
    let waiting = shard.ask(now(session), |machine, _, ticket| {
        checked = machine.delete_offsets(group, &known, ticket);
    })?;
    let checked = checked?;
    done(waiting).await?;
    let mut checked = checked.into_iter();
    let result = |problem: Option<ResponseError>| match problem {
        None => checked.next().unwrap_or(Ok(())),
        Some(error) => Err(error),
    };
    Ok(problems.into_iter().map(result).collect())
}
