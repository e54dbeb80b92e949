//! What `hopwise dns` reports, field by field as the command line promises, and what its text says beside.

use std::net::IpAddr;

use serde::Serialize;

/// The whole report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsReport {
    /// Every query, in the order in which they were sent.
    pub queries: Vec<DnsQuery>,
    /// The addresses found.
    pub addresses: Vec<IpAddr>,
    /// How the look-up was made; for people.
    #[serde(skip)]
    pub course: Course,
}

/// One query and its reply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DnsQuery {
    /// The name asked, with its final dot.
    pub name: String,
    /// The record type asked.
    pub r#type: String,
    /// The response code; `TIMEOUT` if no reply came, `UNREACHABLE` if an ICMP error did.
    pub rcode: String,
    /// The answer section: `name ttl type data`.
    pub answers: Vec<String>,
    /// The authority section.
    pub authority: Vec<String>,
    /// The additional section.
    pub additional: Vec<String>,
    /// The server asked; for people.
    #[serde(skip)]
    pub server: String,
    /// Why the reply is as it is; for people.
    #[serde(skip)]
    pub why: String,
}

/// How a look-up was made and how it ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// The name as it was given.
    pub name: String,
    /// Where the client stands.
    pub from: String,
    /// Whose resolver it uses.
    pub resolver: String,
    /// The domains of the search list.
    pub search: Vec<String>,
    /// The number of dots from which on a name is asked as it is first.
    pub ndots: usize,
    /// Virtual time from the first query until the end, in nanoseconds.
    pub elapsed_ns: u64,
    /// Whether a record of a type asked for was found.
    pub resolved: bool,
    /// What would make it quicker, or what may have been meant.
    pub advice: Vec<String>,
}

impl DnsReport {
    /// How many names were asked, one after the other.
    pub fn rounds(&self) -> usize {
        let mut names: Vec<&str> = self.queries.iter().map(|query| query.name.as_str()).collect();
        names.dedup();
        names.len()
    }
}
