//! The group coordinator's rules, without a broker: the machine is stepped, its writes are done at once (or held
//! back, or refused) and its log is kept, so that it can be loaded again.

mod membership;
mod offsets;
mod random;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;
use uuid::Uuid;

use super::Settings;
use super::machine::GroupMachine;
use super::offsets::{Committed, TopicPartition};
use super::request::{
    Answer, Caller, CommitRequest, JoinAnswer, JoinRequest, Leaving, SyncAnswer, SyncRequest,
    TransactionalCommitRequest,
};
use crate::coordinator::{Machine, Now, Replayed, Ticket, WriteError, WriteKind};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(30);
const DELAY: Duration = Duration::from_secs(3);

/// A machine, its clock and its log.
struct Driver {
    machine: GroupMachine,
    settings: Settings,
    now: Now,
    log: Vec<Replayed>,
    answers: BTreeMap<Ticket, Answer>,
    tickets: Ticket,
    /// What comes of writes; `None` holds them back.
    writes: Option<Result<(), WriteError>>,
}

fn settings() -> Settings {
    Settings { members_max: 3, ..Settings::default() }
}

impl Driver {
    fn new() -> Driver {
        Driver::with(settings())
    }

    fn with(settings: Settings) -> Driver {
        let now = Now { instant: Instant::now(), unix_ms: 1_000_000 };
        let mut machine = GroupMachine::new(settings.clone(), now);
        machine.start(now, 1);
        let (log, answers) = (Vec::new(), BTreeMap::new());
        Driver { machine, settings, now, log, answers, tickets: 0, writes: Some(Ok(())) }
    }

    /// Does the writes and takes the answers.
    fn settle(&mut self) {
        while let Some(result) = self.writes {
            for then in self.machine.writes().take_refused() {
                self.machine.written(self.now, then, Err(WriteError::TooLarge));
            }
            let Some(batch) = self.machine.writes().next_batch() else { break };
            let base_offset =
                self.log.last().map_or(0, |last| last.base_offset + last.records.len().max(1) as i64);
            if result.is_ok() {
                self.log.push(Replayed { base_offset, kind: batch.kind, records: batch.records });
            }
            for then in self.machine.writes().take_done() {
                self.machine.written(self.now, then, result.map(|()| base_offset));
            }
        }
        for (ticket, answer) in self.machine.take_answers() {
            assert!(self.answers.insert(ticket, answer).is_none(), "ticket {ticket} is answered twice");
        }
    }

    /// Lets time pass, with every timer at its moment.
    fn pass(&mut self, duration: Duration) {
        let until = self.now.instant + duration;
        while let Some(deadline) = self.machine.deadline().filter(|deadline| *deadline <= until) {
            self.set(deadline.max(self.now.instant));
            self.machine.tick(self.now);
            self.settle();
        }
        self.set(until);
    }

    fn set(&mut self, instant: Instant) {
        let passed = instant - self.now.instant;
        self.now = Now { instant, unix_ms: self.now.unix_ms + passed.as_millis() as i64 };
    }

    /// Another broker takes over: the machine is made anew from the log.
    fn reload(&mut self) {
        let mut machine = GroupMachine::new(self.settings.clone(), self.now);
        for batch in &self.log {
            let (base_offset, kind, records) = (batch.base_offset, batch.kind, batch.records.clone());
            machine.replay(Replayed { base_offset, kind, records });
        }
        machine.start(self.now, 2);
        self.machine = machine;
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// Joins; the answer may come later.
    fn ask_join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        let fresh = Uuid::from_u128(ticket.into());
        self.machine.join(self.now, JoinRequest { fresh, ..request }, ticket);
        self.settle();
        ticket
    }

    fn joined(&mut self, ticket: Ticket) -> Option<JoinAnswer> {
        self.answers.remove(&ticket).map(|answer| match answer {
            Answer::Join(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    /// Joins and expects the answer at once.
    fn join(&mut self, request: JoinRequest) -> JoinAnswer {
        let ticket = self.ask_join(request);
        self.joined(ticket).expect("an answer at once")
    }

    fn ask_sync(&mut self, joined: &JoinAnswer, assignments: &[(&str, &str)]) -> Ticket {
        let ticket = self.ticket();
        let request = SyncRequest {
            group: "g".into(),
            caller: caller(joined),
            protocol_type: None,
            protocol: None,
            assignments: assignments
                .iter()
                .map(|(member, assignment)| {
                    (member.to_string(), Bytes::copy_from_slice(assignment.as_bytes()))
                })
                .collect(),
        };
        self.machine.sync(self.now, request, ticket);
        self.settle();
        ticket
    }

    fn synced(&mut self, ticket: Ticket) -> Option<SyncAnswer> {
        self.answers.remove(&ticket).map(|answer| match answer {
            Answer::Sync(answer) => answer,
            other => panic!("{other:?}"),
        })
    }

    fn sync(&mut self, joined: &JoinAnswer, assignments: &[(&str, &str)]) -> SyncAnswer {
        let ticket = self.ask_sync(joined, assignments);
        self.synced(ticket).expect("an answer at once")
    }

    fn heartbeat(&mut self, joined: &JoinAnswer) -> Option<ResponseError> {
        let result = self.machine.heartbeat(self.now, "g", &caller(joined));
        self.settle();
        result.err()
    }

    fn leave(&mut self, member: &str) -> Option<ResponseError> {
        let leaving = Leaving { member: member.to_owned(), instance: None };
        let results = self.machine.leave(self.now, "g", &[leaving]).unwrap();
        self.settle();
        results[0].err()
    }

    fn state(&self) -> &'static str {
        self.machine.describe("g").map_or("none", |group| group.state)
    }

    /// Waits for an answer that was asked for as `Done`.
    fn done(
        &mut self,
        ask: impl FnOnce(&mut GroupMachine, Now, Ticket),
    ) -> Option<Result<(), ResponseError>> {
        let ticket = self.ticket();
        ask(&mut self.machine, self.now, ticket);
        self.settle();
        self.answers.remove(&ticket).map(|answer| match answer {
            Answer::Done(result) => result,
            other => panic!("{other:?}"),
        })
    }

    fn commit(&mut self, caller: Caller, offset: i64) -> Result<(), ResponseError> {
        let request = commit(&self.now, caller, offset);
        self.done(|machine, now, ticket| machine.commit(now, request, ticket)).expect("an answer at once")
    }

    fn commit_in_transaction(&mut self, producer_id: i64, offset: i64) -> Result<(), ResponseError> {
        let commit = commit(&self.now, nobody(), offset);
        let request = TransactionalCommitRequest { commit, producer_id, producer_epoch: 0 };
        self.done(|machine, now, ticket| machine.commit_in_transaction(now, request, ticket))
            .expect("an answer at once")
    }

    fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let kind = WriteKind::Marker { producer_id, producer_epoch: 0, coordinator_epoch: 1, commit };
        let result = self.done(|machine, _, ticket| machine.end_transaction(kind, ticket));
        assert_eq!(result, Some(Ok(())));
    }

    /// The offset of partition 0 of "orders"; -1 for none.
    fn committed(&self) -> i64 {
        let found = self.machine.fetch("g", Some(&[orders()]), false);
        found[0].1.as_ref().unwrap().as_ref().map_or(-1, |committed| committed.offset)
    }

    /// A stable group of these members; the first leads.
    fn stable(&mut self, requests: &[JoinRequest]) -> Vec<JoinAnswer> {
        let tickets: Vec<Ticket> = requests.iter().map(|request| self.ask_join(request.clone())).collect();
        self.pass(self.settings.initial_rebalance_delay * 3);
        let joined: Vec<JoinAnswer> =
            tickets.into_iter().map(|ticket| self.joined(ticket).unwrap()).collect();
        self.distribute(&joined);
        joined
    }

    /// The leader assigns to each member its own id.
    fn distribute(&mut self, joined: &[JoinAnswer]) {
        let leader = joined.iter().find(|answer| answer.member == answer.leader).unwrap().clone();
        let assignments: Vec<(&str, &str)> =
            leader.members.iter().map(|member| (member.id.as_str(), member.id.as_str())).collect();
        for answer in joined.iter().filter(|answer| answer.member != answer.leader) {
            self.ask_sync(answer, &[]);
        }
        let own = self.sync(&leader, &assignments);
        assert_eq!((own.error, &own.assignment[..]), (None, leader.member.as_bytes()));
        assert_eq!(self.state(), "Stable");
        self.answers.clear();
    }
}

fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

fn nobody() -> Caller {
    Caller { member: String::new(), instance: None, generation: -1 }
}

fn caller(joined: &JoinAnswer) -> Caller {
    Caller { member: joined.member.clone(), instance: None, generation: joined.generation }
}

fn commit(now: &Now, caller: Caller, offset: i64) -> CommitRequest {
    let committed = Committed {
        offset,
        leader_epoch: -1,
        metadata: String::new(),
        committed_ms: now.unix_ms,
        expires_ms: None,
        position: -1,
    };
    CommitRequest { group: "g".into(), caller, offsets: BTreeMap::from([(orders(), committed)]) }
}

/// A consumer that joins without an id, as clients before KIP-394.
fn consumer() -> JoinRequest {
    JoinRequest {
        group: "g".into(),
        member: String::new(),
        instance: None,
        client_id: "client".into(),
        client_host: "host".into(),
        session_timeout: SESSION,
        rebalance_timeout: REBALANCE,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), subscription(&["orders"]))],
        id_required_first: false,
        knows_skip_assignment: true,
        fresh: Uuid::nil(),
    }
}

/// The same member again.
fn again(joined: &JoinAnswer) -> JoinRequest {
    JoinRequest { member: joined.member.clone(), ..consumer() }
}

fn fixed(instance: &str) -> JoinRequest {
    JoinRequest { instance: Some(instance.into()), ..consumer() }
}

fn subscription(topics: &[&str]) -> Bytes {
    let mut writer = crate::coordinator::codec::FieldWriter::version(0);
    writer.i32(topics.len() as i32);
    topics.iter().for_each(|topic| drop(writer.text(topic)));
    writer.bytes(b"").finish()
}
