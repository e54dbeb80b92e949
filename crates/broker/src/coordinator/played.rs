//! A machine without a broker, for tests: its writes are done at once (or held back, or refused), its log is kept,
//! so that it can be loaded again, and time passes when it is told to.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Machine, Now, Replayed, Ticket, WriteError};

/// A machine, its clock and its log.
pub(crate) struct Played<M: Machine> {
    pub machine: M,
    pub now: Now,
    pub log: Vec<Replayed>,
    /// Those that nobody has taken.
    pub answers: BTreeMap<Ticket, M::Answer>,
    pub tickets: Ticket,
    /// What comes of writes; `None` holds them back.
    pub writes: Option<Result<(), WriteError>>,
    make: Box<dyn Fn(Now) -> M>,
    epoch: i32,
}

impl<M: Machine> Played<M> {
    /// An empty machine that works.
    pub fn new(make: impl Fn(Now) -> M + 'static) -> Played<M> {
        let now = Now { instant: Instant::now(), unix_ms: 1_000_000 };
        let mut played = Played {
            machine: make(now),
            now,
            log: Vec::new(),
            answers: BTreeMap::new(),
            tickets: 0,
            writes: Some(Ok(())),
            make: Box::new(make),
            epoch: 1,
        };
        played.machine.start(now, 1);
        played
    }

    /// Does the writes and takes the answers.
    pub fn settle(&mut self) {
        while let Some(result) = self.writes {
            for then in self.machine.writes().take_refused() {
                self.machine.written(self.now, then, Err(WriteError::TooLarge));
            }
            let Some(batch) = self.machine.writes().next_batch() else { break };
            let end = |last: &Replayed| last.base_offset + last.records.len().max(1) as i64;
            let base_offset = self.log.last().map_or(0, end);
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
    pub fn pass(&mut self, duration: Duration) {
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
    pub fn reload(&mut self) {
        self.machine = (self.make)(self.now);
        for batch in &self.log {
            let (base_offset, kind, records) = (batch.base_offset, batch.kind, batch.records.clone());
            self.machine.replay(Replayed { base_offset, kind, records });
        }
        self.epoch += 1;
        self.machine.start(self.now, self.epoch);
    }

    pub fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        self.tickets
    }

    /// Asks; the answer if it comes at once.
    pub fn ask(&mut self, ask: impl FnOnce(&mut M, Now, Ticket)) -> Option<M::Answer> {
        let ticket = self.ticket();
        ask(&mut self.machine, self.now, ticket);
        self.settle();
        self.answers.remove(&ticket)
    }
}
