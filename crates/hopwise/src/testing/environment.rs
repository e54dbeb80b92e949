//! What the environment says about how tests are run.

use std::ops::Range;
use std::path::PathBuf;

/// What is asked for besides what the test itself says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The seeds instead of the test's own: `HOPWISE_SEED=N` or `HOPWISE_SEEDS=A..B` (without B).
    pub seeds: Option<Range<u64>>,
    /// Whether each run is made twice and compared: `CI` or `HOPWISE_TWICE` is set to anything but `0`, `false` or nothing.
    pub twice: bool,
    /// A scenario file whose faults are played instead of the test's own: `HOPWISE_FAULTS=FILE`.
    pub faults: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// A variable that cannot be read, and what it should look like.
    pub fn read() -> Result<Environment, String> {
        Environment::of(|name| std::env::var(name).ok())
    }

    /// That in which each variable is what `value_of` says.
    fn of(value_of: impl Fn(&str) -> Option<String>) -> Result<Environment, String> {
        let one = value_of("HOPWISE_SEED").map(|text| match text.trim().parse::<u64>() {
            Ok(seed) if seed < u64::MAX => Ok(seed..seed + 1),
            _ => Err(format!("HOPWISE_SEED={text} is no seed; expected a number such as HOPWISE_SEED=7")),
        });
        let many = value_of("HOPWISE_SEEDS").map(|text| range_of(&text));
        let is_set = |name: &str| value_of(name).is_some_and(|it| !matches!(it.trim(), "" | "0" | "false"));
        Ok(Environment {
            seeds: one.or(many).transpose()?,
            twice: is_set("CI") || is_set("HOPWISE_TWICE"),
            faults: value_of("HOPWISE_FAULTS").filter(|path| !path.is_empty()).map(PathBuf::from),
        })
    }
}

fn range_of(text: &str) -> Result<Range<u64>, String> {
    let range =
        text.split_once("..").and_then(|(from, to)| Some(from.trim().parse().ok()?..to.trim().parse().ok()?));
    range.filter(|range: &Range<u64>| !range.is_empty()).ok_or_else(|| {
        format!("HOPWISE_SEEDS={text} is no range of seeds; expected one such as HOPWISE_SEEDS=0..100, the second number not included")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Environment, String> {
        Environment::of(|name| {
            variables.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn seeds_and_twice_are_read() {
        assert_eq!(of(&[]), Ok(Environment::default()));
        assert_eq!(
            of(&[("HOPWISE_SEED", "7")]),
            Ok(Environment { seeds: Some(7..8), ..Environment::default() })
        );
        assert_eq!(
            of(&[("HOPWISE_SEEDS", "1..10"), ("CI", "true")]),
            Ok(Environment { seeds: Some(1..10), twice: true, faults: None })
        );
        assert_eq!(
            of(&[("HOPWISE_FAULTS", "a.yaml")]).map(|it| it.faults),
            Ok(Some(PathBuf::from("a.yaml")))
        );
        assert_eq!(of(&[("CI", "false"), ("HOPWISE_TWICE", "0")]), Ok(Environment::default()));
    }

    #[test]
    fn what_is_no_seed_is_an_error() {
        for (name, value) in [("HOPWISE_SEED", "x"), ("HOPWISE_SEEDS", "7"), ("HOPWISE_SEEDS", "7..7")] {
            let error = of(&[(name, value)]).expect_err("it cannot be read");
            assert!(error.starts_with(&format!("{name}={value} is no ")), "{error}");
        }
    }
}
