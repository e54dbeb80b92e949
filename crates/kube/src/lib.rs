//! Kubernetes on the fabric.

pub mod dns;
pub mod shell;
