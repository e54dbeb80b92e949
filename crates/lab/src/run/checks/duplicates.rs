//! A record is stored once.
//!
//! A producer that is not idempotent may write a record twice if it asks again after an attempt without an answer; nobody
//! else may, and an idempotent one never.

use std::collections::BTreeMap;

use super::super::verify::Stored;
use super::super::workload::{Sent, Writers};
use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "duplicate",
    promise: "no record is stored twice, unless a producer that is not idempotent sent it twice",
    follows: "Jepsen's Kafka anomaly duplicate, and KIP-98 for idempotent producers",
    advice: "A broker that forgets its producers' sequences at a restart does this; so does a proxy that repeats requests.",
};

/// Compares what was sent with what is stored.
pub(in super::super) fn check(sent: &[(String, Vec<Sent>)], stored: &Stored, idempotent: bool) -> Seen {
    let writers = Writers::of(sent);
    let mut seen = Seen::default();
    let mut first_places: BTreeMap<(usize, u64), (&str, i32, i64)> = BTreeMap::new();
    for ((topic, index), records) in stored {
        for record in records {
            let Some(name) = writers.find(&record.key) else { continue };
            let here = (topic.as_str(), *index, record.offset);
            let Some(there) = first_places.get(&name) else {
                first_places.insert(name, here);
                seen.well();
                continue;
            };
            let repeated = writers.sent(name).is_some_and(|sent| sent.repeated);
            seen.unless(repeated && !idempotent, || {
                let retried = if repeated { ", sent again after an attempt without an answer" } else { "" };
                format!(
                    "{} is at offset {} of {}/{} and at offset {} of {topic}/{index}{retried}",
                    record.key, there.2, there.0, there.1, record.offset
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
    fn a_second_copy_is_excused_by_a_retry_of_a_producer_that_is_not_idempotent_alone() {
        let mut retried = sent(1, 1);
        retried.repeated = true;
        let all = [("a".to_owned(), vec![sent(0, 0), retried])];
        let twice = stored(&[(0, "a/0"), (1, "a/1"), (2, "a/1"), (3, "stranger")]);
        assert_eq!(check(&all, &twice, false), Seen { examined: 3, ..Seen::default() });
        let seen = check(&all, &twice, true);
        assert_eq!((seen.examined, seen.violations), (3, 1));
        assert_eq!(
            seen.first.as_deref(),
            Some(
                "a/1 is at offset 1 of t/0 and at offset 2 of t/0, sent again after an attempt without an answer"
            )
        );
        let twice = stored(&[(0, "a/0"), (1, "a/0")]);
        assert_eq!(check(&all, &twice, false).violations, 1, "nobody sent it twice");
    }
}
