//! Cases of `resolver.json`.

use libtest_mimic::Trial;

/// The cases.
pub fn trials() -> Vec<Trial> {
    Vec::new()
}
