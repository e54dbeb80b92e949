//! A record is in the partition that its sender chose, and in no other.
//!
//! A partition is all that Kafka keeps in order, so a record that a client sends to another one, for instance when it tries
//! again, is out of order with its neighbours although every broker did well.

use super::super::clients::failed;
use super::super::verify::{Stored, sequence_of};
use super::super::workload::Sent;
use crate::report::run::Check;

/// A failed check if a record is in another partition than its sender chose; `sent` are the records of each client.
pub(in super::super) fn check(sent: &[(String, Vec<Sent>)], stored: &Stored) -> Option<Check> {
    let (mut misplaced, mut first) = (0_u64, None);
    for (partition, keys) in stored {
        for key in keys {
            let Some((client, chosen)) = sender_of(key, sent) else { continue };
            if chosen.partition != *partition {
                misplaced += 1;
                first.get_or_insert_with(|| {
                    let ((topic, index), (_, found)) = (&chosen.partition, partition);
                    let sequence = chosen.sequence;
                    format!("record {sequence} of {client} was for {topic}/{index} and is in {topic}/{found}")
                });
            }
        }
    }
    let first = first?;
    let detail = format!("{misplaced} are in another; the first: {first}");
    Some(failed("every record is in the partition that its sender chose", &detail))
}

/// The record with that key, and who sent it.
fn sender_of<'a>(key: &str, sent: &'a [(String, Vec<Sent>)]) -> Option<(&'a str, &'a Sent)> {
    sent.iter().find_map(|(client, records)| {
        let sequence = sequence_of(client, key)?;
        // Clients count their records from 0.
        let record = records.get(usize::try_from(sequence).ok()?)?;
        Some((client.as_str(), record)).filter(|_| record.sequence == sequence)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(partitions: &[i32]) -> Vec<(String, Vec<Sent>)> {
        let record = |(sequence, partition): (u64, &i32)| Sent {
            sequence,
            partition: ("t".to_owned(), *partition),
            acknowledged: true,
            repeated: false,
        };
        vec![("a".to_owned(), (0..).zip(partitions).map(record).collect())]
    }

    fn stored(keys: &[&[&str]]) -> Stored {
        let partition = |keys: &&[&str]| keys.iter().map(ToString::to_string).collect();
        (0..).map(|index| ("t".to_owned(), index)).zip(keys.iter().map(partition)).collect()
    }

    #[test]
    fn records_where_they_were_sent_are_well_and_strangers_are_nobody_s() {
        assert_eq!(check(&sent(&[0, 1]), &stored(&[&["a/0", "b/7"], &["a/1", "a/9"]])), None);
    }

    #[test]
    fn a_record_in_another_partition_is_told_with_both() {
        let check =
            check(&sent(&[0, 1, 0]), &stored(&[&["a/0"], &["a/1", "a/2"]])).expect("one is misplaced");
        assert!(!check.ok);
        assert_eq!(check.detail, "1 are in another; the first: record 2 of a was for t/0 and is in t/1");
    }
}
