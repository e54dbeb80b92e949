//! When a broker led which partition, as its own Raft replicas knew it.
//!
//! Whoever watches a cluster from outside can compare this with who answered: metadata only tells what brokers had
//! heard. It is kept on demand, since it grows with every election.
//!
//! Source: Raft (Ongaro, 2014), section 5.2: a replica is a leader from its election until it hears of a newer term, or
//! steps down; the thesis, 3.10: a leader that hands over takes no more proposals.

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
    /// When it was handing leadership over: a leader takes no records then, and says that it does not lead.
    pub handovers: Vec<Handover>,
}

/// A time in which a leader was handing over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// From when on.
    pub since: Time,
    /// Until when; `None` if until the end of the tenure.
    pub until: Option<Time>,
}

/// How a broker leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leading {
    /// The Raft term.
    pub term: u64,
    /// Whether it is handing leadership over.
    pub hands_over: bool,
}

/// The tenures of one broker, as they come and go.
#[derive(Debug, Default)]
pub(crate) struct Tenures {
    all: Vec<Tenure>,
    /// The places of those that have not ended.
    open: BTreeMap<PartitionKey, usize>,
}

impl Tenure {
    fn note_handover(&mut self, now: Time, hands_over: bool) {
        match self.handovers.last_mut().filter(|last| last.until.is_none()) {
            Some(open) if !hands_over => open.until = Some(now),
            None if hands_over => self.handovers.push(Handover { since: now, until: None }),
            Some(_) | None => {}
        }
    }
}

impl Tenures {
    /// The broker leads the partition so from `now` on, or does not lead it any more.
    pub fn note(&mut self, now: Time, topic: &str, key: PartitionKey, leading: Option<Leading>) {
        let known = self.open.get(&key).map(|place| &mut self.all[*place]);
        match (known, leading) {
            (Some(tenure), Some(leading)) if tenure.term == leading.term => {
                return tenure.note_handover(now, leading.hands_over);
            }
            (Some(tenure), _) => tenure.until = Some(now),
            (None, _) => {}
        }
        self.open.remove(&key);
        if let Some(Leading { term, hands_over }) = leading {
            let (topic, topic_id, partition) = (topic.to_owned(), *key.0.as_bytes(), key.1);
            self.open.insert(key, self.all.len());
            let handovers = Vec::new();
            let mut tenure = Tenure { topic, topic_id, partition, term, since: now, until: None, handovers };
            tenure.note_handover(now, hands_over);
            self.all.push(tenure);
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
            tenures.note(at(now), "t", key, term.map(|term| Leading { term, hands_over: false }));
        }
        let told: Vec<_> =
            tenures.all().iter().map(|it| (it.partition, it.term, it.since, it.until)).collect();
        let expected = [(0, 4, at(1), Some(at(3))), (1, 1, at(2), None), (0, 6, at(3), Some(at(5)))];
        assert_eq!(told, expected);
    }
    #[test]
    fn a_leader_may_hand_over_again_and_again_in_one_term() {
        let at = |seconds| Time::ZERO + Span::from_secs(seconds);
        let (key, mut tenures) = ((Uuid::from_u128(1), 0), Tenures::default());
        for (now, hands_over) in [(1, false), (2, true), (3, false), (5, true), (5, true)] {
            tenures.note(at(now), "t", key, Some(Leading { term: 4, hands_over }));
        }
        tenures.note(at(6), "t", key, None);
        let all = tenures.all();
        assert_eq!((all.len(), all[0].until), (1, Some(at(6))));
        let expected =
            [Handover { since: at(2), until: Some(at(3)) }, Handover { since: at(5), until: None }];
        assert_eq!(all[0].handovers, expected);
    }
}
