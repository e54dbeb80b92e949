//! Zones, and how fast their nodes are evicted.
//!
//! Source: kubernetes.md 1.6: 0.1 nodes per second and zone; a zone of which more than 2 nodes and at least 55 % are not
//! ready is partially disrupted: no evictions up to 50 nodes, 0.01 per second above; a zone without a ready node is fully
//! disrupted and evicted at the usual rate, unless all zones are: then nothing is evicted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hopwise_engine::{Span, Time};
use k8s_openapi::api::core::v1::Node;

use crate::controllers::endpoint_slices::ZONE_LABEL;

/// The node label with the region.
const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// Time between two nodes at the usual rate, 0.1/s (kubernetes.md 8).
const USUAL: Span = Span::from_secs(10);
/// Time between two nodes of a large zone that is partially disrupted, 0.01/s (kubernetes.md 8).
const REDUCED: Span = Span::from_secs(100);
/// Zones with more nodes are large (kubernetes.md 1.6).
const LARGE_ZONE_NODES: usize = 50;
/// A zone is partially disrupted when this share of it is not ready, in percent (kubernetes.md 8).
const UNHEALTHY_PERCENT: usize = 55;
/// ... and more nodes than this (kubernetes.md 8).
const UNHEALTHY_NODES: usize = 2;

/// How much of a zone is not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Initial,
    Normal,
    Partial,
    Full,
}

/// What a look at all zones has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that concerns all of them.
    Usual,
    /// Since now no node of any zone is ready.
    AllDisrupted,
    /// Since now some node is ready again.
    NoLongerAll,
}

#[derive(Debug, Default)]
struct Zone {
    state: State,
    /// Time between two nodes; none: no evictions.
    interval: Option<Span>,
    /// When the next node may be evicted.
    free_at: Time,
    queue: VecDeque<String>,
}

/// All zones.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: BTreeMap<String, Zone>,
    /// The nodes that wait or have had their turn while they were not ready.
    known: BTreeSet<String>,
}

/// The zone of a node; nodes of a region without zones are one.
pub(super) fn zone_of(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let part = |key: &str| label(key).map(String::as_str).unwrap_or("");
    format!("{}/{}", part(REGION_LABEL), part(ZONE_LABEL))
}

impl Zones {
    /// A node waits for its turn, unless it does already.
    pub(super) fn enqueue(&mut self, zone: &str, node: &str, now: Time) {
        if self.known.insert(node.to_owned()) {
            let new = || Zone { interval: Some(USUAL), free_at: now, ..Zone::default() };
            self.zones.entry(zone.to_owned()).or_insert_with(new).queue.push_back(node.to_owned());
        }
    }

    /// A node does not wait any more.
    pub(super) fn forget(&mut self, node: &str) {
        if self.known.remove(node) {
            self.zones.values_mut().for_each(|zone| zone.queue.retain(|other| other != node));
        }
    }

    /// When the next node has its turn.
    pub(super) fn next_at(&self) -> Option<Time> {
        let waiting = self.zones.values().filter(|zone| zone.interval.is_some() && !zone.queue.is_empty());
        waiting.map(|zone| zone.free_at).min()
    }

    /// The nodes whose turn it is.
    pub(super) fn take_due(&mut self, now: Time) -> Vec<String> {
        let mut due = Vec::new();
        for zone in self.zones.values_mut() {
            let Some(interval) = zone.interval else { continue };
            while zone.free_at <= now
                && let Some(node) = zone.queue.pop_front()
            {
                zone.free_at = now + interval;
                due.push(node);
            }
        }
        // They may be queued again if they are still without their taint at the next tick.
        self.known.retain(|node| !due.contains(node));
        due
    }

    /// Sets each zone's rate from the readiness of its nodes.
    pub(super) fn judge(&mut self, readiness: &BTreeMap<String, Vec<bool>>, now: Time) -> Turn {
        let were_all_full =
            !self.zones.is_empty() && self.zones.values().all(|zone| zone.state == State::Full);
        self.zones.retain(|name, _| readiness.contains_key(name));
        let states: BTreeMap<&String, State> =
            readiness.iter().map(|(name, nodes)| (name, state_of(nodes))).collect();
        let are_all_full = !states.is_empty() && states.values().all(|state| *state == State::Full);
        for (name, state) in &states {
            let zone = self.zones.entry((*name).clone()).or_default();
            let interval = match state {
                _ if are_all_full => None,
                State::Partial if readiness[*name].len() > LARGE_ZONE_NODES => Some(REDUCED),
                State::Partial => None,
                _ => Some(USUAL),
            };
            if zone.interval != interval
                && let Some(interval) = interval
            {
                // A new limiter starts empty where the old one would have refused.
                let refuses = zone.state != State::Initial && (zone.interval.is_none() || zone.free_at > now);
                zone.free_at = if refuses { now + interval } else { now };
            }
            (zone.state, zone.interval) = (*state, interval);
        }
        match (were_all_full, are_all_full) {
            (false, true) => Turn::AllDisrupted,
            (true, false) => Turn::NoLongerAll,
            _ => Turn::Usual,
        }
    }
}

fn state_of(nodes: &[bool]) -> State {
    let not_ready = nodes.iter().filter(|ready| !**ready).count();
    if not_ready > 0 && not_ready == nodes.len() {
        State::Full
    } else if not_ready > UNHEALTHY_NODES && not_ready * 100 >= nodes.len() * UNHEALTHY_PERCENT {
        State::Partial
    } else {
        State::Normal
    }
}
