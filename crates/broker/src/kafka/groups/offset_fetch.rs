//! OffsetFetch: one group until version 7, several from version 8 on.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse, TopicName};

use super::offset_commit::named;
use super::{now, shard};
use crate::groups::offsets::{Committed, TopicPartition};
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::{Session, text};

/// From here on an error of the whole group has a field of its own.
const HAS_GROUP_ERROR: i16 = 2;

type Found = Vec<(TopicPartition, Result<Option<Committed>, ResponseError>)>;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    let stable = request.require_stable;
    if version >= 8 {
        let groups = request.groups.into_iter().map(|group| {
            let topics = group.topics.as_ref().map(|topics| {
                topics.iter().flat_map(|topic| partitions(&topic.name, &topic.partition_indexes)).collect()
            });
            // Before version 9 they are left at what says nothing.
            let caller = (group.member_id.as_deref(), group.member_epoch);
            let found = fetch(session, &group.group_id, caller, topics, stable);
            let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
            match found {
                Ok(found) => response.with_topics(several(found)),
                Err(error) => response.with_error_code(error.code()),
            }
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let topics: Option<Vec<TopicPartition>> = request.topics.as_ref().map(|topics| {
        topics.iter().flat_map(|topic| partitions(&topic.name, &topic.partition_indexes)).collect()
    });
    let response = OffsetFetchResponse::default();
    match fetch(session, &request.group_id, (None, -1), topics.clone(), stable) {
        Ok(found) => response.with_topics(single(found)),
        Err(error) if version >= HAS_GROUP_ERROR => response.with_error_code(error.code()),
        Err(error) => {
            let topics = topics.unwrap_or_default();
            response.with_topics(single(topics.into_iter().map(|topic| (topic, Err(error))).collect()))
        }
    }
}

fn partitions<'a>(topic: &'a TopicName, indexes: &'a [i32]) -> impl Iterator<Item = TopicPartition> + 'a {
    indexes.iter().map(|index| named(topic, *index))
}

fn fetch(
    session: &Session,
    group: &str,
    (member, epoch): (Option<&str>, i32),
    partitions: Option<Vec<TopicPartition>>,
    require_stable: bool,
) -> Result<Found, ResponseError> {
    let shard = shard(session, Operation::Describe, group)?;
    let may = |partition: &TopicPartition| {
        authorize(session, Operation::Describe, Resource::Topic(&partition.topic))
    };
    let all = partitions.is_none();
    let found = shard.with(now(session), |machine, _| {
        machine.check_fetch(group, member, epoch)?;
        Ok(machine.fetch(group, partitions.as_deref(), require_stable))
    })??;
    // Where all were asked for, those that the client may not see are left out.
    let seen = found.into_iter().filter_map(|(partition, result)| match may(&partition) {
        Ok(()) => Some((partition, result)),
        Err(_) if all => None,
        Err(error) => Some((partition, Err(error))),
    });
    Ok(seen.collect())
}

/// What a partition's answer consists of, in either form.
struct Entry {
    index: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    code: i16,
}

/// By topic, in the order of the names.
fn by_topic(found: Found) -> BTreeMap<String, Vec<Entry>> {
    let mut topics: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for (partition, result) in found {
        let code = result.as_ref().err().map_or(0, |error| error.code());
        // Kafka: no offset is -1 with no error.
        let (offset, leader_epoch, metadata) = match result.ok().flatten() {
            Some(committed) => (committed.offset, committed.leader_epoch, committed.metadata),
            None => (-1, -1, String::new()),
        };
        let entry = Entry { index: partition.partition, offset, leader_epoch, metadata, code };
        topics.entry(partition.topic).or_default().push(entry);
    }
    topics
}

fn single(found: Found) -> Vec<OffsetFetchResponseTopic> {
    let partition = |entry: Entry| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(entry.index)
            .with_committed_offset(entry.offset)
            .with_committed_leader_epoch(entry.leader_epoch)
            .with_metadata(Some(text(entry.metadata)))
            .with_error_code(entry.code)
    };
    let topic = |(name, entries): (String, Vec<Entry>)| {
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(text(name)))
            .with_partitions(entries.into_iter().map(partition).collect())
    };
    by_topic(found).into_iter().map(topic).collect()
}

fn several(found: Found) -> Vec<OffsetFetchResponseTopics> {
    let partition = |entry: Entry| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(entry.index)
            .with_committed_offset(entry.offset)
            .with_committed_leader_epoch(entry.leader_epoch)
            .with_metadata(Some(text(entry.metadata)))
            .with_error_code(entry.code)
    };
    let topic = |(name, entries): (String, Vec<Entry>)| {
        OffsetFetchResponseTopics::default()
            .with_name(TopicName(text(name)))
            .with_partitions(entries.into_iter().map(partition).collect())
    };
    by_topic(found).into_iter().map(topic).collect()
}
