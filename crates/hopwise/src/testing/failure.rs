//! How a test ends, and what is told of a failure.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use hopwise_lab::shrink::without_numbers;

use super::here::Here;
use super::panics::Panicked;

/// What the `async fn` of a test may return: nothing, or a `Result` whose error can be boxed.
pub trait Outcome {
    /// The error in words, with its causes.
    ///
    /// # Errors
    /// If the test has failed.
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Into<Box<dyn Error>>> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| in_words(error.into().as_ref()))
    }
}

/// An error and its causes, each once.
fn in_words(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The cluster did not become ready.
    NotReady(String),
    /// A fault could not be played.
    Fault(String),
    /// The test's code panicked.
    Panicked(Panicked),
    /// The test returned an error.
    Returned(String),
    /// The simulation did not end, or a capture could not be written.
    Simulation(String),
    /// A second run with the same seed was another one.
    NotDeterministic(String),
}

impl Failure {
    /// Whether `other` is a failure for the same reason: the same panic by its place, or the same error but for numbers.
    pub fn is_like(&self, other: &Failure) -> bool {
        match (self, other) {
            (Failure::Panicked(left), Failure::Panicked(right)) if left.at.is_some() => left.at == right.at,
            (left, right) => {
                std::mem::discriminant(left) == std::mem::discriminant(right)
                    && without_numbers(&left.to_string()) == without_numbers(&right.to_string())
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotReady(why) => write!(f, "the cluster did not become ready: {why}"),
            Failure::Fault(why) => write!(f, "a fault cannot be played: {why}"),
            Failure::Panicked(Panicked { message, at: Some(at) }) => write!(f, "{message} (at {at})"),
            Failure::Panicked(Panicked { message, at: None }) => f.write_str(message),
            Failure::Returned(why) | Failure::Simulation(why) => f.write_str(why),
            Failure::NotDeterministic(difference) => write!(
                f,
                "the test is not deterministic: {difference}\n  \
                 (look for the machine's clock, unseeded randomness, and iteration over hash maps in the test's code)"
            ),
        }
    }
}

/// All that is told of a failure.
pub struct Told<'a> {
    /// The test.
    pub here: &'a Here,
    /// The seed.
    pub seed: u64,
    /// What failed.
    pub failure: &'a Failure,
    /// How many of how many faults are enough for it, and the scenario file that holds them.
    pub shrunk: Option<(usize, usize, PathBuf)>,
    /// Where the captures are.
    pub captures: Option<PathBuf>,
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} fails with seed {}: {}", self.here.path(), self.seed, self.failure)?;
        write!(f, "  replay:  {}", self.here.replay(self.seed))?;
        if let Some((kept, of, file)) = &self.shrunk {
            let file = file.display();
            write!(
                f,
                "\n  shrunk:  {file} ({kept} of {of} faults are enough; HOPWISE_FAULTS={file} plays them)"
            )?;
        }
        if let Some(directory) = &self.captures {
            write!(f, "\n  capture: {} (one pcapng file per device)", directory.display())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panicked(message: &str, at: &str) -> Failure {
        Failure::Panicked(Panicked { message: message.into(), at: Some(at.into()) })
    }

    #[test]
    fn failures_are_alike_by_place_or_by_words_without_numbers() {
        assert!(panicked("7 lost", "a.rs:1:1").is_like(&panicked("9 found", "a.rs:1:1")));
        assert!(!panicked("7 lost", "a.rs:1:1").is_like(&panicked("7 lost", "a.rs:2:1")));
        let returned = |text: &str| Failure::Returned(text.into());
        assert!(returned("no answer after 3 s").is_like(&returned("no answer after 17 s")));
        assert!(!returned("no answer").is_like(&returned("refused")));
        assert!(!returned("no answer").is_like(&Failure::Simulation("no answer".into())));
    }

    #[test]
    fn errors_are_told_with_their_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("the request failed")]
        struct Outer(#[source] std::io::Error);
        let failed: Result<(), Outer> = Err(Outer(std::io::Error::other("reset by peer")));
        assert_eq!(failed.into_result(), Err("the request failed: reset by peer".to_owned()));
        let plain: Result<(), String> = Err("nothing came".into());
        assert_eq!(plain.into_result(), Err("nothing came".to_owned()));
        assert_eq!(().into_result(), Ok(()));
    }
}
