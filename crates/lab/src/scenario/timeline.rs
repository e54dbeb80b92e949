//! The names that times count from, and how long the timeline is.

use std::collections::{BTreeMap, BTreeSet};

use hopwise_kube::source::nearest;

use super::problems::Problems;
use super::{Duration, Fault, Scenario, When};
use crate::report::event_kinds::EVENT_KINDS;

/// What is watched after the last time that the scenario names.
const AFTER_THE_LAST: Duration = Duration(hopwise_engine::Span::from_secs(1));

impl Scenario {
    /// How long the cluster is watched from the timeline's start.
    pub fn watched_for(&self) -> Duration {
        self.duration.unwrap_or_else(|| self.last_time())
    }

    /// When the last fault strikes, or is undone; none without faults.
    pub fn last_fault(&self) -> Option<Duration> {
        let latest = self.latest_times();
        let of = |fault: &Fault| {
            let name = fault.end_name().unwrap_or_else(|| fault.name());
            latest.get(&name).copied().unwrap_or(fault.at)
        };
        self.faults.iter().map(of).max()
    }

    /// The last time that the scenario names, and a little more. A time that counts from an event counts from the end of
    /// the event's window.
    fn last_time(&self) -> Duration {
        let latest = self.latest_times();
        let of = |when: &When, end: Option<Duration>| {
            let start = when.after.as_ref().and_then(|name| latest.get(name)).copied().unwrap_or_default();
            start.plus(end.unwrap_or_default())
        };
        let faults = latest.values().copied();
        let events = self.expect.events.iter().map(|event| of(&event.when, event.ends()));
        let states = self.expect.states.iter().map(|state| of(&state.when, state.when.window.end()));
        let looks = self.observations.iter().map(|look| of(&look.when, look.when.window.end()));
        let drawn = self.draw.iter().map(|draw| draw.within[1]);
        let all = faults.chain(drawn).chain(events).chain(states).chain(looks);
        all.max().unwrap_or_default().plus(AFTER_THE_LAST)
    }

    /// The latest time of every name that times may count from.
    fn latest_times(&self) -> BTreeMap<String, Duration> {
        let mut latest: BTreeMap<String, Duration> = BTreeMap::new();
        let of = |latest: &BTreeMap<String, Duration>, after: Option<&String>| {
            after.and_then(|name| latest.get(name)).copied().unwrap_or_default()
        };
        for fault in &self.faults {
            let trigger = fault.when.as_ref();
            let start = of(&latest, trigger.and_then(|trigger| trigger.after.as_ref()));
            let waits = trigger.and_then(|trigger| trigger.event.as_ref()?.within).map(|[_, to]| to);
            let at = start.plus(waits.unwrap_or_default()).plus(fault.at);
            // Of several faults of one name the last counts.
            let end = at.plus(fault.lasts.unwrap_or_default());
            for (name, time) in
                [Some((fault.name(), at)), fault.end_name().map(|name| (name, end))].into_iter().flatten()
            {
                let known = latest.entry(name).or_default();
                *known = time.max(*known);
            }
        }
        for event in &self.expect.events {
            let Some(name) = &event.name else { continue };
            let start = of(&latest, event.when.after.as_ref());
            latest.insert(name.clone(), start.plus(event.ends().unwrap_or_default()));
        }
        latest
    }

    pub(super) fn check_timeline(&self, problems: &mut Problems) {
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut twice: BTreeSet<String> = BTreeSet::new();
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_trigger(&format!("faults[{index}].when"), fault, &names, &twice, problems);
            let name = fault.name();
            let is_new = names.insert(name.clone());
            if fault.name.is_some() {
                let what = format!("another fault is called `{name}`");
                problems.unless(is_new, &format!("faults[{index}].name"), &what, "a name of its own");
            } else if !is_new {
                twice.insert(name);
            }
            if let Some(end) = fault.end_name()
                && !names.insert(end.clone())
            {
                twice.insert(end);
            }
        }
        for (index, event) in self.expect.events.iter().enumerate() {
            let field = format!("expect.events[{index}]");
            check_kind(&event.kind, &format!("{field}.kind"), problems);
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

    /// What a fault waits for stands further up, and comes in a time that is known.
    fn check_trigger(
        &self,
        field: &str,
        fault: &Fault,
        names: &BTreeSet<String>,
        twice: &BTreeSet<String>,
        problems: &mut Problems,
    ) {
        let Some(trigger) = &fault.when else { return };
        check_after(trigger.after.as_ref(), field, "no fault before it", names, twice, problems);
        let ends = trigger.event.as_ref().is_none_or(|event| event.within.is_some());
        let what = "nobody knows how long to wait for the event";
        let expected = "`within: [FROM, TO]` beside `event`, or a `duration` of the scenario";
        problems.unless(ends || self.duration.is_some(), field, what, expected);
        if let Some(event) = &trigger.event {
            check_kind(&event.kind, &format!("{field}.event"), problems);
        }
    }
}

/// An event of a kind that there is none of never comes, so that one that must not come would always be well.
fn check_kind(kind: &str, field: &str, problems: &mut Problems) {
    let kinds = || EVENT_KINDS.iter().map(|(kind, _)| *kind);
    let expected = match nearest(kind, kinds()) {
        Some(nearest) => format!("`{nearest}` perhaps, or another kind that docs/page.md lists"),
        None => "a kind that docs/page.md lists, such as `pod.ready`".to_owned(),
    };
    let what = format!("there are no events of kind `{kind}`");
    problems.unless(kinds().any(|known| known == kind), field, &what, &expected);
}

fn check_reference(
    when: &When,
    field: &str,
    names: &BTreeSet<String>,
    twice: &BTreeSet<String>,
    problems: &mut Problems,
) {
    check_after(when.after.as_ref(), field, "no fault, and no event before it,", names, twice, problems);
}

fn check_after(
    after: Option<&String>,
    field: &str,
    nothing: &str,
    names: &BTreeSet<String>,
    twice: &BTreeSet<String>,
    problems: &mut Problems,
) {
    let Some(after) = after else { return };
    let field = format!("{field}.after");
    let listed = || names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let known = match nearest(after, names.iter().map(String::as_str)) {
        Some(near) => format!("`{near}` perhaps, or another of {}", listed()),
        None if names.is_empty() => {
            "no `after`: there are no faults and no named events before it".to_owned()
        }
        None => format!("one of {}", listed()),
    };
    let what = format!("{nothing} is called `{after}`");
    problems.unless(names.contains(after), &field, &what, &known);
    let what = format!("several faults are called `{after}`");
    problems.unless(!twice.contains(after), &field, &what, "a fault with a `name` of its own");
}
