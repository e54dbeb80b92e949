//! Kubernetes as far as packets can tell.

pub mod admission;
pub mod cluster_file;
pub mod manifest;
pub mod source;
