//! Expectations that cannot both hold.
//!
//! Two states of one object contradict each other if both have to be so at one moment, counted from the same time, and
//! want different values of one word; two events do if one must not come at a time at which the other must.

use std::collections::BTreeSet;

use hopwise_engine::Time;

use super::problems::Problems;
use super::{EventExpectation, Scenario, StateExpectation, Wanted, Window};

impl Scenario {
    pub(super) fn check_contradicting_expectations(&self, problems: &mut Problems) {
        let states = &self.expect.states;
        for (later, state) in states.iter().enumerate() {
            for (earlier, other) in states[..later].iter().enumerate() {
                if let Some(word) = contradicting_word(state, other) {
                    let what =
                        format!("expect.states[{earlier}] wants another `{word}` of {} then", state.object);
                    let field = format!("expect.states[{later}].is.{word}");
                    problems.unless(false, &field, &what, "the same value, or times that do not overlap");
                }
            }
        }
        let events = &self.expect.events;
        for (later, event) in events.iter().enumerate() {
            for (earlier, other) in events[..later].iter().enumerate() {
                let [never, wanted] = match (event.never, other.never) {
                    (true, false) => [event, other],
                    (false, true) => [other, event],
                    _ => continue,
                };
                if forbids(never, wanted) {
                    let what =
                        format!("expect.events[{earlier}] is about the same event, and says the opposite");
                    let field = format!("expect.events[{later}].kind");
                    problems.unless(
                        false,
                        &field,
                        &what,
                        "an event that may come, or must not, but not both",
                    );
                }
            }
        }
    }
}

/// The word of which two states want different values at one moment.
fn contradicting_word<'a>(one: &'a StateExpectation, other: &StateExpectation) -> Option<&'a str> {
    if one.object != other.object || one.when.after != other.when.after {
        return None;
    }
    let (first, second) = (span(one.when.window)?, span(other.when.window)?);
    if first.0 > second.1 || second.0 > first.1 {
        return None;
    }
    let differs = |word: &&String| other.is.get(*word).is_some_and(|wanted| !agree(&one.is[*word], wanted));
    one.is.keys().find(differs).map(String::as_str)
}

/// The time in which something has to be so all along; none if any moment of it will do.
fn span(window: Window) -> Option<(Time, Time)> {
    match window {
        Window::At(_) | Window::Throughout(_) => Some(window.bounds(Time::ZERO, Time::MAX)),
        Window::Within(_) | Window::Ever => None,
    }
}

/// Whether a value can be both.
fn agree(one: &Wanted, other: &Wanted) -> bool {
    match (one, other) {
        (Wanted::One(one), Wanted::One(other)) => one == other,
        (Wanted::Many(one), Wanted::Many(other)) => {
            one.iter().collect::<BTreeSet<_>>() == other.iter().collect::<BTreeSet<_>>()
        }
        (Wanted::Same, Wanted::Changed) | (Wanted::Changed, Wanted::Same) => false,
        // A list of one is not the word itself; what was before is not known.
        (Wanted::One(_), Wanted::Many(_)) | (Wanted::Many(_), Wanted::One(_)) => false,
        _ => true,
    }
}

/// Whether an event that comes when `wanted` says is one that `never` forbids.
fn forbids(never: &EventExpectation, wanted: &EventExpectation) -> bool {
    let covers = never.kind == wanted.kind
        && never.when.after == wanted.when.after
        && never.object.as_ref().is_none_or(|object| wanted.object.as_ref() == Some(object))
        && never.detail.as_ref().is_none_or(|detail| {
            wanted.detail.as_ref().is_some_and(|wanted| wanted.contains(detail.as_str()))
        });
    let (from, to) = never.when.window.bounds(Time::ZERO, Time::MAX);
    let (start, end) = wanted.when.window.bounds(Time::ZERO, Time::MAX);
    covers && from <= start && end <= to
}

#[cfg(test)]
mod tests {
    use super::super::{Problem, Scenario};

    fn problems(expect: &str) -> String {
        let text = format!("name: x\ncluster: {{}}\nmanifests: [m]\nexpect:\n{expect}");
        let scenario: Scenario =
            serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        scenario.problems().iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn states_that_cannot_both_be_are_told() {
        let two = |first: &str, second: &str| {
            problems(&format!(
                "  states:\n    - {{object: pod a/b, {first}}}\n    - {{object: pod a/b, {second}}}\n"
            ))
        };
        insta::assert_snapshot!(two("at: 5s, is: {ready: true}", "throughout: [1s, 9s], is: {ready: false}"), @"expect.states[1].is.ready: expect.states[0] wants another `ready` of pod a/b then; expected the same value, or times that do not overlap");
        for (first, second) in [
            ("at: 5s, is: {ready: true}", "at: 6s, is: {ready: false}"),
            ("at: 5s, is: {ready: true}", "at: 5s, is: {phase: Running}"),
            ("at: 5s, is: {ready: true}", "within: [1s, 9s], is: {ready: false}"),
            ("at: 5s, is: {uid: same}", "at: 5s, is: {uid: x}"),
        ] {
            assert_eq!(two(first, second), "", "{first} and {second}");
        }
    }

    #[test]
    fn an_event_that_must_and_must_not_come_is_told() {
        let two = |first: &str, second: &str| {
            problems(&format!(
                "  events:\n    - {{kind: pod.ready, {first}}}\n    - {{kind: pod.ready, {second}}}\n"
            ))
        };
        insta::assert_snapshot!(two("never: true", "object: pod a/b, within: [1s, 9s]"), @"expect.events[1].kind: expect.events[0] is about the same event, and says the opposite; expected an event that may come, or must not, but not both");
        for (first, second) in [
            ("never: true, object: pod a/c", "object: pod a/b, within: [1s, 9s]"),
            ("never: true, within: [0s, 5s]", "object: pod a/b, within: [1s, 9s]"),
            ("object: pod a/b, within: [1s, 9s]", "object: pod a/b, within: [1s, 9s]"),
        ] {
            assert_eq!(two(first, second), "", "{first} and {second}");
        }
    }
}
