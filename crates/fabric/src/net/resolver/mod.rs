//! The stub resolver of a host, as glibc's `getaddrinfo` behaves, without sockets.
//!
//! [`ResolverConfig`] is what /etc/resolv.conf and /etc/hosts say; [`Lookup`] is one look-up as a state machine: it
//! says which queries to send where and until when to wait, takes replies, and ends with addresses. It keeps a trace
//! of every query for explanations.
//!
//! Left out: nscd, nsswitch.conf other than `files dns`, EDNS (`options edns0`), `rotate`, `single-request`, and
//! the sorting of addresses by RFC 6724 (IPv4 comes first here). Source: resolv.conf(5), kubernetes.md 5.4, and
//! glibc's resolv/res_query.c and res_send.c for the order of servers, attempts and search entries.

mod config;
mod lookup;
mod trace;

#[cfg(test)]
mod tests;

pub use config::{ResolvConfError, ResolverConfig, parse_hosts};
pub use lookup::{Lookup, LookupError, Step, Transport};
pub use trace::{QueryOutcome, QueryTrace};
