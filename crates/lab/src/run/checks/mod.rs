//! What is always checked after a run, one file per promise.

pub(super) mod placement;
