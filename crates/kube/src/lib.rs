//! Placeholder.

pub mod controllers;
pub mod store;
