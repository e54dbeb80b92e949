//! Case files: where they are, how they are read, and how a case becomes a test.

use std::fmt::Display;
use std::path::PathBuf;

use libtest_mimic::{Failed, Trial};
use serde::de::DeserializeOwned;

/// Reads a case file. `T` has to deny unknown fields, all the way down.
///
/// # Panics
/// If the file is not there, is not JSON, or has a field that `T` does not know.
pub fn read<T: DeserializeOwned>(file: &str) -> T {
    let path = directory().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    serde_path_to_error::deserialize(&mut deserializer)
        .unwrap_or_else(|error| panic!("{}: {}: {}", path.display(), error.path(), error.inner()))
}

fn directory() -> PathBuf {
    let ours = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("cases");
    std::env::var_os("HOPWISE_CASES").map_or_else(ours, PathBuf::from)
}

/// A case as a test: `run` says what differs.
pub fn trial(
    file: &str,
    id: &str,
    origin: impl Display,
    run: impl FnOnce() -> Result<(), Difference> + Send + 'static,
) -> Trial {
    let (id, origin) = (id.to_owned(), origin.to_string());
    Trial::test(format!("{file}/{id}"), move || {
        run().map_err(|Difference { expected, got }| {
            Failed::from(format!("{id}\n  origin:   {origin}\n  expected: {expected}\n  got:      {got}"))
        })
    })
}

/// What was expected, and what came instead.
#[derive(Debug)]
pub struct Difference {
    expected: String,
    got: String,
}

/// An error unless the two are equal.
///
/// # Errors
/// If they differ.
pub fn equal<T: PartialEq + std::fmt::Debug>(expected: &T, got: &T) -> Result<(), Difference> {
    if expected == got {
        return Ok(());
    }
    Err(Difference::new(format!("{expected:?}"), format!("{got:?}")))
}

impl Difference {
    /// A difference in words.
    pub fn new(expected: impl Into<String>, got: impl Into<String>) -> Difference {
        Difference { expected: expected.into(), got: got.into() }
    }
}
