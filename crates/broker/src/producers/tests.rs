//! Producers through batches, markers and time.

use bytes::Bytes;

use super::*;
use crate::log::testing::{as_producer, batch_at, marker};

/// What a producer sends.
#[derive(Clone, Copy)]
struct Sends {
    id: i64,
    epoch: i16,
    sequence: i32,
    count: i64,
    transactional: bool,
}

const PLAIN: Sends = Sends { id: 7, epoch: 0, sequence: 0, count: 1, transactional: false };

/// A log of entries that producers follow.
#[derive(Default)]
struct Partition {
    producers: Producers,
    entries: Vec<Entry>,
    end: i64,
}

impl Partition {
    fn append(&mut self, mut payload: Vec<u8>) -> i64 {
        crate::log::batch::assign(&mut payload, self.end, 1);
        let base_offset = self.end;
        self.end = BatchHeader::check(&payload).unwrap().last_offset() + 1;
        let (index, payload) = (self.entries.len() as u64 + 1, Bytes::from(payload));
        let entry = Entry { index, term: 1, kind: EntryKind::Batch, base_offset, payload };
        self.producers.follow(&entry);
        self.entries.push(entry);
        base_offset
    }

    fn bytes(sends: Sends) -> Vec<u8> {
        let Sends { id, epoch, sequence, count, transactional } = sends;
        as_producer(batch_at(0, count), id, epoch, sequence, transactional)
    }

    fn check(&self, sends: Sends) -> Result<Verdict, ProducerError> {
        self.producers.check(&BatchHeader::check(&Partition::bytes(sends)).unwrap())
    }

    /// Appends if the producer may; the base offset.
    fn send(&mut self, sends: Sends) -> i64 {
        assert_eq!(self.check(sends), Ok(Verdict::New));
        self.append(Partition::bytes(sends))
    }

    fn end_transaction(&mut self, id: i64, epoch: i16, committed: bool) -> i64 {
        self.append(marker(committed, 3, id, epoch))
    }
}

#[test]
fn sequences_run_on_and_gaps_are_refused() {
    let mut partition = Partition::default();
    partition.send(Sends { count: 3, ..PLAIN });
    partition.send(Sends { sequence: 3, ..PLAIN });
    let gap = partition.check(Sends { sequence: 5, ..PLAIN });
    assert_eq!(gap, Err(ProducerError::OutOfOrder { producer_id: 7, sequence: 5, last: 3 }));
    // Another producer has its own.
    assert_eq!(partition.check(Sends { id: 8, ..PLAIN }), Ok(Verdict::New));
}

#[test]
fn the_last_five_batches_are_answered_with_their_offsets() {
    let mut partition = Partition::default();
    for sequence in 0..7 {
        assert_eq!(partition.send(Sends { sequence, ..PLAIN }), i64::from(sequence));
    }
    for sequence in 2..7 {
        let offset = i64::from(sequence);
        let same = Verdict::Duplicate { base_offset: offset, last_offset: offset };
        assert_eq!(partition.check(Sends { sequence, ..PLAIN }), Ok(same));
    }
    assert!(matches!(partition.check(Sends { sequence: 1, ..PLAIN }), Err(ProducerError::OutOfOrder { .. })));
    // The same first sequence with another count is another batch.
    let longer = partition.check(Sends { sequence: 6, count: 2, ..PLAIN });
    assert!(matches!(longer, Err(ProducerError::OutOfOrder { .. })));
}

#[test]
fn sequences_begin_again_after_the_largest() {
    let mut partition = Partition::default();
    partition.send(Sends { sequence: i32::MAX - 1, count: 3, ..PLAIN });
    assert_eq!(partition.producers.views().next().unwrap().last_sequence, 0);
    assert_eq!(partition.check(Sends { sequence: 1, ..PLAIN }), Ok(Verdict::New));
    let mut other = Partition::default();
    other.send(Sends { sequence: i32::MAX, ..PLAIN });
    other.send(Sends { sequence: 0, ..PLAIN });
    assert_eq!(other.check(Sends { sequence: 1, ..PLAIN }), Ok(Verdict::New));
}

#[test]
fn a_lower_epoch_is_fenced_and_a_higher_one_begins_at_zero() {
    let mut partition = Partition::default();
    partition.send(Sends { epoch: 2, sequence: 4, ..PLAIN });
    let older = partition.check(Sends { epoch: 1, sequence: 5, ..PLAIN });
    assert_eq!(older, Err(ProducerError::InvalidEpoch { producer_id: 7, epoch: 1, known: 2 }));
    assert!(matches!(
        partition.check(Sends { epoch: 3, sequence: 5, ..PLAIN }),
        Err(ProducerError::OutOfOrder { last: -1, .. })
    ));
    partition.send(Sends { epoch: 3, sequence: 0, ..PLAIN });
    // The batch of the old epoch is not remembered as one of the new.
    assert!(matches!(
        partition.check(Sends { epoch: 3, sequence: 4, ..PLAIN }),
        Err(ProducerError::OutOfOrder { last: 0, .. })
    ));
}

#[test]
fn an_unknown_producer_may_begin_anywhere_and_without_an_id_nothing_is_checked() {
    let mut partition = Partition::default();
    assert_eq!(partition.check(Sends { sequence: 99, ..PLAIN }), Ok(Verdict::New));
    let plain = Sends { id: -1, epoch: -1, sequence: -1, ..PLAIN };
    partition.send(plain);
    partition.send(plain);
    assert_eq!(partition.producers, Producers::default());
}

#[test]
fn an_open_transaction_holds_the_last_stable_offset() {
    let mut partition = Partition::default();
    partition.send(PLAIN);
    let transactional = Sends { id: 9, transactional: true, ..PLAIN };
    let first = partition.send(Sends { count: 2, ..transactional });
    partition.send(Sends { sequence: 2, ..transactional });
    partition.send(Sends { sequence: 1, ..PLAIN });
    assert_eq!((first, partition.end), (1, 5));
    assert_eq!(partition.producers.last_stable_offset(5), 1);
    assert_eq!(partition.producers.last_stable_offset(1), 1);
    let outside = partition.check(Sends { id: 9, sequence: 3, transactional: false, ..PLAIN });
    assert_eq!(outside, Err(ProducerError::NotTransactional { producer_id: 9 }));
    let marker = partition.end_transaction(9, 0, true);
    assert_eq!(marker, 5);
    // The marker itself must be committed by the replicas before the records are stable.
    assert_eq!(partition.producers.last_stable_offset(5), 1);
    assert_eq!(partition.producers.last_stable_offset(6), 6);
    partition.producers.committed(6);
    assert_eq!(partition.producers.last_stable_offset(6), 6);
    assert!(partition.producers.aborted(0, 100).is_empty());
}

#[test]
fn aborted_transactions_are_found_by_what_they_overlap() {
    let mut partition = Partition::default();
    let transactional = Sends { transactional: true, ..PLAIN };
    for id in [1, 2] {
        partition.send(Sends { id, ..transactional });
    }
    // Markers: 1 at 2, 2 at 3.
    partition.end_transaction(1, 0, false);
    partition.end_transaction(2, 0, false);
    partition.send(Sends { id: 1, sequence: 1, ..transactional });
    partition.end_transaction(1, 0, false);
    let one = Aborted { producer_id: 1, first_offset: 0, last_offset: 2 };
    let two = Aborted { producer_id: 2, first_offset: 1, last_offset: 3 };
    let three = Aborted { producer_id: 1, first_offset: 4, last_offset: 5 };
    assert_eq!(partition.producers.aborted(0, 6), [one, two, three]);
    assert_eq!(partition.producers.aborted(0, 1), [one]);
    assert_eq!(partition.producers.aborted(3, 5), [two, three]);
    assert_eq!(partition.producers.aborted(3, 4), [two]);
    partition.producers.start_at(3);
    assert_eq!(partition.producers.aborted(0, 6), [two, three]);
}

#[test]
fn a_marker_without_a_transaction_changes_the_epoch_alone() {
    let mut partition = Partition::default();
    partition.send(PLAIN);
    partition.end_transaction(7, 4, false);
    assert!(partition.producers.aborted(0, 9).is_empty());
    assert!(matches!(
        partition.check(Sends { sequence: 1, ..PLAIN }),
        Err(ProducerError::InvalidEpoch { .. })
    ));
    assert_eq!(partition.check(Sends { epoch: 4, ..PLAIN }), Ok(Verdict::New));
}

#[test]
fn an_old_coordinator_and_an_old_producer_cannot_end_a_transaction() {
    let mut partition = Partition::default();
    partition.send(Sends { epoch: 2, transactional: true, ..PLAIN });
    assert_eq!(partition.producers.check_marker(7, 2, false, 0), Ok(()));
    partition.end_transaction(7, 2, true);
    let fenced = partition.producers.check_marker(7, 2, false, 2);
    assert_eq!(fenced, Err(ProducerError::CoordinatorFenced { epoch: 2, known: 3 }));
    let older = partition.producers.check_marker(7, 1, false, 3);
    assert_eq!(older, Err(ProducerError::InvalidEpoch { producer_id: 7, epoch: 1, known: 2 }));
    assert_eq!(partition.producers.check_marker(8, 0, true, 0), Ok(()));
}

/// KIP-890: the marker of a transaction that has ended comes late, when the next one is open.
#[test]
fn a_marker_with_an_epoch_of_its_own_ends_no_later_transaction() {
    let mut partition = Partition::default();
    partition.send(Sends { transactional: true, ..PLAIN });
    assert_eq!(partition.producers.check_marker(7, 1, true, 3), Ok(()));
    partition.end_transaction(7, 1, true);
    let late = Err(ProducerError::InvalidEpoch { producer_id: 7, epoch: 1, known: 1 });
    assert_eq!(partition.producers.check_marker(7, 1, true, 3), late, "it is there already");
    let old = partition.check(Sends { sequence: 1, transactional: true, ..PLAIN });
    assert_eq!(old, Err(ProducerError::InvalidEpoch { producer_id: 7, epoch: 0, known: 1 }));
    partition.send(Sends { epoch: 1, transactional: true, ..PLAIN });
    assert_eq!(partition.producers.check_marker(7, 1, true, 3), late);
    assert_eq!(partition.producers.check_marker(7, 2, true, 3), Ok(()));
    // Those of older clients have the epoch of the records.
    assert_eq!(partition.producers.check_marker(7, 1, false, 3), Ok(()));
}

#[test]
fn a_transaction_begins_by_its_coordinators_word_alone() {
    let mut partition = Partition::default();
    let check = |partition: &Partition, sends: Sends, standing: Standing| {
        let batch = BatchHeader::check(&Partition::bytes(sends)).unwrap();
        partition.producers.check_transaction(&batch, standing)
    };
    let refused = Err(ProducerError::NotBegun { producer_id: 7 });
    let first = Sends { transactional: true, ..PLAIN };
    assert_eq!(check(&partition, PLAIN, Standing::Plain), Ok(()), "outside of transactions nobody is asked");
    assert_eq!(check(&partition, first, Standing::Plain), refused);
    let word = Standing::Begins(partition.producers.before_transaction(7, 0).unwrap());
    assert_eq!(check(&partition, first, word), Ok(()));
    partition.send(first);
    let second = Sends { sequence: 1, ..first };
    assert_eq!(partition.producers.before_transaction(7, 0), None, "it is open, and nobody is asked");
    assert_eq!(check(&partition, second, Standing::Plain), Ok(()));
    // The word was given for a transaction that has ended since, though the epoch is the same.
    partition.end_transaction(7, 0, false);
    assert_eq!(check(&partition, second, Standing::Plain), refused);
    assert_eq!(check(&partition, second, word), refused);
    let word = Standing::Begins(partition.producers.before_transaction(7, 0).unwrap());
    assert_eq!(check(&partition, second, word), Ok(()));
    partition.send(second);
    // The open transaction of another epoch is another one.
    assert_eq!(check(&partition, Sends { epoch: 1, ..first }, Standing::Plain), refused);
    assert!(partition.producers.before_transaction(7, 1).is_some());
}

#[test]
fn the_state_of_before_there_were_words_is_read() {
    let mut partition = Partition::default();
    partition.send(PLAIN);
    let state = String::from_utf8(partition.producers.encode()).unwrap();
    let older = state.replace(",\"last_end\":-1", "");
    assert_ne!(older, state);
    assert_eq!(Producers::decode(older.as_bytes()), Some(partition.producers));
}

#[test]
fn silent_producers_are_forgotten_unless_a_transaction_is_open() {
    let mut partition = Partition::default();
    // Its batch has the time 0.
    partition.send(PLAIN);
    partition.send(Sends { id: 8, transactional: true, ..PLAIN });
    assert_eq!(partition.producers.expire(999, 1000), 0);
    assert_eq!(partition.producers.expire(1000, 1000), 1);
    assert_eq!(partition.producers.views().map(|view| view.producer_id).collect::<Vec<_>>(), [8]);
    assert_eq!(partition.check(Sends { sequence: 99, ..PLAIN }), Ok(Verdict::New));
}

#[test]
fn the_state_reads_as_it_was_written() {
    let mut partition = Partition::default();
    partition.send(PLAIN);
    partition.send(Sends { id: 8, transactional: true, ..PLAIN });
    partition.end_transaction(8, 0, false);
    partition.send(Sends { id: 8, sequence: 1, transactional: true, ..PLAIN });
    let bytes = partition.producers.encode();
    assert_eq!(Producers::decode(&bytes).as_ref(), Some(&partition.producers));
    assert_eq!(Producers::decode(&bytes[1..]), None);
}

#[test]
fn a_marker_is_read_as_the_coordinator_writes_it() {
    let kind = crate::coordinator::WriteKind::Marker {
        producer_id: 5,
        producer_epoch: 2,
        raised_epoch: false,
        coordinator_epoch: 12,
        commit: true,
    };
    let batch = crate::coordinator::control_batch(kind, 99).unwrap();
    assert_eq!(Marker::read(&batch), Some(Marker { committed: true, coordinator_epoch: 12 }));
    assert_eq!(
        Marker::read(&marker(false, 12, 5, 2)),
        Some(Marker { committed: false, coordinator_epoch: 12 })
    );
}
