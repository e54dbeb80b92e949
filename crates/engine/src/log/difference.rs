//! Where two logs part: the first record that one run wrote and the other did not.
//!
//! Runs of the same inputs and seed write the same log. If their hashes differ, both are run again with
//! [`Keep::Everything`](super::Keep::Everything), and the first difference leads to what was not deterministic.

use std::fmt;

use super::{EventLog, Notable, Record};
use crate::{HostId, Time, host};

/// What a log holds, taken out of its simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    entries: Vec<Entry>,
}

/// A record in words that hold outside its simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    at: Time,
    text: String,
}

/// The first place at which two logs differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// How many records are equal before it.
    pub equal: usize,
    /// The record of the first log; none if it ends there.
    pub left: Option<String>,
    /// The record of the second log; none if it ends there.
    pub right: Option<String>,
}

impl Transcript {
    /// All that `log` kept, in the order in which it was written.
    pub fn of(log: &EventLog) -> Transcript {
        let (mut records, mut notables) =
            (log.records().iter().peekable(), log.notable_events().iter().peekable());
        let mut entries = Vec::with_capacity(records.len() + notables.len());
        loop {
            let entry = match (records.peek(), notables.peek()) {
                (Some(record), Some(notable)) if notable.id < record.id => {
                    notables.next().map(Entry::of_notable)
                }
                (Some(_), _) => records.next().map(Entry::of_record),
                (None, _) => notables.next().map(Entry::of_notable),
            };
            match entry {
                Some(entry) => entries.push(entry),
                None => return Transcript { entries },
            }
        }
    }

    /// The first difference between two logs; none if they are equal.
    pub fn first_difference(&self, other: &Transcript) -> Option<Difference> {
        let equal = self.entries.iter().zip(&other.entries).take_while(|(left, right)| left == right).count();
        let [left, right] = [self, other].map(|it| it.entries.get(equal).map(ToString::to_string));
        (left.is_some() || right.is_some()).then_some(Difference { equal, left, right })
    }
}

impl Entry {
    fn of_record(record: &Record) -> Entry {
        let [first, second] = record.kind.fields;
        let on = if record.host == HostId::ROOT {
            String::new()
        } else {
            format!(" on {}", host::name(record.host))
        };
        let text = format!("{}{on}: {first} {}, {second} {}", record.kind.name, record.a, record.b);
        Entry { at: record.at, text }
    }

    fn of_notable(notable: &Notable) -> Entry {
        Entry { at: notable.at, text: format!("{} {}: {}", notable.kind, notable.object, notable.detail) }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at, self.text)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |entry: &Option<String>| entry.clone().unwrap_or_else(|| "nothing more".to_owned());
        writeln!(f, "the event logs are equal for {} records, then differ:", self.equal)?;
        writeln!(f, "  first run:  {}", said(&self.left))?;
        write!(f, "  second run: {}", said(&self.right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{Keep, Kind};
    use crate::{Simulation, notable, record, with_log};

    const SENT: Kind = Kind::new("test.sent", ["bytes", "port"]);

    fn transcript(ports: &'static [u64], end: &'static str) -> Transcript {
        let run = Simulation::new(1).keep(Keep::Everything).run((), move || async move {
            notable("test.started", "pod a/b", "now");
            for port in ports {
                record(Default::default(), &SENT, 10, *port);
            }
            notable("test.ended", "pod a/b", end);
            with_log(Transcript::of)
        });
        run.expect("it ends")
    }

    #[test]
    fn equal_logs_have_no_difference() {
        assert_eq!(transcript(&[1, 2], "x").first_difference(&transcript(&[1, 2], "x")), None);
    }

    #[test]
    fn the_first_difference_is_told_in_order() {
        let difference = transcript(&[1, 2, 3], "x").first_difference(&transcript(&[1, 9, 3], "y"));
        let difference = difference.expect("they differ");
        assert_eq!(difference.equal, 2);
        assert!(
            difference.left.as_ref().is_some_and(|it| it.ends_with("test.sent: bytes 10, port 2")),
            "{difference}"
        );
        let difference =
            transcript(&[1], "x").first_difference(&transcript(&[1, 2], "x")).expect("they differ");
        assert!(
            difference.left.as_ref().is_some_and(|it| it.contains("test.ended pod a/b: x")),
            "{difference}"
        );
        assert!(difference.right.as_ref().is_some_and(|it| it.contains("port 2")), "{difference}");
    }
}
