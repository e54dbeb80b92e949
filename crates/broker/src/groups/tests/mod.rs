//! The group coordinator's rules, without a broker: the machine is stepped, its writes are done at once (or held
//! back, or refused) and its log is kept, so that it can be loaded again.

mod membership;
mod offsets;
mod random;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::Settings;
use super::machine::GroupMachine;
use super::offsets::{Committed, TopicPartition};
use super::request::{
    Answer, Caller, CommitRequest, JoinAnswer, JoinRequest, Leaving, SyncAnswer, SyncRequest,
    TransactionalCommitRequest,
};
use crate::coordinator::played::Played;
use crate::coordinator::{Now, Ticket, WriteError, WriteKind};

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(30);
const DELAY: Duration = Duration::from_secs(3);

/// A machine that is played.
struct Driver {
    played: Played<GroupMachine>,
}

impl Deref for Driver {
    type Target = Played<GroupMachine>;

    fn deref(&self) -> &Played<GroupMachine> {
        &self.played
    }
}

impl DerefMut for Driver {
    fn deref_mut(&mut self) -> &mut Played<GroupMachine> {
        &mut self.played
    }
}

fn settings() -> Settings {
    Settings { members_max: 3, ..Settings::default() }
}

impl Driver {
    fn new() -> Driver {
        Driver::with(settings())
    }

    fn with(settings: Settings) -> Driver {
        Driver { played: Played::new(move |now| GroupMachine::new(settings.clone(), now)) }
    }

    /// Joins; the answer may come later.
    fn ask_join(&mut self, request: JoinRequest) -> Ticket {
        let ticket = self.ticket();
        let fresh = Uuid::from_u128(ticket.into());
        self.played.machine.join(self.played.now, JoinRequest { fresh, ..request }, ticket);
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
        self.played.machine.sync(self.played.now, request, ticket);
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
        let result = self.played.machine.heartbeat(self.played.now, "g", &caller(joined));
        self.settle();
        result.err()
    }

    fn leave(&mut self, member: &str) -> Option<ResponseError> {
        let leaving = Leaving { member: member.to_owned(), instance: None };
        let results = self.played.machine.leave(self.played.now, "g", &[leaving]).unwrap();
        self.settle();
        results[0].err()
    }

    fn state(&self) -> &'static str {
        self.played.machine.describe("g").map_or("none", |group| group.state)
    }

    /// What comes of something that is answered as `Done`, if it is at once.
    fn done(
        &mut self,
        ask: impl FnOnce(&mut GroupMachine, Now, Ticket),
    ) -> Option<Result<(), ResponseError>> {
        self.ask(ask).map(|answer| match answer {
            Answer::Done(result) => result,
            other => panic!("{other:?}"),
        })
    }

    fn commit(&mut self, caller: Caller, offset: i64) -> Result<(), ResponseError> {
        let request = commit(&self.played.now, caller, offset);
        self.done(|machine, now, ticket| machine.commit(now, request, ticket)).expect("an answer at once")
    }

    fn commit_in_transaction(&mut self, producer_id: i64, offset: i64) -> Result<(), ResponseError> {
        let commit = commit(&self.played.now, nobody(), offset);
        let request = TransactionalCommitRequest { commit, producer_id, producer_epoch: 0, begins: None };
        self.done(|machine, now, ticket| machine.commit_in_transaction(now, request, ticket))
            .expect("an answer at once")
    }

    fn end_transaction(&mut self, producer_id: i64, commit: bool) {
        let kind = WriteKind::Marker {
            producer_id,
            producer_epoch: 0,
            raised_epoch: false,
            coordinator_epoch: 1,
            commit,
        };
        let result = self.done(|machine, _, ticket| machine.end_transaction(kind, ticket));
        assert_eq!(result, Some(Ok(())));
    }

    /// The offset of partition 0 of "orders"; -1 for none.
    fn committed(&self) -> i64 {
        let found = self.played.machine.fetch("g", Some(&[orders()]), false);
        found[0].1.as_ref().unwrap().as_ref().map_or(-1, |committed| committed.offset)
    }

    /// A stable group of these members; the first leads.
    fn stable(&mut self, requests: &[JoinRequest]) -> Vec<JoinAnswer> {
        let tickets: Vec<Ticket> = requests.iter().map(|request| self.ask_join(request.clone())).collect();
        self.pass(DELAY * 3);
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
    CommitRequest {
        group: "g".into(),
        caller,
        knows_member_epochs: false,
        offsets: BTreeMap::from([(orders(), committed)]),
    }
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
    for topic in topics {
        writer.text(topic);
    }
    writer.bytes(b"").finish()
}
