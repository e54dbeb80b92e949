//! What waits to be written, in order.
//!
//! One batch is written at a time; what comes meanwhile goes into the next one together. So a burst of
//! requests costs one replication round, and writes are done in the order in which they were asked for.

use std::collections::VecDeque;

use kafka_protocol::ResponseError;

use super::Record;
use crate::producers::{LastEnd, Standing};

/// Size from which a batch takes no further writes, bytes of keys and values.
const BATCH_BYTES: usize = 256 << 10;
/// Largest single write, bytes of keys and values. Redpanda takes 1 MiB batches from clients; a group with many
/// members is larger than what a client sends at once.
const WRITE_BYTES_MAX: usize = 16 << 20;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteKind {
    /// They count at once.
    Plain,
    /// They belong to the producer's open transaction, or begin it.
    Transactional { producer_id: i64, producer_epoch: i16, begins: Option<LastEnd> },
    /// The end of the producer's transaction; there are no other records.
    Marker {
        producer_id: i64,
        producer_epoch: i16,
        /// Whether no record of the transaction has the epoch. Not told by the log.
        raised_epoch: bool,
        coordinator_epoch: i32,
        commit: bool,
    },
}

impl WriteKind {
    /// What is known of the producer's transaction.
    pub fn standing(self) -> Standing {
        match self {
            WriteKind::Transactional { begins: Some(last_end), .. } => Standing::Begins(last_end),
            WriteKind::Marker { raised_epoch: true, .. } => Standing::RaisedMarker,
            _ => Standing::Plain,
        }
    }
}

/// Something to write, and what to do then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write<T> {
    pub kind: WriteKind,
    pub records: Vec<Record>,
    pub then: T,
}

/// Why something is not written. The log is as if it had not been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteError {
    /// The records are larger than a batch can be.
    TooLarge,
    /// The volume failed.
    Storage,
    /// The producer's epoch or state does not fit: the code for the client.
    Producer(ResponseError),
}

/// Records that are written together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub kind: WriteKind,
    pub records: Vec<Record>,
}

/// The queue.
#[derive(Debug)]
pub(crate) struct WriteQueue<T> {
    waiting: VecDeque<Write<T>>,
    /// What is to be done when the batch that is being written is done.
    writing: Vec<T>,
    refused: Vec<T>,
}

impl<T> Default for WriteQueue<T> {
    fn default() -> Self {
        WriteQueue { waiting: VecDeque::new(), writing: Vec::new(), refused: Vec::new() }
    }
}

fn size<T>(write: &Write<T>) -> usize {
    write
        .records
        .iter()
        .map(|record| record.key.len() + record.value.as_ref().map_or(0, |value| value.len()))
        .sum()
}

impl<T> WriteQueue<T> {
    pub fn push(&mut self, write: Write<T>) {
        if size(&write) > WRITE_BYTES_MAX {
            self.refused.push(write.then);
        } else {
            self.waiting.push_back(write);
        }
    }

    /// Whether there is something to do now: to refuse, or to write. What waits for the batch that is being written is
    /// not, or its driving task would be woken again and again until that is done.
    pub fn has_work(&self) -> bool {
        !self.refused.is_empty() || (self.writing.is_empty() && !self.waiting.is_empty())
    }

    /// Those that are too large to be written.
    pub fn take_refused(&mut self) -> Vec<T> {
        std::mem::take(&mut self.refused)
    }

    /// The next batch; the one before must be done.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let first = self.waiting.pop_front()?;
        let mut bytes = size(&first);
        let mut batch = Batch { kind: first.kind, records: first.records };
        self.writing.push(first.then);
        while batch.kind == WriteKind::Plain {
            let fits = |next: &Write<T>| next.kind == WriteKind::Plain && bytes + size(next) <= BATCH_BYTES;
            let Some(next) = self.waiting.pop_front_if(|next| fits(next)) else { break };
            bytes += size(&next);
            batch.records.extend(next.records);
            self.writing.push(next.then);
        }
        Some(batch)
    }

    /// What to do now that the batch is done.
    pub fn take_done(&mut self) -> Vec<T> {
        std::mem::take(&mut self.writing)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn write(kind: WriteKind, bytes: usize, then: u32) -> Write<u32> {
        let record = Record { key: Bytes::from(vec![0; bytes]), value: None };
        Write { kind, records: vec![record], then }
    }

    #[test]
    fn plain_writes_go_together_and_others_alone_in_order() {
        let transactional = WriteKind::Transactional { producer_id: 1, producer_epoch: 0, begins: None };
        let mut queue = WriteQueue::default();
        for (kind, then) in
            [WriteKind::Plain, WriteKind::Plain, transactional, WriteKind::Plain].into_iter().zip(0..)
        {
            queue.push(write(kind, 10, then));
        }
        let mut batches = Vec::new();
        while let Some(batch) = queue.next_batch() {
            batches.push((batch.kind, batch.records.len(), queue.take_done()));
        }
        let expected =
            [(WriteKind::Plain, 2, vec![0, 1]), (transactional, 1, vec![2]), (WriteKind::Plain, 1, vec![3])];
        assert_eq!(batches, expected);
    }

    #[test]
    fn what_waits_for_the_batch_before_it_is_no_work_yet() {
        let mut queue = WriteQueue::default();
        assert!(!queue.has_work());
        queue.push(write(WriteKind::Plain, 10, 0));
        assert!(queue.has_work());
        queue.next_batch().unwrap();
        queue.push(write(WriteKind::Plain, 10, 1));
        assert!(!queue.has_work(), "the first is being written");
        queue.push(write(WriteKind::Plain, WRITE_BYTES_MAX + 1, 2));
        assert!(queue.has_work(), "who asked for what is too large is told at once");
        queue.take_refused();
        assert!(!queue.has_work());
        assert_eq!(queue.take_done(), vec![0]);
        assert!(queue.has_work());
    }

    #[test]
    fn a_batch_ends_before_it_is_too_large_and_what_never_fits_is_refused() {
        let mut queue = WriteQueue::default();
        queue.push(write(WriteKind::Plain, BATCH_BYTES, 0));
        queue.push(write(WriteKind::Plain, WRITE_BYTES_MAX + 1, 1));
        queue.push(write(WriteKind::Plain, 1, 2));
        assert_eq!(queue.next_batch().unwrap().records.len(), 1);
        assert_eq!((queue.take_done(), queue.take_refused()), (vec![0], vec![1]));
        assert_eq!(queue.next_batch().unwrap().records.len(), 1);
    }
}
