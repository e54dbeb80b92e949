//! What was acknowledged can be read.
//!
//! Jepsen tells two kinds apart: a `lost-write` is missing although later records of its partition were read, an `unseen`
//! record is at the end, where more could still come. Both are looked for after the wait for followers, so both are lost
//! here. Only acks=all promises it: what a leader alone has acknowledged dies with the leader (redpanda.md 4.3).

use std::collections::{BTreeMap, BTreeSet};

use super::super::verify::Stored;
use super::super::workload::{Sent, Writers};
use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "lost-write",
    promise: "every record acknowledged with acks=all can be read",
    follows: "Jepsen's Kafka anomalies lost-write and unseen",
    advice: "Look for brokers that lost unsynced data (write.caching, a volume that does not sync) or a replication below 3.",
};

/// Compares what was sent, by its senders, with what is stored.
pub(in super::super) fn check(sent: &[(String, Vec<Sent>)], stored: &Stored) -> Seen {
    let writers = Writers::of(sent);
    // The names of each partition's records, and its last offset.
    let mut found: BTreeMap<(&str, i32), BTreeSet<(usize, u64)>> = BTreeMap::new();
    let mut last: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    for ((topic, index), records) in stored {
        let place = (topic.as_str(), *index);
        found.insert(place, records.iter().filter_map(|record| writers.find(&record.key)).collect());
        last.insert(place, records.last().map_or(-1, |record| record.offset));
    }
    let mut seen = Seen::default();
    for (writer, (client, records)) in sent.iter().enumerate() {
        for record in records.iter().filter(|record| record.acknowledged) {
            let place = (record.partition.0.as_str(), record.partition.1);
            let is_there = found.get(&place).is_some_and(|found| found.contains(&(writer, record.sequence)));
            seen.unless(is_there, || {
                let end = last.get(&place).copied().unwrap_or(-1);
                let kind = if record.offset.is_some_and(|offset| offset > end) { "unseen" } else { "lost-write" };
                let offset = record.offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default();
                format!(
                    "{kind}: record {} of {client} was acknowledged in {}/{}{offset} and is not there (the last offset is \
                     {end})",
                    record.sequence, place.0, place.1
                )
            });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::sample::{sent, stored};
    use super::*;

    #[test]
    fn records_that_are_there_are_well_and_those_not_acknowledged_may_be_missing() {
        let mut refused = sent(2, -1);
        refused.acknowledged = false;
        let all = [("a".to_owned(), vec![sent(0, 0), sent(1, 1), refused])];
        let seen = check(&all, &stored(&[(0, "a/0"), (1, "a/1")]));
        assert_eq!(seen, Seen { examined: 2, ..Seen::default() });
    }

    #[test]
    fn a_record_between_others_is_lost_and_one_at_the_end_unseen() {
        let all = [("a".to_owned(), vec![sent(0, 0), sent(1, 1), sent(2, 2)])];
        let seen = check(&all, &stored(&[(0, "a/0"), (2, "a/2")]));
        assert_eq!((seen.examined, seen.violations), (3, 1));
        assert_eq!(
            seen.first.as_deref(),
            Some(
                "lost-write: record 1 of a was acknowledged in t/0 at offset 1 and is not there (the last offset is 2)"
            )
        );
        let seen = check(&all, &stored(&[(0, "a/0"), (1, "a/1")]));
        assert!(seen.first.expect("one").starts_with("unseen: record 2 of a"));
    }
}
