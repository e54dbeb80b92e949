//! States that objects have to be in, and whether they were.
//!
//! The runner keeps the history of the objects that a scenario names: each change of what can be asked about them, with
//! its time. A state is compared with that history.

use std::collections::BTreeMap;
use std::fmt;

use hopwise_engine::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::when::WhenFields;
use super::{Duration, ObjectKind, ObjectName, When, Window};
use crate::report::run::Check;

/// What can be asked about an object, by its words in the scenario.
pub type Facts = BTreeMap<&'static str, Fact>;

/// One thing about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A word, a number, `true` or `false`; empty for none.
    One(String),
    /// Several, in order.
    Many(Vec<String>),
}

/// A state that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "StateFields", into = "StateFields")]
pub struct StateExpectation {
    /// Whose.
    pub object: ObjectName,
    /// When.
    pub when: When,
    /// What has to be so, by the words for [`facts_of`] its kind.
    pub is: BTreeMap<String, Wanted>,
}

/// What a fact has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Value", into = "Value")]
pub enum Wanted {
    /// This word, number, `true` or `false`.
    One(String),
    /// These, in any order.
    Many(Vec<String>),
    /// What it was just before the time that the times count from.
    Same,
    /// Something else than it was then.
    Changed,
}

/// The past of one object: what was true of it from which time on.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<(Time, Facts)>);

/// An expectation as it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StateFields {
    object: ObjectName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<[Duration; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    throughout: Option<[Duration; 2]>,
    is: BTreeMap<String, Wanted>,
}

/// The words that scenarios may use about objects of a kind.
pub fn facts_of(kind: ObjectKind) -> &'static [&'static str] {
    match kind {
        ObjectKind::Pod => &[
            "exists",
            "phase",
            "ready",
            "node",
            "ip",
            "uid",
            "restarts",
            "terminating",
            "reason",
            "owner",
            "revision",
        ],
        // What containers are in is told by their pod, and what Secrets hold by nobody.
        ObjectKind::Container | ObjectKind::Secret => &[],
        ObjectKind::Node => &["exists", "ready", "taints", "schedulable"],
        ObjectKind::Service => &["exists", "ready", "notReady", "serving", "terminating"],
        ObjectKind::StatefulSet => &[
            "exists",
            "uid",
            "replicas",
            "pods",
            "readyReplicas",
            "updatedReplicas",
            "currentRevision",
            "updateRevision",
        ],
        ObjectKind::Deployment => &["exists", "uid", "replicas", "pods", "readyReplicas", "updatedReplicas"],
        ObjectKind::PersistentVolumeClaim => &["exists", "uid", "phase", "volume", "terminating"],
    }
}

impl TryFrom<StateFields> for StateExpectation {
    type Error = String;

    fn try_from(fields: StateFields) -> Result<Self, String> {
        let StateFields { object, after, at, within, throughout, is } = fields;
        let when = WhenFields { after, at, within, throughout }.when()?;
        if when.window == Window::Ever {
            return Err("a state needs its time: one of `at`, `within` and `throughout`".to_owned());
        }
        if is.is_empty() {
            return Err("`is` is empty; expected what has to be so".to_owned());
        }
        Ok(StateExpectation { object, when, is })
    }
}

impl From<StateExpectation> for StateFields {
    fn from(expectation: StateExpectation) -> Self {
        let StateExpectation { object, when, is } = expectation;
        let WhenFields { after, at, within, throughout } = WhenFields::of(&when);
        StateFields { object, after, at, within, throughout, is }
    }
}

impl TryFrom<Value> for Wanted {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let word = |value: Value| match value {
            Value::String(word) => Ok(word),
            Value::Bool(yes) => Ok(yes.to_string()),
            Value::Number(number) => Ok(number.to_string()),
            other => Err(format!("expected a word, a number, true or false, got {other}")),
        };
        match value {
            Value::Array(values) => {
                let mut words = values.into_iter().map(word).collect::<Result<Vec<_>, _>>()?;
                words.sort();
                Ok(Wanted::Many(words))
            }
            value => match word(value)?.as_str() {
                "same" => Ok(Wanted::Same),
                "changed" => Ok(Wanted::Changed),
                word => Ok(Wanted::One(word.to_owned())),
            },
        }
    }
}

impl From<Wanted> for Value {
    fn from(wanted: Wanted) -> Value {
        match wanted {
            Wanted::One(word) => Value::String(word),
            Wanted::Many(words) => words.into_iter().map(Value::String).collect(),
            Wanted::Same => Value::String("same".to_owned()),
            Wanted::Changed => Value::String("changed".to_owned()),
        }
    }
}

impl Wanted {
    fn is_met(&self, now: Option<&Fact>, before: Option<&Fact>) -> bool {
        match self {
            Wanted::One(word) => match now {
                Some(Fact::One(is)) => is.eq_ignore_ascii_case(word),
                Some(Fact::Many(are)) => are.len() == 1 && are[0] == *word,
                None => false,
            },
            Wanted::Many(words) => match now {
                Some(Fact::Many(are)) => are == words,
                Some(Fact::One(is)) => words.len() == 1 && *is == words[0],
                None => false,
            },
            // What is not there cannot have stayed the same, nor become another.
            Wanted::Same => now.is_some() && now == before,
            Wanted::Changed => now.is_some() && now != before,
        }
    }
}

impl History {
    /// Adds what is true at `at`, unless it was true already.
    pub fn note(&mut self, at: Time, facts: Facts) {
        if self.0.last().is_none_or(|(_, last)| *last != facts) {
            self.0.push((at, facts));
        }
    }

    /// What was true at a time.
    pub fn at(&self, time: Time) -> Option<&Facts> {
        self.0.iter().rev().find(|(since, _)| *since <= time).map(|(_, facts)| facts)
    }

    /// What was true just before a time.
    fn before(&self, time: Time) -> Option<&Facts> {
        self.0.iter().rev().find(|(since, _)| *since < time).map(|(_, facts)| facts)
    }

    /// What was true at `from`, and each change up to `to`.
    fn between(&self, from: Time, to: Time) -> impl Iterator<Item = (Time, &Facts)> {
        let first = self.at(from).map(|facts| (from, facts));
        let later = self.0.iter().filter(move |(since, _)| *since > from && *since <= to);
        first.into_iter().chain(later.map(|(since, facts)| (*since, facts)))
    }
}

impl StateExpectation {
    /// What is expected, in words.
    pub fn title(&self) -> String {
        let is: Vec<String> = self.is.iter().map(|(word, wanted)| format!("{word} {wanted}")).collect();
        format!("{} has {} {}", self.object, is.join(", "), self.when)
    }

    /// Compares with the object's history. `start` is what the times count from, `end` the end of the run.
    pub fn check(&self, history: &History, start: Time, end: Time) -> Check {
        let (from, to) = self.when.window.bounds(start, end);
        let before = history.before(start).cloned().unwrap_or_default();
        let holds = |facts: &Facts| self.differences(facts, &before).is_empty();
        let (ok, detail) = match self.when.window {
            Window::Within(_) => {
                let came = history.between(start, to).find(|(_, facts)| holds(facts));
                match came {
                    Some((at, _)) if at >= from => (true, format!("it came {}", self.when.tell(at, start))),
                    Some((at, _)) => (false, format!("it came {}", self.when.tell(at, start))),
                    None => (false, self.never_came(history, start, to, &before)),
                }
            }
            _ => match history.between(from, to).find(|(_, facts)| !holds(facts)) {
                None if history.at(from).is_some() => (true, self.seen(history.at(to).unwrap_or(&before))),
                None => (false, "the object was not looked at yet".to_owned()),
                Some((at, facts)) => {
                    let differs = self.differences(facts, &before).join(", ");
                    (false, format!("{}: {differs}", self.when.tell(at, start)))
                }
            },
        };
        Check { name: self.title(), ok, detail }
    }

    /// What is not as it has to be.
    fn differences(&self, facts: &Facts, before: &Facts) -> Vec<String> {
        let differs = |(word, wanted): (&String, &Wanted)| {
            let (now, was) = (facts.get(word.as_str()), before.get(word.as_str()));
            let shown = now.map_or_else(|| "not there".to_owned(), Fact::to_string);
            let was = match wanted {
                Wanted::Same | Wanted::Changed => {
                    was.map(|was| format!(" (it was {was})")).unwrap_or_default()
                }
                _ => String::new(),
            };
            (!wanted.is_met(now, before.get(word.as_str()))).then(|| format!("{word} is {shown}{was}"))
        };
        self.is.iter().filter_map(differs).collect()
    }

    fn never_came(&self, history: &History, start: Time, to: Time, before: &Facts) -> String {
        let Some((at, nearest)) = history
            .between(start, to)
            .min_by_key(|(at, facts)| (self.differences(facts, before).len(), std::cmp::Reverse(*at)))
        else {
            return "the object was not looked at".to_owned();
        };
        let differs = self.differences(nearest, before).join(", ");
        let later =
            history.between(to, Time::MAX).find(|(_, facts)| self.differences(facts, before).is_empty());
        match later {
            Some((at, _)) => format!("it came {}; before that {differs}", self.when.tell(at, start)),
            None => format!("it did not come; the nearest was {}: {differs}", self.when.tell(at, start)),
        }
    }

    fn seen(&self, facts: &Facts) -> String {
        let shown = self.is.keys().filter_map(|word| Some(format!("{word} {}", facts.get(word.as_str())?)));
        shown.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::One(word) if word.is_empty() => f.write_str("none"),
            Fact::One(word) => f.write_str(word),
            Fact::Many(words) => write!(f, "[{}]", words.join(", ")),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::One(word) => f.write_str(word),
            Wanted::Many(words) => write!(f, "[{}]", words.join(", ")),
            Wanted::Same => f.write_str("as before"),
            Wanted::Changed => f.write_str("another than before"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;

    use super::*;

    const START: Time = Time::from_nanos(10_000_000_000);

    fn history() -> History {
        let mut history = History::default();
        let mut note = |seconds: u64, ready: &str, uid: &str, endpoints: &[&str]| {
            let one = |text: &str| Fact::One(text.to_owned());
            let many = endpoints.iter().map(|text| (*text).to_owned()).collect();
            let facts = [("ready", one(ready)), ("uid", one(uid)), ("serving", Fact::Many(many))];
            history.note(Time::ZERO + Span::from_secs(seconds), facts.into());
        };
        note(0, "true", "u1", &["demo/a", "demo/b"]);
        note(52, "false", "u1", &["demo/b"]);
        note(52, "false", "u1", &["demo/b"]);
        note(60, "true", "u2", &["demo/a", "demo/b"]);
        history
    }

    fn check(entry: &str) -> (bool, String) {
        let expectation: StateExpectation = serde_saphyr::from_str(entry).expect(entry);
        let check = expectation.check(&history(), START, START + Span::from_secs(100));
        (check.ok, check.detail)
    }

    #[test]
    fn a_state_comes_within_its_window_and_not_before() {
        let within =
            |window: &str| check(&format!("{{object: pod a/b, within: {window}, is: {{ready: false}}}}"));
        assert_eq!(within("[40s, 45s]"), (true, "it came 42 s after the start".to_owned()));
        assert_eq!(within("[43s, 45s]"), (false, "it came 42 s after the start".to_owned()));
        assert_eq!(within("[0s, 41s]").1, "it came 42 s after the start; before that ready is true");
        let never = check("{object: pod a/b, within: [0s, 60s], is: {ready: false, uid: changed}}");
        assert_eq!(
            never,
            (false, "it did not come; the nearest was 50 s after the start: ready is true".to_owned())
        );
    }

    #[test]
    fn a_state_holds_at_a_time_or_all_the_time() {
        assert!(check("{object: pod a/b, at: 41s, is: {ready: true, serving: [demo/b, demo/a]}}").0);
        assert!(check("{object: pod a/b, throughout: [42s, 49s], is: {serving: demo/b, uid: same}}").0);
        let (ok, detail) = check("{object: pod a/b, throughout: [0s, 60s], is: {ready: true}}");
        assert_eq!((ok, detail.as_str()), (false, "42 s after the start: ready is false"));
        let (ok, detail) = check("{object: pod a/b, at: 55s, is: {uid: same}}");
        assert_eq!((ok, detail.as_str()), (false, "55 s after the start: uid is u2 (it was u1)"));
        assert!(check("{object: pod a/b, at: 55s, is: {uid: changed}}").0);
        assert!(
            !check("{object: pod a/b, at: 55s, is: {ip: changed}}").0,
            "what is not there has not changed"
        );
    }
}
