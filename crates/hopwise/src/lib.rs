//! A Kubernetes network in one process, for Kafka clients that must reach the right broker.
//!
//! This crate is the face of hopwise: the command line, and what a test needs to run the same things: load
//! manifests, [`check`] every route, or [`run`] a scenario.

pub use hopwise_lab::check;
pub use hopwise_lab::inputs;
pub use hopwise_lab::report;
pub use hopwise_lab::run;
