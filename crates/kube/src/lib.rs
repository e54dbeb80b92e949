//! Kubernetes as far as the network is concerned: objects, controllers, DNS, kube-proxy, load balancers and nodes
//! on the fabric.

pub mod profile;
