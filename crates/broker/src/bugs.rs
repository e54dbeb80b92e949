//! Deliberate faults: each makes a broker break one promise, so that the tests that watch over it can be seen to
//! fail. They are off, and only feature `bugs` (for tests) can switch them on.

/// Which promises a broker breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Counts a batch as kept before it is on the disk.
    pub ack_before_fsync: bool,
    /// Answers acks=all when the leader has the batch, whatever the others have.
    pub ack_before_majority: bool,
    /// Gives consumers records that no majority has yet.
    pub read_beyond_high_watermark: bool,
    /// Forgets at a restart which sequences its producers have sent.
    pub forget_producers: bool,
    /// Serves fetches from replicas that do not lead, as if they did.
    pub serve_without_leading: bool,
    /// Tells consumers that read committed records of no transaction that was aborted.
    pub hide_aborts: bool,
}
