//! Transactions are atomic, and consumers that read committed records see no others.
//!
//! All records of a committed transaction are there, none of an aborted one is, and of one whose end is not known (the
//! answer to the commit was lost) all or none. No consumer gets a record before its producer asked to commit.
//!
//! Sources: KIP-98; Jepsen's analyses of Redpanda 21.10.1 (aborted read, torn transactions) and of Kafka.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_engine::Time;

use super::super::verify::Stored;
use super::super::workload::{Sent, Writers};
use super::consumed::Consumed;
use super::{Rule, Seen};

pub(in super::super) const RULE: Rule = Rule {
    name: "transactions",
    promise: "transactions are all or nothing, and committed reads see no others",
    follows: "KIP-98, and Jepsen's anomalies aborted-read (G1a), precommitted-read and torn-transaction",
    advice: "Look at the transaction's coordinator and at the partition's leader at that time: markers that are lost or come late \
             tear transactions.",
};

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fate {
    /// The coordinator said that it is committed.
    Committed,
    /// It was aborted, or never came to a commit.
    Aborted,
    /// The commit was asked for, and no answer says what became of it.
    Unknown,
}

/// One transaction of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Transaction {
    pub fate: Fate,
    /// When the end was asked for; none if it never was.
    pub ended: Option<Time>,
}

/// A client's records and its transactions, in order.
pub(in super::super) type Transactions = Vec<(String, Vec<Transaction>)>;

/// Compares what was sent in transactions with what was read by consumers, and at the end.
pub(in super::super) fn check(
    sent: &[(String, Vec<Sent>)],
    transactions: &Transactions,
    consumed: &Consumed,
    stored: &Stored,
) -> Seen {
    let mut seen = Seen::default();
    if transactions.iter().all(|(_, transactions)| transactions.is_empty()) {
        return seen;
    }
    let writers = Writers::of(sent);
    let of = |key: &str| {
        let name = writers.find(key)?;
        let number = writers.sent(name)?.transaction?;
        let (client, transactions) = transactions.get(name.0)?;
        Some((client, number, *transactions.get(number)?))
    };
    for partition in consumed.partitions() {
        let (topic, index) = partition;
        for (offset, first) in consumed.first(partition) {
            let Some((client, number, transaction)) = of(&first.key) else { continue };
            let kind = match transaction {
                Transaction { fate: Fate::Aborted, .. } => "aborted-read (G1a)",
                Transaction { ended: Some(ended), .. } if first.at < ended => "precommitted-read",
                _ => {
                    seen.well();
                    continue;
                }
            };
            seen.violated(|| {
                format!(
                    "{kind}: {} read {} at offset {offset} of {topic}/{index} at {}, of transaction {number} of {client}, which \
                     is {:?} (its end was asked for at {})",
                    first.by,
                    first.key,
                    first.at,
                    transaction.fate,
                    transaction.ended.map_or_else(|| "no time".to_owned(), |ended| ended.to_string())
                )
            });
        }
    }
    let there: BTreeSet<(usize, u64)> =
        stored.values().flatten().filter_map(|record| writers.find(&record.key)).collect();
    for (writer, (client, records)) in sent.iter().enumerate() {
        // By transaction: how many records were sent, and how many of them are there.
        let mut counts: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        for record in records {
            let Some(number) = record.transaction else { continue };
            let count = counts.entry(number).or_default();
            count.0 += 1;
            count.1 += u64::from(there.contains(&(writer, record.sequence)));
        }
        let transactions = transactions.get(writer).map_or(&[][..], |(_, transactions)| transactions);
        for (number, (sent, found)) in counts {
            let Some(transaction) = transactions.get(number) else { continue };
            let sound = match transaction.fate {
                Fate::Committed => found == sent,
                Fate::Aborted => found == 0,
                Fate::Unknown => found == 0 || found == sent,
            };
            let kind =
                if transaction.fate == Fate::Aborted { "aborted-read (G1a)" } else { "torn-transaction" };
            seen.unless(sound, || {
                format!(
                    "{kind}: transaction {number} of {client} is {:?}, and {found} of its {sent} records can be read at the end",
                    transaction.fate
                )
            });
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::super::consumed::Polled;
    use super::super::sample::{at, sent, stored};
    use super::*;

    /// Two records in transaction 0, which ended like that at 10 s.
    fn history(fate: Fate) -> (Vec<(String, Vec<Sent>)>, Transactions) {
        let records = [sent(0, 0), sent(1, 1)].map(|mut record| {
            record.transaction = Some(0);
            record
        });
        let transaction = Transaction { fate, ended: Some(at(10)) };
        (vec![("a".to_owned(), records.into())], vec![("a".to_owned(), vec![transaction])])
    }

    fn read(seconds: u64) -> Consumed {
        let (mut consumed, partition) = (Consumed::default(), ("t".to_owned(), 0));
        let records = vec![(0, "a/0".to_owned())];
        consumed.polled(Polled {
            client: "b",
            partition: &partition,
            at: at(seconds),
            from: 0,
            next: 1,
            records,
        });
        consumed
    }

    fn judged(fate: Fate, consumed: &Consumed, records: &[(i64, &str)]) -> Seen {
        let (sent, transactions) = history(fate);
        check(&sent, &transactions, consumed, &stored(records))
    }

    const ALL: [(i64, &str); 2] = [(0, "a/0"), (1, "a/1")];

    #[test]
    fn all_or_nothing_is_well() {
        let (none, late) = (Consumed::default(), read(11));
        assert_eq!(judged(Fate::Committed, &late, &ALL), Seen { examined: 2, ..Seen::default() });
        assert_eq!(judged(Fate::Aborted, &none, &[]), Seen { examined: 1, ..Seen::default() });
        for records in [&ALL[..], &[]] {
            assert_eq!(judged(Fate::Unknown, &none, records).violations, 0);
        }
    }

    #[test]
    fn torn_aborted_and_early_reads_are_told() {
        let first = |seen: Seen| seen.first.expect("one is told");
        let none = Consumed::default();
        for fate in [Fate::Committed, Fate::Unknown] {
            let told = first(judged(fate, &none, &ALL[..1]));
            assert!(told.starts_with("torn-transaction: transaction 0 of a is"), "{told}");
        }
        assert!(first(judged(Fate::Committed, &none, &[])).starts_with("torn-transaction"));
        assert!(first(judged(Fate::Aborted, &none, &ALL)).starts_with("aborted-read (G1a): transaction 0"));
        assert!(first(judged(Fate::Aborted, &read(12), &[])).starts_with("aborted-read (G1a): b read a/0"));
        assert!(first(judged(Fate::Committed, &read(9), &ALL)).starts_with("precommitted-read: b read a/0"));
    }
}
