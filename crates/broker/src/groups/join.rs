//! JoinGroup.

use std::time::Duration;

use kafka_protocol::ResponseError;

use super::effects::{Context, Then, TimerKind};
use super::group::{Group, State};
use super::member::Member;
use super::request::{Answer, Caller, JoinAnswer, JoinRequest};
use crate::coordinator::Ticket;

/// How long a member that has never been in a generation may wait for one (Kafka: `NewMemberJoinTimeoutMs`).
/// Its client may have gone and be back with another id.
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(300);

impl Group {
    /// A client wants to be a member of the next generation. The answer comes at once or with that
    /// generation.
    pub(super) fn join(&mut self, request: JoinRequest, ticket: Ticket, context: &mut Context<'_>) {
        if let Err(error) = self.check_join(&request, context) {
            return context.effects.join_error(ticket, error, &request.member);
        }
        if request.member.is_empty() {
            self.join_without_id(request, ticket, context);
        } else if self.id_given.remove(&request.member).is_some() {
            let id = request.member.clone();
            self.add_and_rebalance(id, request, ticket, context);
        } else {
            self.join_again(request, ticket, context);
        }
        self.complete_if_all_joined(context);
    }

    fn check_join(&mut self, request: &JoinRequest, context: &Context<'_>) -> Result<(), ResponseError> {
        if self.state == State::Dead {
            return Err(ResponseError::CoordinatorNotAvailable);
        }
        if !self.has_room_for(&request.member, context) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// Whether the group is not full without this member. While a rebalance gathers members it is those that
    /// have joined that count.
    fn has_room_for(&self, member: &str, context: &Context<'_>) -> bool {
        let limit = context.settings.members_max;
        let known = self.members.get(member);
        match self.state {
            State::Empty | State::Dead => self.id_given.len() < limit || self.id_given.contains_key(member),
            State::PreparingRebalance => {
                let joined = self.members.values().filter(|member| member.joining.is_some()).count();
                known.is_some_and(|member| member.joining.is_some()) || joined < limit
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.members.len() + self.id_given.len() < limit
            }
        }
    }

    fn join_without_id(&mut self, request: JoinRequest, ticket: Ticket, context: &mut Context<'_>) {
        let prefix = request.instance.as_deref().unwrap_or(&request.client_id);
        let id = format!("{prefix}-{}", request.fresh);
        if let Some(instance) = &request.instance {
            return match self.static_members.get(instance).cloned() {
                Some(old) => self.replace(&old, id, request, ticket, context),
                None => self.add_and_rebalance(id, request, ticket, context),
            };
        }
        if request.id_required_first {
            let until = context.now.instant + request.session_timeout;
            self.id_given.insert(id.clone(), until);
            self.timer(until, TimerKind::IdGiven(id.clone()), context);
            return context.effects.join_error(ticket, ResponseError::MemberIdRequired, &id);
        }
        self.add_and_rebalance(id, request, ticket, context);
    }

    fn add_and_rebalance(
        &mut self,
        id: String,
        request: JoinRequest,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) {
        let member = Member {
            id: id.clone(),
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: bytes::Bytes::new(),
            joining: Some(ticket),
            syncing: None,
            is_new: true,
            expires: context.now.instant,
            timer: None,
        };
        if let Some(gathering) = self.gathering.as_mut().filter(|_| self.generation == 0) {
            gathering.new_member = true;
        }
        self.add(member, &request.protocol_type);
        self.touch_for(&id, NEW_MEMBER_TIMEOUT, context);
        self.rebalance(context);
    }

    /// A member joins again: because it was asked to, because its subscription changed, or because it did not
    /// get the answer.
    fn join_again(&mut self, request: JoinRequest, ticket: Ticket, context: &mut Context<'_>) {
        let id = request.member.clone();
        let caller = Caller { member: id.clone(), instance: request.instance.clone(), generation: -1 };
        if let Err(error) = self.check_member(&caller) {
            return context.effects.join_error(ticket, error, &id);
        }
        let same = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        match self.state {
            State::CompletingRebalance if same => {
                let answer = Answer::Join(self.joined(&id));
                context.effects.answer(ticket, answer);
            }
            State::Stable if same && !self.is_leader(&id) => {
                let answer = Answer::Join(self.joined(&id));
                context.effects.answer(ticket, answer);
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                self.update(&id, request, ticket, context);
                self.rebalance(context);
            }
            State::Empty | State::Dead => {
                context.effects.join_error(ticket, ResponseError::UnknownMemberId, &id);
            }
        }
    }

    fn update(&mut self, id: &str, request: JoinRequest, ticket: Ticket, context: &mut Context<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = request.protocols;
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        if let Some(earlier) = member.joining.replace(ticket) {
            // The client has given up that request; its connection may still be there.
            context.effects.join_error(earlier, ResponseError::RebalanceInProgress, id);
        }
    }

    /// A static member is back with a new process: it takes the old one's place and assignment, without a
    /// rebalance if the assignor stays the same (KIP-345, KIP-814).
    fn replace(
        &mut self,
        old: &str,
        id: String,
        request: JoinRequest,
        ticket: Ticket,
        context: &mut Context<'_>,
    ) {
        let Some(mut member) = self.members.remove(old) else { return };
        let old_leader = self.leader.clone().unwrap_or_default();
        if let Some(ticket) = member.joining.take() {
            context.effects.join_error(ticket, ResponseError::FencedInstanceId, old);
        }
        if let Some(ticket) = member.syncing.take() {
            let answer = super::request::SyncAnswer::error(ResponseError::FencedInstanceId);
            context.effects.answer(ticket, Answer::Sync(answer));
        }
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(id.clone());
        }
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        member.id.clone_from(&id);
        member.timer = None;
        self.members.insert(id.clone(), member);
        self.touch_for(&id, request.session_timeout, context);
        let knows_skip_assignment = request.knows_skip_assignment;
        self.update(&id, request, ticket, context);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                if let Some(member) = self.members.get_mut(&id) {
                    member.joining = None;
                }
                let answer = self.replaced(&id, &old_leader, knows_skip_assignment);
                let assignments = self.assignments();
                self.store_with(&assignments, Then::Replaced { ticket, answer }, context);
            }
            State::Stable | State::CompletingRebalance => self.rebalance(context),
            State::PreparingRebalance | State::Empty | State::Dead => {}
        }
    }

    /// A client that does not know how to skip the assignment is told the id it had before as the leader's,
    /// so that it does not assign.
    fn replaced(&self, id: &str, old_leader: &str, knows_skip_assignment: bool) -> JoinAnswer {
        let answer = self.joined(id);
        if knows_skip_assignment {
            JoinAnswer { skip_assignment: self.is_leader(id), ..answer }
        } else {
            JoinAnswer { leader: old_leader.to_owned(), members: Vec::new(), ..answer }
        }
    }
}
