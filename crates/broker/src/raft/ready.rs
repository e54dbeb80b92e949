//! What follows from the inputs: entries to write, messages to send, commands to apply, and when they are durable.
//!
//! [`Group::drive`] writes, and hands out what may leave at once: a leader's appends (Raft thesis 10.2.1). What a
//! follower answers waits until all that it has written before is durable. [`Group::begin_sync`] says what a sync
//! that starts now will cover, [`Group::end_sync`] does it and releases the answers, so that a disk's latency can
//! pass in between. Entries that nobody waits for are synced after a delay (`raft_replica_max_flush_delay_ms`).

use std::collections::BTreeMap;

use bytes::Bytes;
use protobuf::Message as _;
use raft::Ready;
use raft::eraftpb::{ConfChangeV2, Entry as RaftEntry, Message, MessageType};
use tokio::time::Instant;

use super::configuration::Configuration;
use super::group::{Group, Role};
use super::membership::is_configuration;
use super::storage::{EntryStore, Snapshot};
use crate::log::{HardState, LogError};

/// Context of an append that the follower need not sync at once.
const RELAXED: &[u8] = b"r";

/// What a group wants to be done.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To send, sorted by receiver.
    pub messages: Vec<Message>,
    /// Committed commands to apply, in order.
    pub committed: Vec<Committed>,
    /// The state machine starts anew from this.
    pub installed: Option<Snapshot>,
    /// Leaders to tell, with the term, up to which entry the log is in memory here.
    pub received: Vec<(u64, u64, u64)>,
}

/// A committed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub index: u64,
    pub term: u64,
    pub command: Bytes,
}

/// One of raft-rs' readies that is written but not durable.
pub(super) struct Written {
    number: u64,
    /// The last entry that it appended.
    last: u64,
    bytes: u64,
    since: Instant,
    /// Whether somebody waits for it.
    urgent: bool,
    messages: Vec<Message>,
}

/// Which entries are to be synced at once, and which are visible before they are durable.
#[derive(Debug, Default)]
pub(super) struct Flush {
    /// Entries up to here are waited for.
    urgent: u64,
    /// Entries up to here are shown when a majority has them in memory.
    relaxed: u64,
    /// What each replica has in memory in this term.
    received: BTreeMap<u64, u64>,
}

impl Flush {
    /// Nothing that was received counts in another term.
    pub fn step_down(&mut self) {
        *self = Flush::default();
    }
}

impl<S: EntryStore> Group<S> {
    /// Writes what is to be written, and takes what is to be done. A log that cannot be written makes the group
    /// fail: it takes no part until it is opened again.
    pub fn drive(&mut self, now: Instant) -> Output {
        let mut rounds = 0;
        while self.failed.is_none() {
            self.campaign_if_durable();
            if !self.node.has_ready() {
                break;
            }
            if let Err(error) = self.handle(now) {
                self.fail(&error);
            }
            self.release();
            self.note_role(now);
            rounds += 1;
            debug_assert!(rounds < 10_000, "a group does not come to rest");
        }
        if let Err(error) = self.end_suspicion() {
            self.fail(&error);
        }
        let mut output = std::mem::take(&mut self.output);
        output.messages.iter_mut().for_each(|message| self.mark_relaxed(message));
        // raft-rs keeps its members in hash maps.
        output.messages.sort_by_key(|message| message.to);
        output
    }

    pub(super) fn fail(&mut self, error: &LogError) {
        tracing::error!(%error, "a replica cannot write and leaves its group for now");
        self.failed = Some(error.to_string());
        self.written.clear();
        self.syncing = None;
        self.output.messages.clear();
    }

    fn handle(&mut self, now: Instant) -> Result<(), LogError> {
        let mut ready = self.node.ready();
        self.output.messages.append(&mut ready.take_messages());
        if !ready.snapshot().is_empty() {
            self.install(&ready)?;
        }
        let bytes = ready.entries().iter().map(|entry| entry.data.len() as u64).sum();
        self.node.mut_store().append(ready.entries())?;
        if let Some(hard) = ready.hs() {
            let commit = self.node.store().applied();
            let state = HardState { term: hard.term, vote: hard.vote, commit };
            self.node.mut_store().store.save_hard_state(state)?;
        }
        let messages = ready.take_persisted_messages();
        let answers = |message: &Message| message.msg_type != MessageType::MsgAppendResponse;
        let last = ready.entries().last().map_or(0, |entry| entry.index);
        let urgent =
            messages.iter().any(answers) || ready.entries().iter().any(|entry| self.is_urgent(entry));
        self.tell_received(last, urgent);
        self.hurries = false;
        let (number, committed) = (ready.number(), ready.take_committed_entries());
        self.written.push_back(Written { number, last, bytes, since: now, urgent, messages });
        self.node.advance_append_async(ready);
        self.apply(committed)
    }

    /// Records may wait for a sync if nobody waits for them; Raft's own entries may not.
    fn is_urgent(&self, entry: &RaftEntry) -> bool {
        let waited_for = match self.role() {
            Role::Leader => entry.index <= self.flush.urgent,
            Role::Follower | Role::Candidate => self.hurries,
        };
        entry.context.is_empty() || waited_for
    }

    /// A follower that need not sync at once tells what it has in memory.
    fn tell_received(&mut self, last: u64, urgent: bool) {
        if let Some(leader) = self.leader().filter(|leader| last > 0 && !urgent && *leader != self.id) {
            self.output.received.push((leader, self.term(), last));
        }
    }

    /// Marks appends of which nobody waits for the disk.
    fn mark_relaxed(&self, message: &mut Message) {
        let entries = message.get_entries();
        let records = entries.iter().all(|entry| !entry.context.is_empty());
        let last = entries.last().map_or(0, |entry| entry.index);
        if message.msg_type == MessageType::MsgAppend && records && last > self.flush.urgent {
            message.context = Bytes::from_static(RELAXED);
        }
    }

    fn install(&mut self, ready: &Ready) -> Result<(), LogError> {
        let snapshot = Snapshot::from_raft(ready.snapshot())
            .ok_or_else(|| LogError::Invalid("the snapshot cannot be read".to_owned()))?;
        self.node.mut_store().install(snapshot.clone())?;
        self.configuration = snapshot.configuration.clone();
        self.output.installed = Some(snapshot);
        self.output.committed.clear();
        Ok(())
    }

    fn apply(&mut self, committed: Vec<RaftEntry>) -> Result<(), LogError> {
        let Some(last) = committed.last().map(|entry| entry.index) else { return Ok(()) };
        for entry in committed {
            if is_configuration(&entry) {
                self.reconfigure(&entry)?;
            } else if entry.context.is_empty() && !entry.data.is_empty() {
                let (index, term) = (entry.index, entry.term);
                if self.node.mut_store().store.apply(index, &entry.data)? {
                    continue;
                }
                self.output.committed.push(Committed { index, term, command: entry.data });
            }
        }
        self.node.advance_apply_to(last);
        let storage = self.node.mut_store();
        storage.forget(last);
        storage.store.applied_to(last)
    }

    fn reconfigure(&mut self, entry: &RaftEntry) -> Result<(), LogError> {
        if entry.index <= self.configuration.index {
            // It was applied before a restart, or is part of a snapshot.
            return Ok(());
        }
        let mut change = ConfChangeV2::default();
        change.merge_from_bytes(&entry.data).map_err(|error| LogError::Invalid(error.to_string()))?;
        let state = match self.node.apply_conf_change(&change) {
            Ok(state) => state,
            Err(error) => {
                // All replicas refuse it alike.
                tracing::warn!(%error, index = entry.index, "a change of a group's members is refused");
                return Ok(());
            }
        };
        self.configuration = Configuration::from_state(entry.index, &state);
        self.node.mut_store().store.save_configuration(&self.configuration)?;
        self.limit_appends();
        if self.role() == Role::Leader && !self.configuration.is_voter(self.id) {
            // raft-rs would lead on and then look for itself in vain.
            let term = self.term();
            self.node.raft.become_follower(term, 0);
        }
        Ok(())
    }

    /// Lets go what waits for nothing that is not durable.
    fn release(&mut self) {
        while let Some(written) = self.written.front().filter(|written| written.last == 0) {
            let number = written.number;
            self.persisted(number);
        }
    }

    fn persisted(&mut self, number: u64) {
        while let Some(mut written) = self.written.pop_front_if(|written| written.number <= number) {
            self.output.messages.append(&mut written.messages);
        }
        self.node.on_persist_ready(number);
    }

    /// Whether a sync is wanted by now.
    pub fn wants_sync(&self, now: Instant) -> bool {
        let bytes: u64 = self.written.iter().map(|written| written.bytes).sum();
        let due = |written: &Written| written.urgent || now >= written.since + self.timeouts.flush_delay;
        self.failed.is_none()
            && self.syncing.is_none()
            && (self.campaigns || bytes >= self.timeouts.flush_bytes || self.written.iter().any(due))
            && !self.written.is_empty()
    }

    /// When [`Group::wants_sync`] may become true though nothing happens.
    pub fn sync_deadline(&self) -> Option<Instant> {
        let oldest = self.written.front().filter(|_| self.failed.is_none() && self.syncing.is_none())?;
        Some(oldest.since + self.timeouts.flush_delay)
    }

    /// A sync starts that covers all that is written now.
    pub fn begin_sync(&mut self) {
        self.syncing = self.written.back().map(|written| written.number);
    }

    /// Syncs, and counts as durable what was written when the sync began. [`Group::drive`] has what follows.
    pub fn end_sync(&mut self) {
        self.end_sync_by(EntryStore::sync);
    }

    /// As [`Group::end_sync`], with another way to sync.
    pub fn end_sync_by(&mut self, sync: impl FnOnce(&mut S) -> Result<(), LogError>) {
        let Some(number) = self.syncing.take() else { return };
        if self.failed.is_some() {
            return;
        }
        match sync(&mut self.node.mut_store().store) {
            Ok(()) => self.persisted(number),
            Err(error) => self.fail(&error),
        }
    }

    /// Takes note of whether a follower is to sync an append at once.
    pub(super) fn note_append(&mut self, message: &Message) {
        self.hurries |= message.msg_type == MessageType::MsgAppend && message.context != RELAXED;
    }

    /// Whether [`Group::drive`] has something to do.
    pub fn wants_drive(&self) -> bool {
        self.failed.is_none() && (self.campaigns || self.is_filled() || self.node.has_ready())
    }

    /// Counts as durable what is written without a sync: for a broker that is to be caught at it.
    pub fn pretend_sync(&mut self) {
        if let Some(number) = self.written.back().map(|written| written.number) {
            self.persisted(number);
        }
    }

    /// Leader: the entry that was proposed last is waited for until it is durable.
    pub fn wait_for_disk(&mut self, index: u64) {
        self.flush.urgent = self.flush.urgent.max(index);
    }

    /// Leader: entries up to `index` are shown as soon as a majority has them in memory.
    pub fn wait_for_memory(&mut self, index: u64) {
        self.flush.relaxed = self.flush.relaxed.max(index);
    }

    /// Leader: a replica has the entries of this term up to `index` in memory.
    pub fn received(&mut self, peer: u64, term: u64, index: u64) {
        if self.role() != Role::Leader || term != self.term() {
            return;
        }
        let known = self.flush.received.entry(peer).or_default();
        *known = (*known).max(index);
    }

    /// What the group's leader shows to consumers: committed, or, where nobody waits for the disk, in a majority's
    /// memory.
    pub fn visible(&self) -> u64 {
        let commit = self.commit();
        if self.role() != Role::Leader || self.flush.relaxed <= commit {
            return commit;
        }
        commit.max(self.flush.relaxed.min(self.majority_in_memory()))
    }

    fn majority_in_memory(&self) -> u64 {
        let of = |voters: &[u64]| {
            let mut indexes: Vec<u64> = voters.iter().map(|id| self.in_memory(*id)).collect();
            indexes.sort_unstable();
            // Sorted upwards, a majority has at least the one below the middle.
            indexes.get(voters.len().saturating_sub(1) / 2).copied().unwrap_or(u64::MAX)
        };
        let index = of(&self.configuration.voters).min(of(&self.configuration.outgoing));
        let current = self.node.raft.raft_log.term(index).is_ok_and(|term| term == self.term());
        if current { index } else { 0 }
    }

    fn in_memory(&self, id: u64) -> u64 {
        if id == self.id {
            return self.last_index();
        }
        let received = self.flush.received.get(&id).copied().unwrap_or(0);
        received.max(self.matched(id).unwrap_or(0)).min(self.last_index())
    }

    /// Ends a replica: what it has in memory is gone, its log comes back.
    #[cfg(test)]
    pub fn into_store(self) -> S {
        self.node.raft.r.raft_log.store.store
    }
}
