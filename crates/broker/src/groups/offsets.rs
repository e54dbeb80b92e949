//! The offsets that a group has committed, in and outside transactions, and when they expire.
//!
//! Sources: KIP-98 (offsets in transactions), KIP-447 (unstable offsets), KIP-211 (expiry), KIP-496 (OffsetDelete).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;

use super::effects::{Context, Then};
use super::group::{CONSUMER, Group, State};
use super::records;
use super::request::{CommitRequest, TransactionalCommitRequest};
use crate::coordinator::{Ticket, Write, WriteKind};

/// A partition of a topic, by the topic's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub topic: String,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<String>, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub offset: i64,
    /// Of the record before the offset; -1 where the client does not tell.
    pub leader_epoch: i32,
    pub metadata: String,
    /// Milliseconds since 1970.
    pub committed_ms: i64,
    /// Milliseconds since 1970, where the client asked for a retention of its own (until version 4).
    pub expires_ms: Option<i64>,
    /// Where the record lies in the coordinator's partition: of two commits the later one counts, also if
    /// the earlier one was in a transaction that ends later. -1 before it is written.
    pub position: i64,
}

/// A group's offsets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    pub committed: BTreeMap<TopicPartition, Committed>,
    /// Offsets of open transactions, by producer id.
    pub pending: BTreeMap<i64, BTreeMap<TopicPartition, Committed>>,
}

impl Offsets {
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    /// Offsets are written at `position`.
    pub fn commit(&mut self, offsets: BTreeMap<TopicPartition, Committed>, position: i64) {
        for (partition, committed) in offsets {
            self.commit_one(partition, Committed { position, ..committed });
        }
    }

    fn commit_one(&mut self, partition: TopicPartition, committed: Committed) {
        let newer = |known: &Committed| known.position <= committed.position;
        if self.committed.get(&partition).is_none_or(newer) {
            self.committed.insert(partition, committed);
        }
    }

    /// Offsets of a transaction are written at `position`.
    pub fn add_pending(
        &mut self,
        producer_id: i64,
        offsets: BTreeMap<TopicPartition, Committed>,
        position: i64,
    ) {
        let pending = self.pending.entry(producer_id).or_default();
        pending.extend(
            offsets
                .into_iter()
                .map(|(partition, committed)| (partition, Committed { position, ..committed })),
        );
    }

    /// The producer's transaction has ended.
    pub fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if commit {
            pending.into_iter().for_each(|(partition, committed)| self.commit_one(partition, committed));
        }
    }

    /// Whether an open transaction has an offset for the partition.
    pub fn unstable(&self, partition: &TopicPartition) -> bool {
        self.pending.values().any(|pending| pending.contains_key(partition))
    }

    /// The partition's offset; `UNSTABLE_OFFSET_COMMIT` if only a stable one is wanted and an open
    /// transaction may change it.
    pub fn fetch(
        &self,
        partition: &TopicPartition,
        require_stable: bool,
    ) -> Result<Option<&Committed>, ResponseError> {
        if require_stable && self.unstable(partition) {
            return Err(ResponseError::UnstableOffsetCommit);
        }
        Ok(self.committed.get(partition))
    }
}

impl Group {
    /// Whether a member, or a client that is in no group, may commit.
    fn check_commit(
        &mut self,
        request: &CommitRequest,
        transactional: bool,
        context: &mut Context<'_>,
    ) -> Result<(), ResponseError> {
        let caller = &request.caller;
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if let Some(consumer) = &self.consumer {
            return consumer.check_commit(caller, transactional, request.knows_member_epochs);
        }
        if caller.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        let named = caller.generation >= 0 || !caller.member.is_empty() || caller.instance.is_some();
        if named {
            self.check_generation(caller)?;
        } else if !transactional {
            // The group has members, and the client is none of them.
            return Err(ResponseError::UnknownMemberId);
        }
        match self.state {
            // The member has got its generation and not its assignment; it is to go on with the rebalance.
            State::CompletingRebalance if !transactional => return Err(ResponseError::RebalanceInProgress),
            State::Stable | State::PreparingRebalance if named => self.touch(&caller.member, context),
            _ => {}
        }
        Ok(())
    }

    /// OffsetCommit.
    pub(super) fn commit(
        &mut self,
        request: CommitRequest,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) -> Result<(), ResponseError> {
        self.check_commit(&request, false, context)?;
        let records = self.offset_records(&request.offsets);
        let then = Then::Committed { group: self.id.clone(), offsets: request.offsets, ticket };
        context.effects.write(Write { kind: WriteKind::Plain, records, then });
        Ok(())
    }

    /// TxnOffsetCommit: the offsets count once the producer's transaction is committed.
    pub(super) fn commit_in_transaction(
        &mut self,
        request: TransactionalCommitRequest,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) -> Result<(), ResponseError> {
        self.check_commit(&request.commit, true, context)?;
        let records = self.offset_records(&request.commit.offsets);
        let TransactionalCommitRequest { commit, producer_id, producer_epoch, begins } = request;
        let kind = WriteKind::Transactional { producer_id, producer_epoch, begins };
        let then = Then::Pending { group: self.id.clone(), producer_id, offsets: commit.offsets, ticket };
        context.effects.write(Write { kind, records, then });
        Ok(())
    }

    fn offset_records(
        &self,
        offsets: &BTreeMap<TopicPartition, Committed>,
    ) -> Vec<crate::coordinator::Record> {
        let record = |(partition, committed): (&TopicPartition, &Committed)| {
            records::offset_record(&self.id, partition, committed)
        };
        offsets.iter().map(record).collect()
    }

    /// The topics that its consumers are subscribed to; `None` if that cannot be told.
    pub(super) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        if let Some(consumer) = &self.consumer {
            return Some(consumer.subscribed_topics());
        }
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            for (_, subscription) in &member.protocols {
                topics.extend(records::subscribed_topics(subscription)?);
            }
        }
        Some(topics)
    }

    /// Which of these offsets may be deleted: none of a topic that a consumer of the group is subscribed to.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, or `NON_EMPTY_GROUP` for a group whose members are no consumers.
    pub(super) fn check_offset_delete(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        match self.state {
            State::Dead => Err(ResponseError::GroupIdNotFound),
            State::Empty if self.is_unused() => Ok(vec![Ok(()); partitions.len()]),
            _ if self.consumer.is_none() && self.protocol_type.as_deref() != Some(CONSUMER) => {
                Err(ResponseError::NonEmptyGroup)
            }
            _ => {
                let subscribed = self.subscribed_topics();
                let free = |partition: &TopicPartition| {
                    let subscribed = subscribed.as_ref();
                    subscribed.is_some_and(|topics| !topics.contains(&partition.topic))
                };
                let result = |partition| match free(partition) {
                    true => Ok(()),
                    false => Err(ResponseError::GroupSubscribedToTopic),
                };
                Ok(partitions.iter().map(result).collect())
            }
        }
    }

    /// The offsets that are older than the retention (KIP-211): of a group with members those of topics that
    /// nobody is subscribed to; of one without, once it has been so for the retention.
    pub(super) fn expired_offsets(&self, now_ms: i64, retention_ms: Option<i64>) -> Vec<TopicPartition> {
        let subscribed = match self.state {
            State::Empty if self.consumer.is_some() => self.subscribed_topics(),
            State::Empty => Some(BTreeSet::new()),
            State::Stable if self.protocol_type.as_deref() == Some(CONSUMER) => self.subscribed_topics(),
            _ => None,
        };
        let Some(subscribed) = subscribed else { return Vec::new() };
        let was_group = self.state == State::Empty && self.protocol_type.is_some();
        let since_ms = if was_group { self.state_since_ms } else { i64::MIN };
        let expired = |partition: &TopicPartition, committed: &Committed| {
            let age_ms = now_ms.saturating_sub(committed.committed_ms.max(since_ms));
            let by_age = retention_ms.is_some_and(|retention_ms| age_ms >= retention_ms);
            let expired = committed.expires_ms.map_or(by_age, |expires_ms| now_ms >= expires_ms);
            expired && !subscribed.contains(&partition.topic) && !self.offsets.unstable(partition)
        };
        let expired =
            self.offsets.committed.iter().filter(|(partition, committed)| expired(partition, committed));
        expired.map(|(partition, _)| partition.clone()).collect()
    }
}
