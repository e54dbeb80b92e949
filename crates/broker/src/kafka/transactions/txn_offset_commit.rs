//! TxnOffsetCommit: offsets that count once the producer's transaction is committed. It goes to the group's
//! coordinator, which asks the transaction's whether its partition belongs to the transaction (KIP-890).

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::{now, producer};
use crate::groups;
use crate::groups::request::{CommitRequest, TransactionalCommitRequest};
use crate::kafka::Session;
use crate::kafka::authorization::{Operation, Resource, authorize};
use crate::kafka::groups::offset_commit::{Wanted, named};
use crate::kafka::groups::{GroupShard, caller, done, member_shard};
use crate::producers::{LastEnd, Standing};
use crate::transactions::verification::{self, Asker, Place};

/// From here on the request names the member and its generation (KIP-447).
const NAMES_MEMBER: i16 = 3;

pub(in crate::kafka) async fn answer(
    session: &Session,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let mut wanted = Wanted::new();
    for topic in &request.topics {
        for entry in &topic.partitions {
            let place = (entry.committed_offset, entry.committed_leader_epoch);
            let partition = named(&topic.name, entry.partition_index);
            wanted.add(session, partition, place, entry.committed_metadata.as_ref(), None);
        }
    }
    let result = commit(session, &request, &wanted, version).await;
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|entry| {
            let partition = named(&topic.name, entry.partition_index);
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(entry.partition_index)
                .with_error_code(wanted.code(&partition, result))
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

async fn commit(
    session: &Session,
    request: &TxnOffsetCommitRequest,
    wanted: &Wanted,
    version: i16,
) -> Result<(), ResponseError> {
    authorize(session, Operation::Write, Resource::TransactionalId(&request.transactional_id))?;
    let shard = member_shard(session, &request.group_id)?;
    if wanted.offsets.is_empty() {
        return Ok(());
    }
    let begins = begins(session, request, &shard, version).await?;
    let generation = if version >= NAMES_MEMBER { request.generation_id } else { -1 };
    let commit = TransactionalCommitRequest {
        commit: CommitRequest {
            group: request.group_id.to_string(),
            caller: caller(&request.member_id, &request.group_instance_id, generation),
            knows_member_epochs: false,
            offsets: wanted.offsets.clone(),
        },
        producer_id: request.producer_id.0,
        producer_epoch: request.producer_epoch,
        begins,
    };
    let waiting = shard.ask(now(session), |machine, now, ticket| {
        machine.commit_in_transaction(now, commit, ticket);
    })?;
    done(waiting).await
}

/// After which end of the producer's transactions the offsets begin one in the group's partition; `None` if it is open
/// there.
async fn begins(
    session: &Session,
    request: &TxnOffsetCommitRequest,
    shard: &GroupShard,
    version: i16,
) -> Result<Option<LastEnd>, ResponseError> {
    // Whoever is not the group's coordinator asks for nothing.
    shard.with(now(session), |_, _| ())?;
    let producer = producer(request.producer_id, request.producer_epoch);
    let place = Place { topic: groups::TOPIC.to_owned(), partition: Arc::clone(&shard.partition) };
    let asker = Asker::offset_commit(version);
    let asked = verification::ask(&session.node, &request.transactional_id, producer, &[place], asker).await;
    match asked.first() {
        Some(Ok(Standing::Begins(last_end))) => Ok(Some(*last_end)),
        Some(Err(ResponseError::NotLeaderOrFollower)) => Err(ResponseError::NotCoordinator),
        Some(Err(error)) => Err(*error),
        _ => Ok(None),
    }
}
