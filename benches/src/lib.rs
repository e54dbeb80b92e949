//! What benchmarks share.

pub mod brokers;
pub mod echo;
