//! The row of one seed: what `docs/sweeps.md` describes column by column.

use serde::{Deserialize, Serialize};

use super::seeds::Seeds;
use crate::latency::LatencyRow;
use crate::report::check::Verdict;
use crate::report::run::{Check, Outage, RunReport};
use crate::simulate::SimulationError;

/// What came of one seed. All but `wall_ns` follows from the scenario, the seed and hopwise's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedRow {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: SeedVerdict,
    /// The hash of the event log, in hexadecimal; empty where there is no report.
    pub trace_hash: String,
    /// How long the simulation lasted, in virtual time.
    pub simulated_ns: u64,
    /// How long it took on the machine that ran it.
    pub wall_ns: u64,
    /// How many checks were made.
    pub checks: u64,
    /// Those that failed, in the order of the report.
    pub failed_checks: Vec<FailedCheck>,
    /// Where requests went, and what became of records.
    pub counts: Counts,
    /// Latency per route and operation.
    pub latency: Vec<LatencyRow>,
    /// How each route did under the faults.
    pub outages: Vec<Outage>,
    /// The timeline of faults.
    pub faults: Vec<SeedFault>,
    /// The scenario's name.
    pub scenario: String,
    /// What it is a row of.
    pub sweep: Identity,
}

/// What rows have to share to be one sweep's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The hash of the scenario and of every file that it refers to, in hexadecimal.
    pub inputs_hash: String,
    /// hopwise's version.
    pub version: String,
    /// All seeds of the sweep, whichever shard this is.
    pub seeds: Seeds,
}

/// How a seed ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SeedVerdict {
    /// Every check holds.
    Pass,
    /// A check fails.
    Fail,
    /// The simulation was given up at one of its limits.
    GaveUp,
    /// hopwise itself broke.
    Panic,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedCheck {
    /// What was expected.
    pub name: String,
    /// What was found instead.
    pub detail: String,
}

/// Where requests went, and what became of records; see `hopwise run`'s `routing` and `data`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Requests of the workload.
    pub requests: u64,
    /// Attempts that met the wrong broker.
    pub misrouted: u64,
    /// Attempts beyond the first of each request.
    pub retried: u64,
    /// Requests that were given up.
    pub failed: u64,
    /// Records that a broker acknowledged.
    pub acknowledged: u64,
    /// Those that nobody can read.
    pub lost: u64,
    /// Records that can be read more than once.
    pub duplicated: u64,
    /// Records read in another order.
    pub reordered: u64,
}

/// A fault of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFault {
    /// When, since the timeline's start.
    pub at_ns: u64,
    /// How long until it is undone; none if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ns: Option<u64>,
    /// What, as the scenario file has it: `powerOffNode: node-1`.
    pub fault: String,
}

impl Identity {
    /// What makes `self` another sweep than `other`, in words; none if it is the same.
    pub(super) fn difference(&self, other: &Identity) -> Option<String> {
        let differs = |what: &str, this: &dyn std::fmt::Display, that: &dyn std::fmt::Display| {
            Some(format!("{what} {this}, not {that}"))
        };
        if self.inputs_hash != other.inputs_hash {
            return differs("the scenario's files have the hash", &self.inputs_hash, &other.inputs_hash);
        }
        if self.version != other.version {
            return differs("hopwise's version is", &self.version, &other.version);
        }
        if self.seeds != other.seeds {
            return differs("the sweep's seeds are", &self.seeds, &other.seeds);
        }
        None
    }
}

impl SeedRow {
    /// The row of a seed that was run to its end, or given up.
    pub(super) fn of(
        ended: Result<RunReport, SimulationError>,
        seed: u64,
        scenario: &str,
        sweep: &Identity,
    ) -> SeedRow {
        match ended {
            Ok(report) => SeedRow::of_report(report, sweep),
            Err(error) => {
                let name = "the simulation ends".to_owned();
                let failed = FailedCheck { name, detail: error.to_string() };
                SeedRow::without_report(SeedVerdict::GaveUp, failed, seed, scenario, sweep)
            }
        }
    }

    /// The row of a seed whose simulation panicked.
    pub(super) fn of_panic(message: String, seed: u64, scenario: &str, sweep: &Identity) -> SeedRow {
        let failed = FailedCheck { name: "hopwise does not panic".to_owned(), detail: message };
        SeedRow::without_report(SeedVerdict::Panic, failed, seed, scenario, sweep)
    }

    fn of_report(report: RunReport, sweep: &Identity) -> SeedRow {
        let failed = |check: &Check| {
            (!check.ok).then(|| FailedCheck { name: check.name.clone(), detail: check.detail.clone() })
        };
        SeedRow {
            seed: report.seed,
            verdict: match report.verdict {
                Verdict::Pass => SeedVerdict::Pass,
                Verdict::Fail => SeedVerdict::Fail,
            },
            simulated_ns: report.simulated_ns,
            wall_ns: report.wall_ns,
            checks: report.checks.len() as u64,
            failed_checks: report.checks.iter().filter_map(failed).collect(),
            counts: Counts::of(&report),
            faults: report
                .faults
                .iter()
                .map(|fault| SeedFault { at_ns: fault.at_ns, for_ns: fault.for_ns, fault: fault.to_string() })
                .collect(),
            trace_hash: report.trace_hash,
            latency: report.latency,
            outages: report.outages,
            scenario: report.scenario,
            sweep: sweep.clone(),
        }
    }

    fn without_report(
        verdict: SeedVerdict,
        failed: FailedCheck,
        seed: u64,
        scenario: &str,
        sweep: &Identity,
    ) -> SeedRow {
        SeedRow {
            seed,
            verdict,
            trace_hash: String::new(),
            simulated_ns: 0,
            wall_ns: 0,
            checks: 1,
            failed_checks: vec![failed],
            counts: Counts::default(),
            latency: Vec::new(),
            outages: Vec::new(),
            faults: Vec::new(),
            scenario: scenario.to_owned(),
            sweep: sweep.clone(),
        }
    }
}

impl Counts {
    fn of(report: &RunReport) -> Counts {
        let (routing, data) = (&report.routing, &report.data);
        Counts {
            requests: routing.requests,
            misrouted: routing.misrouted,
            retried: routing.retried,
            failed: routing.failed,
            acknowledged: data.acknowledged,
            lost: data.lost,
            duplicated: data.duplicated,
            reordered: data.reordered,
        }
    }
}
