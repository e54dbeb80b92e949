//! What the clients saw, and what must hold of it once everything is healed.
//!
//! The promises are those of Kafka's documentation ("Message Delivery Semantics"): what is acknowledged with acks=all
//! is there, at its offset; an idempotent producer's record is there once, and in its order; what a consumer has read
//! does not vanish or change.

use std::collections::BTreeMap;

/// How many notes are kept for a failure's text.
const NOTES_MAX: usize = 40;

/// A record that a broker acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub partition: i32,
    pub offset: i64,
    /// `producer/partition/sequence`.
    pub value: String,
}

/// Everything the clients saw.
#[derive(Debug, Default)]
pub struct History {
    pub acknowledged: Vec<Acknowledged>,
    /// What consumers read, by partition and offset.
    read: BTreeMap<(i32, i64), String>,
    violations: Vec<String>,
    notes: Vec<String>,
}

impl History {
    /// Keeps the last few things that happened, for the text of a failure.
    pub fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() == NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(note());
    }

    /// A consumer read records.
    pub fn read(&mut self, partition: i32, records: Vec<(i64, String)>) {
        for (offset, value) in records {
            if let Some(before) = self.read.insert((partition, offset), value.clone())
                && before != value
            {
                self.violations.push(format!("{partition}@{offset} was read as {before} and as {value}"));
            }
        }
    }

    /// What is wrong, given each partition's records at the end.
    pub fn check(&self, logs: &BTreeMap<i32, Vec<(i64, String)>>) -> Vec<String> {
        let mut wrong = self.violations.clone();
        let at = |partition: i32, offset: i64| {
            let log = logs.get(&partition)?;
            let index = log.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
            Some(log[index].1.as_str())
        };
        for Acknowledged { partition, offset, value } in &self.acknowledged {
            let found = at(*partition, *offset);
            if found != Some(value) {
                wrong.push(format!("{value} was acknowledged at {partition}@{offset}, where {found:?} is"));
            }
        }
        for ((partition, offset), value) in &self.read {
            let found = at(*partition, *offset);
            if found != Some(value) {
                wrong.push(format!("{value} was read at {partition}@{offset}, where {found:?} is"));
            }
        }
        for (partition, log) in logs {
            wrong.extend(out_of_sequence(*partition, log));
        }
        wrong
    }

    /// The last things that happened.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// Each producer's records are there once each, in their order, without a gap.
fn out_of_sequence(partition: i32, log: &[(i64, String)]) -> Vec<String> {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (offset, value) in log {
        let mut parts = value.split('/');
        let (Some(producer), Some(_), Some(Ok(sequence))) =
            (parts.next(), parts.next(), parts.next().map(str::parse::<u64>))
        else {
            wrong.push(format!("{partition}@{offset} holds {value:?}, which nobody sent"));
            continue;
        };
        let expected = next.entry(producer).or_default();
        if sequence != *expected {
            wrong.push(format!("{partition}@{offset} holds {value}, where sequence {expected} belongs"));
        }
        *expected = sequence + 1;
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(values: &[&str]) -> BTreeMap<i32, Vec<(i64, String)>> {
        let records = values.iter().zip(0..).map(|(value, offset)| (offset, (*value).to_owned()));
        BTreeMap::from([(0, records.collect())])
    }

    fn acknowledged(offset: i64, value: &str) -> Acknowledged {
        Acknowledged { partition: 0, offset, value: value.to_owned() }
    }

    #[test]
    fn what_is_kept_as_promised_is_not_wrong() {
        let acknowledged = vec![acknowledged(0, "0/0/0"), acknowledged(1, "0/0/1")];
        let mut history = History { acknowledged, ..History::default() };
        history.read(0, vec![(0, "0/0/0".to_owned())]);
        assert_eq!(history.check(&log(&["0/0/0", "0/0/1", "1/0/0"])), Vec::<String>::new());
    }

    #[test]
    fn each_broken_promise_is_told() {
        let mut history = History { acknowledged: vec![acknowledged(1, "0/0/1")], ..History::default() };
        history.read(0, vec![(2, "1/0/0".to_owned())]);
        let wrong = history.check(&log(&["0/0/0"]));
        assert_eq!(wrong.len(), 2, "a lost record and a vanished one: {wrong:?}");
        let wrong = History::default().check(&log(&["0/0/0", "0/0/0", "0/0/2"]));
        assert_eq!(wrong.len(), 2, "a duplicate and a gap: {wrong:?}");
        history.read(0, vec![(2, "1/0/7".to_owned())]);
        assert!(history.check(&log(&["0/0/0"]))[0].contains("was read as 1/0/0 and as 1/0/7"));
    }
}
