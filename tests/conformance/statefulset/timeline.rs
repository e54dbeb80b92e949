//! Cases that tell what happens to a pod of a set, second by second, after its node has lost power.

use super::format::{Expect, Moment};
use super::not_understood;
use crate::case::Difference;

/// Runs a timeline.
pub fn run(_timeline: &[Moment], _expect: &Expect) -> Result<(), Difference> {
    Err(not_understood("a timeline", "nodes that lose power"))
}
