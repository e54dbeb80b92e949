//! Which brokers get the replicas of a new topic.
//!
//! Leaders go to the broker that leads least, the other replicas to racks that the partition does not have
//! yet and then to the broker that holds least; ties go round-robin from the leader on. Source: redpanda.md
//! 4.5, last row (replicas are spread across racks at creation).

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
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

/// Where replicas can be put.
#[derive(Clone, Debug)]
pub(crate) struct Placeable {
    /// Sorted by id.
    pub candidates: Vec<Candidate>,
    /// Most replicas of one broker.
    pub capacity: usize,
}

/// How many replicas each broker has, those on their way included.
pub(crate) struct Loads(BTreeMap<i32, usize>);

impl Loads {
    /// The loads of a cluster.
    pub fn of(state: &State) -> Loads {
        let mut loads = BTreeMap::new();
        for topic in state.topics.all() {
            for (index, replicas) in topic.partitions.iter().enumerate() {
                let target = state.reassignment(&topic.name, index as i32).map(|change| &change.target);
                for id in target.unwrap_or(replicas) {
                    *loads.entry(*id).or_default() += 1;
                }
            }
        }
        Loads(loads)
    }

    fn get(&self, id: i32) -> usize {
        held(&self.0, id)
    }

    fn moved(&mut self, from: i32, to: i32) {
        let left = self.0.entry(from).or_default();
        *left = left.saturating_sub(1);
        *self.0.entry(to).or_default() += 1;
    }
}

impl Placeable {
    fn rack(&self, id: i32) -> Option<&str> {
        self.candidates.iter().find(|candidate| candidate.id == id)?.rack.as_deref()
    }

    /// The best broker for a replica beside `others`: in a rack of its own if there is one, with few replicas.
    fn best(&self, others: &[i32], taken: impl Fn(i32) -> bool, loads: &Loads) -> Option<&Candidate> {
        let is_free = |id: i32| !others.contains(&id) && !taken(id) && loads.get(id) < self.capacity;
        let free = self.candidates.iter().filter(|candidate| is_free(candidate.id));
        free.min_by_key(|candidate| {
            (self.shares_rack(candidate, others), loads.get(candidate.id), candidate.id)
        })
    }

    fn shares_rack(&self, candidate: &Candidate, others: &[i32]) -> bool {
        let rack = candidate.rack.as_deref();
        rack.is_some() && others.iter().any(|id| *id != candidate.id && self.rack(*id) == rack)
    }

    /// The replicas with those on `leaving` replaced, each in its place; `None` if there is no place for one.
    pub fn replace(&self, replicas: &[i32], leaving: &BTreeSet<i32>, loads: &mut Loads) -> Option<Vec<i32>> {
        let mut next = replicas.to_vec();
        let mut moved = Vec::new();
        for index in 0..next.len() {
            let from = next[index];
            if !leaving.contains(&from) {
                continue;
            }
            let others: Vec<i32> = next.iter().copied().filter(|id| *id != from).collect();
            let to = self.best(&others, |id| leaving.contains(&id), loads)?.id;
            next[index] = to;
            moved.push((from, to));
        }
        for (from, to) in moved {
            loads.moved(from, to);
        }
        Some(next)
    }

    /// The replicas with one moved to a rack that has none yet; `None` if nothing is to be gained.
    pub fn spread_racks(&self, replicas: &[i32], loads: &mut Loads) -> Option<Vec<i32>> {
        // The first of two in one rack stays: it is the preferred leader.
        let doubled = (1..replicas.len()).find(|index| {
            let rack = self.rack(replicas[*index]);
            rack.is_some() && replicas[..*index].iter().any(|id| self.rack(*id) == rack)
        })?;
        let from = replicas[doubled];
        let others: Vec<i32> = replicas.iter().copied().filter(|id| *id != from).collect();
        let best = self.best(&others, |id| id == from, loads)?;
        if best.rack.is_none() || self.shares_rack(best, &others) {
            return None;
        }
        let mut next = replicas.to_vec();
        next[doubled] = best.id;
        loads.moved(from, best.id);
        Some(next)
    }

    /// The replicas with one moved from a broker that has at least two more than the one it goes to; `None` if
    /// there is none, or if racks would suffer.
    pub fn even_out(&self, replicas: &[i32], loads: &mut Loads) -> Option<Vec<i32>> {
        let index =
            (0..replicas.len()).max_by_key(|index| (loads.get(replicas[*index]), usize::MAX - index))?;
        let from = replicas[index];
        let others: Vec<i32> = replicas.iter().copied().filter(|id| *id != from).collect();
        let best = self.best(&others, |id| id == from, loads)?;
        let gains = loads.get(best.id) + 1 < loads.get(from);
        if !gains || self.shares_rack(best, &others) {
            return None;
        }
        let mut next = replicas.to_vec();
        next[index] = best.id;
        loads.moved(from, best.id);
        Some(next)
    }
}

/// How many partitions have two replicas in one rack though there are more racks.
pub(crate) fn broken_racks(state: &State) -> usize {
    let rack = |id: &i32| state.members.get(id).and_then(|member| member.member.rack.as_deref());
    let racks: BTreeSet<&str> = state.members.keys().filter_map(rack).collect();
    let broken = |replicas: &&Vec<i32>| {
        let used: BTreeSet<&str> = replicas.iter().filter_map(rack).collect();
        let named = replicas.iter().filter(|id| rack(id).is_some()).count();
        used.len() < named && used.len() < racks.len()
    };
    state.topics.all().flat_map(|topic| &topic.partitions).filter(broken).count()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cluster::command::{Command, NewTopic};
    use crate::cluster::members::member;
    use crate::cluster::membership::Registered;

    /// A cluster with topics `t0`, `t1` … of one partition each, on these replicas.
    pub(crate) fn cluster(members: i32, topics: &[&[i32]]) -> State {
        let racks: Vec<Option<&str>> = vec![None; members as usize];
        built(&racks, topics)
    }

    /// The same, with a rack per member.
    pub(crate) fn in_racks(racks: &[&str], topics: &[&[i32]]) -> State {
        let racks: Vec<Option<&str>> = racks.iter().copied().map(Some).collect();
        built(&racks, topics)
    }

    fn built(racks: &[Option<&str>], topics: &[&[i32]]) -> State {
        let mut state = State::default();
        for (id, rack) in racks.iter().enumerate() {
            state.apply(&Command::RegisterMember { member: member(id as i32, *rack) }).unwrap();
        }
        for (index, replicas) in topics.iter().enumerate() {
            let new = NewTopic {
                name: format!("t{index}"),
                id: Some(uuid::Uuid::from_u128(index as u128 + 1)),
                partitions: 1,
                replication_factor: replicas.len() as i16,
                assignments: Some(vec![replicas.to_vec()]),
                configs: BTreeMap::new(),
                validate_only: false,
            };
            state.apply(&Command::CreateTopic(new)).unwrap();
        }
        state
    }

    /// Every member that takes replicas.
    pub(crate) fn places(state: &State) -> Placeable {
        let able = state.members.values().filter(|registered| Registered::takes_replicas(registered));
        let candidate = |registered: &Registered| {
            let member = &registered.member;
            Candidate { id: member.id, rack: member.rack.clone() }
        };
        Placeable { candidates: able.map(candidate).collect(), capacity: 1000 }
    }

    #[test]
    fn a_rack_is_doubled_in_vain_only_if_there_is_another() {
        assert_eq!(broken_racks(&in_racks(&["a", "a", "b"], &[&[0, 1], &[0, 2]])), 1);
        assert_eq!(broken_racks(&in_racks(&["a", "a"], &[&[0, 1]])), 0);
        assert_eq!(broken_racks(&cluster(3, &[&[0, 1]])), 0);
    }

    #[test]
    fn a_full_broker_takes_nothing() {
        let state = cluster(3, &[&[0], &[1], &[2]]);
        let full = Placeable { capacity: 1, ..places(&state) };
        let leaving = BTreeSet::from([0]);
        assert_eq!(full.replace(&[0], &leaving, &mut Loads::of(&state)), None);
        let roomy = Placeable { capacity: 2, ..full };
        assert_eq!(roomy.replace(&[0], &leaving, &mut Loads::of(&state)), Some(vec![1]));
    }

    #[test]
    fn a_replacement_prefers_a_rack_of_its_own() {
        let state = in_racks(&["a", "b", "b", "c"], &[&[0, 1]]);
        let replaced = places(&state).replace(&[0, 1], &BTreeSet::from([0]), &mut Loads::of(&state));
        assert_eq!(replaced, Some(vec![3, 1]));
        let one_rack = in_racks(&["a", "b", "b"], &[&[0, 1]]);
        let replaced = places(&one_rack).replace(&[0, 1], &BTreeSet::from([0]), &mut Loads::of(&one_rack));
        assert_eq!(replaced, Some(vec![2, 1]), "a shared rack is better than none");
        let even = places(&one_rack).even_out(&[0, 1], &mut Loads::of(&one_rack));
        assert_eq!(even, None, "but not for evenness alone");
    }

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
