//! Each member gets a row of neighbouring partitions of every topic.

use std::collections::BTreeMap;

use super::super::Assignment;
use super::{Candidate, subscribers};

/// Members are ordered by instance id, then by member id, so that static members keep their place; the first
/// ones get one partition more where they do not divide evenly.
pub(super) fn assign(members: &BTreeMap<String, Candidate>) -> BTreeMap<String, Assignment> {
    let mut assigned: BTreeMap<String, Assignment> =
        members.keys().map(|id| (id.clone(), Assignment::new())).collect();
    for (topic, (partitions, mut ids)) in subscribers(members) {
        // Static members come first.
        ids.sort_by_key(|id| (members[*id].instance.is_none(), members[*id].instance.clone(), *id));
        let count = ids.len() as i32;
        let (share, more) = (partitions / count, partitions % count);
        let mut next = 0;
        for (place, id) in (0..).zip(ids) {
            let end = next + share + i32::from(place < more);
            if end > next {
                assigned.entry(id.to_owned()).or_default().insert(topic, (next..end).collect());
            }
            next = end;
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn topics_are_cut_alike() {
        let topics = BTreeMap::from([(Uuid::from_u128(1), 5), (Uuid::from_u128(2), 5)]);
        let member = |instance: Option<&str>| Candidate {
            instance: instance.map(str::to_owned),
            topics: topics.clone(),
            ..Candidate::default()
        };
        let members = BTreeMap::from([
            ("a".to_owned(), member(None)),
            ("b".to_owned(), member(None)),
            ("z".to_owned(), member(Some("pod-0"))),
        ]);
        let assigned = assign(&members);
        for topic in topics.keys() {
            let row = |id: &str| assigned[id][topic].iter().copied().collect::<Vec<_>>();
            assert_eq!((row("z"), row("a"), row("b")), (vec![0, 1], vec![2, 3], vec![4]));
        }
    }

    #[test]
    fn a_member_gets_nothing_of_what_it_did_not_subscribe_to_and_of_too_few() {
        let topic = Uuid::from_u128(1);
        let with = |topics: &[(Uuid, i32)]| Candidate {
            topics: topics.iter().copied().collect(),
            ..Candidate::default()
        };
        let members = BTreeMap::from([
            ("a".to_owned(), with(&[(topic, 1)])),
            ("b".to_owned(), with(&[(topic, 1)])),
            ("c".to_owned(), with(&[])),
        ]);
        let assigned = assign(&members);
        assert_eq!(assigned["a"][&topic].len(), 1);
        assert!(assigned["b"].is_empty() && assigned["c"].is_empty());
    }
}
