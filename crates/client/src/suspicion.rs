//! Noticing a wrong broker without being told: a leader that keeps saying it is not.
//!
//! After NOT_LEADER_OR_FOLLOWER a client asks for metadata. When fresh answers go on naming the same leader in the
//! same epoch, and what is reached at its address goes on denying it, the address leads elsewhere: for example one
//! load balancer before all brokers (librdkafka#3277, redpanda.md 5, row 30). An election looks the same for a
//! short while, so [`PROOF`] denials are wanted, each after a new answer.

use std::collections::BTreeMap;

/// Denials, each after fresh metadata, that are taken for a wrong broker.
const PROOF: u32 = 3;

/// What a partition's leader was said to be when it denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub leader: i32,
    pub leader_epoch: i32,
    /// The count of metadata answers at that time.
    pub generation: u64,
}

/// The denials per topic and partition.
#[derive(Debug, Default)]
pub(crate) struct Suspicions(BTreeMap<(String, i32), (Claim, u32)>);

impl Suspicions {
    /// Notes a denial; whether the broker at that address must be another one.
    pub fn denied(&mut self, topic: &str, partition: i32, claim: Claim) -> bool {
        let (last, count) = self.0.entry((topic.to_owned(), partition)).or_insert((claim, 0));
        if (last.leader, last.leader_epoch) != (claim.leader, claim.leader_epoch) {
            *count = 1;
        } else if *count == 0 || claim.generation > last.generation {
            *count += 1;
        }
        *last = claim;
        *count >= PROOF
    }

    /// Notes that the leader took a request.
    pub fn cleared(&mut self, topic: &str, partition: i32) {
        // The key is owned, so look before building one: most partitions are never under suspicion.
        if !self.0.is_empty() {
            self.0.remove(&(topic.to_owned(), partition));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(leader: i32, generation: u64) -> Claim {
        Claim { leader, leader_epoch: 1, generation }
    }

    #[test]
    fn denials_after_fresh_metadata_add_up() {
        let mut suspicions = Suspicions::default();
        assert!(!suspicions.denied("t", 0, claim(1, 1)));
        assert!(!suspicions.denied("t", 0, claim(1, 1)), "nothing new was learned in between");
        assert!(!suspicions.denied("t", 0, claim(1, 2)));
        assert!(suspicions.denied("t", 0, claim(1, 3)));
    }

    #[test]
    fn a_moved_leader_or_a_success_starts_over() {
        let mut suspicions = Suspicions::default();
        suspicions.denied("t", 0, claim(1, 1));
        suspicions.denied("t", 0, claim(1, 2));
        assert!(!suspicions.denied("t", 0, claim(2, 3)));
        suspicions.denied("t", 0, claim(2, 4));
        suspicions.cleared("t", 0);
        assert!(!suspicions.denied("t", 0, claim(2, 5)));
    }
}
