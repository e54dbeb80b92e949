//! What a producer sends to a partition one after the other is there in that order.
//!
//! A workload's producer waits for each request before the next, so offsets of its acknowledged records have to rise, and
//! the record at an acknowledged offset is the one that was acknowledged there.

use std::collections::BTreeMap;

use super::super::verify::{Stored, StoredRecord};
use super::super::workload::{Partition, Sent, key_of};
use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "send-order",
    promise: "acknowledged records of a producer are in their partition in the order in which they were sent, at the offsets \
              that were acknowledged",
    follows: "Jepsen's Kafka anomalies nonmonotonic-send, int-nonmonotonic-send and inconsistent-offsets",
    advice: "A log that was cut and written again (a lost majority, unclean election) moves records; look at the elections \
             before it.",
};

/// Compares the offsets that were acknowledged with each other and with what is stored.
pub(in super::super) fn check(sent: &[(String, Vec<Sent>)], stored: &Stored) -> Seen {
    let mut seen = Seen::default();
    for (client, records) in sent {
        let mut highest: BTreeMap<&Partition, (u64, i64)> = BTreeMap::new();
        for record in records.iter().filter(|record| record.acknowledged) {
            let Some(offset) = record.offset else { continue };
            let (topic, index) = &record.partition;
            let before = highest.insert(&record.partition, (record.sequence, offset));
            if let Some((other, higher)) = before.filter(|(_, before)| *before >= offset) {
                seen.violated(|| {
                    format!(
                        "nonmonotonic-send: {topic}/{index} has record {} of {client} at offset {offset}, and record \
                         {other}, which was sent before, at offset {higher}",
                        record.sequence
                    )
                });
                continue;
            }
            let found = at_offset(stored.get(&record.partition), offset);
            let key = key_of(client, record.sequence);
            seen.unless(found.is_none_or(|found| found.key == key), || {
                format!(
                    "inconsistent-offsets: {key} was acknowledged at offset {offset} of {topic}/{index}, where {} is",
                    found.map_or("nothing", |found| found.key.as_str())
                )
            });
        }
    }
    seen
}

/// The record at an offset; what is missing is for the check of lost records.
fn at_offset(records: Option<&Vec<StoredRecord>>, offset: i64) -> Option<&StoredRecord> {
    let records = records?;
    let place = records.binary_search_by_key(&offset, |record| record.offset).ok()?;
    records.get(place)
}

#[cfg(test)]
mod tests {
    use super::super::sample::{sent, stored};
    use super::*;

    #[test]
    fn rising_offsets_that_hold_what_was_acknowledged_are_well() {
        let all = [("a".to_owned(), vec![sent(0, 0), sent(1, 2)]), ("b".to_owned(), vec![sent(0, 1)])];
        let seen = check(&all, &stored(&[(0, "a/0"), (1, "b/0"), (2, "a/1")]));
        assert_eq!(seen, Seen { examined: 3, ..Seen::default() });
    }

    #[test]
    fn a_later_record_at_a_lower_offset_and_another_record_at_the_offset_are_told() {
        let all = [("a".to_owned(), vec![sent(0, 3), sent(1, 2)])];
        let seen = check(&all, &stored(&[(2, "a/1"), (3, "a/0")]));
        assert_eq!((seen.examined, seen.violations), (2, 1));
        assert!(seen.first.expect("one").starts_with("nonmonotonic-send: t/0 has record 1 of a at offset 2"));
        let all = [("a".to_owned(), vec![sent(0, 0)])];
        let seen = check(&all, &stored(&[(0, "b/0")]));
        assert_eq!(
            seen.first.as_deref(),
            Some("inconsistent-offsets: a/0 was acknowledged at offset 0 of t/0, where b/0 is")
        );
    }
}
