//! The limit on ICMP errors: a token bucket per destination.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hopwise_engine::{Span, Time};

/// One error per second to a destination, after a burst of six. Source: Linux's inet_peer_xrlim_allow with
/// the sysctl `icmp_ratelimit` at its default of 1000 ms; seen in linux.md 4 ("40 connects at once").
///
/// Left out: the limit over all destinations (`icmp_msgs_per_sec`).
#[derive(Default)]
pub(crate) struct RateLimit {
    /// When each destination's bucket would have been empty, had it filled without end.
    empty_at: BTreeMap<IpAddr, Time>,
    prune_at: usize,
}

const INTERVAL: Span = Span::from_secs(1);
const BURST: Span = Span::from_secs(6);
const PRUNE_AT_LEAST: usize = 1_024;

impl RateLimit {
    /// Takes a token for an error to `destination`; `false` if there is none.
    pub(crate) fn allow(&mut self, destination: IpAddr, now: Time) -> bool {
        // Time is shifted by one burst, so that a bucket can be full at the start of the simulation.
        let now = now + BURST;
        let full = Time::from_nanos(now.as_nanos() - BURST.as_nanos());
        if self.empty_at.len() >= self.prune_at.max(PRUNE_AT_LEAST) {
            self.empty_at.retain(|_, empty_at| *empty_at > full);
            self.prune_at = 2 * self.empty_at.len();
        }
        let empty_at = self.empty_at.entry(destination).or_insert(full);
        let filled_since = (*empty_at).max(full);
        if now - filled_since < INTERVAL {
            return false;
        }
        *empty_at = filled_since + INTERVAL;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_at_once_then_one_a_second_for_each_destination() {
        let mut limit = RateLimit::default();
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let allowed = |limit: &mut RateLimit, to, at_ms| {
            let now = Time::ZERO + Span::from_millis(at_ms);
            (0..40).filter(|_| limit.allow(to, now)).count()
        };
        assert_eq!(allowed(&mut limit, a, 0), 6);
        assert_eq!(allowed(&mut limit, b, 0), 6);
        assert_eq!(allowed(&mut limit, a, 999), 0);
        assert_eq!(allowed(&mut limit, a, 1_000), 1);
        assert_eq!(allowed(&mut limit, a, 3_500), 2);
        assert_eq!(allowed(&mut limit, a, 100_000), 6);
    }
}
