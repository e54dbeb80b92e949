//! Where a case comes from.

use std::fmt;

use serde::Deserialize;

/// A test of an upstream repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    path: String,
    test: String,
}

impl Origin {
    /// Several origins as one text.
    pub fn join(origins: &[Origin]) -> String {
        origins.iter().map(Origin::to_string).collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.test)
    }
}
