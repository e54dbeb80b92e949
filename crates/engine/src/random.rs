//! Named random streams from one seed.
//!
//! Each consumer draws from a stream named by what it is for ("link/zone-a/zone-b"), so adding a consumer never
//! shifts the numbers that another one sees. The generator is ChaCha8, whose output is fixed by its
//! specification and the same on every machine.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use twox_hash::XxHash3_128;

/// A stream of random numbers; use it through the traits of `rand`.
pub type Stream = ChaCha8Rng;

/// The stream called `name` of the simulation with `seed`. The same pair always gives the same numbers, so a
/// name is asked for once, by its one owner.
pub fn stream_of(seed: u64, name: &str) -> Stream {
    let low = XxHash3_128::oneshot_with_seed(seed, name.as_bytes());
    let high = XxHash3_128::oneshot_with_seed(!seed, name.as_bytes());
    let mut key = [0; 32];
    key[..16].copy_from_slice(&low.to_le_bytes());
    key[16..].copy_from_slice(&high.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    fn first(seed: u64, name: &str) -> u64 {
        stream_of(seed, name).random()
    }

    #[test]
    fn a_stream_is_fixed_by_seed_and_name() {
        assert_eq!(first(7, "link/a/b"), first(7, "link/a/b"));
        assert_ne!(first(7, "link/a/b"), first(8, "link/a/b"));
        assert_ne!(first(7, "link/a/b"), first(7, "link/b/a"));
    }

    #[test]
    fn the_numbers_never_change_between_releases() {
        assert_eq!(first(1, "link/a/b"), 15_602_072_748_739_249_060);
    }
}
