//! OffsetCommit.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{caller, done, now, shard, usable};
use crate::groups::Settings;
use crate::groups::offsets::{Committed, TopicPartition};
use crate::groups::request::CommitRequest;
use crate::kafka::Session;
use crate::kafka::authorization::Operation;

/// From here on a generation may be the epoch of a member of the consumer protocol (KIP-848).
const KNOWS_MEMBER_EPOCHS: i16 = 9;

/// Offsets to commit, and what is wrong with those that cannot be.
pub(in crate::kafka) struct Wanted {
    pub offsets: BTreeMap<TopicPartition, Committed>,
    refused: BTreeMap<TopicPartition, ResponseError>,
}

impl Wanted {
    pub fn new() -> Wanted {
        Wanted { offsets: BTreeMap::new(), refused: BTreeMap::new() }
    }

    /// Takes an offset, if the partition exists and the metadata are not too large.
    pub fn add(
        &mut self,
        session: &Session,
        partition: TopicPartition,
        (offset, leader_epoch): (i64, i32),
        metadata: Option<&StrBytes>,
        expires_ms: Option<i64>,
    ) {
        let metadata = metadata.map(|metadata| metadata.to_string()).unwrap_or_default();
        if let Err(error) = usable(session, Operation::Read, &partition) {
            self.refused.insert(partition, error);
        } else if metadata.len() > Settings::default().offset_metadata_bytes_max {
            self.refused.insert(partition, ResponseError::OffsetMetadataTooLarge);
        } else {
            let committed_ms = now(session).unix_ms;
            let committed =
                Committed { offset, leader_epoch, metadata, committed_ms, expires_ms, position: -1 };
            self.offsets.insert(partition, committed);
        }
    }

    /// The code of a partition, where `result` is what came of those that were taken.
    pub fn code(&self, partition: &TopicPartition, result: Result<(), ResponseError>) -> i16 {
        self.refused.get(partition).copied().map_or_else(|| super::code(result), |error| error.code())
    }
}

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    // Versions 2 to 4 may ask for a retention of their own; -1 asks for the broker's.
    let retention_ms = Some(request.retention_time_ms).filter(|ms| *ms >= 0 && version <= 4);
    let expires_ms = retention_ms.map(|ms| now(session).unix_ms.saturating_add(ms));
    let mut wanted = Wanted::new();
    for topic in &request.topics {
        for entry in &topic.partitions {
            let partition = named(&topic.name, entry.partition_index);
            let place = (entry.committed_offset, entry.committed_leader_epoch);
            wanted.add(session, partition, place, entry.committed_metadata.as_ref(), expires_ms);
        }
    }
    let result = commit(session, &request, version, &wanted).await;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|entry| {
            let partition = named(&topic.name, entry.partition_index);
            OffsetCommitResponsePartition::default()
                .with_partition_index(entry.partition_index)
                .with_error_code(wanted.code(&partition, result))
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

async fn commit(
    session: &Session,
    request: &OffsetCommitRequest,
    version: i16,
    wanted: &Wanted,
) -> Result<(), ResponseError> {
    let shard = shard(session, Operation::Read, &request.group_id)?;
    if wanted.offsets.is_empty() {
        return Ok(());
    }
    let generation = request.generation_id_or_member_epoch;
    let commit = CommitRequest {
        group: request.group_id.to_string(),
        caller: caller(&request.member_id, &request.group_instance_id, generation),
        knows_member_epochs: version >= KNOWS_MEMBER_EPOCHS,
        offsets: wanted.offsets.clone(),
    };
    done(shard.ask(now(session), |machine, now, ticket| machine.commit(now, commit, ticket))?).await
}

/// A partition as the coordinator names it.
pub(in crate::kafka) fn named(topic: &TopicName, partition: i32) -> TopicPartition {
    TopicPartition::new(topic.to_string(), partition)
}
