//! Cluster DNS: what CoreDNS's kubernetes plugin answers, as a function of the cluster's objects.
//!
//! [`Zone`] holds Services, their endpoints, namespaces and pods, indexed so that an update of one Service and an
//! answer cost the same however many Services there are. [`answer`] takes a DNS message and returns one.
//!
//! Left out: caching (`cache` is off for the cluster's zone in kubeadm's Corefile since 1.32, kubernetes.md 5.3),
//! autopath, zone transfers, DNSSEC. Source: kubernetes.md 5.1 to 5.3 (DNS specification 1.1.0 and CoreDNS).

mod message;
mod question;
mod records;
mod upstream;
mod zone;

#[cfg(test)]
mod tests;

pub use message::{Transport, answer};
pub use upstream::{Upstream, UpstreamName};
pub use zone::{Endpoint, Options, PodMode, Port, Service, ServiceKind, Slice, Zone};
