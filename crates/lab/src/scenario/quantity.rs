//! Durations and amounts of data as people write them: `250ms`, `1.5s`, `2 TB`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use hopwise_engine::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};

/// A length of virtual time: a number and one of `ns`, `us`, `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Duration(pub Span);

/// An amount of data: a number and one of `B`, `kB`, `MB`, `GB`, `TB` (powers of 1000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct DataSize(pub u64);

/// The text is no quantity of that kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantityError {
    /// It is no number with a unit.
    #[error("`{text}` is no {kind}; expected a number and one of {units}, such as `{example}`")]
    Unreadable {
        /// The text.
        text: String,
        /// What it should be.
        kind: &'static str,
        /// The units.
        units: String,
        /// One that can be read.
        example: &'static str,
    },
    /// It is a duration below zero.
    #[error("`{text}` is in the past, or less than no time; expected a time from `0s` on, such as `250ms`")]
    Past {
        /// The text.
        text: String,
    },
}

const TIME_UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const DATA_UNITS: [(&str, u64); 5] =
    [("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000)];

impl Duration {
    /// As the engine counts it.
    pub fn span(self) -> Span {
        self.0
    }

    /// The sum of the two; the longest duration there is if that is longer.
    pub fn plus(self, other: Duration) -> Duration {
        Duration(Span::from_nanos(self.0.as_nanos().saturating_add(other.0.as_nanos())))
    }
}

impl DataSize {
    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.strip_prefix('-').is_some_and(|rest| parse(rest, &TIME_UNITS).is_some()) {
            return Err(QuantityError::Past { text: text.to_owned() });
        }
        let nanoseconds =
            parse(text, &TIME_UNITS).ok_or_else(|| error(text, "duration", &TIME_UNITS, "250ms"))?;
        Ok(Duration(Span::from_nanos(nanoseconds)))
    }
}

impl FromStr for DataSize {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        parse(text, &DATA_UNITS)
            .map(DataSize)
            .ok_or_else(|| error(text, "amount of data", &DATA_UNITS, "1 TB"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0.as_nanos(), &TIME_UNITS)
    }
}

impl fmt::Display for DataSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, &DATA_UNITS)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Written { expected: "a number and a unit, such as `250ms`", kind: PhantomData })
    }
}

impl<'de> Deserialize<'de> for DataSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_str(Written { expected: "a number and a unit, such as `1 TB`", kind: PhantomData })
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema("A number and a unit, such as 250ms.", &TIME_UNITS)
    }
}

impl JsonSchema for DataSize {
    fn schema_name() -> Cow<'static, str> {
        "DataSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema("A number and a unit, such as 1 TB.", &DATA_UNITS)
    }
}

fn schema(description: &str, units: &[(&str, u64)]) -> Schema {
    let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("|");
    let pattern = format!(r"^\s*[0-9]+(\.[0-9]*)?\s*({units})\s*$");
    json_schema!({"description": description, "type": "string", "pattern": pattern})
}

/// Reads a quantity from its text; anything else is told what is expected, which quotes alone do not give.
struct Written<T> {
    expected: &'static str,
    kind: PhantomData<T>,
}

impl<T: FromStr<Err = QuantityError>> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> String {
        duration.to_string()
    }
}

impl From<DataSize> for String {
    fn from(size: DataSize) -> String {
        size.to_string()
    }
}

/// `number unit` in the smallest unit, exactly: digits after the point are allowed as far as they are whole there.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = (&text[..end], text[end..].trim_start());
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut total = whole.parse::<u64>().ok()?.checked_mul(*scale)?;
    let mut part = *scale;
    for digit in fraction.chars() {
        if part % 10 != 0 {
            return None;
        }
        part /= 10;
        total = total.checked_add(u64::from(digit.to_digit(10)?).checked_mul(part)?)?;
    }
    Some(total)
}

fn error(text: &str, kind: &'static str, units: &[(&str, u64)], example: &'static str) -> QuantityError {
    let units = units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    QuantityError::Unreadable { text: text.to_owned(), kind, units, example }
}

/// The greatest unit that divides the amount.
fn show(f: &mut fmt::Formatter<'_>, amount: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = units.iter().rev().find(|(_, scale)| amount != 0 && amount.is_multiple_of(*scale));
    let (name, scale) = fits.copied().unwrap_or((units[0].0, 1));
    write!(f, "{}{name}", amount / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_exact() {
        for (text, nanoseconds) in [
            ("250ms", 250_000_000),
            ("1.5s", 1_500_000_000),
            ("10us", 10_000),
            ("2m", 120_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse::<Duration>().expect(text).span(), Span::from_nanos(nanoseconds));
        }
        assert_eq!("2 TB".parse::<DataSize>().expect("a size").bytes(), 2_000_000_000_000);
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "5", "s", "-1s", "1.2.3s", "1.5ns", "5 parsecs", "99999999999999999999s", "9999999999h"]
        {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
        insta::assert_snapshot!("5 parsecs".parse::<Duration>().unwrap_err(), @"`5 parsecs` is no duration; expected a number and one of ns, us, ms, s, m, h, such as `250ms`");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanoseconds: u64, bytes: u64, text in ".{0,12}") {
            let duration = Duration(Span::from_nanos(nanoseconds));
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
            let size = DataSize(bytes);
            prop_assert_eq!(size.to_string().parse::<DataSize>(), Ok(size));
            let _ = text.parse::<Duration>();
        }
    }
}
