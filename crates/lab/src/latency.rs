//! Exact percentiles of recorded times, per route and operation.
//!
//! Every time is kept and sorted, so that a percentile is one of the recorded times: the p-th percentile of n
//! values is the value at position ceil(p / 100 * n) of the sorted list, counted from one (nearest rank). No
//! interpolation, no buckets.

use std::collections::BTreeMap;

use hopwise_engine::Span;
use serde::{Deserialize, Serialize};

/// Times as they are recorded.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    samples: BTreeMap<(String, String), Samples>,
}

#[derive(Clone, Debug, Default)]
struct Samples {
    times: Vec<Span>,
    hops: Vec<u32>,
}

/// One row of the latency table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyRow {
    /// The client's name in the scenario.
    pub route: String,
    /// `resolve`, `connect`, `metadata`, `produce`, `fetch`...
    pub operation: String,
    /// How many times were recorded.
    pub count: u64,
    /// Devices between the two ends, one way: the median over the recorded times.
    pub hops: u32,
    /// The least.
    pub min_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// 90 of 100 are at most this.
    pub p90_ns: u64,
    /// 99 of 100 are at most this.
    pub p99_ns: u64,
    /// 999 of 1000 are at most this.
    pub p999_ns: u64,
    /// The greatest.
    pub max_ns: u64,
}

impl Latencies {
    /// Nothing recorded.
    pub fn new() -> Self {
        Latencies::default()
    }

    /// Records one time of `operation` over `route`, with the devices between the two ends.
    pub fn record(&mut self, route: &str, operation: &str, hops: u32, time: Span) {
        let samples = self.samples.entry((route.to_owned(), operation.to_owned())).or_default();
        samples.times.push(time);
        samples.hops.push(hops);
    }

    /// The table, by route and then operation.
    pub fn rows(&self) -> Vec<LatencyRow> {
        self.samples
            .iter()
            .filter_map(|((route, operation), samples)| row(route, operation, samples))
            .collect()
    }
}

/// The value at rank ceil(per_mille / 1000 * n) of `sorted`, counted from one; the first for 0. `None` if empty.
pub fn nearest_rank<T: Copy>(sorted: &[T], per_mille: u32) -> Option<T> {
    let rank = (sorted.len() as u128 * u128::from(per_mille.min(1000))).div_ceil(1000).max(1);
    sorted.get(rank as usize - 1).copied()
}

fn row(route: &str, operation: &str, samples: &Samples) -> Option<LatencyRow> {
    let mut times = samples.times.clone();
    let mut hops = samples.hops.clone();
    times.sort_unstable();
    hops.sort_unstable();
    let at = |per_mille| nearest_rank(&times, per_mille).map(Span::as_nanos);
    Some(LatencyRow {
        route: route.to_owned(),
        operation: operation.to_owned(),
        count: times.len() as u64,
        hops: nearest_rank(&hops, 500)?,
        min_ns: at(0)?,
        p50_ns: at(500)?,
        p90_ns: at(900)?,
        p99_ns: at(990)?,
        p999_ns: at(999)?,
        max_ns: at(1000)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        // The textbook example of the definition: 15, 20, 35, 40, 50.
        let sorted = [15, 20, 35, 40, 50];
        assert_eq!(nearest_rank(&sorted, 50), Some(15));
        assert_eq!(nearest_rank(&sorted, 300), Some(20));
        assert_eq!(nearest_rank(&sorted, 400), Some(20));
        assert_eq!(nearest_rank(&sorted, 500), Some(35));
        assert_eq!(nearest_rank(&sorted, 1000), Some(50));
        assert_eq!(nearest_rank::<u32>(&[], 500), None);
    }

    #[test]
    fn a_row_is_made_of_recorded_times() {
        let mut latencies = Latencies::new();
        for microseconds in (1..=100).rev() {
            latencies.record("nodeport", "produce", 3, Span::from_micros(microseconds));
        }
        latencies.record("loadbalancer", "produce", 4, Span::from_micros(7));
        let rows = latencies.rows();
        assert_eq!(rows[0].route, "loadbalancer");
        assert_eq!((rows[0].min_ns, rows[0].p999_ns, rows[0].max_ns), (7_000, 7_000, 7_000));
        let row = &rows[1];
        assert_eq!((row.count, row.hops), (100, 3));
        assert_eq!((row.min_ns, row.p50_ns, row.p90_ns), (1_000, 50_000, 90_000));
        assert_eq!((row.p99_ns, row.p999_ns, row.max_ns), (99_000, 100_000, 100_000));
    }

    proptest! {
        #[test]
        fn at_least_the_asked_share_is_at_or_below(mut times in prop::collection::vec(0u64..1000, 1..200), per_mille in 0u32..=1000) {
            times.sort_unstable();
            let value = nearest_rank(&times, per_mille).expect("not empty");
            let at_or_below = times.iter().filter(|&&time| time <= value).count() as u64;
            prop_assert!(at_or_below * 1000 >= u64::from(per_mille) * times.len() as u64);
            prop_assert!(times.contains(&value));
        }
    }
}
