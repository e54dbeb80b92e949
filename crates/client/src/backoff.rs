//! Exponential backoff with jitter (KIP-580): twice as long after each failure up to a limit, then somewhat more or
//! less at random, so that clients that failed together do not return together.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::behaviour::Wait;

/// The growth per failure (KIP-580, `RETRY_BACKOFF_EXP_BASE`; librdkafka and franz-go double too).
const GROWTH: u32 = 2;

/// The wait after `failures` failures in a row (at least one). A wait without jitter draws nothing.
pub(crate) fn wait(rule: Wait, failures: u32, random: &mut impl Rng) -> Duration {
    let factor = GROWTH.saturating_pow(failures.saturating_sub(1));
    let whole = rule.first.saturating_mul(factor).min(rule.most.max(rule.first));
    if (rule.less_percent, rule.more_percent) == (0, 0) {
        return whole;
    }
    let (least, most) = (100 - rule.less_percent.min(100), 100 + rule.more_percent);
    let per_mille = random.random_range(u64::from(least) * 10..=u64::from(most) * 10);
    let nanoseconds = whole.as_nanos().saturating_mul(u128::from(per_mille)) / 1_000;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const RULE: Wait = Wait::doubling(Duration::from_millis(100), Duration::from_secs(1));

    #[test]
    fn waits_double_up_to_the_limit_and_stay_within_the_jitter() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (failures, whole) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (60, 1000)] {
            for _ in 0..100 {
                let waited = wait(RULE, failures, &mut random).as_micros();
                assert!((whole * 800..=whole * 1200).contains(&waited), "{failures} failures: {waited} µs");
            }
        }
    }

    #[test]
    fn jitter_may_differ_upwards_and_downwards() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let rule = Wait { less_percent: 25, more_percent: 50, ..RULE };
        let waits: Vec<_> = (0..1000).map(|_| wait(rule, 1, &mut random).as_millis()).collect();
        assert!(waits.iter().all(|wait| (75..=150).contains(wait)));
        assert!(waits.iter().any(|wait| *wait < 80) && waits.iter().any(|wait| *wait > 145));
    }

    #[test]
    fn a_wait_without_jitter_draws_nothing() {
        let (mut random, mut untouched) = (ChaCha8Rng::seed_from_u64(7), ChaCha8Rng::seed_from_u64(7));
        assert_eq!(wait(Wait::fixed(Duration::from_secs(1)), 9, &mut random), Duration::from_secs(1));
        assert_eq!(random.next_u64(), untouched.next_u64());
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (1..9).map(|n| wait(RULE, n, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
