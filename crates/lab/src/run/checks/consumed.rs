//! What consumers read: every one the same log, each from its place on, nothing twice and nothing left out.
//!
//! Two checks share what they look at. Each consumer's offsets rise and skip nothing that is there (`poll-order`); and an
//! offset of a partition holds one record, for all consumers and for the reading at the end (`one-log`): so what any of
//! them has seen is a piece of the same log, and nothing that was read vanishes.

use std::collections::BTreeMap;

use hopwise_engine::Time;

use super::super::verify::Stored;
use super::super::workload::Partition;
use super::{Rule, Seen};

pub(in super::super) const POLL_ORDER: Rule = Rule {
    name: "poll-order",
    promise: "each consumer reads the records of a partition in their order, each once and none left out",
    follows: "Jepsen's Kafka anomalies nonmonotonic-poll, int-nonmonotonic-poll and poll-skip",
    advice: "An answer that goes back or leaves records out comes from a replica that is behind, or from a wrong offset index.",
};

pub(in super::super) const ONE_LOG: Rule = Rule {
    name: "one-log",
    promise: "an offset of a partition holds the same record for every consumer, also at the end",
    follows: "Jepsen's Kafka anomalies inconsistent-offsets and lost-write (what was read is lost later)",
    advice: "Consumers were given records that no majority had, or a log was cut behind the high watermark.",
};

/// What consumers have read so far, one answer after the other.
#[derive(Debug, Default)]
pub(in super::super) struct Consumed {
    logs: BTreeMap<Partition, BTreeMap<i64, First>>,
    /// Offsets that an answer stepped over, perhaps because there is no record: from, below, and who did.
    gaps: BTreeMap<Partition, Vec<Gap>>,
    poll_order: Seen,
    one_log: Seen,
}

/// A record as it was read the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct First {
    pub key: String,
    pub by: String,
    pub at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Gap {
    from: i64,
    below: i64,
    client: String,
    at: Time,
}

/// An answer to a fetch.
#[derive(Clone, Debug)]
pub(in super::super) struct Polled<'a> {
    pub client: &'a str,
    pub partition: &'a Partition,
    pub at: Time,
    /// The offset that was asked for.
    pub from: i64,
    /// The offset to ask for next.
    pub next: i64,
    /// Offsets and keys.
    pub records: Vec<(i64, String)>,
}

impl Consumed {
    /// A consumer was answered.
    pub fn polled(&mut self, polled: Polled<'_>) {
        let Polled { client, partition, at, from, next, records } = polled;
        let (topic, index) = partition;
        let mut expected = from;
        let log = self.logs.entry(partition.clone()).or_default();
        let gaps = self.gaps.entry(partition.clone()).or_default();
        let mut step_over = |from, below| {
            if from < below {
                gaps.push(Gap { from, below, client: client.to_owned(), at });
            }
        };
        for (offset, key) in records {
            self.poll_order.unless(offset >= expected, || {
                format!(
                    "nonmonotonic-poll: {client} read offset {offset} of {topic}/{index} at {at}, and was at offset \
                     {expected} already"
                )
            });
            step_over(expected, offset);
            expected = expected.max(offset + 1);
            let first =
                log.entry(offset).or_insert_with(|| First { key: key.clone(), by: client.to_owned(), at });
            self.one_log.unless(first.key == key, || {
                format!(
                    "inconsistent-offsets: offset {offset} of {topic}/{index} was {} for {} at {} and {key} for {client} at \
                     {at}",
                    first.key, first.by, first.at
                )
            });
        }
        step_over(expected, next);
    }

    /// Who read the record at an offset first.
    pub fn first(&self, partition: &Partition) -> impl Iterator<Item = (i64, &First)> {
        self.logs.get(partition).into_iter().flatten().map(|(offset, first)| (*offset, first))
    }

    /// Every partition of which something was read.
    pub fn partitions(&self) -> impl Iterator<Item = &Partition> {
        self.logs.keys()
    }

    /// Compares it with what is stored at the end; the results of `poll-order` and of `one-log`.
    pub fn end(&self, stored: &Stored) -> (Seen, Seen) {
        let (mut poll_order, mut one_log) = (self.poll_order.clone(), self.one_log.clone());
        for (partition, records) in stored {
            let (topic, index) = partition;
            for gap in self.gaps.get(partition).into_iter().flatten() {
                let place = records.partition_point(|record| record.offset < gap.from);
                let missed = records.get(place).filter(|record| record.offset < gap.below);
                poll_order.unless(missed.is_none(), || {
                    let missed =
                        missed.map(|missed| (missed.key.as_str(), missed.offset)).unwrap_or_default();
                    format!(
                        "poll-skip: {} stepped over {} at offset {} of {topic}/{index} at {}",
                        gap.client, missed.0, missed.1, gap.at
                    )
                });
            }
            // What lies before the first record may have been cleaned up, what lies behind the last was not read back.
            let Some(start) = records.first().map(|record| record.offset) else { continue };
            let mut at_end = records.iter().peekable();
            for (offset, first) in self.first(partition).filter(|(offset, _)| *offset >= start) {
                while at_end.next_if(|record| record.offset < offset).is_some() {}
                let now =
                    at_end.peek().filter(|record| record.offset == offset).map(|record| record.key.as_str());
                one_log.unless(now == Some(first.key.as_str()), || {
                    format!(
                        "lost-write: {} read {} at offset {offset} of {topic}/{index} at {}, and at the end {} is there",
                        first.by,
                        first.key,
                        first.at,
                        now.unwrap_or("nothing")
                    )
                });
            }
        }
        (poll_order, one_log)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{at, stored};
    use super::*;

    fn poll(consumed: &mut Consumed, client: &str, from: i64, next: i64, records: &[(i64, &str)]) {
        let partition = ("t".to_owned(), 0);
        let records = records.iter().map(|(offset, key)| (*offset, (*key).to_owned())).collect();
        consumed.polled(Polled { client, partition: &partition, at: at(1), from, next, records });
    }

    #[test]
    fn pieces_of_one_log_are_well_and_offsets_without_records_are_nobody_s() {
        let mut consumed = Consumed::default();
        poll(&mut consumed, "a", 0, 2, &[(0, "w/0"), (1, "w/1")]);
        poll(&mut consumed, "a", 2, 5, &[(3, "w/2")]);
        poll(&mut consumed, "b", 1, 2, &[(1, "w/1")]);
        let (order, log) = consumed.end(&stored(&[(0, "w/0"), (1, "w/1"), (3, "w/2")]));
        assert_eq!((order.violations, log.violations), (0, 0), "{order:?} {log:?}");
        assert_eq!((order.examined, log.examined), (6, 7));
    }

    #[test]
    fn reading_again_and_stepping_over_are_told() {
        let mut consumed = Consumed::default();
        poll(&mut consumed, "a", 2, 3, &[(1, "w/1")]);
        let (order, _) = consumed.end(&stored(&[(1, "w/1")]));
        assert!(order.first.expect("one").starts_with("nonmonotonic-poll: a read offset 1 of t/0"));
        let mut consumed = Consumed::default();
        poll(&mut consumed, "a", 0, 3, &[(0, "w/0"), (2, "w/2")]);
        let (order, _) = consumed.end(&stored(&[(0, "w/0"), (1, "w/1"), (2, "w/2")]));
        assert!(order.first.expect("one").starts_with("poll-skip: a stepped over w/1 at offset 1 of t/0"));
    }

    #[test]
    fn two_records_at_one_offset_and_one_that_vanishes_are_told() {
        let mut consumed = Consumed::default();
        poll(&mut consumed, "a", 0, 1, &[(0, "w/0")]);
        poll(&mut consumed, "b", 0, 1, &[(0, "w/9")]);
        let (_, log) = consumed.end(&Stored::new());
        assert_eq!((log.examined, log.violations), (2, 1));
        assert!(log.first.expect("one").starts_with("inconsistent-offsets: offset 0 of t/0 was w/0 for a"));
        let mut consumed = Consumed::default();
        poll(&mut consumed, "a", 0, 2, &[(0, "w/0"), (1, "w/1")]);
        let (_, log) = consumed.end(&stored(&[(0, "w/0")]));
        assert_eq!(log.violations, 1);
        assert!(log.first.expect("one").contains("at the end nothing is there"));
    }
}
