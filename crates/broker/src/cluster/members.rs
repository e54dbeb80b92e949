//! The brokers of a cluster and who of them is alive.
//!
//! Source: redpanda.md 3.5 (node_status pings) and 4.1 (who is left out of Metadata). Time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::{AdvertisedListener, HostPort};

/// A broker as the others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub id: i32,
    /// Of the broker's volume: a lost volume makes another member.
    pub uuid: Uuid,
    /// Rises with every start, so that a restarted broker's addresses replace its old ones.
    pub revision: u64,
    pub rack: Option<String>,
    pub rpc: HostPort,
    pub kafka: Vec<AdvertisedListener>,
}

/// The members table.
pub(crate) struct Members {
    own_id: i32,
    started: Instant,
    alive_timeout: Duration,
    controller: Option<i32>,
    members: BTreeMap<i32, Member>,
    heard: BTreeMap<i32, Instant>,
}

impl Members {
    pub fn new(own_id: i32, members: Vec<Member>, alive_timeout: Duration, now: Instant) -> Members {
        let mut table = Members {
            own_id,
            started: now,
            alive_timeout,
            controller: None,
            members: BTreeMap::new(),
            heard: BTreeMap::new(),
        };
        table.merge(members);
        table
    }

    /// The broker has got its id.
    pub fn set_own(&mut self, id: i32) {
        self.own_id = id;
    }

    /// Takes over what is newer in `others`; tells whether anything was.
    pub fn merge(&mut self, others: Vec<Member>) -> bool {
        let mut changed = false;
        for other in others {
            let newer = match self.members.get(&other.id) {
                None => true,
                Some(known) if known.uuid == other.uuid => other.revision > known.revision,
                Some(known) => other.uuid < known.uuid,
            };
            if newer {
                self.members.insert(other.id, other);
                changed = true;
            }
        }
        changed
    }

    /// A broker answered, or sent a request.
    pub fn heard(&mut self, id: i32, now: Instant) {
        self.heard.insert(id, now);
    }

    /// How long a broker has been silent; `None` if it was never heard.
    pub fn silence(&self, id: i32, now: Instant) -> Option<Duration> {
        self.heard.get(&id).map(|heard| now.saturating_duration_since(*heard))
    }

    /// How long a broker has been silent, counted from this broker's start if it was never heard.
    pub fn silent_since_start(&self, id: i32, now: Instant) -> Duration {
        self.silence(id, now).unwrap_or_else(|| now.saturating_duration_since(self.started))
    }

    pub fn get(&self, id: i32) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Every member, by id.
    pub fn all(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn to_vec(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }

    /// Takes members out; tells whether any was there.
    pub fn remove(&mut self, ids: impl Iterator<Item = i32>) -> bool {
        ids.filter(|id| self.members.remove(id).is_some()).count() > 0
    }

    /// How long a silent broker counts as alive has changed.
    pub fn set_alive_timeout(&mut self, alive_timeout: Duration) {
        self.alive_timeout = alive_timeout;
    }

    /// The leader of the controller group changed.
    pub fn set_controller(&mut self, controller: Option<i32>) {
        self.controller = controller;
    }

    /// Whether Metadata names the broker: one that was never heard counts as alive (redpanda.md 4.1).
    pub fn alive(&self, id: i32, now: Instant) -> bool {
        let recent = |heard: &Instant| now.saturating_duration_since(*heard) <= self.alive_timeout;
        id == self.own_id || self.heard.get(&id).is_none_or(recent)
    }

    /// The brokers that Metadata names: the alive ones, or all if nobody is.
    pub fn named(&self, now: Instant) -> Vec<&Member> {
        let alive: Vec<&Member> = self.all().filter(|member| self.alive(member.id, now)).collect();
        if alive.is_empty() { self.all().collect() } else { alive }
    }

    /// Whether work can be given to the broker: one that was never heard has the timeout, from this broker's
    /// start on, to be heard.
    pub fn reachable(&self, id: i32, now: Instant) -> bool {
        let since = self.heard.get(&id).copied().unwrap_or(self.started);
        id == self.own_id || now.saturating_duration_since(since) <= self.alive_timeout
    }

    /// Whether the broker was heard lately; one that was never heard has that long from this broker's start on.
    pub fn heard_within(&self, id: i32, patience: Duration, now: Instant) -> bool {
        let since = self.heard.get(&id).copied().unwrap_or(self.started);
        now.saturating_duration_since(since) <= patience
    }

    /// The leader of the controller group, if it can be reached.
    pub fn controller(&self, now: Instant) -> Option<i32> {
        self.controller.filter(|id| self.reachable(*id, now))
    }
}

#[cfg(test)]
pub(crate) fn member(id: i32, rack: Option<&str>) -> Member {
    Member {
        id,
        uuid: Uuid::from_u128(id as u128 + 1),
        revision: 1,
        rack: rack.map(str::to_owned),
        rpc: HostPort::new(format!("broker-{id}"), 33145),
        kafka: vec![
            AdvertisedListener { name: "internal".into(), address: HostPort::new(format!("in-{id}"), 9093) },
            AdvertisedListener { name: "default".into(), address: HostPort::new(format!("out-{id}"), 31092) },
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

    #[test]
    fn a_newer_revision_replaces_and_an_older_does_not() {
        let now = Instant::now();
        let mut members = Members::new(0, vec![member(0, None), member(1, None)], TIMEOUT, now);
        let mut moved = member(1, None);
        moved.revision = 2;
        moved.rpc = HostPort::new("elsewhere", 1);
        assert!(members.merge(vec![moved]));
        assert!(!members.merge(vec![member(1, None)]));
        assert_eq!(members.get(1).unwrap().rpc.host, "elsewhere");
    }

    #[test]
    fn silence_makes_dead_but_never_heard_is_alive() {
        let start = Instant::now();
        let mut members =
            Members::new(1, vec![member(0, None), member(1, None), member(2, None)], TIMEOUT, start);
        members.heard(0, start);
        let later = start + Duration::from_millis(5001);
        assert!(!members.alive(0, later));
        assert!(members.alive(1, later) && members.alive(2, later));
        assert!(!members.reachable(2, later));
        members.set_controller(Some(0));
        assert_eq!(members.controller(start), Some(0));
        assert_eq!(members.controller(later), None);
        let named: Vec<i32> = members.named(later).iter().map(|member| member.id).collect();
        assert_eq!(named, [1, 2]);
    }
}
