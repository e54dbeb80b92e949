//! Partitions are spread evenly, and stay where they are if that is even.
//!
//! What members had and may still have they keep. What nobody has goes to whoever may have it and has least. Then
//! partitions go from those that have most to those that have at least two less, as long as that helps.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::super::Assignment;
use super::{Candidate, subscribers};

/// Rounds of evening out over all topics. Each makes the spread better; where members are subscribed to different
/// topics the best one may take more, and is not worth them.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(members: &BTreeMap<String, Candidate>) -> BTreeMap<String, Assignment> {
    let topics = subscribers(members);
    let mut spread = Spread::kept(members);
    // Topics that few may have come first: others can make up for them.
    let mut order: Vec<(&Uuid, &(i32, Vec<&str>))> = topics.iter().collect();
    order.sort_by_key(|(id, (_, ids))| (ids.len(), **id));
    for (topic, (partitions, ids)) in &order {
        spread.fill(**topic, *partitions, ids);
    }
    for _ in 0..ROUNDS_MAX {
        let moved = order.iter().fold(false, |moved, (topic, (_, ids))| spread.even(**topic, ids) || moved);
        if !moved {
            break;
        }
    }
    spread.assigned
}

struct Spread {
    assigned: BTreeMap<String, Assignment>,
    /// Partitions of each member.
    loads: BTreeMap<String, usize>,
    taken: BTreeSet<(Uuid, i32)>,
}

impl Spread {
    /// What members had and may still have; of two that had the same the first keeps it.
    fn kept(members: &BTreeMap<String, Candidate>) -> Spread {
        let mut spread = Spread { assigned: BTreeMap::new(), loads: BTreeMap::new(), taken: BTreeSet::new() };
        for (id, member) in members {
            spread.assigned.entry(id.clone()).or_default();
            spread.loads.insert(id.clone(), 0);
            for (topic, indexes) in &member.before {
                let Some(partitions) = member.topics.get(topic) else { continue };
                for index in indexes.iter().filter(|index| (0..*partitions).contains(*index)) {
                    if spread.taken.insert((*topic, *index)) {
                        spread.give(id, *topic, *index);
                    }
                }
            }
        }
        spread
    }

    fn give(&mut self, id: &str, topic: Uuid, index: i32) {
        self.assigned.entry(id.to_owned()).or_default().entry(topic).or_default().insert(index);
        *self.loads.entry(id.to_owned()).or_default() += 1;
    }

    fn load(&self, id: &str) -> usize {
        self.loads.get(id).copied().unwrap_or(0)
    }

    fn by_load<'a>(&self, ids: &[&'a str]) -> BTreeSet<(usize, &'a str)> {
        ids.iter().map(|id| (self.load(id), *id)).collect()
    }

    fn fill(&mut self, topic: Uuid, partitions: i32, ids: &[&str]) {
        let mut least = self.by_load(ids);
        for index in
            (0..partitions).filter(|index| !self.taken.contains(&(topic, *index))).collect::<Vec<_>>()
        {
            let Some((load, id)) = least.pop_first() else { return };
            self.give(id, topic, index);
            least.insert((load + 1, id));
        }
    }

    /// Moves partitions of a topic from those that have most in all to those that have least; whether it did.
    fn even(&mut self, topic: Uuid, ids: &[&str]) -> bool {
        let mut least = self.by_load(ids);
        let has =
            |spread: &Spread, id: &str| spread.assigned.get(id).is_some_and(|own| own.contains_key(&topic));
        let mut most: BTreeSet<(usize, &str)> =
            least.iter().filter(|(_, id)| has(self, id)).copied().collect();
        let mut moved = false;
        while let (Some(&(low, to)), Some(&(high, from))) = (least.first(), most.last()) {
            if high < low + 2 {
                break;
            }
            self.shift(topic, from, to);
            moved = true;
            for (set, own) in [(&mut least, true), (&mut most, has(self, from))] {
                set.remove(&(high, from));
                if own {
                    set.insert((high - 1, from));
                }
            }
            for set in [&mut least, &mut most] {
                set.remove(&(low, to));
                set.insert((low + 1, to));
            }
        }
        moved
    }

    fn shift(&mut self, topic: Uuid, from: &str, to: &str) {
        let Some(own) = self.assigned.get_mut(from) else { return };
        let Some(index) = own.get_mut(&topic).and_then(BTreeSet::pop_last) else { return };
        if own.get(&topic).is_some_and(BTreeSet::is_empty) {
            own.remove(&topic);
        }
        if let Some(load) = self.loads.get_mut(from) {
            *load -= 1;
        }
        self.give(to, topic, index);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn count(assignment: &Assignment) -> usize {
        assignment.values().map(BTreeSet::len).sum()
    }

    /// The same members with what they were given.
    fn again(members: &BTreeMap<String, Candidate>) -> BTreeMap<String, Candidate> {
        let mut members = members.clone();
        for (id, before) in assign(&members) {
            members.get_mut(&id).unwrap().before = before;
        }
        members
    }

    fn member(topics: &[(u128, i32)]) -> Candidate {
        Candidate {
            topics: topics.iter().map(|(id, count)| (topic(*id), *count)).collect(),
            ..Candidate::default()
        }
    }

    #[test]
    fn a_member_that_comes_gets_its_share_and_nothing_else_moves() {
        let three: BTreeMap<String, Candidate> =
            ["a", "b", "c"].map(|id| (id.to_owned(), member(&[(1, 6), (2, 6)]))).into();
        let mut members = again(&three);
        assert!(members.values().all(|member| count(&member.before) == 4));
        members.insert("d".to_owned(), member(&[(1, 6), (2, 6)]));
        let assigned = assign(&members);
        assert!(assigned.values().all(|own| count(own) == 3), "{assigned:?}");
        let stayed = |id: &str| {
            let own = &assigned[id];
            own.iter().all(|(topic, indexes)| indexes.is_subset(&members[id].before[topic]))
        };
        assert!(["a", "b", "c"].iter().all(|id| stayed(id)), "{assigned:?}");
        members.remove("a");
        assert!(assign(&again(&members)).values().all(|own| count(own) == 4));
    }

    #[test]
    fn members_with_other_topics_make_up_for_each_other() {
        let members = BTreeMap::from([
            ("a".to_owned(), member(&[(1, 4), (2, 4)])),
            ("b".to_owned(), member(&[(1, 4)])),
        ]);
        let assigned = assign(&members);
        assert_eq!((count(&assigned["a"]), count(&assigned["b"])), (4, 4));
        assert_eq!(assigned["b"][&topic(1)].len(), 4);
    }

    proptest! {
        #[test]
        fn every_partition_has_one_member_that_may_have_it_and_none_can_do_better_alone(
            subscriptions in prop::collection::vec(prop::collection::btree_set(0u128..4, 0..4), 1..6),
            partitions in prop::collection::vec(0i32..8, 4),
        ) {
            let members: BTreeMap<String, Candidate> = (0..).zip(&subscriptions).map(|(index, topics): (i32, _)| {
                let topics: Vec<(u128, i32)> =
                    topics.iter().map(|id| (*id, partitions[*id as usize])).collect();
                (format!("m{index}"), member(&topics))
            }).collect();
            let assigned = assign(&members);
            for (id, count_of) in (0u128..4).zip(&partitions) {
                let ids: Vec<&String> =
                    members.iter().filter(|(_, one)| one.topics.contains_key(&topic(id))).map(|(id, _)| id).collect();
                let mut all = BTreeSet::new();
                for (holder, own) in &assigned {
                    for index in own.get(&topic(id)).into_iter().flatten() {
                        prop_assert!(ids.contains(&holder), "{holder} is not subscribed");
                        prop_assert!(all.insert(*index), "{index} is given twice");
                        let least = ids.iter().map(|id| count(&assigned[*id])).min().unwrap();
                        prop_assert!(count(own) <= least + 1, "{assigned:?}");
                    }
                }
                let expected = if ids.is_empty() { 0 } else { *count_of as usize };
                prop_assert_eq!(all.len(), expected);
            }
            let kept = again(&members);
            prop_assert_eq!(assign(&kept), assigned, "what is even stays");
        }
    }
}
