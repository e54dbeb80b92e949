//! The names that times count from, and how long the timeline is.

use std::collections::{BTreeMap, BTreeSet};

use super::problems::Problems;
use super::{Duration, Scenario, When};

/// What is watched after the last time that the scenario names.
const AFTER_THE_LAST: Duration = Duration(hopwise_engine::Span::from_secs(1));

impl Scenario {
    /// How long the cluster is watched from the timeline's start.
    pub fn watched_for(&self) -> Duration {
        self.duration.unwrap_or_else(|| self.last_time())
    }

    /// When the last fault strikes, or is undone; none without faults.
    pub fn last_fault(&self) -> Option<Duration> {
        self.faults.iter().map(|fault| fault.at).max()
    }

    /// The last time that the scenario names, and a little more. A time that counts from an event counts from the end of
    /// the event's window.
    fn last_time(&self) -> Duration {
        let latest = self.latest_times();
        let of = |when: &When, end: Option<Duration>| {
            let start = when.after.as_ref().and_then(|name| latest.get(name)).copied().unwrap_or_default();
            plus(start, end.unwrap_or_default())
        };
        let faults = self.faults.iter().map(|fault| fault.at);
        let events = self.expect.events.iter().map(|event| of(&event.when, event.ends()));
        let states = self.expect.states.iter().map(|state| of(&state.when, state.when.window.end()));
        let looks = self.observations.iter().map(|look| of(&look.when, look.when.window.end()));
        let drawn = self.draw.iter().map(|draw| draw.within[1]);
        plus(
            faults.chain(drawn).chain(events).chain(states).chain(looks).max().unwrap_or_default(),
            AFTER_THE_LAST,
        )
    }

    /// The latest time of every name that times may count from.
    fn latest_times(&self) -> BTreeMap<String, Duration> {
        let mut latest: BTreeMap<String, Duration> =
            self.faults.iter().map(|fault| (fault.name(), fault.at)).collect();
        for event in &self.expect.events {
            let Some(name) = &event.name else { continue };
            let start =
                event.when.after.as_ref().and_then(|name| latest.get(name)).copied().unwrap_or_default();
            latest.insert(name.clone(), plus(start, event.ends().unwrap_or_default()));
        }
        latest
    }

    pub(super) fn check_timeline(&self, problems: &mut Problems) {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut twice: BTreeSet<String> = BTreeSet::new();
        for (index, fault) in self.faults.iter().enumerate() {
            let name = fault.name();
            let is_new = names.insert(name.clone());
            if fault.name.is_some() {
                let what = format!("another fault is called `{name}`");
                problems.unless(is_new, &format!("faults[{index}].name"), &what, "a name of its own");
            } else if !is_new {
                twice.insert(name);
            }
        }
        for (index, event) in self.expect.events.iter().enumerate() {
            let field = format!("expect.events[{index}]");
            check_reference(&event.when, &field, &names, &twice, problems);
            if let Some(name) = &event.name {
                let what = format!("something else is called `{name}`");
                problems.unless(
                    names.insert(name.clone()),
                    &format!("{field}.name"),
                    &what,
                    "a name of its own",
                );
            }
        }
        for (index, state) in self.expect.states.iter().enumerate() {
            check_reference(&state.when, &format!("expect.states[{index}]"), &names, &twice, problems);
        }
        for (index, look) in self.observations.iter().enumerate() {
            check_reference(&look.when, &format!("observations[{index}]"), &names, &twice, problems);
        }
        if let Some(duration) = self.duration {
            let last = self.last_time();
            let what = format!("the scenario names times up to {last}");
            problems.unless(duration >= last, "duration", &what, &format!("at least {last}, or no duration"));
        }
    }
}

fn check_reference(
    when: &When,
    field: &str,
    names: &BTreeSet<String>,
    twice: &BTreeSet<String>,
    problems: &mut Problems,
) {
    let Some(after) = &when.after else { return };
    let field = format!("{field}.after");
    let known = match names.is_empty() {
        true => "no `after`: there are no faults and no named events before it".to_owned(),
        false => format!("one of {}", names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    };
    let what = format!("no fault, and no event before it, is called `{after}`");
    problems.unless(names.contains(after), &field, &what, &known);
    let what = format!("several faults are called `{after}`");
    problems.unless(!twice.contains(after), &field, &what, "a fault with a `name` of its own");
}

fn plus(first: Duration, second: Duration) -> Duration {
    let sum = first.span().as_nanos().saturating_add(second.span().as_nanos());
    Duration(hopwise_engine::Span::from_nanos(sum))
}
