//! A record is in the partition that its sender chose, and in no other.
//!
//! A partition is all that Kafka keeps in order, so a record that a client sends to another one, for instance when it tries
//! again, is out of order with its neighbours although every broker did well.

use super::super::verify::Stored;
use super::super::workload::{Sent, Writers};
use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "placement",
    promise: "every record is in the partition that its sender chose",
    follows: "Kafka's protocol guide, \"Partitioning and bootstrapping\" (the client alone chooses the partition)",
    advice: "A client that tries again at another partition does this, and loses the order of its keys.",
};

/// Compares where records are with where they were sent; `sent` are the records of each client.
pub(in super::super) fn check(sent: &[(String, Vec<Sent>)], stored: &Stored) -> Seen {
    let writers = Writers::of(sent);
    let mut seen = Seen::default();
    for (partition, records) in stored {
        for record in records {
            let Some(name) = writers.find(&record.key) else { continue };
            let Some(chosen) = writers.sent(name) else { continue };
            seen.unless(chosen.partition == *partition, || {
                let ((topic, index), (_, found)) = (&chosen.partition, partition);
                let (sequence, client) = (chosen.sequence, writers.name(name.0));
                format!("record {sequence} of {client} was for {topic}/{index} and is in {topic}/{found}")
            });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::super::verify::StoredRecord;
    use super::*;

    fn sent(partitions: &[i32]) -> Vec<(String, Vec<Sent>)> {
        let record = |(sequence, partition): (u64, &i32)| Sent {
            sequence,
            partition: ("t".to_owned(), *partition),
            acknowledged: true,
            repeated: false,
            offset: None,
            transaction: None,
        };
        vec![("a".to_owned(), (0..).zip(partitions).map(record).collect())]
    }

    fn stored(keys: &[&[&str]]) -> Stored {
        let record = |(offset, key): (i64, &&str)| StoredRecord { offset, key: (*key).to_owned() };
        let partition = |keys: &&[&str]| (0..).zip(*keys).map(record).collect();
        (0..).map(|index| ("t".to_owned(), index)).zip(keys.iter().map(partition)).collect()
    }

    #[test]
    fn records_where_they_were_sent_are_well_and_strangers_are_nobody_s() {
        let seen = check(&sent(&[0, 1]), &stored(&[&["a/0", "b/7"], &["a/1", "a/9"]]));
        assert_eq!(seen, Seen { examined: 2, ..Seen::default() });
    }

    #[test]
    fn a_record_in_another_partition_is_told_with_both() {
        let seen = check(&sent(&[0, 1, 0]), &stored(&[&["a/0"], &["a/1", "a/2"]]));
        assert_eq!((seen.examined, seen.violations), (3, 1));
        assert_eq!(seen.first.as_deref(), Some("record 2 of a was for t/0 and is in t/1"));
    }
}
