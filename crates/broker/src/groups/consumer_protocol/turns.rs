//! One step of a group after another: what a step changes is written before the next one is decided.
//!
//! Steps that change nothing, as most heartbeats, are answered at once. Here are the timers, too: a member that is
//! not heard for `group.consumer.session.timeout.ms` is out, and one that does not give up what it is to within its
//! rebalance time-out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::change::Change;
use super::heartbeat::{Decision, HeartbeatAnswer, HeartbeatRequest, Refused, refuse};
use super::membership::{JOINS, LEAVES};
use super::{Assignment, ConsumerGroup};
use crate::coordinator::{Now, Ticket, Write, WriteError, WriteKind};
use crate::groups::effects::{Then, Timer, TimerKind};
use crate::groups::group::{Group, State};
use crate::groups::machine::GroupMachine;
use crate::groups::records;
use crate::groups::request::Answer;

/// Before a member that was to be taken out is looked at again, where that could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// The steps of a group, and its members' time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    /// Whether a step is being written.
    writing: bool,
    waiting: VecDeque<Turn>,
    alive: BTreeMap<String, Alive>,
}

impl Turns {
    pub fn is_idle(&self) -> bool {
        !self.writing && self.waiting.is_empty()
    }
}

/// A member's time.
#[derive(Clone, Debug)]
struct Alive {
    /// When it is taken for dead, unless it is heard before.
    expires: Instant,
    /// When the timer that looks at `expires` fires; never later than `expires`.
    timer: Option<Instant>,
    /// Until when it is to have given up partitions.
    revoked_by: Option<Instant>,
}

/// A step.
#[derive(Clone, Debug)]
enum Turn {
    Heartbeat(Box<HeartbeatRequest>, Ticket),
    /// A member is taken out.
    Removal(String),
}

/// What a step comes to once it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    changes: Vec<Change>,
    checked: Option<u64>,
    /// The member that was heard.
    heard: Option<String>,
    answer: Option<(Ticket, HeartbeatAnswer)>,
    /// The member that is to be taken out once more if it cannot be written.
    removed: Option<String>,
    /// Whether the group was one of the classic protocol until now.
    converts: bool,
}

impl GroupMachine {
    /// ConsumerGroupHeartbeat.
    pub fn consumer_heartbeat(&mut self, now: Now, request: HeartbeatRequest, ticket: Ticket) {
        let admitted =
            request.check(self.settings.subscription_bytes_max).and_then(|()| self.admit(now, &request));
        if let Err(refused) = admitted {
            return self.answers.push((ticket, Answer::Heartbeat(Err(refused))));
        }
        let group = request.group.clone();
        self.turn(now, &group, Turn::Heartbeat(Box::new(request), ticket));
    }

    /// Sees to it that there is a group of this protocol: a new one, or one of the classic protocol without
    /// members, whose offsets it keeps.
    fn admit(&mut self, now: Now, request: &HeartbeatRequest) -> Result<(), Refused> {
        let id = &request.group;
        let known = self.groups.get(id);
        match known {
            Some(group) if group.state == State::Dead => {
                return Err(refuse(ResponseError::CoordinatorNotAvailable, "the group is being deleted"));
            }
            Some(group) if group.consumer.is_some() => return Ok(()),
            Some(group)
                if request.epoch != JOINS || group.state != State::Empty || !group.id_given.is_empty() =>
            {
                let message = format!("group '{id}' is not of the consumer protocol");
                return Err(refuse(ResponseError::GroupIdNotFound, message));
            }
            None if request.epoch != JOINS => {
                return Err(refuse(ResponseError::GroupIdNotFound, format!("there is no group '{id}'")));
            }
            _ => {}
        }
        match self.or_new(id, now) {
            Some(group) => group.consumer = Some(Box::default()),
            None => return Err(refuse(ResponseError::GroupMaxSizeReached, "there are too many groups")),
        }
        Ok(())
    }

    /// Decides a step, and answers it or has it written; behind others that are being written.
    fn turn(&mut self, now: Now, id: &str, turn: Turn) {
        let members_max = self.settings.members_max;
        let Some(group) = self.groups.get_mut(id) else { return self.too_late(turn) };
        let converts = group.protocol_type.is_some();
        let Some(consumer) = &mut group.consumer else { return self.too_late(turn) };
        let decided = match &turn {
            Turn::Heartbeat(request, _) => consumer.decide(request, members_max, now.unix_ms),
            Turn::Removal(member) => Ok(consumer.decide_removal(member, now.instant)),
        };
        let decision = match (decided, &turn) {
            (Ok(decision), _) => decision,
            (Err(refused), Turn::Heartbeat(_, ticket)) => {
                return self.answers.push((*ticket, Answer::Heartbeat(Err(refused))));
            }
            (Err(_), Turn::Removal(_)) => return,
        };
        if !decision.changes.is_empty() && consumer.turns.writing {
            return consumer.turns.waiting.push_back(turn);
        }
        let done = Done::of(turn, decision, converts);
        if done.changes.is_empty() {
            return self.finish(now, id, done);
        }
        consumer.turns.writing = true;
        let tombstone = converts.then(|| records::group_tombstone(id));
        let records = tombstone.into_iter().chain(done.changes.iter().map(|change| change.record(id)));
        let records = records.collect();
        let then = Then::Stepped { group: id.to_owned(), done: Box::new(done) };
        self.writes.push(Write { kind: WriteKind::Plain, records, then });
    }

    /// The group went while the step waited.
    fn too_late(&mut self, turn: Turn) {
        if let Turn::Heartbeat(_, ticket) = turn {
            let refused = refuse(ResponseError::CoordinatorNotAvailable, "the group is no more");
            self.answers.push((ticket, Answer::Heartbeat(Err(refused))));
        }
    }

    /// A step is written, or it is not and changes nothing; those that wait take their turns.
    pub(in crate::groups) fn stepped(
        &mut self,
        now: Now,
        id: &str,
        done: Done,
        result: Result<i64, WriteError>,
    ) {
        if let Some(consumer) = self.consumer(id) {
            consumer.turns.writing = false;
        }
        match result {
            Ok(_) => self.finish(now, id, done),
            Err(error) => self.fail(now, id, done, error),
        }
        while let Some(consumer) = self.consumer(id).filter(|consumer| !consumer.turns.writing) {
            let Some(turn) = consumer.turns.waiting.pop_front() else { break };
            self.turn(now, id, turn);
        }
    }

    fn consumer(&mut self, id: &str) -> Option<&mut ConsumerGroup> {
        self.groups.get_mut(id)?.consumer.as_deref_mut()
    }

    fn finish(&mut self, now: Now, id: &str, done: Done) {
        if let Some(answer) = done.answer {
            self.answers.push((answer.0, Answer::Heartbeat(Ok(answer.1))));
        }
        let session = self.settings.consumer_session_timeout;
        let Some(group) = self.groups.get_mut(id) else { return };
        if done.converts && !done.changes.is_empty() {
            group.become_consumer_group();
        }
        let Some(consumer) = &mut group.consumer else { return };
        let moved = done.changes.iter().any(|change| matches!(change, Change::Current(..)));
        done.changes.into_iter().for_each(|change| consumer.apply(change));
        consumer.checked = done.checked;
        let mut timers = Vec::new();
        if let Some(member) = done.heard.filter(|member| consumer.members.contains_key(member)) {
            timers.extend(consumer.touch(&member, now.instant, session));
            if moved {
                timers.extend(consumer.time_revocation(&member, now.instant));
            }
        }
        if let Some(member) = done.removed {
            timers.extend(consumer.watch_or_forget(&member));
        }
        for (at, kind) in timers {
            self.timers.set(at, Timer { group: id.to_owned(), kind });
        }
    }

    fn fail(&mut self, now: Now, id: &str, done: Done, error: WriteError) {
        if let Some((ticket, _)) = done.answer {
            let error = match error {
                // A group that does not fit into a batch; there is no code for that.
                WriteError::TooLarge => ResponseError::UnknownServerError,
                WriteError::Storage | WriteError::Producer(_) => ResponseError::CoordinatorNotAvailable,
            };
            let refused = refuse(error, "the group's change could not be written");
            self.answers.push((ticket, Answer::Heartbeat(Err(refused))));
        }
        let Some(member) = done.removed else { return };
        let at = now.instant + RETRY;
        let alive = self.consumer(id).and_then(|consumer| consumer.turns.alive.get_mut(&member));
        let Some(alive) = alive else { return };
        let kind = if alive.revoked_by.is_some_and(|until| until <= now.instant) {
            alive.revoked_by = Some(at);
            TimerKind::Revocation(member)
        } else {
            alive.timer = Some(at);
            TimerKind::Silence(member)
        };
        self.timers.set(at, Timer { group: id.to_owned(), kind });
    }

    /// A member's timer fired.
    pub(in crate::groups) fn member_timer(&mut self, now: Now, fired: Instant, id: &str, kind: TimerKind) {
        let Some(consumer) = self.consumer(id) else { return };
        match kind {
            TimerKind::Silence(member) => {
                let Some(alive) =
                    consumer.turns.alive.get_mut(&member).filter(|alive| alive.timer == Some(fired))
                else {
                    return;
                };
                alive.timer = None;
                if alive.expires > now.instant {
                    let at = alive.expires;
                    alive.timer = Some(at);
                    return self
                        .timers
                        .set(at, Timer { group: id.to_owned(), kind: TimerKind::Silence(member) });
                }
                tracing::debug!(group = id, member, "a member was not heard in its session time-out");
                self.turn(now, id, Turn::Removal(member));
            }
            TimerKind::Revocation(member) => {
                let alive = consumer.turns.alive.get(&member);
                if alive.is_some_and(|alive| alive.revoked_by == Some(fired)) {
                    tracing::debug!(group = id, member, "a member did not give up its partitions in time");
                    self.turn(now, id, Turn::Removal(member));
                }
            }
            _ => {}
        }
    }

    /// The coordinator works from now on: each member has its session time-out to be heard.
    pub(in crate::groups) fn resume_members(&mut self, now: Now, id: &str) {
        let session = self.settings.consumer_session_timeout;
        let Some(consumer) = self.consumer(id) else { return };
        let mut timers = Vec::new();
        for member in consumer.members.keys().cloned().collect::<Vec<_>>() {
            timers.extend(consumer.touch(&member, now.instant, session));
            timers.extend(consumer.time_revocation(&member, now.instant));
        }
        for (at, kind) in timers {
            self.timers.set(at, Timer { group: id.to_owned(), kind });
        }
    }

    /// Makes a group of this protocol without members one of the classic protocol, for a client that joins it
    /// so.
    ///
    /// # Errors
    /// `INCONSISTENT_GROUP_PROTOCOL` if it has members.
    pub(in crate::groups) fn leave_consumer_protocol(&mut self, id: &str) -> Result<(), ResponseError> {
        let Some(group) = self.groups.get_mut(id) else { return Ok(()) };
        let Some(consumer) = group.consumer.take_if(|consumer| consumer.is_idle()) else {
            let is_classic = group.consumer.is_none();
            return if is_classic { Ok(()) } else { Err(ResponseError::InconsistentGroupProtocol) };
        };
        let records = consumer.end().iter().map(|change| change.record(id)).collect();
        self.writes.push(Write { kind: WriteKind::Plain, records, then: Then::Nothing });
        Ok(())
    }
}

impl Done {
    fn of(turn: Turn, decision: Decision, converts: bool) -> Done {
        let Decision { changes, answer, checked } = decision;
        let (heard, answer, removed) = match turn {
            Turn::Heartbeat(_, ticket) => (Some(answer.member.clone()), Some((ticket, answer)), None),
            Turn::Removal(member) => (None, None, Some(member)),
        };
        Done { changes, checked, heard, answer, removed, converts }
    }
}

impl Group {
    /// What it was as a group of the classic protocol is no more; its offsets stay.
    fn become_consumer_group(&mut self) {
        self.generation = 0;
        self.protocol_type = None;
        self.protocol = None;
        self.leader = None;
    }
}

impl ConsumerGroup {
    /// Takes a member out, if it is silent or has not given up its partitions by now.
    fn decide_removal(&self, member: &str, now: Instant) -> Decision {
        let late = |alive: &Alive| alive.expires <= now || alive.revoked_by.is_some_and(|until| until <= now);
        let known = self.members.contains_key(member);
        let is_due = known && self.turns.alive.get(member).is_some_and(late);
        let changes = if is_due { self.removal(member) } else { Vec::new() };
        let checked = if is_due { None } else { self.checked };
        let answer =
            HeartbeatAnswer { member: member.to_owned(), epoch: LEAVES, assignment: None::<Assignment> };
        Decision { changes, answer, checked }
    }

    /// The member was heard. The timer is moved only if it would fire too late.
    fn touch(&mut self, member: &str, now: Instant, session: Duration) -> Option<(Instant, TimerKind)> {
        let expires = now + session;
        let alive = self.turns.alive.entry(member.to_owned());
        let alive = alive.or_insert(Alive { expires, timer: None, revoked_by: None });
        alive.expires = expires;
        if alive.timer.is_some_and(|timer| timer <= expires) {
            return None;
        }
        alive.timer = Some(expires);
        Some((expires, TimerKind::Silence(member.to_owned())))
    }

    /// A member that was to be taken out is gone; or it was heard meanwhile, and its time goes on.
    fn watch_or_forget(&mut self, member: &str) -> Option<(Instant, TimerKind)> {
        if !self.members.contains_key(member) {
            self.turns.alive.remove(member);
            return None;
        }
        let alive = self.turns.alive.get_mut(member)?;
        alive.timer = Some(alive.expires);
        Some((alive.expires, TimerKind::Silence(member.to_owned())))
    }

    /// The member has its rebalance time-out to give up what it is told to.
    fn time_revocation(&mut self, member: &str, now: Instant) -> Option<(Instant, TimerKind)> {
        let is_revoking = self.is_revoking(member);
        let timeout_ms = self.members.get(member)?.subscription.rebalance_timeout_ms;
        let alive = self.turns.alive.get_mut(member)?;
        let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
        alive.revoked_by = is_revoking.then(|| now + timeout);
        Some((alive.revoked_by?, TimerKind::Revocation(member.to_owned())))
    }
}
