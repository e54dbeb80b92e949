//! One partition's machine on this broker, and those who wait for its answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_protocol::ResponseError;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::{Machine, Now, Ticket};
use crate::replication::partition::Partition;

/// A partition and, while this broker leads it, its machine.
pub(crate) struct Shard<M: Machine> {
    pub partition: Arc<Partition>,
    serving: Mutex<Serving<M>>,
    wake: Arc<Notify>,
}

/// What the broker is to the partition.
pub(super) enum Serving<M: Machine> {
    /// Another broker leads.
    Away,
    /// This broker leads and replays the log.
    Loading,
    /// This broker leads.
    Active(Box<Active<M>>),
}

pub(super) struct Active<M: Machine> {
    pub machine: M,
    waiting: BTreeMap<Ticket, oneshot::Sender<M::Answer>>,
    next_ticket: Ticket,
    /// When the driving task wakes up by itself.
    pub alarm: Option<Instant>,
}

impl<M: Machine> Active<M> {
    pub fn new(machine: M) -> Active<M> {
        Active { machine, waiting: BTreeMap::new(), next_ticket: 0, alarm: None }
    }

    fn send_answers(&mut self) {
        for (ticket, answer) in self.machine.take_answers() {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                // The client may be gone.
                let _ = waiting.send(answer);
            }
        }
    }
}

impl<M: Machine> Shard<M> {
    pub fn new(partition: Arc<Partition>) -> Shard<M> {
        let serving = if partition.progress().leading { Serving::Loading } else { Serving::Away };
        Shard { partition, serving: Mutex::new(serving), wake: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Serving<M>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the broker is to the partition. Those who wait learn that it was not their coordinator's
    /// to answer.
    pub(super) fn set(&self, serving: Serving<M>) {
        let before = std::mem::replace(&mut *self.lock(), serving);
        drop(before);
    }

    /// Wakes the driving task.
    pub(super) fn ring(&self) {
        self.wake.notify_one();
    }

    /// What wakes the driving task.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Works with the machine.
    ///
    /// # Errors
    /// `NOT_COORDINATOR`, or `COORDINATOR_LOAD_IN_PROGRESS`.
    pub fn with<R>(&self, now: Now, work: impl FnOnce(&mut M, Now) -> R) -> Result<R, ResponseError> {
        self.step(|active| work(&mut active.machine, now))
    }

    /// Asks the machine what it answers later. The receiver fails if this broker ceases to be the coordinator
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Shard::with`].
    pub fn ask(
        &self,
        now: Now,
        work: impl FnOnce(&mut M, Now, Ticket),
    ) -> Result<oneshot::Receiver<M::Answer>, ResponseError> {
        self.step(|active| {
            let (sender, receiver) = oneshot::channel();
            active.next_ticket += 1;
            active.waiting.insert(active.next_ticket, sender);
            work(&mut active.machine, now, active.next_ticket);
            receiver
        })
    }

    /// Works with the machine, sends its answers, and wakes the driving task if there is something for it.
    pub(super) fn step<R>(&self, work: impl FnOnce(&mut Active<M>) -> R) -> Result<R, ResponseError> {
        let mut serving = self.lock();
        let active = match &mut *serving {
            Serving::Active(active) => active,
            Serving::Loading => return Err(ResponseError::CoordinatorLoadInProgress),
            Serving::Away => return Err(ResponseError::NotCoordinator),
        };
        let result = work(active);
        active.send_answers();
        let earlier = match (active.machine.deadline(), active.alarm) {
            (Some(deadline), Some(alarm)) => deadline < alarm,
            (deadline, None) => deadline.is_some(),
            (None, Some(_)) => false,
        };
        if earlier || active.machine.writes().has_work() {
            self.wake.notify_one();
        }
        Ok(result)
    }
}
