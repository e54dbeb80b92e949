//! Placeholder.

pub mod controllers;
pub mod proxy;
pub mod store;
