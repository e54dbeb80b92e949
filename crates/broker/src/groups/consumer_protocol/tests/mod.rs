//! The consumer protocol's rules through the machine of a partition.

mod epochs;
mod lifecycle;
mod random;

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use uuid::Uuid;

use super::heartbeat::{HeartbeatAnswer, HeartbeatRequest};
use super::subscription::{TopicImage, TopicOutline, Visible};
use super::{Assignment, ConsumerGroup};
use crate::coordinator::played::Played;
use crate::groups::Settings;
use crate::groups::machine::GroupMachine;
use crate::groups::request::Answer;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(60);
const ORDERS: Uuid = Uuid::from_u128(1);
const PAYMENTS: Uuid = Uuid::from_u128(2);

/// A machine that is played, and the topics that there are.
struct Driver {
    played: Played<GroupMachine>,
    image: TopicImage,
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

/// A member as its client keeps it.
#[derive(Clone, Debug, Default)]
struct Client {
    id: String,
    instance: Option<String>,
    epoch: i32,
    owned: Assignment,
}

fn settings() -> Settings {
    Settings { members_max: 4, ..Settings::default() }
}

fn client(id: &str) -> Client {
    Client { id: id.to_owned(), ..Client::default() }
}

fn fixed(id: &str, instance: &str) -> Client {
    Client { instance: Some(instance.to_owned()), ..client(id) }
}

fn names(names: &[&str]) -> Option<BTreeSet<String>> {
    Some(names.iter().map(|name| name.to_string()).collect())
}

fn of(topic: Uuid, indexes: &[i32]) -> Assignment {
    Assignment::from([(topic, indexes.iter().copied().collect())])
}

fn count(assignment: &Assignment) -> usize {
    assignment.values().map(BTreeSet::len).sum()
}

impl Driver {
    /// With a topic `orders` of 4 partitions.
    fn new() -> Driver {
        let played = Played::new(|now| GroupMachine::new(settings(), now));
        let mut driver = Driver { played, image: TopicImage::default() };
        driver.topic("orders", ORDERS, 4);
        driver
    }

    fn topic(&mut self, name: &str, id: Uuid, partitions: i32) {
        self.image.version += 1;
        self.image.topics.insert(name.to_owned(), TopicOutline { id, partitions });
    }

    /// A heartbeat that says nothing.
    fn plain(&self, client: &Client) -> HeartbeatRequest {
        HeartbeatRequest {
            group: "g".into(),
            member: client.id.clone(),
            epoch: client.epoch,
            instance: client.instance.clone(),
            rack: None,
            client_id: "client".into(),
            client_host: "host".into(),
            rebalance_timeout_ms: None,
            topics: None,
            regex: None,
            assignor: None,
            owned: None,
            image: Arc::new(self.image.clone()),
            visible: Visible::all(),
        }
    }

    /// The first heartbeat, for `orders`.
    fn first(&self, client: &Client) -> HeartbeatRequest {
        HeartbeatRequest {
            epoch: 0,
            rebalance_timeout_ms: Some(REBALANCE.as_millis() as i32),
            topics: names(&["orders"]),
            owned: Some(Assignment::new()),
            ..self.plain(client)
        }
    }

    fn send(&mut self, request: HeartbeatRequest) -> Result<HeartbeatAnswer, ResponseError> {
        self.try_send(request).expect("an answer at once")
    }

    fn try_send(&mut self, request: HeartbeatRequest) -> Option<Result<HeartbeatAnswer, ResponseError>> {
        let answer = self.ask(|machine, now, ticket| machine.consumer_heartbeat(now, request, ticket))?;
        Some(heartbeat(answer))
    }

    /// The client joins with this request and takes what it is told.
    fn join_with(&mut self, client: &mut Client, request: HeartbeatRequest) {
        let answer = self.send(request).unwrap();
        client.epoch = answer.epoch;
        client.owned = answer.assignment.expect("an assignment for who joins");
    }

    fn join(&mut self, client: &mut Client) {
        let request = self.first(client);
        self.join_with(client, request);
    }

    /// A heartbeat; the client gives up at once what it is to, and says so with the next one.
    fn beat(&mut self, client: &mut Client) -> HeartbeatAnswer {
        let request = HeartbeatRequest { owned: Some(client.owned.clone()), ..self.plain(client) };
        let answer = self.send(request).unwrap();
        client.epoch = answer.epoch;
        if let Some(assignment) = &answer.assignment {
            client.owned.clone_from(assignment);
        }
        answer
    }

    /// Heartbeats of all until the group is stable.
    fn settle_group(&mut self, clients: &mut [&mut Client]) {
        for _ in 0..4 {
            clients.iter_mut().for_each(|client| drop(self.beat(client)));
        }
        assert_eq!(self.group().state(), "Stable");
    }

    fn leave(&mut self, client: &Client, epoch: i32) -> Result<HeartbeatAnswer, ResponseError> {
        let request = HeartbeatRequest { epoch, ..self.plain(client) };
        self.send(request)
    }

    fn group(&self) -> &ConsumerGroup {
        self.played.machine.consumer_group("g").expect("a group of the consumer protocol")
    }
}

fn heartbeat(answer: Answer) -> Result<HeartbeatAnswer, ResponseError> {
    match answer {
        Answer::Heartbeat(answer) => answer.map_err(|refused| refused.error),
        other => panic!("{other:?}"),
    }
}
