//! What is done to served brokers.

use std::fmt;

use super::admin::AdminRequest;
use super::disk::DiskChange;
use super::links::{End, LinkChange};

/// Something that is done. Brokers are named by their places among the planned ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// To a broker's process.
    Process(usize, ProcessDeed),
    /// A broker is put into maintenance, restarted, and let out again; it takes until it is ready.
    Restart(usize),
    /// To a broker's disk.
    Disk(usize, DiskChange),
    /// To a broker, through the Admin API.
    Admin(usize, AdminRequest),
    /// To the ways, each in one direction.
    Links(Vec<(End, End)>, LinkChange),
}

/// What is done to a broker's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessDeed {
    /// It ends.
    Kill,
    /// Its machine loses power: what was not synced is lost.
    LosePower,
    /// It starts.
    Start,
    /// It is stopped (SIGSTOP).
    Hang,
    /// It goes on (SIGCONT).
    Resume,
    /// Everything takes so many times as long.
    Slow(u32),
    /// Its machine's clock is so many milliseconds ahead.
    SetClock(i64),
}

impl fmt::Display for ProcessDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessDeed::Kill => f.write_str("killed"),
            ProcessDeed::LosePower => f.write_str("killed, and what it had not synced is lost"),
            ProcessDeed::Start => f.write_str("started"),
            ProcessDeed::Hang => f.write_str("stopped: it answers nothing"),
            ProcessDeed::Resume => f.write_str("resumed"),
            ProcessDeed::Slow(1) => f.write_str("as fast as before"),
            ProcessDeed::Slow(times) => write!(f, "{times} times as slow"),
            ProcessDeed::SetClock(ahead_ms) => write!(f, "on a machine whose clock is {ahead_ms} ms ahead"),
        }
    }
}
