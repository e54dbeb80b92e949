//! Kubernetes as far as the network is concerned: objects, controllers, DNS, kube-proxy, load balancers and nodes
//! on the fabric. It knows nothing of Kafka.

pub mod admission;
pub mod cluster;
pub mod cluster_file;
pub mod controllers;
pub mod dns;
pub mod manifest;
pub mod network_policy;
pub mod pod_life;
pub mod profile;
pub mod proxy;
pub mod scheduler;
pub mod shell;
pub mod source;
pub mod store;
pub mod volumes;
