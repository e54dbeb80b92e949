//! Exponential backoff with jitter (KIP-580): twice as long after each failure up to a limit, then 20% more or
//! less at random, so that clients that failed together do not return together.

use std::time::Duration;

use rand::{Rng, RngExt};

/// The growth per failure (KIP-580, `RETRY_BACKOFF_EXP_BASE`).
const GROWTH: u32 = 2;
/// The jitter each way, in parts per thousand (KIP-580, `RETRY_BACKOFF_JITTER`, 0.2).
const JITTER_PER_MILLE: u64 = 200;

/// The wait after `failures` failures in a row (at least one).
pub(crate) fn wait(first: Duration, most: Duration, failures: u32, random: &mut impl Rng) -> Duration {
    let factor = GROWTH.saturating_pow(failures.saturating_sub(1));
    let whole = first.saturating_mul(factor).min(most.max(first));
    let per_mille = random.random_range(1_000 - JITTER_PER_MILLE..=1_000 + JITTER_PER_MILLE);
    let nanoseconds = whole.as_nanos().saturating_mul(u128::from(per_mille)) / 1_000;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn waits_double_up_to_the_limit_and_stay_within_the_jitter() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(1));
        for (failures, whole) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (60, 1000)] {
            for _ in 0..100 {
                let waited = wait(first, most, failures, &mut random).as_micros();
                assert!((whole * 800..=whole * 1200).contains(&waited), "{failures} failures: {waited} µs");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (1..9)
                .map(|n| wait(Duration::from_millis(100), Duration::from_secs(1), n, &mut random))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
