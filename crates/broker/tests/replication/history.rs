//! What the clients saw, and what must hold of it once everything is healed.
//!
//! The promises are those of Kafka's documentation ("Message Delivery Semantics"): what is acknowledged with acks=all
//! is there, at its offset; an idempotent producer's record is there once, and in its order; what a consumer has read
//! does not vanish or change; nothing is there that nobody sent. Producers that send nothing twice ([`ONCE`]) are
//! promised that nothing is there twice, but not that everything is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// How many notes are kept for a failure's text.
const NOTES_MAX: usize = 40;
/// The producer that sends each record once, whatever comes of it.
pub const ONCE: &str = "once";

/// A record that a broker acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    pub partition: i32,
    pub offset: i64,
    /// `producer/partition/sequence`.
    pub value: String,
}

/// A promise that brokers give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// What is acknowledged is there, at its offset.
    AcknowledgedStays,
    /// What a consumer has read is there, at its offset.
    ReadStays,
    /// A record is there once.
    NoDuplicate,
    /// An idempotent producer's records are there in their order, without a gap.
    NoGap,
    /// Nothing is there that nobody sent.
    NothingForeign,
    /// A producer has its answer some time after the last fault.
    Answers,
    /// A partition can be read some time after the last fault.
    Readable,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub promise: Promise,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.what)
    }
}

/// A promise is broken.
pub fn broken(promise: Promise, what: impl Into<String>) -> Violation {
    Violation { promise, what: what.into() }
}

/// Everything the clients saw.
#[derive(Debug, Default)]
pub struct History {
    pub acknowledged: Vec<Acknowledged>,
    /// What consumers read, by partition and offset.
    read: BTreeMap<(i32, i64), String>,
    violations: Vec<Violation>,
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
                let what = format!("{partition}@{offset} was read as {before} and as {value}");
                self.violations.push(broken(Promise::ReadStays, what));
            }
        }
    }

    /// What is wrong, given each partition's records at the end, as far as they can be read.
    pub fn check(&self, logs: &BTreeMap<i32, Vec<(i64, String)>>) -> Vec<Violation> {
        let mut wrong = self.violations.clone();
        let acknowledged = self.acknowledged.iter().map(|it| (it.partition, it.offset, &it.value));
        wrong.extend(missing(logs, acknowledged, Promise::AcknowledgedStays));
        let read = self.read.iter().map(|((partition, offset), value)| (*partition, *offset, value));
        wrong.extend(missing(logs, read, Promise::ReadStays));
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

/// Records that clients have seen and that are not where they were.
fn missing<'a>(
    logs: &BTreeMap<i32, Vec<(i64, String)>>,
    seen: impl Iterator<Item = (i32, i64, &'a String)>,
    promise: Promise,
) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (partition, offset, value) in seen {
        let Some(log) = logs.get(&partition) else { continue };
        let place = log.binary_search_by_key(&offset, |(offset, _)| *offset);
        let found = place.ok().map(|place| &log[place].1);
        if found != Some(value) {
            let what = format!("{value} was seen at {partition}@{offset}, where {found:?} is");
            wrong.push(broken(promise, what));
        }
    }
    wrong
}

/// Each idempotent producer's records are there once each, in their order, without a gap; others' at most once.
fn out_of_sequence(partition: i32, log: &[(i64, String)]) -> Vec<Violation> {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut once = BTreeSet::new();
    let mut wrong = Vec::new();
    for (offset, value) in log {
        let mut parts = value.split('/');
        let (Some(producer), Some(_), Some(Ok(sequence))) =
            (parts.next(), parts.next(), parts.next().map(str::parse::<u64>))
        else {
            let what = format!("{partition}@{offset} holds {value:?}");
            wrong.push(broken(Promise::NothingForeign, what));
            continue;
        };
        let expected = next.entry(producer).or_default();
        let is_twice = if producer == ONCE { !once.insert(sequence) } else { sequence < *expected };
        if is_twice {
            let what = format!("{partition}@{offset} holds {value} once more");
            wrong.push(broken(Promise::NoDuplicate, what));
            continue;
        }
        if producer != ONCE && sequence > *expected {
            let what = format!("{partition}@{offset} holds {value}, where sequence {expected} belongs");
            wrong.push(broken(Promise::NoGap, what));
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

    fn promises(violations: &[Violation]) -> Vec<Promise> {
        violations.iter().map(|violation| violation.promise).collect()
    }

    #[test]
    fn what_is_kept_as_promised_is_not_wrong() {
        let acknowledged = vec![acknowledged(0, "0/0/0"), acknowledged(1, "0/0/1")];
        let mut history = History { acknowledged, ..History::default() };
        history.read(0, vec![(0, "0/0/0".to_owned())]);
        // What was sent once may be missing, and may come late.
        let log = log(&["0/0/0", "0/0/1", "1/0/0", "once/0/4", "once/0/2"]);
        assert_eq!(history.check(&log), Vec::new());
    }

    #[test]
    fn each_broken_promise_is_told() {
        let mut history = History { acknowledged: vec![acknowledged(1, "0/0/1")], ..History::default() };
        history.read(0, vec![(2, "1/0/0".to_owned())]);
        let wrong = history.check(&log(&["0/0/0"]));
        assert_eq!(promises(&wrong), [Promise::AcknowledgedStays, Promise::ReadStays]);
        let wrong = History::default().check(&log(&["0/0/0", "0/0/0", "0/0/2", "?"]));
        assert_eq!(promises(&wrong), [Promise::NoDuplicate, Promise::NoGap, Promise::NothingForeign]);
        let wrong = History::default().check(&log(&["once/0/1", "once/0/1"]));
        assert_eq!(promises(&wrong), [Promise::NoDuplicate]);
        history.read(0, vec![(2, "1/0/7".to_owned())]);
        let what = &history.check(&log(&["0/0/0"]))[0].what;
        assert!(what.contains("was read as 1/0/0 and as 1/0/7"), "{what}");
    }

    #[test]
    fn what_cannot_be_read_is_not_called_lost() {
        let history = History { acknowledged: vec![acknowledged(0, "0/0/0")], ..History::default() };
        assert_eq!(history.check(&BTreeMap::new()), Vec::new());
    }
}
