//! The transaction coordinator's rules, without a broker: the machine is stepped and its writes are done at once
//! (or held back, or refused).

mod epochs;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::Settings;
use super::machine::TransactionMachine;
use super::request::{AddRequest, Answer, EndRequest, Ending, InitRequest, NotDone, ProducerEpoch};
use crate::coordinator::played::Played;
use crate::coordinator::{Now, Ticket, WriteError};
use crate::groups::offsets::TopicPartition;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A machine that is played, and the producer ids that it is given.
struct Driver {
    played: Played<TransactionMachine>,
    next_producer_id: i64,
}

impl Deref for Driver {
    type Target = Played<TransactionMachine>;

    fn deref(&self) -> &Played<TransactionMachine> {
        &self.played
    }
}

impl DerefMut for Driver {
    fn deref_mut(&mut self) -> &mut Played<TransactionMachine> {
        &mut self.played
    }
}

impl Driver {
    fn new() -> Driver {
        let played = Played::new(|_| TransactionMachine::new(Settings::default()));
        Driver { played, next_producer_id: 100 }
    }

    /// Asks, and asks again with a fresh producer id if one is needed.
    fn producer(
        &mut self,
        ask: impl Fn(&mut TransactionMachine, Now, Option<i64>, Ticket),
    ) -> Option<Result<ProducerEpoch, ResponseError>> {
        let mut fresh = None;
        loop {
            match self.ask(|machine, now, ticket| ask(machine, now, fresh, ticket))? {
                Answer::Producer(Ok(producer)) => return Some(Ok(producer)),
                Answer::Producer(Err(NotDone::Kafka(error))) => return Some(Err(error)),
                Answer::Producer(Err(NotDone::NeedsProducerId)) => {
                    assert_eq!(fresh, None, "one id is enough");
                    fresh = Some(self.next_producer_id);
                    self.next_producer_id += 1;
                }
                answer @ Answer::Done(_) => panic!("{answer:?}"),
            }
        }
    }

    fn try_init(
        &mut self,
        current: Option<ProducerEpoch>,
        timeout: Duration,
    ) -> Result<ProducerEpoch, ResponseError> {
        let init = |fresh| InitRequest { transactional_id: "t".into(), timeout, current, fresh };
        let answer = self.producer(|machine, now, fresh, ticket| machine.init(now, init(fresh), ticket));
        answer.expect("an answer at once")
    }

    fn init(&mut self) -> ProducerEpoch {
        self.try_init(None, TIMEOUT).unwrap()
    }

    fn add(&mut self, producer: ProducerEpoch, partition: i32) -> Result<(), ResponseError> {
        self.add_at(0, producer, partition)
    }

    /// Adds a partition for a client at this `transaction.version`.
    fn add_at(&mut self, version: i16, producer: ProducerEpoch, partition: i32) -> Result<(), ResponseError> {
        let request = add_request(version, producer, [partition]);
        match self.ask(|machine, now, ticket| machine.add(now, &request, ticket)) {
            Some(Answer::Done(result)) => result,
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, producer: ProducerEpoch, commit: bool) -> Result<(), ResponseError> {
        self.end_at(0, producer, commit).expect("an answer at once").map(drop)
    }

    /// EndTxn 5: what the producer goes on with.
    fn end_and_raise(
        &mut self,
        producer: ProducerEpoch,
        commit: bool,
    ) -> Result<ProducerEpoch, ResponseError> {
        self.end_at(2, producer, commit).expect("an answer at once")
    }

    fn end_at(
        &mut self,
        client_version: i16,
        producer: ProducerEpoch,
        commit: bool,
    ) -> Option<Result<ProducerEpoch, ResponseError>> {
        self.producer(|machine, now, fresh, ticket| {
            let transactional_id = "t".to_owned();
            let request = EndRequest { transactional_id, producer, commit, client_version, fresh };
            machine.end(now, &request, ticket);
        })
    }

    /// The transactions whose markers are to be written.
    fn endings(&mut self) -> Vec<Ending> {
        self.machine.take_endings()
    }

    /// Writes the markers of the one transaction that waits for them.
    fn write_markers(&mut self) -> Ending {
        let mut endings = self.endings();
        assert_eq!(endings.len(), 1);
        let ending = endings.remove(0);
        assert!(self.machine.awaits(&ending));
        let now = self.now;
        self.machine.markers_written(now, &ending);
        self.settle();
        assert!(!self.machine.awaits(&ending));
        ending
    }

    fn state(&self) -> &'static str {
        self.machine.describe("t").map_or("none", |transaction| transaction.state)
    }
}

fn add_request<const N: usize>(
    client_version: i16,
    producer: ProducerEpoch,
    partitions: [i32; N],
) -> AddRequest {
    let partitions = partitions.map(|partition| TopicPartition::new("orders", partition)).into();
    AddRequest { transactional_id: "t".into(), producer, partitions, client_version }
}

#[test]
fn a_transaction_goes_from_open_to_complete() {
    for (commit, prepared, complete) in
        [(true, "PrepareCommit", "CompleteCommit"), (false, "PrepareAbort", "CompleteAbort")]
    {
        let mut driver = Driver::new();
        let producer = driver.init();
        assert_eq!((producer.id, producer.epoch, driver.state()), (100, 0, "Empty"));
        assert_eq!(driver.end(producer, commit), Err(ResponseError::InvalidTxnState));
        assert_eq!((driver.add(producer, 0), driver.add(producer, 1)), (Ok(()), Ok(())));
        let writes = driver.log.len();
        assert_eq!(driver.add(producer, 1), Ok(()), "it is in already");
        assert_eq!(driver.log.len(), writes, "and nothing is written for it");
        assert_eq!(driver.end(producer, commit), Ok(()));
        assert_eq!(driver.state(), prepared);
        assert_eq!(driver.add(producer, 2), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(driver.end(producer, commit), Err(ResponseError::ConcurrentTransactions));
        assert_eq!(driver.end(producer, !commit), Err(ResponseError::InvalidTxnState));
        let ending = driver.write_markers();
        assert_eq!((ending.commit, ending.producer, ending.partitions.len()), (commit, producer, 2));
        assert_eq!(driver.state(), complete);
        assert_eq!(driver.end(producer, commit), Ok(()), "a repeated request");
        assert_eq!(driver.end(producer, !commit), Err(ResponseError::InvalidTxnState));
        assert_eq!(driver.add(producer, 5), Ok(()));
        let open = driver.machine.describe("t").unwrap();
        assert_eq!(
            (open.state, open.partitions.len()),
            ("Ongoing", 1),
            "the next one begins without partitions"
        );
    }
}

#[test]
fn only_the_present_producer_is_heard() {
    let mut driver = Driver::new();
    let producer = driver.init();
    let cases = [
        (ProducerEpoch { id: 7, ..producer }, ResponseError::InvalidProducerIdMapping),
        (ProducerEpoch { epoch: 1, ..producer }, ResponseError::ProducerFenced),
        (ProducerEpoch { epoch: -1, ..producer }, ResponseError::ProducerFenced),
    ];
    for (other, error) in cases {
        assert_eq!((driver.add(other, 0), driver.end(other, true)), (Err(error), Err(error)), "{other:?}");
    }
    let unknown = AddRequest { transactional_id: "unknown".into(), ..add_request(0, producer, [0]) };
    let unknown = driver.ask(|machine, now, ticket| machine.add(now, &unknown, ticket));
    assert_eq!(unknown, Some(Answer::Done(Err(ResponseError::InvalidProducerIdMapping))));
}

#[test]
fn a_new_instance_raises_the_epoch_and_aborts_what_is_open() {
    let mut driver = Driver::new();
    let old = driver.init();
    driver.add(old, 0).unwrap();
    assert_eq!(driver.try_init(None, TIMEOUT), Err(ResponseError::ConcurrentTransactions));
    assert_eq!(driver.state(), "PrepareAbort");
    assert_eq!(driver.end(old, true), Err(ResponseError::ProducerFenced));
    assert_eq!(driver.try_init(None, TIMEOUT), Err(ResponseError::ConcurrentTransactions));
    let ending = driver.write_markers();
    assert_eq!((ending.commit, ending.producer.epoch), (false, 1), "the marker fences the old one");
    assert_eq!(driver.init(), ProducerEpoch { id: 100, epoch: 2 });
}

#[test]
fn a_producer_goes_on_after_an_error_with_what_it_has() {
    let mut driver = Driver::new();
    let first = driver.init();
    let second = driver.try_init(Some(first), TIMEOUT).unwrap();
    assert_eq!((second.id, second.epoch), (100, 1));
    assert_eq!(driver.try_init(Some(first), TIMEOUT), Ok(second), "the answer was lost, and it asks again");
    let third = driver.try_init(Some(second), TIMEOUT).unwrap();
    assert_eq!(third.epoch, 2);
    assert_eq!(driver.try_init(Some(first), TIMEOUT), Err(ResponseError::ProducerFenced));
    let other = ProducerEpoch { id: 7, epoch: 0 };
    assert_eq!(driver.try_init(Some(other), TIMEOUT), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_producer_whose_epochs_are_used_up_gets_another_id() {
    let mut driver = Driver::new();
    let mut producer = driver.init();
    while producer.epoch < i16::MAX - 1 {
        producer = driver.init();
    }
    assert_eq!(producer.id, 100);
    let next = driver.try_init(Some(producer), TIMEOUT).unwrap();
    assert_eq!((next.id, next.epoch), (101, 0));
    let again = driver.try_init(Some(producer), TIMEOUT).unwrap();
    assert_eq!(again.id, 101, "by its old id it is known still");
    assert_eq!(driver.add(producer, 0), Err(ResponseError::InvalidProducerIdMapping));
}

#[test]
fn time_outs_have_a_limit_and_are_kept() {
    let mut driver = Driver::new();
    for timeout in [Duration::ZERO, Duration::from_millis(900_001)] {
        assert_eq!(driver.try_init(None, timeout), Err(ResponseError::InvalidTransactionTimeout));
    }
    let producer = driver.init();
    driver.add(producer, 0).unwrap();
    driver.pass(TIMEOUT - Duration::from_secs(1));
    driver.add(producer, 1).unwrap();
    driver.pass(Settings::default().timeout_delay);
    assert_eq!(driver.state(), "Ongoing");
    driver.pass(Duration::from_secs(1));
    assert_eq!(driver.state(), "PrepareAbort", "it counts from the transaction's begin");
    assert_eq!(driver.write_markers().producer.epoch, 1);
    assert_eq!(driver.end(producer, true), Err(ResponseError::ProducerFenced));
    driver.pass(TIMEOUT * 2);
    assert_eq!(driver.state(), "CompleteAbort");
}

#[test]
fn a_new_coordinator_times_out_and_completes_what_it_finds() {
    let mut driver = Driver::new();
    let producer = driver.init();
    driver.add(producer, 0).unwrap();
    driver.pass(TIMEOUT / 2);
    driver.reload();
    driver.pass(TIMEOUT / 2 + Settings::default().timeout_delay);
    assert_eq!(driver.state(), "PrepareAbort");
    let old = driver.endings().remove(0);
    driver.reload();
    let ending = driver.write_markers();
    assert_eq!((ending.coordinator_epoch, ending.commit), (3, false));
    assert_eq!(driver.state(), "CompleteAbort");
    assert!(!driver.machine.awaits(&old));
}

#[test]
fn the_decision_is_durable_before_anybody_is_told() {
    let mut driver = Driver::new();
    let producer = driver.init();
    driver.add(producer, 0).unwrap();
    driver.writes = None;
    assert_eq!(driver.end_at(0, producer, true), None);
    assert_eq!(driver.endings(), []);
    assert_eq!(driver.add(producer, 1), Err(ResponseError::ConcurrentTransactions));
    driver.writes = Some(Ok(()));
    driver.settle();
    let answers = std::mem::take(&mut driver.answers);
    assert_eq!(answers.into_values().collect::<Vec<_>>(), [Answer::Producer(Ok(producer))]);
    assert_eq!(driver.machine.take_endings().len(), 1);
}

#[test]
fn what_is_not_written_has_not_happened() {
    let mut driver = Driver::new();
    let unavailable = ResponseError::CoordinatorNotAvailable;
    driver.writes = Some(Err(WriteError::Storage));
    assert_eq!(driver.try_init(None, TIMEOUT), Err(unavailable));
    assert_eq!(driver.state(), "none");
    driver.writes = Some(Ok(()));
    let producer = driver.init();
    driver.add(producer, 0).unwrap();
    driver.writes = Some(Err(WriteError::Storage));
    assert_eq!(driver.end(producer, true), Err(unavailable));
    assert_eq!(driver.state(), "Ongoing");
    driver.pass(TIMEOUT + Duration::from_secs(5));
    assert_eq!(driver.state(), "Ongoing", "it cannot be aborted yet");
    driver.writes = Some(Ok(()));
    driver.pass(Duration::from_secs(2));
    assert_eq!(driver.state(), "PrepareAbort");
    driver.writes = Some(Err(WriteError::Storage));
    let ending = driver.endings().remove(0);
    let now = driver.now;
    driver.machine.markers_written(now, &ending);
    driver.settle();
    assert_eq!(driver.state(), "PrepareAbort");
    driver.writes = Some(Ok(()));
    driver.write_markers();
    assert_eq!(driver.state(), "CompleteAbort");
}

#[test]
fn ids_that_are_not_used_are_forgotten() {
    let mut driver = Driver::new();
    let producer = driver.init();
    driver.add(producer, 0).unwrap();
    driver.end(producer, true).unwrap();
    driver.write_markers();
    driver.pass(Settings::default().expiration - Duration::from_secs(3600));
    assert_eq!(driver.state(), "CompleteCommit");
    driver.pass(Duration::from_secs(7200));
    assert_eq!(driver.state(), "none");
    driver.reload();
    assert_eq!(driver.state(), "none");
    assert_eq!(driver.init().id, 101);
}
