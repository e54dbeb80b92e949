//! One replica of a Raft group: inputs with the time they arrive at, outputs taken with [`Group::drive`].
//!
//! raft-rs decides; this decides when. Followers and candidates have a deadline ([`Group::deadline`]) after
//! which they ask for votes, first as a trial (prevote, Raft thesis 9.6). A leader is asked at every heartbeat
//! ([`Group::beat`]) whether a majority has answered within the election timeout, and steps down if not (check
//! quorum, thesis 6.2), so that one that is cut off stops acknowledging and reading by the time another can be
//! elected. Sources: Raft, redpanda.md 4.4.
//!
//! What arrives is checked for everything that raft-rs would panic about.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use raft::eraftpb::{Entry as RaftEntry, Message, MessageType};
use raft::{ProgressState, RawNode, StateRole};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use tokio::time::Instant;

use super::configuration::Configuration;
use super::damage::{self, Suspicion};
use super::logger::logger;
use super::ready::{Output, Written};
use super::storage::{EntryStore, LogStorage, batch_context};
use super::timeouts::Timeouts;
use crate::log::{Entry, EntryKind, LogError};

/// Bytes of entries in one append.
const APPEND_BYTES_MAX: u64 = 1 << 20;
/// Appends that are on their way to a follower at a time.
pub(super) const APPENDS_MAX: usize = 64;
const APPENDS_TO_LEARNER_MAX: usize = 4;
/// raft-rs counts ticks; here they only have to be in order, because nothing ticks.
const HEARTBEAT_TICK: usize = 1;
const ELECTION_TICK: usize = 2;

/// How a replica is opened.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// Its Raft id.
    pub id: u64,
    pub timeouts: Timeouts,
    /// Its place among the replicas, the preferred leader first: those behind wait longer before they ask for
    /// votes.
    pub position: u32,
    /// Where election jitter comes from.
    pub seed: u64,
    /// Whether followers are told at once what is committed, rather than with the next append or heartbeat.
    pub tells_commits: bool,
}

/// What a replica is to its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Leader,
    Follower,
    /// Asks for votes, or for trial votes.
    Candidate,
}

/// Why a group does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GroupError {
    #[error("the replica does not lead its group")]
    NotLeader,
    #[error("a change of the group's members is under way")]
    ChangeUnderWay,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A replica.
pub(crate) struct Group<S: EntryStore> {
    pub(super) node: RawNode<LogStorage<S>>,
    pub(super) id: u64,
    pub(super) timeouts: Timeouts,
    position: u32,
    random: ChaCha8Rng,
    /// When the leader was heard last.
    heard: Option<Instant>,
    /// When to ask for votes, unless the leader is heard meanwhile.
    deadline: Instant,
    /// Whether to ask for votes as soon as the log is durable.
    pub(super) campaigns: bool,
    /// Whether the replica must not become leader (maintenance mode).
    blocked: bool,
    /// Leader: when each peer last answered, by the time of the question.
    answered: BTreeMap<u64, Instant>,
    pub(super) configuration: Configuration,
    /// Written, not durable yet.
    pub(super) written: VecDeque<Written>,
    /// The number of the last of them whose sync is under way.
    pub(super) syncing: Option<u64>,
    pub(super) flush: super::ready::Flush,
    pub(super) output: Output,
    /// Why the replica takes no part until it is opened again.
    pub(super) failed: Option<String>,
    /// Whether a leader waits for the disk with what it has sent.
    pub(super) hurries: bool,
    seen: Role,
    /// The disk has lost what the replica may have answered for.
    pub(super) suspicion: Suspicion,
}

impl<S: EntryStore> Group<S> {
    /// Opens a replica over its log.
    ///
    /// # Errors
    /// The log cannot be read, or not be made durable as it is.
    pub fn open(store: S, start: Start, now: Instant) -> Result<Group<S>, LogError> {
        use rand_chacha::rand_core::SeedableRng;
        let mut storage = LogStorage::new(store)?;
        // What a killed process had written is there, but need not be durable.
        storage.store.sync()?;
        let configuration = storage.store.configuration();
        let suspicion = damage::suspicion(&mut storage.store, &configuration, start.id)?;
        let config = raft::Config {
            id: start.id,
            election_tick: ELECTION_TICK,
            heartbeat_tick: HEARTBEAT_TICK,
            // One wide, so that what raft-rs draws from the system is always the same.
            min_election_tick: ELECTION_TICK,
            max_election_tick: ELECTION_TICK + 1,
            applied: storage.applied(),
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_MAX,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            skip_bcast_commit: !start.tells_commits,
            ..raft::Config::default()
        };
        let opened = RawNode::new(&config, storage, &logger());
        let node = opened.map_err(|error| LogError::Invalid(error.to_string()))?;
        let mut group = Group {
            node,
            id: start.id,
            timeouts: start.timeouts,
            position: start.position,
            random: ChaCha8Rng::seed_from_u64(start.seed),
            heard: None,
            deadline: now,
            campaigns: false,
            blocked: false,
            answered: BTreeMap::new(),
            configuration,
            written: VecDeque::new(),
            syncing: None,
            flush: Default::default(),
            output: Output::default(),
            failed: None,
            hurries: false,
            seen: Role::Follower,
            suspicion,
        };
        group.deadline = now + group.first_wait();
        Ok(group)
    }

    /// A new group's preferred leader and a group's only voter need not wait for anybody; the others give the
    /// preferred one the time to win.
    fn first_wait(&mut self) -> Duration {
        let fresh = self.node.raft.term <= 1;
        if self.is_alone() || (fresh && self.position == 0) {
            return Duration::ZERO;
        }
        self.election_wait()
    }

    fn is_alone(&self) -> bool {
        self.configuration.is_only_voter(self.id)
    }

    /// Election timeout, jitter, and a heartbeat interval for every replica that is preferred to this one.
    fn election_wait(&mut self) -> Duration {
        let jitter_ns = u64::try_from(self.timeouts.election_jitter.as_nanos()).unwrap_or(u64::MAX);
        let drawn = self.random.next_u64() % jitter_ns.max(1);
        self.timeouts.election
            + Duration::from_nanos(drawn)
            + self.timeouts.heartbeat_interval * self.position
    }

    pub fn store(&self) -> &S {
        &self.node.store().store
    }

    /// The log, for what does not change entries.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.node.mut_store().store
    }

    pub fn role(&self) -> Role {
        match self.node.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower => Role::Follower,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
        }
    }

    pub fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// The Raft id of the leader of this term, as far as the replica knows.
    pub fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != 0)
    }

    /// Whether the replica leads and has committed an entry of its own term, so that it knows everything that
    /// was committed before (Raft 8).
    pub fn serves(&self) -> bool {
        self.role() == Role::Leader && self.node.raft.commit_to_current_term()
    }

    /// Everything up to here is committed and in the log.
    pub fn commit(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    pub fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Why the replica takes no part.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Leader: the entry up to which a peer is known to hold the log durably.
    pub fn matched(&self, peer: u64) -> Option<u64> {
        self.node.raft.prs().get(peer).map(|progress| progress.matched)
    }

    /// The replica's place among the replicas may change with them.
    pub fn set_position(&mut self, position: u32) {
        self.position = position;
    }

    /// When entries that nobody waits for are synced: after so long, or when there are so many bytes of them.
    pub fn set_flush(&mut self, delay: Duration, bytes: u64) {
        self.timeouts.flush_delay = delay;
        self.timeouts.flush_bytes = bytes;
    }

    /// Forbids or allows the replica to become leader. The only replica of a group leads nevertheless.
    pub fn set_blocked(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// When [`Group::on_deadline`] is due; `None` for a leader, who has none.
    pub fn deadline(&self) -> Option<Instant> {
        let waits = self.failed.is_none() && self.role() != Role::Leader;
        waits.then_some(self.deadline)
    }

    /// Asks for votes if the leader has not been heard in time.
    pub fn on_deadline(&mut self, now: Instant) {
        if self.failed.is_some() || self.role() == Role::Leader || now < self.deadline {
            return;
        }
        let fresh = self.node.raft.term <= 1 && self.position == 0 && self.heard.is_none();
        let wait = if fresh { self.timeouts.heartbeat_interval } else { self.election_wait() };
        if let Some(heard) = self.heard.filter(|heard| *heard + wait > now) {
            self.deadline = heard + wait;
            return;
        }
        self.deadline = now + wait;
        if !self.node.raft.promotable() || !(self.may_win() || self.is_alone()) {
            self.forget_leader();
            return;
        }
        self.campaigns = true;
    }

    fn may_win(&self) -> bool {
        !self.blocked && !self.is_suspect()
    }

    /// A leader that has been silent for too long is not told to anybody.
    fn forget_leader(&mut self) {
        if self.role() == Role::Follower {
            let term = self.node.raft.term;
            self.node.raft.become_follower(term, 0);
        }
    }

    /// Starts an election, once all that is written is durable: raft-rs takes a candidate's log for durable.
    pub(super) fn campaign_if_durable(&mut self) {
        if self.campaigns && self.written.is_empty() && !self.node.has_ready() {
            self.campaigns = false;
            if let Err(error) = self.node.campaign() {
                tracing::debug!(%error, "no election");
            }
        }
    }

    /// Takes a message of the group from another replica.
    pub fn step(&mut self, now: Instant, message: Message) {
        if self.failed.is_some() || !self.is_sound(&message) {
            return;
        }
        let (from, term, kind) = (message.from, message.term, message.msg_type);
        match kind {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote if self.is_suspect() => return,
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => self.renew_lease(now),
            MessageType::MsgTimeoutNow if !self.may_win() || !self.written.is_empty() => return,
            _ => {}
        }
        let told = message.commit;
        self.note_append(&message);
        if let Err(error) = self.node.step(message) {
            tracing::trace!(?kind, from, %error, "a message of the group is passed over");
        }
        let raft = &self.node.raft;
        let of_leader =
            matches!(kind, MessageType::MsgAppend | MessageType::MsgSnapshot | MessageType::MsgHeartbeat);
        if of_leader && raft.term == term && raft.leader_id == from {
            self.heard = Some(now);
            self.campaigns = false;
            self.note_leaders_commit(told);
        }
        let raft = &self.node.raft;
        if kind == MessageType::MsgRequestVote && raft.term == term && raft.vote == from {
            // A vote that is given restarts the wait (Raft 5.2).
            self.deadline = now + self.election_wait();
        }
    }

    /// While the leader has been heard within the election timeout, raft-rs gives votes to nobody.
    fn renew_lease(&mut self, now: Instant) {
        let election = self.timeouts.election;
        let leads = self.role() == Role::Leader;
        let holds = leads || self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < election);
        self.node.raft.election_elapsed = if holds { 0 } else { ELECTION_TICK };
    }

    /// Whether raft-rs can take a message: it panics about what it takes for its own broken invariants.
    fn is_sound(&self, message: &Message) -> bool {
        let log = &self.node.raft.raft_log;
        let known = [
            MessageType::MsgAppend,
            MessageType::MsgAppendResponse,
            MessageType::MsgRequestVote,
            MessageType::MsgRequestVoteResponse,
            MessageType::MsgRequestPreVote,
            MessageType::MsgRequestPreVoteResponse,
            MessageType::MsgSnapshot,
            MessageType::MsgHeartbeat,
            MessageType::MsgHeartbeatResponse,
            MessageType::MsgTimeoutNow,
        ];
        if message.to != self.id || message.from == 0 || message.from == self.id || message.term == 0 {
            return false;
        }
        let sound = match message.msg_type {
            MessageType::MsgAppend => self.is_sound_append(message),
            MessageType::MsgAppendResponse => message.index <= log.last_index(),
            MessageType::MsgHeartbeat => {
                message.commit <= log.last_index()
                    && !(self.role() == Role::Leader && message.term == self.term())
            }
            MessageType::MsgSnapshot => {
                let metadata = message.get_snapshot().get_metadata();
                metadata.index > 0 && metadata.term > 0 && metadata.term <= message.term
            }
            kind => known.contains(&kind),
        };
        if !sound {
            tracing::warn!(from = message.from, kind = ?message.msg_type, "a message makes no sense here");
        }
        sound
    }

    fn is_sound_append(&self, message: &Message) -> bool {
        let log = &self.node.raft.raft_log;
        if (message.index == 0) != (message.log_term == 0) {
            return false;
        }
        let (mut index, mut term) = (message.index, message.log_term);
        for entry in message.get_entries() {
            if entry.index != index + 1 || entry.term < term.max(1) || entry.term > message.term {
                return false;
            }
            (index, term) = (entry.index, entry.term);
            let conflicts = index <= log.committed && log.term(index).is_ok_and(|known| known != term);
            if conflicts && index >= log.first_index() {
                return false;
            }
        }
        // Two leaders in one term cannot be.
        !(self.role() == Role::Leader && message.term == self.term())
    }

    /// A heartbeat of a peer that says it leads, which has `commit` committed as far as this replica's log is
    /// known to reach. Whether nothing differs: then an answer for the whole frame is enough.
    pub fn heartbeat(&mut self, now: Instant, from: u64, term: u64, commit: u64) -> bool {
        if self.failed.is_some() {
            return false;
        }
        let raft = &self.node.raft;
        let agrees = raft.term == term && raft.leader_id == from && raft.state == StateRole::Follower;
        let commit = commit.min(raft.raft_log.last_index());
        if agrees && commit <= raft.raft_log.committed {
            self.heard = Some(now);
            self.note_leaders_commit(commit);
            return true;
        }
        let mut message = Message { to: self.id, from, term, commit, ..Message::default() };
        message.msg_type = MessageType::MsgHeartbeat;
        self.step(now, message);
        agrees
    }

    /// Leader: what a heartbeat to `peer` says, the term and the commit index; `None` if there is none to send.
    /// Steps down if no majority has answered within the election timeout.
    pub fn beat(&mut self, now: Instant) -> bool {
        if self.role() != Role::Leader || self.failed.is_some() {
            return false;
        }
        let oldest = now.checked_sub(self.timeouts.election);
        let is_recent = |answered: &Instant| oldest.is_none_or(|oldest| *answered >= oldest);
        let members = self.configuration.members();
        if members.iter().all(|id| *id == self.id || self.answered.get(id).is_some_and(is_recent)) {
            // So it is most of the time, and raft-rs need not count.
            return true;
        }
        for (id, progress) in self.node.raft.mut_prs().iter_mut() {
            progress.recent_active = self.answered.get(id).is_some_and(is_recent);
        }
        let mut check = Message { from: self.id, ..Message::default() };
        check.msg_type = MessageType::MsgCheckQuorum;
        // Fails for nobody.
        let _ = self.node.raft.step(check);
        self.role() == Role::Leader
    }

    /// Leader: the commit index that may be told to a peer, which is not beyond what it is known to have.
    pub fn commit_for(&self, peer: u64) -> Option<u64> {
        let progress = self.node.raft.prs().get(peer)?;
        Some(progress.matched.min(self.node.raft.raft_log.committed))
    }

    /// Leader: a peer agreed to the heartbeat that was sent at `asked`.
    pub fn beaten(&mut self, asked: Instant, peer: u64) {
        if self.role() != Role::Leader || self.failed.is_some() {
            return;
        }
        let last = self.node.raft.raft_log.last_index();
        let Some(progress) = self.node.raft.prs().get(peer) else { return };
        let lags = progress.matched < last || progress.state != ProgressState::Replicate;
        let answered = self.answered.entry(peer).or_insert(asked);
        *answered = (*answered).max(asked);
        if lags {
            let mut message = Message { to: self.id, from: peer, term: self.term(), ..Message::default() };
            message.msg_type = MessageType::MsgHeartbeatResponse;
            // Fails for peers that are no members, and this one is.
            let _ = self.node.step(message);
        }
    }

    /// Leader: what was sent to a peer may be lost.
    pub fn peer_lost(&mut self, peer: u64) {
        if self.role() == Role::Leader && self.failed.is_none() {
            self.node.report_unreachable(peer);
            self.node.report_snapshot(peer, raft::SnapshotStatus::Failure);
        }
    }

    /// The term and index that the next proposed entry will have.
    ///
    /// # Errors
    /// The replica does not lead, or hands its leadership over.
    pub fn next_entry(&self) -> Result<(u64, u64), GroupError> {
        let raft = &self.node.raft;
        if self.failed.is_some() || self.role() != Role::Leader || raft.lead_transferee.is_some() {
            return Err(GroupError::NotLeader);
        }
        Ok((raft.term, raft.raft_log.last_index() + 1))
    }

    /// Proposes a batch of records that has its offsets; returns its index. It is in the log when this returns.
    ///
    /// # Errors
    /// `NotLeader`; the log's error, then nothing is proposed.
    pub fn propose_batch(&mut self, batch: Bytes, base_offset: i64) -> Result<u64, GroupError> {
        let (term, index) = self.next_entry()?;
        let entry = Entry { index, term, kind: EntryKind::Batch, base_offset, payload: batch.clone() };
        let appended = self.node.mut_store().store.append(std::slice::from_ref(&entry));
        if let Err(error @ LogError::Refuses(_)) = &appended {
            self.fail(error);
        }
        appended?;
        let proposed = RaftEntry { data: batch, context: batch_context(), ..RaftEntry::default() };
        self.propose(proposed, index)
    }

    /// Proposes a command of the state machine; returns its index.
    ///
    /// # Errors
    /// `NotLeader`.
    pub fn propose_command(&mut self, command: Bytes) -> Result<u64, GroupError> {
        let (_, index) = self.next_entry()?;
        self.propose(RaftEntry { data: command, ..RaftEntry::default() }, index)
    }

    fn propose(&mut self, entry: RaftEntry, index: u64) -> Result<u64, GroupError> {
        let mut message = Message { from: self.id, ..Message::default() };
        message.msg_type = MessageType::MsgPropose;
        message.set_entries(vec![entry].into());
        self.node.raft.step(message).map_err(|_| GroupError::NotLeader)?;
        Ok(index)
    }

    /// A replica that is being filled gets little at a time, because there may be many.
    pub(super) fn limit_appends(&mut self) {
        for id in self.configuration.members().iter().copied() {
            let learns = self.configuration.learners.contains(&id);
            let appends = if learns { APPENDS_TO_LEARNER_MAX } else { APPENDS_MAX };
            self.node.raft.adjust_max_inflight_msgs(id, appends);
        }
    }

    /// Called after every drive: a new leader counts its peers as heard at that moment.
    pub(super) fn note_role(&mut self, now: Instant) {
        let (was, is) = (self.seen, self.role());
        self.seen = is;
        if was != is && is == Role::Leader {
            self.answered = self.configuration.members().iter().map(|id| (*id, now)).collect();
            self.heard = None;
        }
        if was == Role::Leader && is != Role::Leader {
            self.answered.clear();
            self.flush.step_down();
            self.deadline = now + self.election_wait();
        }
    }
}
