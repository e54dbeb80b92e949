//! SyncGroup, Heartbeat and LeaveGroup.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::effects::{Context, Then};
use super::group::{Group, State};
use super::records;
use super::request::{Answer, Caller, Leaving, SyncAnswer, SyncRequest};
use crate::coordinator::{Ticket, Write, WriteKind};

impl Group {
    /// A member asks for its assignment; the leader brings everybody's. They are written before they are
    /// given out.
    pub(super) fn sync(&mut self, request: SyncRequest, ticket: Ticket, context: &mut Context<'_>) {
        if let Err(error) = self.check_sync(&request) {
            return context.effects.answer(ticket, Answer::Sync(SyncAnswer::error(error)));
        }
        let id = request.caller.member;
        self.synced(&id);
        if self.state == State::Stable {
            self.touch(&id, context);
            if let Some(member) = self.members.get(&id) {
                let answer = Answer::Sync(self.assigned(member));
                context.effects.answer(ticket, answer);
            }
            return;
        }
        let earlier = self.members.get_mut(&id).and_then(|member| member.syncing.replace(ticket));
        if let Some(earlier) = earlier {
            let answer = SyncAnswer::error(ResponseError::RebalanceInProgress);
            context.effects.answer(earlier, Answer::Sync(answer));
        }
        if self.is_leader(&id) {
            let mut assignments = request.assignments;
            assignments.retain(|member, _| self.members.contains_key(member));
            let (group, generation) = (self.id.clone(), self.generation);
            let then = Then::Assigned { group, generation, assignments: assignments.clone() };
            self.store_with(&assignments, then, context);
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_generation(&request.caller)?;
        let differs = |asked: &Option<String>, own: &Option<String>| asked.is_some() && asked != own;
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty | State::Dead => Err(ResponseError::UnknownMemberId),
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    pub(super) fn store_with(
        &self,
        assignments: &BTreeMap<String, Bytes>,
        then: Then,
        context: &mut Context<'_>,
    ) {
        let record = records::group_record(self, assignments, context.now.unix_ms);
        context.effects.write(Write { kind: WriteKind::Plain, records: vec![record], then });
    }

    /// The assignments of the generation, as they were given out.
    pub(super) fn assignments(&self) -> BTreeMap<String, Bytes> {
        self.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone())).collect()
    }

    /// The leader's assignment is written: the group is stable.
    pub(super) fn assign(
        &mut self,
        generation: i32,
        mut assignments: BTreeMap<String, Bytes>,
        context: &mut Context<'_>,
    ) {
        // Another rebalance may have begun meanwhile; it has answered the syncs.
        if self.state != State::CompletingRebalance || self.generation != generation {
            return;
        }
        self.set_state(context, State::Stable);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let waiting = self.members.get_mut(&id).and_then(|member| {
                member.assignment = assignments.remove(&id).unwrap_or_default();
                member.syncing.take()
            });
            if let (Some(ticket), Some(member)) = (waiting, self.members.get(&id)) {
                let answer = Answer::Sync(self.assigned(member));
                context.effects.answer(ticket, answer);
                self.touch(&id, context);
            }
        }
    }

    /// The leader's assignment could not be written: the members have to try again.
    pub(super) fn not_assigned(&mut self, generation: i32, error: ResponseError, context: &mut Context<'_>) {
        if self.state == State::CompletingRebalance && self.generation == generation {
            self.fail_syncs(error, context);
            self.rebalance(context);
        }
    }

    /// A member is alive. `REBALANCE_IN_PROGRESS` asks it to join again.
    pub(super) fn heartbeat(
        &mut self,
        caller: &Caller,
        context: &mut Context<'_>,
    ) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        self.check_generation(caller)?;
        if self.state == State::Empty {
            return Err(ResponseError::UnknownMemberId);
        }
        self.touch(&caller.member, context);
        match self.state {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Members leave; each has its own result. A static member may be named by its instance id alone.
    pub(super) fn leave(
        &mut self,
        leaving: &[Leaving],
        context: &mut Context<'_>,
    ) -> Vec<Result<(), ResponseError>> {
        let results = leaving.iter().map(|leaving| self.leave_one(leaving, context)).collect();
        self.complete_if_all_joined(context);
        results
    }

    fn leave_one(&mut self, leaving: &Leaving, context: &mut Context<'_>) -> Result<(), ResponseError> {
        if self.id_given.remove(&leaving.member).is_some() {
            return Ok(());
        }
        let id = match &leaving.instance {
            Some(instance) if leaving.member.is_empty() => {
                self.static_members.get(instance).cloned().ok_or(ResponseError::UnknownMemberId)?
            }
            instance => {
                let (member, instance) = (leaving.member.clone(), instance.clone());
                self.check_member(&Caller { member, instance, generation: -1 })?;
                leaving.member.clone()
            }
        };
        self.drop_member(&id, context);
        self.members_changed(context);
        Ok(())
    }
}
