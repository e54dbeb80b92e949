//! How fast new replicas are filled: `raft_learner_recovery_rate` bytes per second of a broker, for all replicas that
//! it fills together (redpanda.md 4.4, 4.5).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Gives each send its time.
pub(super) struct Throttle {
    bytes_per_second: u64,
    /// When everything that was let through will have taken its time.
    free: Mutex<Option<Instant>>,
}

impl Throttle {
    pub fn new(bytes_per_second: u64) -> Throttle {
        Throttle { bytes_per_second: bytes_per_second.max(1), free: Mutex::new(None) }
    }

    /// When a send of `bytes` may go: at once while the rate is not used up. Later calls get no earlier times.
    pub fn admit(&self, now: Instant, bytes: usize) -> Instant {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.map_or(now, |free| free.max(now));
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *free = Some(at + takes);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_spread_to_the_rate_and_an_idle_time_is_not_saved_up() {
        let throttle = Throttle::new(1000);
        let start = Instant::now();
        assert_eq!(throttle.admit(start, 500), start);
        assert_eq!(throttle.admit(start, 500), start + Duration::from_millis(500));
        assert_eq!(throttle.admit(start, 0), start + Duration::from_secs(1));
        let later = start + Duration::from_secs(60);
        assert_eq!(throttle.admit(later, 1000), later);
        assert_eq!(throttle.admit(later, 1), later + Duration::from_secs(1));
    }
}
