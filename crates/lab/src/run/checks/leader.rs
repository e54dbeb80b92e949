//! Who answers about a partition leads it, as Raft knows it; whoever does not says so.
//!
//! What brokers say of leaders (metadata) is what they have heard, and may be wrong for a while. So an answer is compared
//! with the tenures of the very broker that was reached: it must have led at some moment of the attempt if it served, and
//! must not have led all the time if it denied that it leads, unless it was handing over. In one term of a partition one
//! broker leads.

use std::collections::BTreeMap;

use hopwise_broker::Tenure;
use hopwise_client::{Operation, Outcome, RequestRecord};
use hopwise_engine::Time;

use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "leader",
    promise: "every request about a partition ends at its leader, as Raft knows it, or is answered with the right error",
    follows: "Raft's election safety and redpanda.md 4.2 (a replica that does not lead answers NOT_LEADER_OR_FOLLOWER)",
    advice: "A broker that serves without leading gives stale or lost records; the answer's broker and time are in the trace.",
};

/// NOT_LEADER_OR_FOLLOWER (Kafka protocol guide, error codes).
const NOT_LEADER: i16 = 6;
/// What only the leader can know: no error, OFFSET_OUT_OF_RANGE, OUT_OF_ORDER_SEQUENCE_NUMBER,
/// DUPLICATE_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID (Kafka protocol guide, error codes).
const LEADERS_ANSWERS: [i16; 6] = [0, 1, 45, 46, 47, 59];

/// When which broker led.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Leaderships {
    /// By topic, partition and broker; in order of time, and not overlapping.
    led: BTreeMap<String, BTreeMap<(i32, i32), Vec<Led>>>,
    /// Two brokers that led in the same term.
    doubles: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Led {
    since: Time,
    until: Time,
    /// When it was handing over, in order.
    handovers: Vec<(Time, Time)>,
}

impl Leaderships {
    /// What the brokers knew: of each that ran, its id, its tenures, and when it ended.
    pub fn of(brokers: impl IntoIterator<Item = (i32, Vec<Tenure>, Option<Time>)>) -> Leaderships {
        let mut all = Leaderships::default();
        let mut terms: BTreeMap<([u8; 16], i32, u64), i32> = BTreeMap::new();
        for (broker, tenures, ended) in brokers {
            for tenure in tenures {
                let topic = &tenure.topic;
                let (partition, term) = (tenure.partition, tenure.term);
                let other = *terms.entry((tenure.topic_id, partition, term)).or_insert(broker);
                all.doubles.unless(other == broker, || {
                    format!("brokers {other} and {broker} both led {topic}/{partition} in term {term}")
                });
                let until = tenure.until.or(ended).unwrap_or(Time::MAX);
                let of_topic = all.led.entry(topic.clone()).or_default();
                let handovers = tenure.handovers.iter().map(|it| (it.since, it.until.unwrap_or(until)));
                let led = Led { since: tenure.since, until, handovers: handovers.collect() };
                of_topic.entry((partition, broker)).or_default().push(led);
            }
        }
        for of_broker in all.led.values_mut().flat_map(BTreeMap::values_mut) {
            of_broker.sort_by_key(|led| led.since);
        }
        all
    }

    /// The last tenure that began at `at` or before.
    fn last(&self, (topic, partition, broker): (&str, i32, i32), at: Time) -> Option<&Led> {
        let all = self.led.get(topic)?.get(&(partition, broker))?;
        let place = all.partition_point(|led| led.since <= at);
        all.get(place.checked_sub(1)?)
    }

    fn led_during(&self, replica: (&str, i32, i32), from: Time, to: Time) -> bool {
        self.last(replica, to).is_some_and(|led| led.until >= from)
    }

    fn led_throughout(&self, replica: (&str, i32, i32), from: Time, to: Time) -> bool {
        // At its ends a tenure may look either way.
        let led = self.last(replica, from).filter(|led| led.since < from && led.until > to);
        led.is_some_and(|led| !led.hands_over_during(from, to))
    }
}

impl Led {
    fn hands_over_during(&self, from: Time, to: Time) -> bool {
        let place = self.handovers.partition_point(|(since, _)| *since <= to);
        place.checked_sub(1).is_some_and(|last| self.handovers[last].1 >= from)
    }
}

/// Takes one attempt after the other.
pub(in super::super) struct Leader<'a> {
    known: &'a Leaderships,
    seen: Seen,
}

impl<'a> Leader<'a> {
    pub fn new(known: &'a Leaderships) -> Leader<'a> {
        Leader { known, seen: known.doubles.clone() }
    }

    /// An attempt of `client` has ended.
    pub fn attempt(&mut self, client: &str, record: &RequestRecord) {
        let (Some(topic), Some(partition), Some(broker)) = (&record.topic, record.partition, record.reached)
        else {
            return;
        };
        let is_served =
            matches!(record.operation, Operation::Produce | Operation::Fetch | Operation::ListOffsets);
        let Some(code) = record.error_code.filter(|_| is_served) else { return };
        if !matches!(record.outcome, Outcome::Ok | Outcome::WrongBroker) {
            return;
        }
        let (from, to) = (record.started_at, record.started_at + record.total);
        let replica = (topic.as_str(), partition, broker);
        let what = match code {
            code if LEADERS_ANSWERS.contains(&code) && !self.known.led_during(replica, from, to) => {
                "answered as its leader, which it was not at any time of the request"
            }
            NOT_LEADER if self.known.led_throughout(replica, from, to) => {
                "denied that it leads, which it did all the time of the request"
            }
            _ => return self.seen.well(),
        };
        self.seen.violated(|| {
            format!(
                "broker {broker} at {} {what}: {} of {topic}/{partition} by {client} from {from} to {to}, error code {code}",
                record.address, record.operation
            )
        });
    }

    pub fn end(self) -> Seen {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use hopwise_broker::Handover;

    use super::super::sample::{at, attempt};
    use super::*;

    fn tenure(term: u64, since: u64, until: Option<u64>) -> Tenure {
        let (topic, topic_id, until) = ("t".to_owned(), [1; 16], until.map(at));
        Tenure { topic, topic_id, partition: 0, term, since: at(since), until, handovers: Vec::new() }
    }

    /// Broker 1 leads from 10 s to 20 s, then broker 2, which is killed at 30 s and leads again from 40 s on.
    fn known() -> Leaderships {
        Leaderships::of([
            (1, vec![tenure(1, 10, Some(20))], None),
            (2, vec![tenure(2, 20, None)], Some(at(30))),
            (2, vec![tenure(4, 40, None)], None),
        ])
    }

    fn judged(record: &RequestRecord) -> Seen {
        let known = known();
        let mut check = Leader::new(&known);
        check.attempt("a", record);
        let Seen { examined, violations, first, apart } = check.end();
        // Each tenure was examined too.
        Seen { examined: examined - 3, violations, first, apart }
    }

    #[test]
    fn whoever_led_at_some_moment_may_serve_and_whoever_did_not_may_refuse() {
        for (began, ended, broker) in [(11, 12, 1), (19, 25, 1), (19, 25, 2), (45, 46, 2)] {
            let seen = judged(&attempt(began, ended, broker));
            assert_eq!((seen.examined, seen.violations), (1, 0), "{seen:?}");
        }
        let mut refused = attempt(21, 22, 1);
        refused.error_code = Some(NOT_LEADER);
        assert_eq!(judged(&refused).violations, 0);
    }

    #[test]
    fn serving_without_leading_and_refusing_while_leading_are_told() {
        for (began, ended, broker) in [(21, 22, 1), (11, 12, 2), (31, 35, 2), (11, 12, 3)] {
            let first = judged(&attempt(began, ended, broker)).first.expect("one is told");
            assert!(first.contains("answered as its leader, which it was not"), "{first}");
        }
        let mut refused = attempt(12, 13, 1);
        refused.error_code = Some(NOT_LEADER);
        let first = judged(&refused).first.expect("one is told");
        assert!(first.starts_with("broker 1 at redpanda-0:9093 denied that it leads"), "{first}");
    }

    #[test]
    fn a_leader_that_hands_over_may_refuse_meanwhile() {
        let handover = Handover { since: at(12), until: Some(at(14)) };
        let known =
            Leaderships::of([(1, vec![Tenure { handovers: vec![handover], ..tenure(1, 10, None) }], None)]);
        for (began, ended, violations) in [(13, 13, 0), (11, 12, 0), (14, 16, 0), (11, 11, 1), (15, 16, 1)] {
            let mut refused = attempt(began, ended, 1);
            refused.error_code = Some(NOT_LEADER);
            let mut check = Leader::new(&known);
            check.attempt("a", &refused);
            assert_eq!(check.end().violations, violations, "from {began} to {ended}");
        }
    }

    #[test]
    fn two_leaders_of_one_term_are_told() {
        let known =
            Leaderships::of([(1, vec![tenure(3, 1, None)], None), (2, vec![tenure(3, 5, None)], None)]);
        let seen = Leader::new(&known).end();
        assert_eq!(seen.first.as_deref(), Some("brokers 1 and 2 both led t/0 in term 3"));
    }
}
