//! The Schema Registry. Source: redpanda.md 3.4.
//!
//! [`schema`] reads and compares schemas, [`store`] is what the registry knows from its topic, [`changes`]
//! decides what a request writes; all three are pure.
#![allow(dead_code, unused_imports)]

mod changes;
mod error;
mod records;
mod schema;
mod settings;
mod store;
mod subject;
