//! What a broker knows of its cluster: who belongs to it, who is alive, which topics there are.
//!
//! What the cluster agrees on is its [`state::State`], which the controller group replicates
//! ([`controller`]); who is alive each broker sees for itself ([`node_status`]).

pub(crate) mod acls;
pub(crate) mod command;
pub(crate) mod controller;
pub(crate) mod crash_tracking;
pub(crate) mod discovery;
pub(crate) mod features;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod node_status;
pub(crate) mod placement;
pub(crate) mod properties;
pub(crate) mod quotas;
pub(crate) mod rate_limit;
pub(crate) mod reassignment;
pub(crate) mod roles;
pub(crate) mod state;
pub(crate) mod submit;
pub(crate) mod topics;
pub(crate) mod users;

use std::sync::Arc;

use members::{Member, Members};
use state::State;

use crate::node::Node;
use crate::status::Counter;

/// The tables of one broker.
pub(crate) struct Cluster {
    pub members: Members,
    pub state: State,
    /// Whether the tables changed since they were last written to the volume.
    pub unsaved: bool,
}

/// Brings the members table to what the state says, and keeps it on the volume, so that a broker that starts
/// knows whom to ask.
pub(crate) fn take_over_members(node: &Arc<Node>) {
    node.with_cluster(|cluster| {
        let Cluster { members, state, unsaved } = cluster;
        let registered: Vec<Member> = state.members.values().map(|known| known.member.clone()).collect();
        *unsaved |= members.merge(registered);
        *unsaved |= members.remove(state.removed.keys().copied());
    });
    if let Err(error) = node.save_members() {
        node.status.add(Counter::StorageErrors, 1);
        tracing::error!(%error, "the members table could not be written to the volume");
    }
}
