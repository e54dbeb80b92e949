//! Deliberate faults: each breaks one rule of routing, so that the checks that watch over it can be seen to fail. They are
//! off, and only feature `bugs` (for tests) can switch them on.

/// Which rules a client breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Keeps the first metadata for ever, whatever it is told and however old it gets.
    pub keep_metadata: bool,
    /// Takes NOT_LEADER_OR_FOLLOWER for something that passes, and goes on asking the same broker.
    pub ignore_not_leader: bool,
    /// Goes on using the address that it first had of a broker when the broker has moved to another.
    pub keep_first_address: bool,
    /// Resolves each name once.
    pub keep_dns_answers: bool,
    /// Sends records that could not be delivered to the next partition.
    pub retry_elsewhere: bool,
    /// Reads from the beginning of the log again when a fetch has to be sent again (as sarama-cluster did when a leader
    /// changed: bsm/sarama-cluster#270).
    pub forget_position: bool,
}
