//! What `hopwise probe` reports, field by field as the command line promises, and what its text says beside that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{Hop, Outcome};
use crate::findings::Finding;
use crate::place::Place;
use crate::probe::Transport;

/// The report as programs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeReport {
    /// How it ended: `ok` if every connection did, or else the way the first failed one ended.
    pub outcome: Outcome,
    /// `namespace/name` of every endpoint that could have been chosen.
    pub candidates: Vec<String>,
    /// How many connections each pod took.
    pub served_by: BTreeMap<String, u64>,
    /// The client's address as the server sees it.
    pub source_seen: Option<String>,
    /// Whether that is not the client's own.
    pub masqueraded: bool,
    /// Every device on the way there, of the connection whose outcome is reported.
    pub hops: Vec<Hop>,
    /// The time to live (hop limit) of the packet as the server gets it.
    pub ttl_seen: Option<u8>,
    /// From the first packet until the connection stood; for UDP, until the answer.
    pub connect_ns: Option<u64>,
}

/// A probe with what is told to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// The report.
    #[serde(flatten)]
    pub report: ProbeReport,
    /// Where the client stands.
    #[serde(skip)]
    pub from: Place,
    /// `host:port` as it was asked for.
    #[serde(skip)]
    pub to: String,
    /// The protocol.
    #[serde(skip)]
    pub transport: Transport,
    /// What the name resolves to.
    #[serde(skip)]
    pub addresses: Vec<String>,
    /// How many connections ended in which way.
    #[serde(skip)]
    pub outcomes: BTreeMap<String, u64>,
    /// What the client saw, in a sentence; empty if all is well.
    #[serde(skip)]
    pub said: String,
    /// What explains it.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}
