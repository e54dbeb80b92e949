//! When a broker led which partition, as its own Raft replicas knew it.
//!
//! Whoever watches a cluster from outside can compare this with who answered: metadata only tells what brokers had
//! heard. It is kept on demand, since it grows with every election.
//!
//! Source: Raft (Ongaro, 2014), section 5.2: a replica is a leader from its election until it hears of a newer term, or
//! steps down.

use std::collections::BTreeMap;

use hopwise_engine::Time;

use crate::node::PartitionKey;

/// A time in which one broker led one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The topic's name.
    pub topic: String,
    /// The topic's id, which no other topic of the same name has.
    pub topic_id: [u8; 16],
    /// The partition's index.
    pub partition: i32,
    /// The Raft term.
    pub term: u64,
    /// From when on.
    pub since: Time,
    /// Until when; `None` if the broker led when it was last seen, perhaps because it was killed then.
    pub until: Option<Time>,
}

/// The tenures of one broker, as they come and go.
#[derive(Debug, Default)]
pub(crate) struct Tenures {
    all: Vec<Tenure>,
    /// The places of those that have not ended.
    open: BTreeMap<PartitionKey, usize>,
}

impl Tenures {
    /// The broker leads the partition in `term` from `now` on, or does not lead it any more.
    pub fn note(&mut self, now: Time, topic: &str, key: PartitionKey, term: Option<u64>) {
        if let Some(place) = self.open.remove(&key) {
            self.all[place].until = Some(now);
        }
        if let Some(term) = term {
            let (topic, topic_id, partition) = (topic.to_owned(), *key.0.as_bytes(), key.1);
            self.open.insert(key, self.all.len());
            self.all.push(Tenure { topic, topic_id, partition, term, since: now, until: None });
        }
    }

    /// All so far, in the order in which they began.
    pub fn all(&self) -> Vec<Tenure> {
        self.all.clone()
    }
}

#[cfg(test)]
mod tests {
    use hopwise_engine::Span;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_tenure_ends_with_the_next_of_its_partition() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let (one, two) = ((Uuid::from_u128(1), 0), (Uuid::from_u128(1), 1));
        let mut tenures = Tenures::default();
        for (now, key, term) in
            [(1, one, Some(4)), (2, two, Some(1)), (3, one, Some(6)), (5, one, None), (6, one, None)]
        {
            tenures.note(at(now), "t", key, term);
        }
        let told: Vec<_> =
            tenures.all().iter().map(|it| (it.partition, it.term, it.since, it.until)).collect();
        let expected = [(0, 4, at(1), Some(at(3))), (1, 1, at(2), None), (0, 6, at(3), Some(at(5)))];
        assert_eq!(told, expected);
    }
}
