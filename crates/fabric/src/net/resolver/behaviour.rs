//! How resolvers differ.
//!
//! Sources: glibc 2.39 resolv/res_query.c, res_send.c and resolv.conf(5); musl 1.2.5 src/network/lookup_name.c and
//! res_msend.c; Go 1.22 src/net/dnsclient_unix.go; for Java the security properties `networkaddress.cache.ttl` and
//! `networkaddress.cache.negative.ttl` (JDK 21 conf/security/java.security). kubernetes.md 5.3 and 5.4.

use std::fmt;
use std::str::FromStr;

use hopwise_engine::Span;

use super::lookup::Verdict;

/// Whose resolver a program uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResolverKind {
    /// `getaddrinfo` of glibc.
    #[default]
    Glibc,
    /// `getaddrinfo` of musl (Alpine).
    Musl,
    /// Go's own resolver (`netgo`).
    Go,
    /// Java's `InetAddress` over glibc, with its cache.
    Jvm,
}

impl ResolverKind {
    /// All of them.
    pub const ALL: [ResolverKind; 4] =
        [ResolverKind::Glibc, ResolverKind::Musl, ResolverKind::Go, ResolverKind::Jvm];

    /// How long the application keeps addresses, and that there are none; `None` if it keeps nothing.
    pub(crate) fn cache_times(self) -> Option<(Span, Span)> {
        match self {
            ResolverKind::Jvm => Some((Span::from_secs(30), Span::from_secs(10))),
            ResolverKind::Glibc | ResolverKind::Musl | ResolverKind::Go => None,
        }
    }

    /// Whether a name with enough dots that does not exist as it is is also asked with the search list. musl drops the
    /// list for such names.
    pub(super) fn searches_names_with_dots(self) -> bool {
        self != ResolverKind::Musl
    }

    /// Whether all servers are asked at once; the first useful reply counts.
    pub(super) fn asks_all_servers(self) -> bool {
        self == ResolverKind::Musl
    }

    /// Whether it hears that a server's port is closed (ICMP). musl's socket is not connected, so it does not.
    pub(super) fn hears_refusals(self) -> bool {
        self != ResolverKind::Musl
    }

    /// The size of datagrams that it takes, as its queries say (EDNS), in bytes.
    pub(super) fn payload_max(self) -> Option<u16> {
        (self == ResolverKind::Go).then_some(1232)
    }

    /// How often a query that failed at a server (SERVFAIL) is sent there again at once, for each record type.
    pub(super) fn failure_retries(self) -> u32 {
        if self == ResolverKind::Musl { 2 } else { 0 }
    }

    /// What follows a name without addresses.
    pub(super) fn after(self, verdict: Verdict, refused: bool) -> After {
        match self {
            ResolverKind::Glibc | ResolverKind::Jvm => match verdict {
                // A server that is down: "do not try the domain lists" (res_query.c).
                Verdict::ServerFailure if refused => After::End,
                Verdict::TimedOut => After::NameAsItIs,
                _ => After::NextName,
            },
            // Any answer but NXDOMAIN ends the search, NODATA included.
            ResolverKind::Musl if verdict == Verdict::NoSuchName => After::NextName,
            ResolverKind::Musl => After::End,
            ResolverKind::Go => After::NextName,
        }
    }
}

/// What follows a name without addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next name of the search list.
    NextName,
    /// The rest of the search list is left out, the name as it is still asked (res_search's `done`).
    NameAsItIs,
    /// The look-up fails.
    End,
}

impl fmt::Display for ResolverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ResolverKind::Glibc => "glibc",
            ResolverKind::Musl => "musl",
            ResolverKind::Go => "go",
            ResolverKind::Jvm => "jvm",
        })
    }
}

/// The text names no resolver.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no resolver; expected `glibc`, `musl`, `go` or `jvm`")]
pub struct NoResolver(String);

impl FromStr for ResolverKind {
    type Err = NoResolver;

    fn from_str(text: &str) -> Result<Self, NoResolver> {
        let found = ResolverKind::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| NoResolver(text.to_owned()))
    }
}
