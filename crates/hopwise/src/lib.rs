//! A Kubernetes network in one process, for Kafka clients that must reach the right broker.
//!
//! This crate is the face of hopwise: the command line, and what a test needs to run the same things: load
//! manifests, [`check`] every route, [`run`] a scenario, or run code of one's own in the simulated cluster ([`testing`]).

pub mod testing;
#[cfg(feature = "turmoil")]
pub mod turmoil;

pub use hopwise_client as client;
pub use hopwise_fabric::net;
pub use hopwise_lab::check;
pub use hopwise_lab::inputs;
pub use hopwise_lab::report;
pub use hopwise_lab::run;
pub use hopwise_macros::test;
