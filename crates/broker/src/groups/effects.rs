//! What the group coordinator wants done: answers, timers, writes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::Settings;
use super::consumer_protocol::Done;
use super::offsets::{Committed, TopicPartition};
use super::request::{Answer, JoinAnswer};
use crate::coordinator::{Now, Ticket, Write};

/// A timer of one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub group: String,
    pub kind: TimerKind,
}

/// What a timer is for. When it fires the group is asked whether it is still meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKind {
    /// A member was not heard for its session time-out.
    Session(String),
    /// An id was not joined with.
    IdGiven(String),
    /// A rebalance has waited for members long enough.
    Gathering,
    /// Members did not sync.
    Sync,
    /// A member of the consumer protocol was not heard for its session time-out.
    Silence(String),
    /// A member of the consumer protocol has not given up its partitions.
    Revocation(String),
}

/// What happens when a write is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nobody waits.
    Nothing,
    /// The generation has its assignments.
    Assigned { group: String, generation: i32, assignments: BTreeMap<String, Bytes> },
    /// A static member's new id is known.
    Replaced { ticket: Ticket, answer: JoinAnswer },
    /// The offsets count.
    Committed { group: String, offsets: BTreeMap<TopicPartition, Committed>, ticket: Ticket },
    /// The offsets wait for the end of the producer's transaction.
    Pending { group: String, producer_id: i64, offsets: BTreeMap<TopicPartition, Committed>, ticket: Ticket },
    /// The producer's transaction has ended in these groups' partition.
    Ended { producer_id: i64, commit: bool, ticket: Ticket },
    /// The offsets are gone.
    OffsetsDeleted { group: String, partitions: Vec<TopicPartition>, ticket: Option<Ticket> },
    /// A group of the consumer protocol takes a step.
    Stepped { group: String, done: Box<Done> },
    /// The group is gone.
    Deleted { group: String, partitions: BTreeSet<TopicPartition>, ticket: Option<Ticket> },
}

/// What is to be done after a step.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub answers: Vec<(Ticket, Answer)>,
    pub timers: Vec<(Instant, Timer)>,
    pub writes: Vec<Write<Then>>,
}

impl Effects {
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.answers.push((ticket, answer));
    }

    pub fn join_error(&mut self, ticket: Ticket, error: ResponseError, member: &str) {
        self.answer(ticket, Answer::Join(JoinAnswer::error(error, member)));
    }

    pub fn timer(&mut self, at: Instant, timer: Timer) {
        self.timers.push((at, timer));
    }

    pub fn write(&mut self, write: Write<Then>) {
        self.writes.push(write);
    }
}

/// What a step works with.
pub(crate) struct Context<'a> {
    pub now: Now,
    pub settings: &'a Settings,
    pub effects: &'a mut Effects,
}
