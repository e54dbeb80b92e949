//! The state machine of one partition of `__consumer_offsets`: its groups, their timers and their writes.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::Settings;
use super::effects::{Context, Effects, Then, Timer, TimerKind};
use super::group::{CONSUMER, Group, State};
use super::offsets::{Committed, TopicPartition};
use super::records::{self, GroupRecord};
use super::request::{
    Answer, Caller, CommitRequest, DescribedGroup, DescribedMember, GroupKind, JoinAnswer, JoinRequest,
    Leaving, ListedGroup, SyncAnswer, SyncRequest, TransactionalCommitRequest,
};
use crate::coordinator::{Machine, Now, Replayed, Ticket, Timers, Write, WriteError, WriteKind, WriteQueue};
use crate::node::Node;

/// The groups of a partition.
pub(crate) struct GroupMachine {
    pub(super) settings: Settings,
    pub(super) groups: BTreeMap<String, Group>,
    /// Which groups have offsets of a producer's open transaction.
    pending: BTreeMap<i64, BTreeSet<String>>,
    pub(super) timers: Timers<Timer>,
    pub(super) writes: WriteQueue<Then>,
    pub(super) answers: Vec<(Ticket, Answer)>,
    /// The time while the log is replayed.
    started: Instant,
}

/// What metrics tell of a group.
pub(crate) struct GroupFigures {
    pub id: String,
    pub members: usize,
    pub offsets: Vec<(TopicPartition, i64)>,
}

impl GroupMachine {
    /// Without groups.
    pub fn new(settings: Settings, now: Now) -> GroupMachine {
        GroupMachine {
            settings,
            groups: BTreeMap::new(),
            pending: BTreeMap::new(),
            timers: Timers::default(),
            writes: WriteQueue::default(),
            answers: Vec::new(),
            started: now.instant,
        }
    }

    /// Does a step with a group, which may not exist.
    fn step<R>(
        &mut self,
        now: Now,
        group: &str,
        work: impl FnOnce(&mut Group, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(group)?;
        let mut effects = Effects::default();
        let result = work(group, &mut Context { now, settings: &self.settings, effects: &mut effects });
        self.take(effects);
        Some(result)
    }

    fn take(&mut self, effects: Effects) {
        self.answers.extend(effects.answers);
        effects.timers.into_iter().for_each(|(at, timer)| self.timers.set(at, timer));
        effects.writes.into_iter().for_each(|write| self.writes.push(write));
    }

    /// The group, made if it is not there; `None` if there are too many.
    pub(super) fn or_new(&mut self, group: &str, now: Now) -> Option<&mut Group> {
        if !self.groups.contains_key(group) && self.groups.len() >= self.settings.groups_max {
            return None;
        }
        Some(self.groups.entry(group.to_owned()).or_insert_with(|| Group::new(group, now.unix_ms)))
    }

    /// What it goes by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// JoinGroup.
    pub fn join(&mut self, now: Now, request: JoinRequest, ticket: Ticket) {
        let (id, member) = (request.group.clone(), request.member.clone());
        if let Err(error) = self.check_join(now, &request) {
            let answer = JoinAnswer::error(error, &member);
            return self.answers.push((ticket, Answer::Join(answer)));
        }
        self.step(now, &id, |group, context| group.join(request, ticket, context));
    }

    fn check_join(&mut self, now: Now, request: &JoinRequest) -> Result<(), ResponseError> {
        let allowed = self.settings.session_timeout_min..=self.settings.session_timeout_max;
        if !allowed.contains(&request.session_timeout) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        let bytes: usize = request.protocols.iter().map(|(name, data)| name.len() + data.len()).sum();
        if bytes > self.settings.subscription_bytes_max {
            return Err(ResponseError::InvalidRequest);
        }
        if !request.member.is_empty() && !self.groups.contains_key(&request.group) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.leave_consumer_protocol(&request.group)?;
        self.or_new(&request.group, now).map(drop).ok_or(ResponseError::GroupMaxSizeReached)
    }

    /// SyncGroup.
    pub fn sync(&mut self, now: Now, request: SyncRequest, ticket: Ticket) {
        let id = request.group.clone();
        let known = self.step(now, &id, |group, context| group.sync(request, ticket, context));
        if known.is_none() {
            let answer = SyncAnswer::error(ResponseError::UnknownMemberId);
            self.answers.push((ticket, Answer::Sync(answer)));
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, now: Now, group: &str, caller: &Caller) -> Result<(), ResponseError> {
        self.step(now, group, |group, context| group.heartbeat(caller, context))
            .unwrap_or(Err(ResponseError::UnknownMemberId))
    }

    /// LeaveGroup: a result per member.
    ///
    /// # Errors
    /// `COORDINATOR_NOT_AVAILABLE` for a group that is being deleted.
    pub fn leave(
        &mut self,
        now: Now,
        group: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        if self.groups.get(group).is_some_and(|group| group.state == State::Dead) {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        let results = self.step(now, group, |group, context| group.leave(leaving, context));
        Ok(results.unwrap_or_else(|| vec![Err(ResponseError::UnknownMemberId); leaving.len()]))
    }

    /// OffsetCommit. A client without a generation may commit to a group that does not exist yet.
    pub fn commit(&mut self, now: Now, request: CommitRequest, ticket: Ticket) {
        let id = request.group.clone();
        let result = self.group_for_commit(now, &request).and_then(|()| {
            let committed = self.step(now, &id, |group, context| group.commit(request, ticket, context));
            committed.unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
        });
        if let Err(error) = result {
            self.answers.push((ticket, Answer::Done(Err(error))));
        }
    }

    /// TxnOffsetCommit.
    pub fn commit_in_transaction(&mut self, now: Now, request: TransactionalCommitRequest, ticket: Ticket) {
        let id = request.commit.group.clone();
        let result = self.group_for_commit(now, &request.commit).and_then(|()| {
            let step = |group: &mut Group, context: &mut Context<'_>| {
                group.commit_in_transaction(request, ticket, context)
            };
            self.step(now, &id, step).unwrap_or(Err(ResponseError::CoordinatorNotAvailable))
        });
        if let Err(error) = result {
            self.answers.push((ticket, Answer::Done(Err(error))));
        }
    }

    fn group_for_commit(&mut self, now: Now, request: &CommitRequest) -> Result<(), ResponseError> {
        if self.groups.contains_key(&request.group) {
            return Ok(());
        }
        if request.caller.generation >= 0 {
            return Err(match request.knows_member_epochs {
                true => ResponseError::GroupIdNotFound,
                false => ResponseError::IllegalGeneration,
            });
        }
        self.or_new(&request.group, now).map(drop).ok_or(ResponseError::CoordinatorNotAvailable)
    }

    /// Writes the end of a producer's transaction; its offsets count, or are forgotten, once that is written.
    pub fn end_transaction(&mut self, kind: WriteKind, ticket: Ticket) {
        let WriteKind::Marker { producer_id, commit, .. } = kind else { return };
        let then = Then::Ended { producer_id, commit, ticket };
        self.writes.push(Write { kind, records: Vec::new(), then });
    }

    /// Committed offsets; `partitions` are those wanted, or all.
    pub fn fetch(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Vec<(TopicPartition, Result<Option<Committed>, ResponseError>)> {
        let group = self.groups.get(group).filter(|group| group.state != State::Dead);
        let fetch = |partition: &TopicPartition| match group {
            Some(group) => group.offsets.fetch(partition, require_stable).map(|found| found.cloned()),
            None => Ok(None),
        };
        match (partitions, group) {
            (Some(partitions), _) => {
                partitions.iter().map(|partition| (partition.clone(), fetch(partition))).collect()
            }
            (None, Some(group)) => {
                let all = group.offsets.committed.keys();
                all.map(|partition| (partition.clone(), fetch(partition))).collect()
            }
            (None, None) => Vec::new(),
        }
    }

    /// OffsetDelete: a result per partition; the ticket is answered when those that can be are deleted.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`; nothing is answered later then.
    pub fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[TopicPartition],
        ticket: Ticket,
    ) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        let found = self.groups.get(group).ok_or(ResponseError::GroupIdNotFound);
        let checked = found.and_then(|group| group.check_offset_delete(partitions));
        let (deleted, result) = match checked {
            Ok(results) => {
                let free = partitions.iter().zip(&results).filter(|(_, result)| result.is_ok());
                (free.map(|(partition, _)| partition.clone()).collect(), Ok(results))
            }
            Err(error) => (Vec::new(), Err(error)),
        };
        if deleted.is_empty() {
            self.answers.push((ticket, Answer::Done(Ok(()))));
        } else {
            self.write_offset_tombstones(group, deleted, Some(ticket));
        }
        result
    }

    fn write_offset_tombstones(
        &mut self,
        group: &str,
        partitions: Vec<TopicPartition>,
        ticket: Option<Ticket>,
    ) {
        let records =
            partitions.iter().map(|partition| records::offset_tombstone(group, partition)).collect();
        let then = Then::OffsetsDeleted { group: group.to_owned(), partitions, ticket };
        self.writes.push(Write { kind: WriteKind::Plain, records, then });
    }

    /// DeleteGroups, for one group: the ticket is answered when it is gone, or why it cannot be.
    pub fn delete(&mut self, now: Now, group: &str, ticket: Ticket) {
        let error = match self.groups.get(group) {
            None => Some(ResponseError::GroupIdNotFound),
            Some(group) => match group.state {
                State::Dead => Some(ResponseError::GroupIdNotFound),
                State::Empty if group.is_unused() => None,
                _ => Some(ResponseError::NonEmptyGroup),
            },
        };
        match error {
            Some(error) => self.answers.push((ticket, Answer::Done(Err(error)))),
            None => self.bury(now, group, Some(ticket)),
        }
    }

    fn bury(&mut self, now: Now, id: &str, ticket: Option<Ticket>) {
        let Some(group) = self.groups.get_mut(id) else { return };
        group.state = State::Dead;
        group.state_since_ms = now.unix_ms;
        let offsets = group.offsets.committed.keys();
        let partitions: BTreeSet<TopicPartition> = offsets.cloned().collect();
        let tombstones = partitions.iter().map(|partition| records::offset_tombstone(id, partition));
        let consumer = group.consumer.iter().flat_map(|consumer| consumer.end());
        let consumer = consumer.map(|change| change.record(id));
        let records = tombstones.chain(consumer).chain([records::group_tombstone(id)]).collect();
        let then = Then::Deleted { group: id.to_owned(), partitions, ticket };
        self.writes.push(Write { kind: WriteKind::Plain, records, then });
    }

    /// DescribeGroups, for one group; `None` if there is none, or it is one of the consumer protocol.
    pub fn describe(&self, group: &str) -> Option<DescribedGroup> {
        let group = self.groups.get(group).filter(|group| group.state != State::Dead)?;
        if group.consumer.is_some() {
            return None;
        }
        let stable = group.state == State::Stable;
        let member = |member: &super::member::Member| DescribedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: if stable { member.metadata(group.protocol.as_deref()) } else { Default::default() },
            assignment: if stable { member.assignment.clone() } else { Default::default() },
        };
        Some(DescribedGroup {
            state: group.state.name(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            protocol: group.protocol.clone().filter(|_| stable).unwrap_or_default(),
            members: group.members.values().map(member).collect(),
        })
    }

    /// Every group, by id.
    pub fn list(&self) -> impl Iterator<Item = ListedGroup> {
        let alive = self.groups.values().filter(|group| group.state != State::Dead);
        alive.map(|group| match &group.consumer {
            Some(consumer) => ListedGroup {
                id: group.id.clone(),
                kind: GroupKind::Consumer,
                protocol_type: CONSUMER.to_owned(),
                state: consumer.state(),
            },
            None => ListedGroup {
                id: group.id.clone(),
                kind: GroupKind::Classic,
                protocol_type: group.protocol_type.clone().unwrap_or_default(),
                state: group.state.name(),
            },
        })
    }

    /// Every group with its members and committed offsets, for metrics.
    pub fn figures(&self) -> impl Iterator<Item = GroupFigures> {
        self.groups.values().filter(|group| group.state != State::Dead).map(|group| GroupFigures {
            id: group.id.clone(),
            members: group.members.len()
                + group.consumer.as_ref().map_or(0, |consumer| consumer.members.len()),
            offsets: group
                .offsets
                .committed
                .iter()
                .map(|(partition, committed)| (partition.clone(), committed.offset))
                .collect(),
        })
    }

    /// Deletes the offsets of topics that are no more.
    pub fn forget_topics(&mut self, is_gone: impl Fn(&str) -> bool) {
        let gone = |group: &Group| -> Vec<TopicPartition> {
            let offsets = group.offsets.committed.keys();
            offsets.filter(|partition| is_gone(&partition.topic)).cloned().collect()
        };
        self.delete_found(gone);
    }

    fn delete_found(&mut self, find: impl Fn(&Group) -> Vec<TopicPartition>) {
        let alive = self.groups.values().filter(|group| group.state != State::Dead);
        let found: Vec<_> = alive.map(|group| (group.id.clone(), find(group))).collect();
        for (group, partitions) in found.into_iter().filter(|(_, partitions)| !partitions.is_empty()) {
            self.write_offset_tombstones(&group, partitions, None);
        }
    }

    /// Deletes offsets that have expired, and groups that have neither members nor offsets.
    fn expire(&mut self, now: Now) {
        let empty = |group: &Group| group.is_unused() && group.offsets.is_empty();
        let unused: Vec<String> =
            self.groups.values().filter(|group| empty(group)).map(|group| group.id.clone()).collect();
        for group in unused {
            self.bury(now, &group, None);
        }
        let retention = self.settings.offset_retention.map(|retention| retention.as_millis());
        let retention_ms = retention.and_then(|millis| i64::try_from(millis).ok());
        self.delete_found(|group| group.expired_offsets(now.unix_ms, retention_ms));
    }

    fn fire(&mut self, now: Now, at: Instant, timer: Timer) {
        if let TimerKind::Silence(_) | TimerKind::Revocation(_) = timer.kind {
            return self.member_timer(now, at, &timer.group, timer.kind);
        }
        self.step(now, &timer.group, |group, context| match &timer.kind {
            TimerKind::Session(member) => group.session_timer(member, at, context),
            TimerKind::IdGiven(member) => group.id_given_timer(member, context),
            TimerKind::Gathering => group.gathering_is_over(context),
            TimerKind::Sync => group.syncs_are_late(context),
            TimerKind::Silence(_) | TimerKind::Revocation(_) => {}
        });
    }

    fn end_pending(&mut self, producer_id: i64, commit: bool) {
        for group in self.pending.remove(&producer_id).unwrap_or_default() {
            if let Some(group) = self.groups.get_mut(&group) {
                group.offsets.end_transaction(producer_id, commit);
            }
        }
    }

    fn add_pending(
        &mut self,
        id: &str,
        producer_id: i64,
        offsets: BTreeMap<TopicPartition, Committed>,
        position: i64,
    ) {
        if let Some(group) = self.groups.get_mut(id) {
            group.offsets.add_pending(producer_id, offsets, position);
            self.pending.entry(producer_id).or_default().insert(id.to_owned());
        }
    }

    fn replay_record(&mut self, base_offset: i64, producer_id: Option<i64>, record: GroupRecord) {
        let now = Now { instant: self.started, unix_ms: 0 };
        match record {
            GroupRecord::Offset { group: id, partition, committed: Some(committed) } => {
                let group =
                    self.groups.entry(id.clone()).or_insert_with(|| Group::new(&id, committed.committed_ms));
                let offsets = BTreeMap::from([(partition, committed)]);
                match producer_id {
                    Some(producer_id) => self.add_pending(&id, producer_id, offsets, base_offset),
                    None => group.offsets.commit(offsets, base_offset),
                }
            }
            GroupRecord::Offset { group, partition, committed: None } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.offsets.committed.remove(&partition);
                }
            }
            GroupRecord::Group { group: id, stored: Some(stored) } => {
                let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(&id, 0));
                group.consumer = None;
                self.step(now, &id, |group, context| group.restore(stored, context));
            }
            GroupRecord::Group { group, stored: None } => {
                // Offsets have tombstones of their own: they outlive a group that changes its protocol, and those
                // of open transactions outlive any.
                if let Some(removed) = self.groups.remove(&group) {
                    let mut kept = Group::new(&group, removed.state_since_ms);
                    (kept.offsets, kept.consumer) = (removed.offsets, removed.consumer);
                    if kept.consumer.is_some() || !kept.offsets.is_empty() {
                        self.groups.insert(group, kept);
                    }
                }
            }
            GroupRecord::Consumer { group, change } => self.replay_change(&group, change),
            GroupRecord::Other => {}
        }
    }
}

fn write_error(error: WriteError) -> ResponseError {
    match error {
        WriteError::TooLarge => ResponseError::InvalidCommitOffsetSize,
        WriteError::Storage => ResponseError::CoordinatorNotAvailable,
        WriteError::Producer(error) => error,
    }
}

impl Machine for GroupMachine {
    type Answer = Answer;
    type Then = Then;

    fn replay(&mut self, batch: Replayed) {
        let producer_id = match batch.kind {
            WriteKind::Plain => None,
            WriteKind::Transactional { producer_id, .. } => Some(producer_id),
            WriteKind::Marker { producer_id, commit, .. } => return self.end_pending(producer_id, commit),
        };
        for record in batch.records {
            match records::read(record) {
                Ok(record) => self.replay_record(batch.base_offset, producer_id, record),
                Err(error) => {
                    tracing::error!(offset = batch.base_offset, %error, "a record of a group cannot be read");
                }
            }
        }
    }

    fn start(&mut self, now: Now, _epoch: i32) {
        self.timers.set_expiry(now.instant + self.settings.offset_retention_check);
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            self.step(now, &id, |group, context| group.resume(context));
            self.resume_members(now, &id);
        }
    }

    fn writes(&mut self) -> &mut WriteQueue<Then> {
        &mut self.writes
    }

    fn written(&mut self, now: Now, then: Then, result: Result<i64, WriteError>) {
        let done = result.map(drop).map_err(write_error);
        match (then, result) {
            (Then::Nothing, _) => {}
            (Then::Assigned { group, generation, assignments }, result) => {
                self.step(now, &group, |group, context| match result {
                    Ok(_) => group.assign(generation, assignments, context),
                    Err(error) => group.not_assigned(generation, write_error(error), context),
                });
            }
            (Then::Replaced { ticket, answer }, result) => {
                let answer = match result {
                    Ok(_) => answer,
                    Err(error) => JoinAnswer::error(write_error(error), &answer.member),
                };
                self.answers.push((ticket, Answer::Join(answer)));
            }
            (Then::Committed { group, offsets, ticket }, result) => {
                if let (Ok(position), Some(group)) = (result, self.groups.get_mut(&group)) {
                    group.offsets.commit(offsets, position);
                }
                self.answers.push((ticket, Answer::Done(done)));
            }
            (Then::Pending { group, producer_id, offsets, ticket }, result) => {
                if let Ok(position) = result {
                    self.add_pending(&group, producer_id, offsets, position);
                }
                self.answers.push((ticket, Answer::Done(done)));
            }
            (Then::Ended { producer_id, commit, ticket }, result) => {
                if result.is_ok() {
                    self.end_pending(producer_id, commit);
                }
                self.answers.push((ticket, Answer::Done(done)));
            }
            (Then::Stepped { group, done }, result) => self.stepped(now, &group, *done, result),
            (Then::OffsetsDeleted { group, partitions, ticket }, result) => {
                if let (Ok(_), Some(group)) = (result, self.groups.get_mut(&group)) {
                    partitions.iter().for_each(|partition| drop(group.offsets.committed.remove(partition)));
                }
                self.answers.extend(ticket.map(|ticket| (ticket, Answer::Done(done))));
            }
            (Then::Deleted { group, partitions, ticket }, result) => {
                match result {
                    Ok(_) => self.forget(&group, &partitions, now),
                    Err(_) => {
                        if let Some(group) = self.groups.get_mut(&group) {
                            group.state = State::Empty;
                        }
                    }
                }
                self.answers.extend(ticket.map(|ticket| (ticket, Answer::Done(done))));
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timers.deadline()
    }

    fn tick(&mut self, now: Now) {
        while let Some((at, timer)) = self.timers.pop_due(now) {
            self.fire(now, at, timer);
        }
        if self.timers.expiry_is_due(now) {
            self.expire(now);
            self.timers.set_expiry(now.instant + self.settings.offset_retention_check);
        }
    }

    fn configure(&mut self, node: &Node) {
        self.settings = Settings::of(node);
    }

    fn take_answers(&mut self) -> Vec<(Ticket, Answer)> {
        std::mem::take(&mut self.answers)
    }
}

impl GroupMachine {
    /// The group is deleted, with the offsets that it had when that was decided. Commits that were being
    /// written then are deleted too; offsets of open transactions are kept.
    fn forget(&mut self, id: &str, buried: &BTreeSet<TopicPartition>, now: Now) {
        let Some(group) = self.groups.remove(id) else { return };
        let later = group.offsets.committed.keys().filter(|partition| !buried.contains(*partition));
        let later: Vec<TopicPartition> = later.cloned().collect();
        if !later.is_empty() {
            self.write_offset_tombstones(id, later, None);
        }
        if !group.offsets.pending.is_empty() {
            let mut kept = Group::new(id, now.unix_ms);
            kept.offsets.pending = group.offsets.pending;
            self.groups.insert(id.to_owned(), kept);
        }
    }
}

#[cfg(test)]
impl GroupMachine {
    /// Timers that are set.
    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }
}
