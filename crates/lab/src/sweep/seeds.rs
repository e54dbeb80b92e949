//! Which seeds a sweep runs, and which of them one of several machines runs.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The variable in which Kubernetes gives a pod of an Indexed Job its index.
pub const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The variable in which the Job's manifest has to repeat `spec.completions`: Kubernetes does not give it to pods.
pub const COMPLETIONS_VARIABLE: &str = "JOB_COMPLETIONS";

/// Seeds from the first up to, and without, the end: `0..10000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seeds {
    /// The first seed.
    pub first: u64,
    /// The first seed that is no part of it; greater than the first.
    pub end: u64,
}

/// One of several parts of a sweep: `0/4` is the first of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    /// Which part, from 0.
    index: u64,
    /// Of how many.
    of: u64,
}

/// The text names no seeds, or no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SeedsError {
    /// No range.
    #[error("`{0}` are no seeds; expected the first and the one after the last, such as `0..1000`")]
    Seeds(String),
    /// An empty range.
    #[error("`{0}` holds no seed: the end is not part of it; expected it to be greater than the first")]
    Empty(String),
    /// No shard.
    #[error("`{0}` is no shard; expected its index from 0 and how many there are, such as `0/4` to `3/4`")]
    Shard(String),
    /// A Job without its completions.
    #[error(
        "{INDEX_VARIABLE} is set, and {COMPLETIONS_VARIABLE} is not: Kubernetes tells a pod its index and not how many \
         there are; set {COMPLETIONS_VARIABLE} to the Job's spec.completions, or give --shard I/N"
    )]
    NoCompletions,
    /// A Job's variables that make no shard.
    #[error(
        "{INDEX_VARIABLE} is `{index}` and {COMPLETIONS_VARIABLE} is `{completions}`; expected an index from 0 and the \
         Job's spec.completions, which is greater"
    )]
    Environment {
        /// The index as it is written.
        index: String,
        /// The completions as they are written.
        completions: String,
    },
}

impl Seeds {
    /// How many seeds there are.
    pub fn count(self) -> u64 {
        self.end - self.first
    }

    /// The seeds in order.
    pub fn range(self) -> Range<u64> {
        self.first..self.end
    }

    /// Whether the seed is one of them.
    pub fn contains(self, seed: u64) -> bool {
        self.range().contains(&seed)
    }

    /// The part that a shard runs: neighbours, so that the parts follow each other. Parts differ by one seed at most; a
    /// part is empty where there are more shards than seeds.
    pub fn part(self, shard: Shard) -> Range<u64> {
        let start = |index: u64| {
            let offset = u128::from(self.count()) * u128::from(index) / u128::from(shard.of);
            self.first + u64::try_from(offset).unwrap_or(u64::MAX)
        };
        start(shard.index)..start(shard.index + 1)
    }
}

impl Shard {
    /// The only part.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// The shard that Kubernetes makes this process, if it is a pod of an Indexed Job; `variable` gives the environment.
    ///
    /// # Errors
    /// If the variables are there and make no shard.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Shard>, SeedsError> {
        let Some(index) = variable(INDEX_VARIABLE) else { return Ok(None) };
        let completions = variable(COMPLETIONS_VARIABLE).ok_or(SeedsError::NoCompletions)?;
        match format!("{index}/{completions}").parse() {
            Ok(shard) => Ok(Some(shard)),
            Err(_) => Err(SeedsError::Environment { index, completions }),
        }
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let wrong = || SeedsError::Seeds(text.to_owned());
        let (first, end) = text.split_once("..").ok_or_else(wrong)?;
        let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
        let (first, end) = (number(first)?, number(end)?);
        if first >= end {
            return Err(SeedsError::Empty(text.to_owned()));
        }
        Ok(Seeds { first, end })
    }
}

impl FromStr for Shard {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let parse = || {
            let (index, of) = text.split_once('/')?;
            let (index, of) = (index.trim().parse::<u64>().ok()?, of.trim().parse::<u64>().ok()?);
            (index < of).then_some(Shard { index, of })
        };
        parse().ok_or_else(|| SeedsError::Shard(text.to_owned()))
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = SeedsError;

            fn try_from(text: String) -> Result<Self, SeedsError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )*};
}
as_text!(Seeds, Shard);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_and_shards_are_read_as_they_are_written() {
        for text in ["0..1", "5..10000", "0..18446744073709551615"] {
            assert_eq!(text.parse::<Seeds>().expect(text).to_string(), text);
        }
        for text in ["", "5", "..5", "5..", "a..b", "-1..5", "1...5", "0..18446744073709551616"] {
            assert_eq!(text.parse::<Seeds>(), Err(SeedsError::Seeds(text.to_owned())));
        }
        assert_eq!("5..5".parse::<Seeds>(), Err(SeedsError::Empty("5..5".to_owned())));
        assert_eq!("3/4".parse::<Shard>().map(|shard| shard.to_string()), Ok("3/4".to_owned()));
        for text in ["", "4/4", "1", "0/0", "-1/4", "a/b"] {
            assert_eq!(text.parse::<Shard>(), Err(SeedsError::Shard(text.to_owned())));
        }
    }

    #[test]
    fn a_pod_of_an_indexed_job_knows_its_shard() {
        let environment = |index: Option<&str>, completions: Option<&str>| {
            let (index, completions) = (index.map(str::to_owned), completions.map(str::to_owned));
            Shard::from_environment(|name| match name {
                INDEX_VARIABLE => index.clone(),
                COMPLETIONS_VARIABLE => completions.clone(),
                other => panic!("{other} is asked for"),
            })
        };
        assert_eq!(environment(Some("3"), Some("4")), Ok(Some(Shard { index: 3, of: 4 })));
        assert_eq!(environment(None, Some("4")), Ok(None));
        assert_eq!(environment(Some("3"), None), Err(SeedsError::NoCompletions));
        assert!(matches!(environment(Some("4"), Some("4")), Err(SeedsError::Environment { .. })));
    }

    proptest! {
        #[test]
        fn the_parts_of_all_shards_are_all_seeds(first in 0..u64::MAX / 2, count in 1_u64..100_000, of in 1_u64..50) {
            let seeds = Seeds { first, end: first + count };
            let parts: Vec<_> = (0..of).map(|index| seeds.part(Shard { index, of })).collect();
            prop_assert_eq!(parts[0].start, seeds.first);
            prop_assert_eq!(parts[parts.len() - 1].end, seeds.end);
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            let sizes = parts.iter().map(|part| part.end - part.start);
            prop_assert!(sizes.clone().max().unwrap_or(0) - sizes.min().unwrap_or(0) <= 1);
        }
    }
}
