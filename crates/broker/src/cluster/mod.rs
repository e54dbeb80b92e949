//! What a broker knows of its cluster: who belongs to it, who is alive, which topics there are.
//!
//! Members are merged by id and newest revision; of two states the one with the higher version is kept. The
//! controller, which hands out ids and applies commands, is the alive broker with the lowest id. Left out, until
//! there is a log of commands agreed on by a majority: two halves of a divided cluster may each have a controller.

pub(crate) mod acls;
pub(crate) mod command;
pub(crate) mod crash_tracking;
pub(crate) mod discovery;
pub(crate) mod features;
pub(crate) mod gossip;
pub(crate) mod health;
pub(crate) mod identity;
pub(crate) mod members;
pub(crate) mod membership;
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

use members::Members;
use state::State;

/// The tables of one broker.
pub(crate) struct Cluster {
    pub members: Members,
    pub state: State,
    /// Whether the tables changed since they were last written to the volume.
    pub unsaved: bool,
}
