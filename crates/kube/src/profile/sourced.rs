//! A number together with where it comes from.
//!
//! Latencies, prices and load-balancer settings decide what a report says, so none of them stands alone: either a
//! source is named, or the number is marked as assumed and a note says why it was chosen.

use std::fmt;

use hopwise_engine::Span;
use serde::{Deserialize, Serialize};

/// A value and its origin. Exactly one of `source` and `assumed` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sourced<T> {
    /// The value; its unit is in the name of the field that holds it.
    pub value: T,
    /// Who says so: a page, a file, a measurement.
    #[serde(default)]
    pub source: Option<String>,
    /// When the source said so (a year or a date), if it is dated.
    #[serde(default)]
    pub date: Option<String>,
    /// Whether no source was found.
    #[serde(default)]
    pub assumed: bool,
    /// How the value follows from the source, or why it is assumed.
    #[serde(default)]
    pub note: Option<String>,
}

/// The delay of a link or device, one way, and its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Delay {
    /// The mean, in `unit`, one way.
    pub value: f64,
    /// The unit of `value` and `spread`.
    pub unit: Unit,
    /// The shape of the delay around its mean.
    #[serde(default)]
    pub distribution: Distribution,
    /// Half the width (uniform) or the standard deviation (normal), in `unit`; unused when constant.
    #[serde(default)]
    pub spread: f64,
    /// Who says so.
    #[serde(default)]
    pub source: Option<String>,
    /// When the source said so.
    #[serde(default)]
    pub date: Option<String>,
    /// Whether no source was found.
    #[serde(default)]
    pub assumed: bool,
    /// How the value follows from the source, or why it is assumed.
    #[serde(default)]
    pub note: Option<String>,
}

/// A unit of time in profile files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Nanoseconds.
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

/// The shape of a delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distribution {
    /// Always the mean.
    #[default]
    Constant,
    /// Equally likely from mean - spread to mean + spread.
    Uniform,
    /// Normal with standard deviation `spread`, cut off at zero.
    Normal,
}

impl<T> Sourced<T> {
    /// Where the value comes from, in one line.
    pub fn citation(&self) -> String {
        cite(self.source.as_deref(), self.date.as_deref(), self.note.as_deref())
    }
}

impl Delay {
    /// The mean, one way.
    pub fn mean(&self) -> Span {
        self.unit.span(self.value)
    }

    /// The spread, one way; zero when constant.
    pub fn spread(&self) -> Span {
        match self.distribution {
            Distribution::Constant => Span::ZERO,
            Distribution::Uniform | Distribution::Normal => self.unit.span(self.spread),
        }
    }

    /// Where the value comes from, in one line.
    pub fn citation(&self) -> String {
        cite(self.source.as_deref(), self.date.as_deref(), self.note.as_deref())
    }

    /// What is wrong with the delay, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        if !self.value.is_finite() || self.value < 0.0 {
            return Some(format!("a delay of zero or more is expected, found {}", self.value));
        }
        if !self.spread.is_finite() || self.spread < 0.0 {
            return Some(format!("a spread of zero or more is expected, found {}", self.spread));
        }
        if self.distribution == Distribution::Uniform && self.spread > self.value {
            return Some(format!(
                "a uniform spread of at most the value {} is expected (a delay cannot be negative), found {}",
                self.value, self.spread
            ));
        }
        origin_fault(self.source.as_deref(), self.assumed, self.note.as_deref())
    }
}

impl Unit {
    /// `value` of this unit, rounded to whole nanoseconds; zero if negative or not a number.
    fn span(self, value: f64) -> Span {
        let nanoseconds = match self {
            Unit::Nanoseconds => 1.0,
            Unit::Microseconds => 1e3,
            Unit::Milliseconds => 1e6,
            Unit::Seconds => 1e9,
        };
        // A float cast saturates, so an absurd value cannot panic.
        Span::from_nanos((value * nanoseconds).round() as u64)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::Nanoseconds => "ns",
            Unit::Microseconds => "us",
            Unit::Milliseconds => "ms",
            Unit::Seconds => "s",
        })
    }
}

/// The rule of this file: a source, or the admission that there is none and why the value was chosen.
pub(super) fn origin_fault(source: Option<&str>, assumed: bool, note: Option<&str>) -> Option<String> {
    match (source, assumed) {
        (Some(_), true) => Some("either `source` or `assumed: true` is expected, found both".to_owned()),
        (None, false) => {
            Some("`source`, or `assumed: true` with a `note`, is expected, found neither".to_owned())
        }
        (None, true) if note.is_none() => Some("a `note` is expected beside `assumed: true`".to_owned()),
        _ => None,
    }
}

fn cite(source: Option<&str>, date: Option<&str>, note: Option<&str>) -> String {
    let mut text = match (source, date) {
        (Some(source), Some(date)) => format!("{source} ({date})"),
        (Some(source), None) => source.to_owned(),
        (None, _) => "assumed".to_owned(),
    };
    if let Some(note) = note {
        text.push_str(": ");
        text.push_str(note);
    }
    text
}
