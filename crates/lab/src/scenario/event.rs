//! Events that have to come, or must not, and whether they did.

use hopwise_engine::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::when::WhenFields;
use super::{Duration, ObjectName, When, Window};
use crate::report::run::{Check, Event};

/// An event that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "EventFields", into = "EventFields")]
pub struct EventExpectation {
    /// What other expectations call it.
    pub name: Option<String>,
    /// The kind, e.g. `pod.ready`.
    pub kind: String,
    /// What it happens to; anything if absent.
    pub object: Option<ObjectName>,
    /// What its details have to contain.
    pub detail: Option<String>,
    /// When.
    pub when: When,
    /// Whether it must not happen then.
    pub never: bool,
}

/// An expectation as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct EventFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<[Duration; 2]>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    never: bool,
}

impl TryFrom<EventFields> for EventExpectation {
    type Error = String;

    fn try_from(fields: EventFields) -> Result<Self, String> {
        let EventFields { name, kind, object, detail, after, within, never } = fields;
        if kind.is_empty() {
            return Err("an expected event needs its `kind`, such as `pod.ready`".to_owned());
        }
        if never && name.is_some() {
            return Err("an event that never comes has no name: nothing can come after it".to_owned());
        }
        let when = WhenFields { after, within, ..WhenFields::default() }.when()?;
        Ok(EventExpectation { name, kind, object, detail, when, never })
    }
}

impl From<EventExpectation> for EventFields {
    fn from(expectation: EventExpectation) -> Self {
        let EventExpectation { name, kind, object, detail, when, never } = expectation;
        let WhenFields { after, within, .. } = WhenFields::of(&when);
        EventFields { name, kind, object, detail, after, within, never }
    }
}

impl EventExpectation {
    /// What is expected, in words.
    pub fn title(&self) -> String {
        let Self { kind, when, never, .. } = self;
        let of = self.object.as_ref().map(|object| format!(" of {object}")).unwrap_or_default();
        let with = self.detail.as_ref().map(|detail| format!(" with \"{detail}\"")).unwrap_or_default();
        let no = if *never { "no " } else { "" };
        format!("{no}{kind}{of}{with} {when}")
    }

    /// Whether an event is of the kind, of the object, and with the details that are expected.
    pub fn fits(&self, event: &Event) -> bool {
        self.kind == event.kind
            && self.object.as_ref().is_none_or(|object| object.is(&event.object))
            && self.detail.as_ref().is_none_or(|detail| event.detail.contains(detail))
    }

    /// The first event that fits, from the time on that `start` is.
    pub fn first<'a>(&self, events: &'a [Event], start: Time) -> Option<&'a Event> {
        events.iter().find(|event| event.at_ns >= start.as_nanos() && self.fits(event))
    }

    /// Compares with what happened. `start` is what the times count from, `end` the end of the run.
    pub fn check(&self, events: &[Event], start: Time, end: Time) -> Check {
        let (from, to) = self.when.window.bounds(start, end);
        let at = |event: &Event| Time::from_nanos(event.at_ns);
        let first = self.first(events, start);
        let within = events.iter().find(|event| self.fits(event) && at(event) >= from && at(event) <= to);
        let tell = |event: &Event| self.when.tell(at(event), start);
        // An event that comes before the window fails it too: it has not waited as long as it should.
        let (ok, detail) = match (self.never, first, within) {
            (true, _, Some(event)) => (false, format!("it came {}: {}", tell(event), event.detail)),
            (true, ..) => (true, "it did not come".to_owned()),
            (false, Some(event), _) if at(event) >= from && at(event) <= to => {
                (true, format!("it came {}", tell(event)))
            }
            (false, Some(event), _) => (false, format!("it came {}", tell(event))),
            (false, None, _) => (false, self.nearest(events, start)),
        };
        Check { name: self.title(), ok, detail: detail.trim_end_matches([':', ' ']).to_owned() }
    }

    /// What came instead of an event that did not come at all.
    fn nearest(&self, events: &[Event], start: Time) -> String {
        let later: Vec<&Event> = events.iter().filter(|event| event.at_ns >= start.as_nanos()).collect();
        let tell = |event: &Event| self.when.tell(Time::from_nanos(event.at_ns), start);
        if let Some(event) = later.iter().find(|event| event.kind == self.kind) {
            return format!(
                "it did not come; {} of {} came {} ({})",
                event.kind,
                event.object,
                tell(event),
                event.detail
            );
        }
        let of_object = |event: &&&Event| self.object.as_ref().is_some_and(|object| object.is(&event.object));
        let others: Vec<String> =
            later.iter().filter(of_object).map(|event| format!("{} {}", event.kind, tell(event))).collect();
        match others.as_slice() {
            [] => format!("it did not come, nor any other {} event", self.kind),
            others => format!("it did not come; what did: {}", others.join(", ")),
        }
    }

    /// The last moment that counts.
    pub(super) fn ends(&self) -> Option<Duration> {
        match self.when.window {
            Window::Ever => None,
            window => window.end(),
        }
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;

    use super::*;

    const START: Time = Time::from_nanos(10_000_000_000);

    fn check(entry: &str) -> (bool, String) {
        let event = |seconds: u64, kind: &str, object: &str, detail: &str| Event {
            at_ns: seconds * 1_000_000_000,
            kind: kind.to_owned(),
            object: object.to_owned(),
            detail: detail.to_owned(),
        };
        let events = [
            event(5, "pod.ready", "pod demo/echo-0", ""),
            event(12, "pod.deleted", "pod demo/echo-0", "by its controller"),
            event(52, "pod.ready", "pod demo/echo-0", ""),
            event(70, "pod.ready", "pod demo/echo-0", ""),
        ];
        let expectation: EventExpectation = serde_saphyr::from_str(entry).expect(entry);
        let check = expectation.check(&events, START, START + Span::from_secs(100));
        (check.ok, check.detail)
    }

    #[test]
    fn the_first_event_after_the_start_has_to_be_within_the_window() {
        let ready =
            |window: &str| check(&format!("{{kind: pod.ready, object: pod demo/echo-0, within: {window}}}"));
        assert_eq!(ready("[40s, 45s]"), (true, "it came 42 s after the start".to_owned()));
        assert_eq!(ready("[0s, 41s]"), (false, "it came 42 s after the start".to_owned()));
        assert_eq!(
            ready("[50s, 70s]"),
            (false, "it came 42 s after the start".to_owned()),
            "it came too early"
        );
        assert!(check("{kind: pod.deleted, detail: its controller}").0);
    }

    #[test]
    fn what_did_not_come_is_told_with_what_did() {
        let (ok, detail) = check("{kind: pod.ready, object: pod demo/echo-1, within: [0s, 1m]}");
        assert_eq!(
            (ok, detail.as_str()),
            (false, "it did not come; pod.ready of pod demo/echo-0 came 42 s after the start ()")
        );
        let (_, detail) = check("{kind: node.not_ready, object: node node-1}");
        assert_eq!(detail, "it did not come, nor any other node.not_ready event");
        let (_, detail) = check("{kind: pod.stopped, object: pod demo/echo-0}");
        assert!(detail.starts_with("it did not come; what did: pod.deleted 2 s after the start"), "{detail}");
    }

    #[test]
    fn what_must_never_come_fails_when_it_does() {
        assert_eq!(
            check("{kind: pod.deleted, never: true}"),
            (false, "it came 2 s after the start: by its controller".to_owned())
        );
        assert!(check("{kind: pod.deleted, never: true, within: [3s, 1h]}").0);
    }
}
