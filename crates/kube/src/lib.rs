//! Placeholder.

pub mod controllers;
pub mod proxy;
pub mod scheduler;
pub mod store;
pub mod volumes;
