//! From one generation to the next: ask every member to join, wait for them, answer them, wait for their
//! syncs.
//!
//! Source: Apache Kafka's group membership protocol. A rebalance waits for every member for at most the
//! longest rebalance time-out among them; a group that was empty waits `group_initial_rebalance_delay`
//! (redpanda.md 4.4), and again as long as further members come. Members that do not come are removed, static
//! ones are kept until their session ends (KIP-345).

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::effects::{Context, Then, TimerKind};
use super::group::{Gathering, Group, State};
use super::records;
use super::request::Answer;
use crate::coordinator::{Write, WriteKind};

impl Group {
    /// Starts a rebalance, unless one is on that still takes members.
    pub(super) fn rebalance(&mut self, context: &mut Context<'_>) {
        match self.state {
            State::PreparingRebalance | State::Dead => return,
            State::Empty => {
                let delay = context.settings.initial_rebalance_delay;
                let initial = Some(self.rebalance_timeout().saturating_sub(delay));
                let until = context.now.instant + delay;
                self.gathering = Some(Gathering { until, initial, new_member: false });
            }
            State::CompletingRebalance | State::Stable => {
                if self.state == State::CompletingRebalance {
                    self.fail_syncs(ResponseError::RebalanceInProgress, context);
                }
                let until = context.now.instant + self.rebalance_timeout();
                self.gathering = Some(Gathering { until, initial: None, new_member: false });
            }
        }
        self.sync_until = None;
        self.unsynced.clear();
        self.set_state(context, State::PreparingRebalance);
        self.time_gathering(context);
        self.complete_if_all_joined(context);
    }

    fn time_gathering(&self, context: &mut Context<'_>) {
        if let Some(gathering) = &self.gathering {
            self.timer(gathering.until, TimerKind::Gathering, context);
        }
    }

    /// Ends the wait for members if all have joined. A group's first wait lasts its time.
    pub(super) fn complete_if_all_joined(&mut self, context: &mut Context<'_>) {
        let waits_for_members = self.gathering.is_some_and(|gathering| gathering.initial.is_none());
        if self.state == State::PreparingRebalance && waits_for_members && self.everybody_joined() {
            self.complete_join(context);
        }
    }

    /// The time to wait for members is over.
    pub(super) fn gathering_is_over(&mut self, context: &mut Context<'_>) {
        let Some(gathering) = self.gathering.filter(|gathering| gathering.until <= context.now.instant)
        else {
            return;
        };
        if let Some(remaining) = gathering.initial.filter(|left| gathering.new_member && !left.is_zero()) {
            let delay = context.settings.initial_rebalance_delay.min(remaining);
            let until = context.now.instant + delay;
            let initial = Some(remaining.saturating_sub(delay));
            self.gathering = Some(Gathering { until, initial, new_member: false });
            self.time_gathering(context);
            return;
        }
        self.complete_join(context);
    }

    fn complete_join(&mut self, context: &mut Context<'_>) {
        let late: Vec<String> = self
            .members
            .values()
            .filter(|member| member.joining.is_none() && member.instance.is_none())
            .map(|member| member.id.clone())
            .collect();
        for id in late {
            self.remove(&id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Static members alone are left, and none came: there is nobody to assign.
            let until = context.now.instant + self.rebalance_timeout();
            self.gathering = Some(Gathering { until, initial: None, new_member: false });
            return self.time_gathering(context);
        }
        self.gathering = None;
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.protocol = None;
            self.leader = None;
            self.set_state(context, State::Empty);
            self.store(Then::Nothing, context);
            return;
        }
        self.protocol = self.select_protocol();
        self.set_state(context, State::CompletingRebalance);
        self.answer_joins(context);
    }

    /// Sees to it that the leader has joined; `false` if nobody has.
    fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &String| self.members.get(id).is_some_and(|member| member.joining.is_some());
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.values().find(|member| member.joining.is_some());
        match next.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    fn answer_joins(&mut self, context: &mut Context<'_>) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in &ids {
            let answer = self.joined(id);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
                member.assignment = bytes::Bytes::new();
                if let Some(ticket) = member.joining.take() {
                    context.effects.answer(ticket, Answer::Join(answer));
                }
            }
            self.touch(id, context);
        }
        self.unsynced = ids.into_iter().collect();
        let until = context.now.instant + self.rebalance_timeout();
        self.sync_until = Some(until);
        self.timer(until, TimerKind::Sync, context);
    }

    /// The time for syncs is over: whoever did not sync is out (KAFKA-9176).
    pub(super) fn syncs_are_late(&mut self, context: &mut Context<'_>) {
        if self.sync_until.is_none_or(|until| until > context.now.instant) {
            return;
        }
        self.sync_until = None;
        let late = std::mem::take(&mut self.unsynced);
        if late.is_empty() {
            return;
        }
        for id in &late {
            self.drop_member(id, context);
        }
        self.rebalance(context);
    }

    /// A member synced in this generation.
    pub(super) fn synced(&mut self, id: &str) {
        self.unsynced.remove(id);
        if self.unsynced.is_empty() {
            self.sync_until = None;
        }
    }

    /// A member's session timer fired.
    pub(super) fn session_timer(&mut self, id: &str, fired: Instant, context: &mut Context<'_>) {
        let now = context.now.instant;
        let Some(member) = self.members.get_mut(id).filter(|member| member.timer == Some(fired)) else {
            return;
        };
        member.timer = None;
        if member.expires > now {
            let expires = member.expires;
            member.timer = Some(expires);
            return self.timer(expires, TimerKind::Session(id.to_owned()), context);
        }
        // Such a member gets a new session with its answer.
        if member.waits_for_coordinator() {
            return;
        }
        tracing::debug!(group = self.id, member = id, "a member was not heard in its session time-out");
        self.drop_member(id, context);
        self.members_changed(context);
    }

    /// An id was given out and nobody joined with it.
    pub(super) fn id_given_timer(&mut self, id: &str, context: &mut Context<'_>) {
        if self.id_given.get(id).is_some_and(|until| *until <= context.now.instant) {
            self.id_given.remove(id);
            self.complete_if_all_joined(context);
        }
    }

    /// Takes a member out; what it waits for is answered with `UNKNOWN_MEMBER_ID`.
    pub(super) fn drop_member(&mut self, id: &str, context: &mut Context<'_>) {
        let Some(member) = self.remove(id) else { return };
        if let Some(ticket) = member.joining {
            context.effects.join_error(ticket, ResponseError::UnknownMemberId, id);
        }
        if let Some(ticket) = member.syncing {
            let answer = super::request::SyncAnswer::error(ResponseError::UnknownMemberId);
            context.effects.answer(ticket, Answer::Sync(answer));
        }
    }

    /// After members have gone: the others rebalance.
    pub(super) fn members_changed(&mut self, context: &mut Context<'_>) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.rebalance(context),
            State::PreparingRebalance => self.complete_if_all_joined(context),
            State::Empty | State::Dead => {}
        }
    }

    /// Writes the generation as it is.
    pub(super) fn store(&self, then: Then, context: &mut Context<'_>) {
        let record = records::group_record(self, &Default::default(), context.now.unix_ms);
        context.effects.write(Write { kind: WriteKind::Plain, records: vec![record], then });
    }
}
