//! What has to come about, and whether it did.
//!
//! The checks are pure: the runner measures, these functions compare and say with which numbers.

use hopwise_engine::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, EventExpectation, PodName, StateExpectation};
use crate::cost;
use crate::report::run::{Check, Data, RunReport};

/// What has to come about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Expect {
    /// Whether every request has to end at the leader of its partition.
    pub every_request_at_leader: bool,
    /// Whether acknowledged records have to be readable once each and in order.
    pub nothing_lost: bool,
    /// After this time of the workload no attempt may fail.
    pub no_failures_after: Option<Duration>,
    /// What has to be less over the first route than over the second.
    pub less: Vec<Comparison>,
    /// Pods that have to come back after a fault, and what they keep.
    pub pods_return: Vec<PodReturn>,
    /// Events that have to come, or must not.
    pub events: Vec<EventExpectation>,
    /// States that objects have to be in.
    pub states: Vec<StateExpectation>,
}

/// Two routes of which the first has to have less of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ComparisonFields", into = "ComparisonFields")]
pub struct Comparison {
    pair: [String; 2],
    measure: Measure,
    operation: String,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Devices between the ends.
    Hops,
    /// Time of an operation, in the median or another percentile.
    Latency(Percentile),
    /// Dollars per month.
    Cost,
}

/// A column of the latency table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Percentile {
    /// The least.
    Min,
    /// The median.
    #[default]
    P50,
    /// 90 of 100.
    P90,
    /// 99 of 100.
    P99,
    /// The greatest.
    Max,
}

/// A pod that has to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PodReturn {
    /// The pod.
    pub pod: PodName,
    /// What is the same afterwards.
    pub keeps: Vec<Kept>,
    /// What is different afterwards.
    #[serde(default)]
    pub changes: Vec<Kept>,
}

/// Something that belongs to a broker's pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// The number at the end of its name.
    Ordinal,
    /// The claims that it mounts.
    Claim,
    /// What is on its volumes.
    Data,
    /// The broker's id.
    Id,
    /// The pod's address.
    Ip,
    /// The pod object's uid.
    Uid,
}

/// A pod at one time, as the runner saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIdentity {
    /// `namespace/name`.
    pub pod: String,
    /// The number at the end of its name.
    pub ordinal: Option<u32>,
    /// The claims that it mounts.
    pub claims: Vec<String>,
    /// A hash of the records that were on its volumes when the pod was seen the first time, as far as they are there.
    pub data: Option<String>,
    /// The broker's id.
    pub broker: Option<i32>,
    /// The pod's address.
    pub ip: Option<String>,
    /// The pod object's uid.
    pub uid: String,
}

/// A comparison as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ComparisonFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    hops: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<[String; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentile: Option<Percentile>,
}

impl Default for Expect {
    fn default() -> Self {
        Expect {
            every_request_at_leader: true,
            nothing_lost: true,
            no_failures_after: None,
            less: Vec::new(),
            pods_return: Vec::new(),
            events: Vec::new(),
            states: Vec::new(),
        }
    }
}

impl Comparison {
    /// The two routes; the first has to have less.
    pub fn pair(&self) -> &[String; 2] {
        &self.pair
    }

    /// What is compared.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    fn check(&self, report: &RunReport) -> Check {
        let [first, second] = &self.pair;
        let what = match self.measure {
            Measure::Hops => "hops".to_owned(),
            Measure::Latency(percentile) => format!("{} {}", percentile.as_str(), self.operation),
            Measure::Cost => "cost per month".to_owned(),
        };
        let name = format!("{what}: {first} is less than {second}");
        match (self.value(report, first), self.value(report, second)) {
            (Some(less), Some(more)) => {
                let detail = format!("{first} {}, {second} {}", self.show(less), self.show(more));
                Check { name, ok: less < more, detail }
            }
            (None, _) => Check { name, ok: false, detail: format!("nothing was measured for {first}") },
            (_, None) => Check { name, ok: false, detail: format!("nothing was measured for {second}") },
        }
    }

    fn value(&self, report: &RunReport, route: &str) -> Option<f64> {
        let row = report.latency.iter().find(|row| row.route == route && row.operation == self.operation);
        match self.measure {
            Measure::Hops => row.map(|row| f64::from(row.hops)),
            Measure::Latency(percentile) => row.map(|row| match percentile {
                Percentile::Min => row.min_ns,
                Percentile::P50 => row.p50_ns,
                Percentile::P90 => row.p90_ns,
                Percentile::P99 => row.p99_ns,
                Percentile::Max => row.max_ns,
            } as f64),
            Measure::Cost => Some(cost::total(report.cost.iter().filter(|item| item.route == route))),
        }
    }

    fn show(&self, value: f64) -> String {
        match self.measure {
            Measure::Hops => format!("{value}"),
            Measure::Latency(_) => format!("{:.3} ms", value / 1e6),
            Measure::Cost => format!("${value:.2}"),
        }
    }
}

impl TryFrom<ComparisonFields> for Comparison {
    type Error = String;

    fn try_from(fields: ComparisonFields) -> Result<Self, String> {
        let percentile = fields.percentile;
        let (pair, measure) = match (fields.hops, fields.latency, fields.cost) {
            (Some(pair), None, None) => (pair, Measure::Hops),
            (None, Some(pair), None) => (pair, Measure::Latency(percentile.unwrap_or_default())),
            (None, None, Some(pair)) => (pair, Measure::Cost),
            _ => {
                return Err(
                    "expected exactly one of `hops`, `latency` and `cost` with two clients".to_owned()
                );
            }
        };
        if percentile.is_some() && !matches!(measure, Measure::Latency(_)) {
            return Err("`percentile` goes with `latency` only".to_owned());
        }
        if fields.operation.is_some() && measure == Measure::Cost {
            return Err("`operation` goes with `latency` and `hops` only".to_owned());
        }
        Ok(Comparison { pair, measure, operation: fields.operation.unwrap_or_else(|| "produce".to_owned()) })
    }
}

impl From<Comparison> for ComparisonFields {
    fn from(comparison: Comparison) -> Self {
        let Comparison { pair, measure, operation } = comparison;
        let (pair, operation) = (Some(pair), Some(operation));
        match measure {
            Measure::Hops => ComparisonFields { hops: pair, operation, ..Self::default() },
            Measure::Latency(percentile) => {
                ComparisonFields { latency: pair, operation, percentile: Some(percentile), ..Self::default() }
            }
            Measure::Cost => ComparisonFields { cost: pair, ..Self::default() },
        }
    }
}

impl Measure {
    /// The field that holds the two routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Hops => "hops",
            Measure::Latency(_) => "latency",
            Measure::Cost => "cost",
        }
    }
}

impl Percentile {
    fn as_str(self) -> &'static str {
        match self {
            Percentile::Min => "min",
            Percentile::P50 => "p50",
            Percentile::P90 => "p90",
            Percentile::P99 => "p99",
            Percentile::Max => "max",
        }
    }
}

impl Kept {
    fn as_str(self) -> &'static str {
        match self {
            Kept::Ordinal => "ordinal",
            Kept::Claim => "claim",
            Kept::Data => "data",
            Kept::Id => "id",
            Kept::Ip => "ip",
            Kept::Uid => "uid",
        }
    }

    fn of(self, pod: &PodIdentity) -> Option<String> {
        match self {
            Kept::Ordinal => pod.ordinal.map(|ordinal| ordinal.to_string()),
            Kept::Claim => (!pod.claims.is_empty()).then(|| pod.claims.join(", ")),
            Kept::Data => pod.data.clone(),
            Kept::Id => pod.broker.map(|id| id.to_string()),
            Kept::Ip => pod.ip.clone(),
            Kept::Uid => Some(pod.uid.clone()),
        }
    }
}

/// Checks the expectations that a report answers. `failures` are the times of failed attempts since the workload's
/// start.
pub fn check_report(expect: &Expect, report: &RunReport, failures: &[Span]) -> Vec<Check> {
    let mut checks = Vec::new();
    let routing = &report.routing;
    if expect.every_request_at_leader {
        checks.push(Check {
            name: "every request reached the leader of its partition".to_owned(),
            ok: routing.requests > 0 && routing.to_leader == routing.requests,
            detail: format!(
                "{} of {} requests, {} failed",
                routing.to_leader, routing.requests, routing.failed
            ),
        });
    }
    if expect.nothing_lost {
        checks.push(check_data(&report.data));
    }
    if let Some(after) = expect.no_failures_after {
        let late: Vec<&Span> = failures.iter().filter(|at| **at > after.span()).collect();
        let last =
            late.iter().max().map(|at| format!(", the last at {}", Duration(**at))).unwrap_or_default();
        checks.push(Check {
            name: format!("no attempt fails after {after}"),
            ok: late.is_empty(),
            detail: format!("{} failed after it{last}; {} in all", late.len(), failures.len()),
        });
    }
    checks.extend(expect.less.iter().map(|comparison| comparison.check(report)));
    checks
}

fn check_data(data: &Data) -> Check {
    let excused = match data.duplicated_by_retry {
        0 => String::new(),
        retried => format!(
            "; {retried} of the duplicated come from requests that were sent again because an attempt had no answer, \
             as a producer that is not idempotent may"
        ),
    };
    Check {
        name: "every acknowledged record can be read once and in order".to_owned(),
        ok: data.lost == 0 && data.duplicated == data.duplicated_by_retry && data.reordered == 0,
        detail: format!(
            "{} acknowledged, {} lost, {} duplicated, {} reordered{excused}",
            data.acknowledged, data.lost, data.duplicated, data.reordered
        ),
    }
}

/// Checks what pods kept, from how they were before the faults and how they are at the end.
pub fn check_pods(expect: &Expect, before: &[PodIdentity], after: &[PodIdentity]) -> Vec<Check> {
    expect.pods_return.iter().map(|pod| check_pod(pod, before, after)).collect()
}

fn check_pod(expected: &PodReturn, before: &[PodIdentity], after: &[PodIdentity]) -> Check {
    let names = |kept: &[Kept]| kept.iter().map(|kept| kept.as_str()).collect::<Vec<_>>().join(", ");
    let mut name = format!("{} comes back and keeps {}", expected.pod, names(&expected.keeps));
    if !expected.changes.is_empty() {
        name.push_str(&format!(", with a new {}", names(&expected.changes)));
    }
    let find = |pods: &[PodIdentity]| pods.iter().find(|pod| pod.pod == expected.pod.to_string()).cloned();
    let (Some(old), Some(new)) = (find(before), find(after)) else {
        return Check { name, ok: false, detail: "the pod is not there".to_owned() };
    };
    let mut ok = true;
    let mut details = Vec::new();
    let all = expected
        .keeps
        .iter()
        .map(|kept| (kept, true))
        .chain(expected.changes.iter().map(|kept| (kept, false)));
    for (kept, same) in all {
        let (was, is) = (kept.of(&old), kept.of(&new));
        ok &= was.is_some() && is.is_some() && (was == is) == same;
        let show = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let detail = match (was == is, kept.as_str()) {
            (true, kept) => format!("{kept} {}", show(is)),
            (false, kept) => format!("{kept} {} -> {}", show(was), show(is)),
        };
        details.push(detail);
    }
    Check { name, ok, detail: details.join("; ") }
}
