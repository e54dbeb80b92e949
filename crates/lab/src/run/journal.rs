//! What a client did: every attempt that it made, with the bytes that it moved.

use std::sync::{Arc, Mutex, PoisonError};

use hopwise_client::{Observer, Operation, RequestRecord};
use hopwise_engine::Time;

/// Takes a client's attempts; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(Arc<Mutex<Vec<Arc<Attempt>>>>);

/// One attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub record: Arc<RequestRecord>,
    /// What it moved, for answered requests of the workload.
    pub moved: Moved,
}

/// Bytes of IP packets that a request and its answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub sent: u64,
    pub received: u64,
}

impl Journal {
    /// How many attempts there are.
    pub fn len(&self) -> usize {
        self.with(|attempts| attempts.len())
    }

    /// All attempts so far.
    pub fn attempts(&self) -> Vec<Arc<Attempt>> {
        self.with(|attempts| attempts.clone())
    }

    /// What each attempt so far was, in the order in which they ended.
    pub fn records(&self) -> Vec<Arc<RequestRecord>> {
        self.with(|attempts| attempts.iter().map(|attempt| attempt.record.clone()).collect())
    }

    /// Looks at every attempt so far, in the order in which they ended.
    pub fn each(&self, mut look: impl FnMut(&Attempt)) {
        self.with(|attempts| attempts.iter().for_each(|attempt| look(attempt)));
    }

    /// Notes what the last attempt of `operation` moved.
    pub fn note_moved(&self, operation: Operation, moved: Moved) {
        self.with(|attempts| {
            if let Some(last) = attempts.iter_mut().rev().find(|it| it.record.operation == operation) {
                Arc::make_mut(last).moved = moved;
            }
        });
    }

    /// Whether an attempt from the `first` on is as asked for.
    pub fn any_from(&self, first: usize, wanted: impl Fn(&Attempt) -> bool) -> bool {
        self.with(|attempts| attempts.iter().skip(first).any(|attempt| wanted(attempt)))
    }

    /// Whether a produce attempt from the `first` on may have written records although it was not acknowledged.
    pub fn may_have_written(&self, first: usize) -> bool {
        self.any_from(first, Attempt::may_have_written)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<Arc<Attempt>>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Journal {
    fn request(&self, record: &RequestRecord) {
        let attempt = Attempt { record: Arc::new(record.clone()), moved: Moved::default() };
        self.with(|attempts| attempts.push(Arc::new(attempt)));
    }
}

impl Attempt {
    /// When it ended.
    pub fn ended_at(&self) -> Time {
        self.record.started_at + self.record.total
    }

    /// Whether it failed: no answer, an answer with an error, or an answer from the wrong broker.
    pub fn failed(&self) -> bool {
        self.record.outcome != hopwise_client::Outcome::Ok
            || self.record.error_code.is_some_and(|code| code != 0)
    }

    fn may_have_written(&self) -> bool {
        // REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS_AFTER_APPEND (Kafka protocol guide, error codes): the leader has
        // the records, and what becomes of them is not known.
        const WRITTEN_PERHAPS: [i16; 2] = [7, 20];
        let record = &self.record;
        let unanswered = record.error_code.is_none() && record.request > hopwise_engine::Span::ZERO;
        record.operation == Operation::Produce
            && self.failed()
            && (unanswered || record.error_code.is_some_and(|code| WRITTEN_PERHAPS.contains(&code)))
    }
}
