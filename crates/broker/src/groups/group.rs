//! One group: its state, its members, its generation, its offsets. The rules of each request are in the modules
//! beside this one. A group of the consumer protocol has its members elsewhere ([`super::consumer_protocol`]) and is
//! always empty as a classic one.
//!
//! Source: the group membership protocol of Apache Kafka (its protocol guide and "Kafka Client-side
//! Assignment Proposal"), KIP-345 (static members), KIP-394 (member ids), KIP-429 (cooperative rebalancing).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::consumer_protocol::ConsumerGroup;
use super::effects::{Context, Timer, TimerKind};
use super::member::Member;
use super::offsets::Offsets;
use super::request::{Answer, Caller, JoinAnswer, JoinedMember, SyncAnswer};

/// The protocol type of consumers; other types (Connect's, for instance) have subscriptions that are not read.
pub(super) const CONSUMER: &str = "consumer";

/// What a group is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; there may be offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl State {
    /// Its name in the protocol.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
            State::Dead => "Dead",
        }
    }
}

/// How long a rebalance waits for members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gathering {
    pub until: Instant,
    /// Only while a group that was empty waits for its first members (`group_initial_rebalance_delay`): how
    /// much longer it may wait if others keep coming.
    pub initial: Option<Duration>,
    /// Whether a member was added since the wait was last prolonged.
    pub new_member: bool,
}

/// A group.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub id: String,
    pub state: State,
    /// Since when it has its state, milliseconds since 1970.
    pub state_since_ms: i64,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    pub leader: Option<String>,
    pub members: BTreeMap<String, Member>,
    /// Member ids of static members, by instance id.
    pub static_members: BTreeMap<String, String>,
    /// Ids that were given out and not joined with yet, and when they are forgotten.
    pub id_given: BTreeMap<String, Instant>,
    pub(super) gathering: Option<Gathering>,
    /// When members that have not synced are taken for dead.
    pub sync_until: Option<Instant>,
    /// Members that have not synced in this generation.
    pub unsynced: BTreeSet<String>,
    pub offsets: Offsets,
    /// What it is as a group of the consumer protocol, if it is one.
    pub consumer: Option<Box<ConsumerGroup>>,
}

impl Group {
    pub fn new(id: &str, now_ms: i64) -> Group {
        Group {
            id: id.to_owned(),
            state: State::Empty,
            state_since_ms: now_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            id_given: BTreeMap::new(),
            gathering: None,
            sync_until: None,
            unsynced: BTreeSet::new(),
            offsets: Offsets::default(),
            consumer: None,
        }
    }

    pub(super) fn set_state(&mut self, context: &Context<'_>, state: State) {
        self.state = state;
        self.state_since_ms = context.now.unix_ms;
    }

    /// Whether it has no members, of either protocol, and none is about to join.
    pub fn is_unused(&self) -> bool {
        let idle = self.consumer.as_ref().is_none_or(|consumer| consumer.is_idle());
        self.state == State::Empty && self.id_given.is_empty() && idle
    }

    pub fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// Whether the caller is a member: `UNKNOWN_MEMBER_ID`, or `FENCED_INSTANCE_ID` for one that another
    /// process with the same instance id has replaced (KIP-345).
    pub fn check_member(&self, caller: &Caller) -> Result<(), ResponseError> {
        if let Some(instance) = &caller.instance {
            return match self.static_members.get(instance) {
                None => Err(ResponseError::UnknownMemberId),
                Some(member) if *member != caller.member => Err(ResponseError::FencedInstanceId),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(&caller.member) { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// Whether the caller is a member of this generation.
    pub fn check_generation(&self, caller: &Caller) -> Result<(), ResponseError> {
        self.check_member(caller)?;
        if caller.generation == self.generation { Ok(()) } else { Err(ResponseError::IllegalGeneration) }
    }

    /// Whether a member with these assignors can be in the group.
    pub fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = self.common_protocols();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| common.contains(name.as_str()))
    }

    /// The assignors that every member knows.
    fn common_protocols(&self) -> BTreeSet<&str> {
        let mut members = self.members.values();
        let Some(first) = members.next() else { return BTreeSet::new() };
        members.fold(first.protocol_names(), |common, member| &common & &member.protocol_names())
    }

    /// The assignor with the most votes, each member voting for the first of its own that all know. Of equals
    /// the one that the leader likes best.
    pub fn select_protocol(&self) -> Option<String> {
        let candidates = self.common_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let rank = |name: &str| {
            let position = leader.and_then(|leader| leader.protocols.iter().position(|(own, _)| own == name));
            position.unwrap_or(usize::MAX)
        };
        let best = votes.into_iter().min_by_key(|(name, votes)| (std::cmp::Reverse(*votes), rank(name)));
        best.map(|(name, _)| name.to_owned())
    }

    /// The longest rebalance time-out of the members.
    pub fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    pub fn everybody_joined(&self) -> bool {
        self.id_given.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member.id.clone(), member);
    }

    /// Takes a member out; the next one leads if it led.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance {
            self.static_members.remove(instance);
        }
        self.unsynced.remove(id);
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// The member is alive: it has its session time-out from now on.
    pub(super) fn touch(&mut self, id: &str, context: &mut Context<'_>) {
        if let Some(timeout) = self.members.get(id).map(|member| member.session_timeout) {
            self.touch_for(id, timeout, context);
        }
    }

    /// The timer is moved only if it would fire too late: a heartbeat moves a number and nothing else.
    pub(super) fn touch_for(&mut self, id: &str, patience: Duration, context: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let expires = context.now.instant + patience;
        member.expires = expires;
        if member.timer.is_none_or(|timer| timer > expires) {
            member.timer = Some(expires);
            let kind = TimerKind::Session(id.to_owned());
            context.effects.timer(expires, Timer { group: self.id.clone(), kind });
        }
    }

    pub(super) fn timer(&self, at: Instant, kind: TimerKind, context: &mut Context<'_>) {
        context.effects.timer(at, Timer { group: self.id.clone(), kind });
    }

    /// The answer of a join that is done.
    pub(super) fn joined(&self, member: &str) -> JoinAnswer {
        let members = if self.is_leader(member) { self.joined_members() } else { Vec::new() };
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member: member.to_owned(),
            members,
            skip_assignment: false,
        }
    }

    pub(super) fn joined_members(&self) -> Vec<JoinedMember> {
        let joined = |member: &Member| JoinedMember {
            id: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        };
        self.members.values().map(joined).collect()
    }

    /// The answer of a sync that is done.
    pub(super) fn assigned(&self, member: &Member) -> SyncAnswer {
        SyncAnswer {
            error: None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        }
    }

    /// Answers every waiting SyncGroup that there is no assignment, and forgets what there was.
    pub(super) fn fail_syncs(&mut self, error: ResponseError, context: &mut Context<'_>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if let Some(ticket) = member.syncing.take() {
                context.effects.answer(ticket, Answer::Sync(SyncAnswer::error(error)));
            }
        }
    }
}
