//! What a broker keeps its data on, and what may be wrong with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use turmoil_fs::Fs;

use super::MemoryFiles;

/// What a broker keeps its data on.
#[derive(Clone)]
pub enum Disk {
    /// A simulated file system, which can crash; the configured data directory is a path on it.
    Simulated(Fs),
    /// A directory of the machine, which stands for the configured data directory.
    Machine(PathBuf),
    /// Memory: nothing is lost but with the process.
    Memory(MemoryFiles),
    /// A disk, with its size and what may be wrong with it.
    Troubled(Box<Disk>, Arc<dyn DiskTrouble>),
}

/// What is wrong with a disk, asked at each operation. What a simulated file system itself lets fail or corrupts comes
/// on top.
pub trait DiskTrouble: Send + Sync {
    /// Whether there is no space left.
    fn is_full(&self) -> bool;
    /// How much longer a sync takes.
    fn extra_latency(&self) -> Duration;
    /// Whether this operation fails, with EIO.
    fn fails(&self) -> bool {
        false
    }
    /// Whether this read gives other bytes than were written.
    fn corrupts(&self) -> bool {
        false
    }
    /// How many bytes fit the disk; `None` if nobody knows.
    fn capacity_bytes(&self) -> Option<u64> {
        None
    }
}
