//! The stub resolver of a host, without sockets: as glibc's `getaddrinfo` behaves, or musl's, Go's or Java's.
//!
//! [`ResolverConfig`] is what /etc/resolv.conf and /etc/hosts say, and whose resolver reads them; [`Lookup`] is one
//! look-up as a state machine: it says which queries to send where and until when to wait, takes replies, and ends with
//! addresses. It keeps a trace of every query for explanations.
//!
//! Left out: nscd, nsswitch.conf other than `files dns`, `rotate`, glibc's `edns0`, and the sorting of addresses by RFC
//! 6724 (IPv4 comes first here). `single-request-reopen` counts as `single-request`.

mod behaviour;
mod cache;
mod config;
mod lookup;
mod trace;

#[cfg(test)]
mod tests;

pub use behaviour::{NoResolver, ResolverKind};
pub use cache::ApplicationCache;
pub use config::{ResolvConfError, ResolverConfig, parse_hosts};
pub use lookup::{Lookup, LookupError, Step, Transport};
pub use trace::{QueryOutcome, QueryTrace};
