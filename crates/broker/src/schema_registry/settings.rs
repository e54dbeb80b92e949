//! The registry's two settings: how new schemas have to fit old ones, and whether anything may be written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a new schema of a subject has to fit the earlier ones (redpanda.md 3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Compatibility {
    None,
    #[default]
    Backward,
    BackwardTransitive,
    Forward,
    ForwardTransitive,
    Full,
    FullTransitive,
}

impl Compatibility {
    pub const ALL: [Compatibility; 7] = [
        Compatibility::None,
        Compatibility::Backward,
        Compatibility::BackwardTransitive,
        Compatibility::Forward,
        Compatibility::ForwardTransitive,
        Compatibility::Full,
        Compatibility::FullTransitive,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Compatibility::None => "NONE",
            Compatibility::Backward => "BACKWARD",
            Compatibility::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Compatibility::Forward => "FORWARD",
            Compatibility::ForwardTransitive => "FORWARD_TRANSITIVE",
            Compatibility::Full => "FULL",
            Compatibility::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    pub fn parse(text: &str) -> Option<Compatibility> {
        Compatibility::ALL.into_iter().find(|level| level.as_str() == text)
    }

    /// Whether the new schema has to read data of the old one.
    pub fn backward(self) -> bool {
        !matches!(self, Compatibility::None | Compatibility::Forward | Compatibility::ForwardTransitive)
    }

    /// Whether the old schema has to read data of the new one.
    pub fn forward(self) -> bool {
        !matches!(self, Compatibility::None | Compatibility::Backward | Compatibility::BackwardTransitive)
    }

    /// Whether all earlier versions count, and not the last alone.
    pub fn transitive(self) -> bool {
        matches!(
            self,
            Compatibility::BackwardTransitive
                | Compatibility::ForwardTransitive
                | Compatibility::FullTransitive
        )
    }
}

impl fmt::Display for Compatibility {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What may be written (redpanda.md 3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Mode {
    #[default]
    ReadWrite,
    ReadOnly,
    /// Schemas come with ids and versions of their own, and need not fit earlier ones.
    Import,
}

impl Mode {
    pub fn parse(text: &str) -> Option<Mode> {
        [Mode::ReadWrite, Mode::ReadOnly, Mode::Import].into_iter().find(|mode| mode.as_str() == text)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Mode::ReadWrite => "READWRITE",
            Mode::ReadOnly => "READONLY",
            Mode::Import => "IMPORT",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_topic() {
        for level in Compatibility::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
            assert_eq!(Compatibility::parse(level.as_str()), Some(level));
        }
        for mode in [Mode::ReadWrite, Mode::ReadOnly, Mode::Import] {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
            assert_eq!(Mode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!((Compatibility::parse("backward"), Mode::parse("")), (None, None));
    }
}
