//! A member of a group, and what it waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::coordinator::Ticket;

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub id: String,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    /// Supported assignors, best first, each with the subscription in its own format.
    pub protocols: Vec<(String, Bytes)>,
    pub assignment: Bytes,
    /// A JoinGroup that is to be answered when the rebalance has its members.
    pub joining: Option<Ticket>,
    /// A SyncGroup that is to be answered when the assignment is known.
    pub syncing: Option<Ticket>,
    /// Not in a generation yet. Such a member can expire while it waits; its client may be gone.
    pub is_new: bool,
    /// When it is taken for dead, unless it is heard before.
    pub expires: Instant,
    /// When the timer that looks at `expires` fires; never later than `expires`.
    pub timer: Option<Instant>,
}

impl Member {
    /// The names of its assignors.
    pub fn protocol_names(&self) -> BTreeSet<&str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Its subscription for an assignor; empty for one that it does not know.
    pub fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| Some(name.as_str()) == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    /// The first of its assignors that is among `candidates`.
    pub fn vote<'a>(&'a self, candidates: &BTreeSet<&str>) -> Option<&'a str> {
        self.protocols.iter().map(|(name, _)| name.as_str()).find(|name| candidates.contains(name))
    }

    /// Whether silence is no sign of death: what it waits for is the coordinator's to give.
    pub fn waits_for_coordinator(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }
}
