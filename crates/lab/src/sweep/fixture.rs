//! Rows for tests.

use super::row::{Counts, FailedCheck, Identity, SeedFault, SeedRow, SeedVerdict};
use crate::latency::LatencyRow;
use crate::report::run::Outage;

/// A sweep of a thousand seeds.
pub(super) fn identity() -> Identity {
    Identity {
        inputs_hash: "00c0ffee".into(),
        version: "0.1.0".into(),
        seeds: "0..1000".parse().expect("seeds"),
    }
}

/// A row with something in every field; every tenth seed fails.
pub(super) fn row(seed: u64) -> SeedRow {
    let fails = seed % 10 == 3;
    let failed = FailedCheck { name: "nothing is lost".into(), detail: "1 of 60 is lost".into() };
    let latency = |operation: &str| LatencyRow {
        route: "inside".into(),
        operation: operation.into(),
        count: 60,
        hops: 3,
        min_ns: 1_000 + seed,
        p50_ns: 2_000 + seed,
        p90_ns: 3_000 + seed,
        p99_ns: 4_000 + seed,
        p999_ns: 5_000 + seed,
        max_ns: 6_000 + seed,
    };
    SeedRow {
        seed,
        verdict: if fails { SeedVerdict::Fail } else { SeedVerdict::Pass },
        trace_hash: format!("{seed:032x}"),
        simulated_ns: 61_000_000_000 + seed,
        wall_ns: 40_000_000,
        checks: 2,
        failed_checks: if fails { vec![failed] } else { Vec::new() },
        counts: Counts { requests: 120, acknowledged: 60, lost: u64::from(fails), ..Counts::default() },
        latency: vec![latency("fetch"), latency("produce")],
        outages: vec![Outage { route: "inside".into(), longest_ns: 7_000_000_000, recovered_ns: Some(seed) }],
        faults: vec![SeedFault {
            at_ns: 5_000_000_000,
            for_ns: Some(seed),
            fault: "powerOffNode: node-1".into(),
        }],
        scenario: "small".into(),
        sweep: identity(),
    }
}
