//! Kubernetes as far as packets can tell.

pub mod admission;
pub mod cluster_file;
pub mod manifest;
pub mod source;
//! Kubernetes on the fabric.

pub mod dns;
pub mod shell;
//! Placeholder.

pub mod controllers;
pub mod store;
//! Kubernetes as far as the network is concerned: objects, controllers, DNS, kube-proxy, load balancers and nodes
//! on the fabric.

pub mod profile;
