//! Which brokers get the replicas of a new topic.
//!
//! Leaders go to the broker that leads least, the other replicas to racks that the partition does not have
//! yet and then to the broker that holds least; ties go round-robin from the leader on. Source: redpanda.md
//! 4.5, last row (replicas are spread across racks at creation).

use std::collections::BTreeMap;

use super::topics::Topic;

/// A broker that can hold replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub id: i32,
    pub rack: Option<String>,
}

/// Replicas held and leaderships, per broker.
#[derive(Default)]
struct Load {
    replicas: BTreeMap<i32, usize>,
    leaders: BTreeMap<i32, usize>,
}

impl Load {
    fn add(&mut self, replicas: &[i32]) {
        for id in replicas {
            *self.replicas.entry(*id).or_default() += 1;
        }
        if let Some(leader) = replicas.first() {
            *self.leaders.entry(*leader).or_default() += 1;
        }
    }
}

fn held(load: &BTreeMap<i32, usize>, id: i32) -> usize {
    load.get(&id).copied().unwrap_or(0)
}

/// Replicas for each of `partitions` partitions. There are at least `replication` candidates, sorted by id.
pub(crate) fn place<'a>(
    partitions: usize,
    replication: usize,
    candidates: &[Candidate],
    existing: impl Iterator<Item = &'a Topic>,
) -> Vec<Vec<i32>> {
    let mut load = Load::default();
    existing.flat_map(|topic| &topic.partitions).for_each(|replicas| load.add(replicas));
    let mut placed = Vec::with_capacity(partitions);
    for _ in 0..partitions {
        let replicas = place_partition(replication, candidates, &load);
        load.add(&replicas);
        placed.push(replicas);
    }
    placed
}

fn place_partition(replication: usize, candidates: &[Candidate], load: &Load) -> Vec<i32> {
    let leads = |index: &usize| {
        let id = candidates[*index].id;
        (held(&load.leaders, id), held(&load.replicas, id), *index)
    };
    let Some(first) = (0..candidates.len()).min_by_key(leads) else { return Vec::new() };
    let mut chosen = vec![first];
    while chosen.len() < replication.min(candidates.len()) {
        let rank = |index: &usize| {
            let candidate = &candidates[*index];
            let shares_rack = candidate.rack.is_some()
                && chosen.iter().any(|other| candidates[*other].rack == candidate.rack);
            let round = (index + candidates.len() - first) % candidates.len();
            (shares_rack, held(&load.replicas, candidate.id), round)
        };
        let free = (0..candidates.len()).filter(|index| !chosen.contains(index));
        let Some(next) = free.min_by_key(rank) else { break };
        chosen.push(next);
    }
    chosen.into_iter().map(|index| candidates[index].id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(racks: &[Option<&str>]) -> Vec<Candidate> {
        let candidate =
            |(id, rack): (usize, &Option<&str>)| Candidate { id: id as i32, rack: rack.map(str::to_owned) };
        racks.iter().enumerate().map(candidate).collect()
    }

    #[test]
    fn leaders_go_round() {
        let placed = place(6, 3, &candidates(&[None, None, None]), std::iter::empty());
        let leaders: Vec<i32> = placed.iter().map(|replicas| replicas[0]).collect();
        assert_eq!(leaders, [0, 1, 2, 0, 1, 2]);
        assert!(placed.iter().all(|replicas| {
            let mut sorted = replicas.clone();
            sorted.sort_unstable();
            sorted == [0, 1, 2]
        }));
    }

    #[test]
    fn a_new_topic_starts_where_the_others_left_off() {
        let topic = Topic {
            name: "first".into(),
            id: uuid::Uuid::nil(),
            partitions: vec![vec![0]],
            configs: BTreeMap::new(),
        };
        assert_eq!(place(2, 1, &candidates(&[None, None, None]), [&topic].into_iter()), [[1], [2]]);
    }

    #[test]
    fn replicas_take_different_racks() {
        let brokers = candidates(&[Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("c")]);
        for replicas in place(30, 3, &brokers, std::iter::empty()) {
            let mut racks: Vec<_> = replicas.iter().map(|id| brokers[*id as usize].rack.clone()).collect();
            racks.sort();
            racks.dedup();
            assert_eq!(racks.len(), 3, "{replicas:?}");
        }
    }
}
