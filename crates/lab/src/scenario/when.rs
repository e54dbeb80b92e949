//! Times on the timeline: a moment, or a window, after the timeline's start, a fault, or an expected event.

use std::fmt;

use hopwise_engine::{Span, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// When something has to be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The fault or expected event that the times count from; the timeline's start if absent.
    pub after: Option<String>,
    /// The times.
    pub window: Window,
}

/// A moment or a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// At this time.
    At(Duration),
    /// At some time between the two, and not earlier.
    Within([Duration; 2]),
    /// All the time between the two.
    Throughout([Duration; 2]),
    /// At any time up to the end of the run.
    Ever,
}

/// The fields that say when, in the entries of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct WhenFields {
    pub after: Option<String>,
    pub at: Option<Duration>,
    pub within: Option<[Duration; 2]>,
    pub throughout: Option<[Duration; 2]>,
}

impl WhenFields {
    /// The times, if at most one of the fields is there and windows are not empty.
    pub(super) fn when(self) -> Result<When, String> {
        let WhenFields { after, at, within, throughout } = self;
        let window = match (at, within, throughout) {
            (Some(at), None, None) => Window::At(at),
            (None, Some(window), None) => Window::Within(window),
            (None, None, Some(window)) => Window::Throughout(window),
            (None, None, None) => Window::Ever,
            _ => return Err("expected at most one of `at`, `within` and `throughout`".to_owned()),
        };
        if let Window::Within([from, to]) | Window::Throughout([from, to]) = window
            && from > to
        {
            return Err(format!("the window from {from} to {to} ends before it begins"));
        }
        Ok(When { after, window })
    }

    pub(super) fn of(when: &When) -> WhenFields {
        let fields = WhenFields { after: when.after.clone(), ..WhenFields::default() };
        match when.window {
            Window::At(at) => WhenFields { at: Some(at), ..fields },
            Window::Within(window) => WhenFields { within: Some(window), ..fields },
            Window::Throughout(window) => WhenFields { throughout: Some(window), ..fields },
            Window::Ever => fields,
        }
    }
}

impl Window {
    /// The last moment that counts; none if it goes to the end of the run.
    pub fn end(self) -> Option<Duration> {
        match self {
            Window::At(at) => Some(at),
            Window::Within([_, to]) | Window::Throughout([_, to]) => Some(to),
            Window::Ever => None,
        }
    }

    /// The first and last moment, as times of the simulation; `start` is what they count from, `end` the run's end.
    pub fn bounds(self, start: Time, end: Time) -> (Time, Time) {
        let at = |duration: Duration| start + duration.span();
        match self {
            Window::At(moment) => (at(moment), at(moment)),
            Window::Within([from, to]) | Window::Throughout([from, to]) => (at(from), at(to)),
            Window::Ever => (start, end.max(start)),
        }
    }
}

impl When {
    /// What the times count from, in words.
    pub fn reference(&self) -> &str {
        self.after.as_deref().unwrap_or("the start")
    }

    /// A time, in words, as it counts from `start`.
    pub fn tell(&self, at: Time, start: Time) -> String {
        format!("{} after {}", seconds(at - start), self.reference())
    }
}

/// Seconds with at most three digits behind the point.
pub fn seconds(span: Span) -> String {
    let milliseconds = (span.as_nanos() + 500_000) / 1_000_000;
    let text = format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.reference();
        let s = |duration: Duration| seconds(duration.span());
        match self.window {
            Window::At(at) => write!(f, "{} after {after}", s(at)),
            Window::Within([from, to]) => write!(f, "{} to {} after {after}", s(from), s(to)),
            Window::Throughout([from, to]) => {
                write!(f, "all the time from {} to {} after {after}", s(from), s(to))
            }
            Window::Ever => write!(f, "after {after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Duration {
        text.parse().expect(text)
    }

    #[test]
    fn a_window_has_one_form_and_does_not_end_before_it_begins() {
        let within = WhenFields { within: Some([duration("40s"), duration("1m")]), ..WhenFields::default() };
        let when = within.clone().when().expect("a window");
        assert_eq!(when.to_string(), "40 s to 60 s after the start");
        assert_eq!(WhenFields::of(&when), within);
        assert!(WhenFields { at: Some(duration("1s")), ..within }.when().is_err());
        let reversed = [duration("2s"), duration("1500ms")];
        let error = WhenFields { throughout: Some(reversed), ..WhenFields::default() }.when();
        assert_eq!(error.expect_err("reversed"), "the window from 2s to 1500ms ends before it begins");
    }

    #[test]
    fn times_are_told_from_what_they_count_from() {
        let fields =
            WhenFields { after: Some("crash".into()), at: Some(duration("250ms")), ..WhenFields::default() };
        let when = fields.when().expect("a moment");
        let start = Time::from_nanos(5_000_000_000);
        assert_eq!(when.to_string(), "0.25 s after crash");
        assert_eq!(when.tell(start + Span::from_millis(1_234), start), "1.234 s after crash");
        assert_eq!(when.window.bounds(start, start).0, start + Span::from_millis(250));
    }
}
