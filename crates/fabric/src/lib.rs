//! A network in virtual time: packets as IP bytes, links, routers, Linux nodes with NAT, IP stacks with
//! sockets, load balancers and captures. It knows nothing of Kubernetes.

pub mod nat;
pub mod net;
mod route;

pub use route::{Action, Hop, Route};
