//! An epoch per transaction (KIP-890): raised by each end, answered again, used up, and what is refused by it.

use super::*;
use crate::transactions::transaction::EPOCH_MAX;

const ABORTABLE: Result<(), ResponseError> = Err(ResponseError::TransactionAbortable);
const BUSY: ResponseError = ResponseError::ConcurrentTransactions;
const FENCED: ResponseError = ResponseError::ProducerFenced;
const INVALID: ResponseError = ResponseError::InvalidTxnState;

impl Driver {
    /// A transaction that ends, with its markers.
    fn whole(&mut self, producer: ProducerEpoch, commit: bool) -> ProducerEpoch {
        self.add_at(2, producer, 0).unwrap();
        let next = self.end_and_raise(producer, commit).unwrap();
        self.write_markers();
        next
    }

    /// A producer with the last epoch that its id has.
    fn used_up(&mut self) -> ProducerEpoch {
        let mut producer = self.init();
        while producer.epoch < EPOCH_MAX {
            producer = self.try_init(Some(producer), TIMEOUT).unwrap();
        }
        producer
    }

    fn verify(&self, producer: ProducerEpoch) -> Result<Vec<Result<(), ResponseError>>, ResponseError> {
        self.machine.verify(&add_request(2, producer, [0, 1]))
    }
}

fn raised(producer: ProducerEpoch) -> ProducerEpoch {
    ProducerEpoch { epoch: producer.epoch + 1, ..producer }
}

#[test]
fn each_end_raises_the_epoch_and_the_markers_have_it() {
    let mut driver = Driver::new();
    let mut producer = driver.init();
    for commit in [true, false, true] {
        assert_eq!(driver.add_at(2, producer, 0), Ok(()));
        let next = driver.end_and_raise(producer, commit).unwrap();
        assert_eq!(next, raised(producer));
        assert_eq!(driver.add_at(2, next, 1), Err(BUSY), "the next transaction waits for the markers");
        assert_eq!(
            driver.add_at(2, producer, 1),
            Err(FENCED),
            "and nothing comes into the last one any more"
        );
        let ending = driver.write_markers();
        assert_eq!((ending.producer, ending.raised_epoch, ending.commit), (next, true, commit));
        assert_eq!(driver.add_at(2, producer, 1), Err(FENCED));
        producer = next;
    }
}

#[test]
fn an_end_that_is_asked_for_again_is_answered_again() {
    for (commit, reload) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut driver = Driver::new();
        let producer = driver.init();
        driver.add_at(2, producer, 0).unwrap();
        let next = driver.end_and_raise(producer, commit).unwrap();
        if reload {
            driver.endings();
            driver.reload();
        }
        assert_eq!(driver.end_and_raise(producer, commit), Err(BUSY));
        assert_eq!(driver.end_and_raise(producer, !commit), Err(INVALID));
        assert_eq!(driver.end_and_raise(next, commit), Err(FENCED), "there is no next transaction yet");
        let ending = driver.write_markers();
        assert!(ending.raised_epoch, "also of a coordinator that found it in the log");
        if reload {
            driver.reload();
        }
        let writes = driver.log.len();
        for _ in 0..2 {
            assert_eq!(driver.end_and_raise(producer, commit), Ok(next));
        }
        assert_eq!(driver.end_and_raise(producer, !commit), Err(INVALID));
        assert_eq!(driver.log.len(), writes, "nothing has changed by it");
        driver.add_at(2, next, 0).unwrap();
        assert_eq!(driver.end_and_raise(producer, commit), Err(FENCED), "it is not taken for the next one's");
        assert_eq!(driver.state(), "Ongoing");
    }
}

/// Kafka: the table in `TransactionCoordinator.endTransaction`.
#[test]
fn without_a_transaction_an_abort_is_taken_and_a_commit_is_not() {
    let ended = |ended: Option<bool>| {
        let mut driver = Driver::new();
        let producer = driver.init();
        let present = ended.map_or(producer, |commit| driver.whole(producer, commit));
        (driver, present)
    };
    for state in [None, Some(true), Some(false)] {
        let (mut driver, present) = ended(state);
        assert_eq!(driver.end_and_raise(present, true), Err(INVALID), "{state:?}");
        assert_eq!(driver.end_and_raise(present, false), Ok(raised(present)), "{state:?}");
        let ending = driver.write_markers();
        assert_eq!((ending.partitions.len(), driver.state()), (0, "CompleteAbort"));
        assert_eq!(driver.add_at(2, raised(present), 0), Ok(()));
    }
    let (mut driver, present) = ended(None);
    let before = ProducerEpoch { epoch: present.epoch - 1, ..present };
    assert_eq!(driver.end_and_raise(before, false), Err(FENCED), "nothing has ended yet");
    let other = ProducerEpoch { id: 7, ..present };
    assert_eq!(driver.end_and_raise(other, false), Err(ResponseError::InvalidProducerIdMapping));
}

#[test]
fn a_producer_whose_epochs_are_used_up_goes_on_with_another_id() {
    for reload in [false, true] {
        let mut driver = Driver::new();
        let producer = driver.used_up();
        driver.add_at(2, producer, 0).unwrap();
        let next = driver.end_and_raise(producer, true).unwrap();
        assert_eq!((next.id, next.epoch), (producer.id + 1, 0));
        if reload {
            driver.endings();
            driver.reload();
        }
        assert_eq!(driver.end_and_raise(producer, true), Err(BUSY));
        assert_eq!(driver.add_at(2, next, 0), Err(BUSY), "the next transaction waits for the markers");
        let ending = driver.write_markers();
        assert_eq!(
            ending.producer,
            ProducerEpoch { epoch: i16::MAX, ..producer },
            "the markers have the old id"
        );
        if reload {
            driver.reload();
        }
        assert_eq!(driver.end_and_raise(producer, true), Ok(next), "by its old id it is known still");
        assert_eq!(driver.end_and_raise(producer, false), Err(INVALID));
        assert_eq!(driver.add_at(2, producer, 0), Err(ResponseError::InvalidProducerIdMapping));
        assert_eq!(driver.whole(next, true), raised(next));
        assert_eq!(driver.end_and_raise(producer, true), Err(ResponseError::InvalidProducerIdMapping));
        assert_eq!(driver.next_producer_id, next.id + 1, "one id was enough");
    }
}

#[test]
fn a_time_out_raises_the_epoch_and_the_abort_of_its_producer_tells_it() {
    let mut driver = Driver::new();
    let producer = driver.init();
    driver.add_at(2, producer, 0).unwrap();
    driver.pass(TIMEOUT + Settings::default().timeout_delay);
    assert_eq!(driver.state(), "PrepareAbort");
    assert_eq!(driver.end_and_raise(producer, true), Err(INVALID), "it is not committed");
    assert_eq!(driver.end_and_raise(producer, false), Err(BUSY));
    let ending = driver.write_markers();
    assert_eq!((ending.producer, ending.raised_epoch, ending.commit), (raised(producer), true, false));
    assert_eq!(driver.add_at(2, producer, 0), Err(FENCED));
    assert_eq!(driver.end_and_raise(producer, true), Err(INVALID));
    assert_eq!(driver.end_and_raise(producer, false), Ok(raised(producer)));
    assert_eq!(driver.add_at(2, raised(producer), 0), Ok(()));
}

#[test]
fn the_highest_epoch_fences_and_is_nobodys() {
    let mut driver = Driver::new();
    let producer = driver.used_up();
    driver.add_at(2, producer, 0).unwrap();
    driver.pass(TIMEOUT + Settings::default().timeout_delay);
    assert_eq!(driver.write_markers().producer.epoch, i16::MAX);
    assert_eq!(driver.end_and_raise(producer, false), Err(FENCED));
    let next = driver.init();
    assert_eq!((next.id, next.epoch), (producer.id + 1, 0));
}

#[test]
fn a_new_instance_fences_the_old_one() {
    let mut driver = Driver::new();
    let old = driver.init();
    driver.add_at(2, old, 0).unwrap();
    assert_eq!(driver.try_init(None, TIMEOUT), Err(BUSY));
    assert!(driver.write_markers().raised_epoch);
    let new = driver.init();
    assert_eq!((new.id, new.epoch), (old.id, old.epoch + 2));
    for commit in [true, false] {
        assert_eq!(driver.end_and_raise(old, commit), Err(FENCED));
    }
    assert_eq!(driver.add_at(2, old, 0), Err(FENCED));
    // An instance that lost the answer to its end goes on with what that was (KIP-360).
    let next = driver.whole(new, true);
    assert_eq!(driver.try_init(Some(new), TIMEOUT), Ok(next));
    assert_eq!(driver.try_init(Some(old), TIMEOUT), Err(FENCED));
}

#[test]
fn partitions_are_verified_against_the_open_transaction() {
    let mut driver = Driver::new();
    let producer = driver.init();
    assert_eq!(driver.verify(producer), Ok(vec![ABORTABLE; 2]), "none is open");
    driver.add(producer, 1).unwrap();
    assert_eq!(driver.verify(producer), Ok(vec![ABORTABLE, Ok(())]));
    assert_eq!(driver.verify(raised(producer)), Err(FENCED));
    let other = ProducerEpoch { id: 7, ..producer };
    assert_eq!(driver.verify(other), Err(ResponseError::InvalidProducerIdMapping));
    driver.writes = None;
    let request = add_request(0, producer, [0]);
    assert_eq!(driver.ask(|machine, now, ticket| machine.add(now, &request, ticket)), None);
    assert_eq!(driver.verify(producer), Ok(vec![ABORTABLE, Ok(())]), "what is not written does not count");
    driver.writes = Some(Ok(()));
    driver.settle();
    assert_eq!(driver.verify(producer), Ok(vec![Ok(()); 2]));
    driver.end(producer, true).unwrap();
    assert_eq!(driver.verify(producer), Err(BUSY));
    driver.write_markers();
    assert_eq!(driver.verify(producer), Ok(vec![ABORTABLE; 2]));
}

#[test]
fn older_clients_keep_their_epoch_also_after_newer_ones() {
    let mut driver = Driver::new();
    let producer = driver.init();
    let producer = driver.whole(producer, true);
    driver.add(producer, 0).unwrap();
    assert_eq!(driver.end(producer, true), Ok(()));
    let ending = driver.write_markers();
    assert_eq!((ending.producer, ending.raised_epoch), (producer, false));
    assert_eq!(driver.end(producer, true), Ok(()));
    assert_eq!(driver.end(producer, false), Err(INVALID));
    // The client is a newer one from now on; its epoch says which end is meant.
    assert_eq!(driver.whole(producer, true), raised(producer));
}
