//! How many pods of an audience each node has, and which nodes hold pods that ask to be near or far from others.
//!
//! Both are kept up to date pod by pod, so that looking for a node costs by the number of nodes and not by that of pods.

use k8s_openapi::api::core::v1::Pod;
use rustc_hash::FxHashMap;

use super::audience::{Audience, AudienceIndex};
use crate::store::Store;

/// A pod that occupies a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupant<'a> {
    pub(super) pod: &'a Pod,
    pub(super) node: usize,
    /// Whether it is asked to go: it occupies its node still, but does not count for topology spread.
    pub(super) terminating: bool,
}

/// The pods of an audience, per node.
#[derive(Debug)]
pub(super) struct Tally {
    /// A pod counts when all of them contain it.
    audiences: Vec<Audience>,
    /// Terminating pods included.
    pub(super) all: Vec<u32>,
    /// Without terminating pods (kubernetes.md 2).
    pub(super) staying: Vec<u32>,
}

/// The tallies that somebody has asked for so far.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    by_key: FxHashMap<String, usize>,
    tallies: Vec<Tally>,
    index: AudienceIndex,
}

impl Tallies {
    /// The tally of the pods that all of `audiences` contain; counted over `occupants` if it is new.
    pub(super) fn of<'a>(
        &mut self,
        audiences: Vec<Audience>,
        nodes: usize,
        store: &Store,
        occupants: impl Iterator<Item = Occupant<'a>>,
    ) -> &Tally {
        let key: String = audiences.iter().map(Audience::key).collect();
        if let Some(id) = self.by_key.get(&key) {
            return &self.tallies[*id];
        }
        let id = self.tallies.len();
        self.index.insert(&audiences, id);
        let mut tally = Tally { audiences, all: vec![0; nodes], staying: vec![0; nodes] };
        for occupant in occupants {
            tally.count(occupant, store, u32::wrapping_add);
        }
        self.by_key.insert(key, id);
        self.tallies.push(tally);
        &self.tallies[id]
    }

    /// Counts a pod that has come.
    pub(super) fn add(&mut self, occupant: Occupant<'_>, store: &Store) {
        self.change(occupant, store, u32::wrapping_add);
    }

    /// Counts a pod that has gone; `occupant` is as it was when it came.
    pub(super) fn remove(&mut self, occupant: Occupant<'_>, store: &Store) {
        self.change(occupant, store, u32::wrapping_sub);
    }

    fn change(&mut self, occupant: Occupant<'_>, store: &Store, apply: fn(u32, u32) -> u32) {
        for id in self.index.candidates(occupant.pod.metadata.labels.as_ref()) {
            self.tallies[id].count(occupant, store, apply);
        }
    }
}

impl Tally {
    fn count(&mut self, occupant: Occupant<'_>, store: &Store, apply: fn(u32, u32) -> u32) {
        if self.audiences.iter().all(|audience| audience.contains(occupant.pod, store)) {
            let node = occupant.node;
            self.all[node] = apply(self.all[node], 1);
            if !occupant.terminating {
                self.staying[node] = apply(self.staying[node], 1);
            }
        }
    }
}

/// A wish of pods that are there about pods to come.
#[derive(Debug)]
pub(super) struct Wish {
    audience: Audience,
    /// The label whose value a domain is.
    pub(super) topology_key: String,
    /// None: never together (required anti-affinity); else how much it is wanted, negative for anti-affinity.
    pub(super) weight: Option<i64>,
    /// How many pods on each node have this wish.
    pub(super) holders: Vec<u32>,
}

/// The wishes of all pods that are there; equal ones are one.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    by_key: FxHashMap<String, usize>,
    wishes: Vec<Wish>,
    index: AudienceIndex,
}

impl Wishes {
    /// The number of a wish, for [`Wishes::add`] and [`Wishes::remove`].
    pub(super) fn intern(
        &mut self,
        audience: Audience,
        topology_key: &str,
        weight: Option<i64>,
        nodes: usize,
    ) -> usize {
        let key = format!("{weight:?} {topology_key} {}", audience.key());
        if let Some(id) = self.by_key.get(&key) {
            return *id;
        }
        let id = self.wishes.len();
        self.index.insert(std::slice::from_ref(&audience), id);
        self.wishes.push(Wish {
            audience,
            topology_key: topology_key.to_owned(),
            weight,
            holders: vec![0; nodes],
        });
        self.by_key.insert(key, id);
        id
    }

    /// One more pod of the node has the wish.
    pub(super) fn add(&mut self, id: usize, node: usize) {
        self.wishes[id].holders[node] += 1;
    }

    /// One pod less of the node has the wish.
    pub(super) fn remove(&mut self, id: usize, node: usize) {
        self.wishes[id].holders[node] -= 1;
    }

    /// The wishes that are about `pod`.
    pub(super) fn about(&self, pod: &Pod, store: &Store) -> impl Iterator<Item = &Wish> {
        let candidates = self.index.candidates(pod.metadata.labels.as_ref()).into_iter();
        candidates
            .map(|id| &self.wishes[id])
            .filter(|wish| wish.holders.iter().any(|count| *count > 0) && wish.audience.contains(pod, store))
    }
}
