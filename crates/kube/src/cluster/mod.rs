//! A cluster that runs.

pub mod environment;
pub mod mounts;
pub mod programs;
