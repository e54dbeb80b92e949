//! What a broker knows of its cluster: who belongs to it, who is alive, which topics there are.
//!
//! The tables are merged, not replicated by consensus: members by id and newest revision, topics by name. Two
//! brokers that have exchanged their tables in both directions hold the same. The controller, which hands out
//! ids and creates topics, is the alive broker with the lowest id. Left out, until there is a log of commands
//! agreed on by a majority: two halves of a divided cluster may each have a controller; of two topics of one
//! name the one with the lower id is kept when they meet.

pub(crate) mod discovery;
pub(crate) mod gossip;
pub(crate) mod identity;
pub(crate) mod members;
pub(crate) mod placement;
pub(crate) mod properties;
pub(crate) mod topics;

use members::Members;
use topics::Topics;

/// The tables of one broker.
pub(crate) struct Cluster {
    pub members: Members,
    pub topics: Topics,
    /// Whether the tables changed since they were last written to the volume.
    pub unsaved: bool,
}
