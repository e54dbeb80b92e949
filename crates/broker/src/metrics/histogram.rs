//! A distribution of durations, in buckets that double.
//!
//! The bounds are those of Redpanda's public metrics: 255 µs, 511 µs, 1023 µs … 33.6 s.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets with an upper bound.
const BUCKETS: usize = 18;
/// The first bound is 2^8 - 1 µs.
const FIRST_BITS: u32 = 8;

/// Counts durations; taking part costs three additions.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Per bucket, not summed up; what is above the last bound is only in `count`.
    buckets: [AtomicU64; BUCKETS],
    count: AtomicU64,
    sum_ns: AtomicU64,
}

/// A histogram at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    /// Upper bounds in seconds, and how many durations are at most as long.
    pub buckets: Vec<(f64, u64)>,
    pub count: u64,
    pub sum_seconds: f64,
}

impl Histogram {
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // A duration of n bits belongs below the bound of n bits.
        let bits = u64::BITS - micros.leading_zeros();
        if let Some(bucket) = self.buckets.get(bits.saturating_sub(FIRST_BITS) as usize) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed);
    }

    pub fn seen(&self) -> Seen {
        let mut total = 0;
        let bucket = |(index, bucket): (usize, &AtomicU64)| {
            total += bucket.load(Ordering::Relaxed);
            let bound_us = (1_u64 << (FIRST_BITS + index as u32)) - 1;
            (bound_us as f64 / 1e6, total)
        };
        Seen {
            buckets: self.buckets.iter().enumerate().map(bucket).collect(),
            count: self.count.load(Ordering::Relaxed),
            sum_seconds: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 255, 256, 511, 512, 40_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.seen();
        assert_eq!(seen.buckets[0], (0.000_255, 2));
        assert_eq!(seen.buckets[1], (0.000_511, 4));
        assert_eq!(seen.buckets[2], (0.001_023, 5));
        assert_eq!(seen.buckets[17], (33.554_431, 5));
        assert_eq!(seen.count, 6);
    }
}
