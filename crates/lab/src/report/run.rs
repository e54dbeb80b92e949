//! What `hopwise run` reports, field by field as the command line promises.

use serde::{Deserialize, Serialize};

use super::check::{Hop, Verdict};
use crate::cost::CostItem;
use crate::findings::Finding;
use crate::latency::LatencyRow;
use crate::scenario::{Fault, FaultKind};

/// The whole report. Everything but `wall_ns` depends on the inputs and the seed alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Whether every check holds.
    pub verdict: Verdict,
    /// The hash of the event log, in hexadecimal.
    pub trace_hash: String,
    /// How long the simulation lasted, in virtual time.
    pub simulated_ns: u64,
    /// How long it took on this machine.
    pub wall_ns: u64,
    /// What was expected, and whether it came about.
    pub checks: Vec<Check>,
    /// Latency per route and operation.
    pub latency: Vec<LatencyRow>,
    /// Where requests went.
    pub routing: Routing,
    /// What became of records.
    pub data: Data,
    /// What happened to the cluster.
    pub events: Vec<Event>,
    /// What each route costs per month.
    pub cost: Vec<CostItem>,
    /// The faults that were played, those that were drawn among them. Absent if there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<PlayedFault>,
    /// How each route did under the faults. Absent without clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outages: Vec<Outage>,
    /// What each client went through. Absent without a workload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ClientCourse>,
    /// One way of each route, device by device, for the listing in text. Absent if none was recorded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ways: Vec<Way>,
    /// What explains the checks that failed; absent if none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
}

/// An expectation and whether it came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was expected.
    pub name: String,
    /// Whether it came about.
    pub ok: bool,
    /// The numbers behind the answer.
    pub detail: String,
}

/// A fault of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlayedFault {
    /// When, in nanoseconds since the timeline's start.
    pub at_ns: u64,
    /// What expectations call it.
    pub name: String,
    /// How long until it is undone. Absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ns: Option<u64>,
    /// What happens, as the scenario file has it: `{"powerOffNode": "node-1"}`.
    pub fault: serde_json::Value,
}

/// How a route did under the faults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// The client's name in the scenario.
    pub route: String,
    /// The longest time in which no request of the workload succeeded.
    pub longest_ns: u64,
    /// From the last fault of the timeline, or what undoes it, to the end of the first request that began after it and
    /// succeeded. Absent without faults, or if no request did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered_ns: Option<u64>,
}

/// Where requests went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// Requests that clients meant to be served (a retry is not another request).
    pub requests: u64,
    /// Those that ended at the leader of their partition.
    pub to_leader: u64,
    /// Attempts that met a broker which was not the leader, or not the one that was dialled.
    pub misrouted: u64,
    /// Attempts beyond the first of each request.
    pub retried: u64,
    /// Requests that were given up.
    pub failed: u64,
    /// Metadata requests after the first of each client.
    pub metadata_refreshes: u64,
}

/// What a client went through during the workload, so that clients can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCourse {
    /// The client's name.
    pub client: String,
    /// The profile that it behaves as.
    pub profile: String,
    /// Attempts that were answered by a broker that is not the leader, or not the one that was dialled, and attempts
    /// without an answer at a broker that was not the leader, as answers before and after tell.
    pub misrouted: u64,
    /// TCP connections opened.
    pub connections_opened: u64,
    /// Metadata requests, those without an answer included.
    pub metadata_requests: u64,
    /// Attempts beyond the first of each request.
    pub retries: u64,
    /// How it came through each fault, in their order.
    pub recoveries: Vec<Recovery>,
}

/// How a client came through a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovery {
    /// The fault's name.
    pub fault: String,
    /// When it struck, in nanoseconds since the simulation's start.
    pub at_ns: u64,
    /// Attempts that failed because of it: those that were under way when it struck, and those that began between it and
    /// the next fault.
    pub failures: u64,
    /// From the fault to the first success after the last of them; 0 without failures, absent if no success came.
    pub recovered_ns: Option<u64>,
}

/// What became of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Records that a broker acknowledged.
    pub acknowledged: u64,
    /// Acknowledged records that no consumer can read.
    pub lost: u64,
    /// Records that can be read more than once.
    pub duplicated: u64,
    /// Those of the duplicated whose producer asked again because an attempt had no answer, or none that says whether
    /// the records were written: a producer that is not idempotent may write them twice.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub duplicated_by_retry: u64,
    /// Records read in another order than they were acknowledged in, within a partition.
    pub reordered: u64,
}

/// Something that happened to the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in nanoseconds since the simulation's start.
    pub at_ns: u64,
    /// What kind of thing.
    pub kind: String,
    /// What it happened to, `Kind namespace/name`.
    pub object: String,
    /// More about it.
    pub detail: String,
}

/// One route's way to one broker, device by device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// The client whose way it is: the `route` of the latency and cost tables.
    pub route: String,
    /// Where it leads, e.g. `redpanda-0 by NodePort`.
    pub to: String,
    /// Every device on the way there.
    pub hops: Vec<Hop>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&Fault> for PlayedFault {
    fn from(fault: &Fault) -> PlayedFault {
        let kind = serde_json::to_value(&fault.kind).unwrap_or_default();
        PlayedFault {
            at_ns: fault.at.span().as_nanos(),
            for_ns: fault.lasts.map(|lasts| lasts.span().as_nanos()),
            name: fault.name(),
            fault: kind,
        }
    }
}

impl std::fmt::Display for PlayedFault {
    /// As a line of a scenario file has it: `powerOffNode: node-1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match FaultKind::line_of(&self.fault) {
            Some(line) => f.write_str(&line),
            None => f.write_str(&self.name),
        }
    }
}

impl RunReport {
    /// A report of nothing yet.
    pub fn empty(scenario: &str, seed: u64) -> RunReport {
        RunReport {
            scenario: scenario.to_owned(),
            seed,
            verdict: Verdict::Fail,
            trace_hash: String::new(),
            simulated_ns: 0,
            wall_ns: 0,
            checks: Vec::new(),
            latency: Vec::new(),
            routing: Routing::default(),
            data: Data::default(),
            events: Vec::new(),
            cost: Vec::new(),
            faults: Vec::new(),
            outages: Vec::new(),
            clients: Vec::new(),
            ways: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// The verdict that follows from `checks`.
    pub fn verdict_of(checks: &[Check]) -> Verdict {
        if checks.iter().all(|check| check.ok) { Verdict::Pass } else { Verdict::Fail }
    }
}
