//! What runs in containers: the seam between the cluster and the programs it hosts.
//!
//! The cluster knows pods, mounts and environments, not what an image does. Whoever builds the cluster supplies
//! [`Programs`]; an image that they do not know answers on every declared port with an echo.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use turmoil_fs::Fs;

/// The programs that images hold.
pub trait Programs {
    /// Whether the image's shell scripts are interpreted when an init container runs them. The init containers
    /// of other images are taken to succeed.
    fn interprets(&self, image: &str) -> bool;

    /// Prepares the program of a container, or `None` for an image that is not known.
    ///
    /// # Errors
    /// Why the program ends at once, in words for the user: the container crashes.
    fn start(&self, container: &Container) -> Option<Result<Process, String>>;
}

/// A container that is about to run.
#[derive(Clone)]
pub struct Container {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// Name of the container.
    pub name: String,
    /// The image.
    pub image: String,
    /// Command and arguments, `$(NAME)` expanded.
    pub command: Vec<String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The files that are mounted, by their path in the container.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The disks that are mounted, by their path in the container.
    pub disks: BTreeMap<String, Disk>,
    /// The ports that the container declares.
    pub ports: Vec<ContainerPort>,
    /// The pod's addresses.
    pub addresses: Vec<IpAddr>,
    /// The node's name.
    pub node: String,
    /// The node's clock.
    pub clock: MachineClock,
}

/// A port that a container declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its number.
    pub number: u16,
    /// Whether it is UDP; TCP otherwise.
    pub udp: bool,
}

/// A mounted volume that outlives the pod.
#[derive(Clone)]
pub struct Disk {
    /// The PersistentVolumeClaim it is mounted by.
    pub claim: String,
    /// Its size, bytes; `None` if nobody says.
    pub capacity_bytes: Option<u64>,
    /// The claim's volume.
    pub volume: String,
    /// Its file system: what is not synced is lost when the node loses power.
    pub file_system: Fs,
    /// What is wrong with it.
    pub trouble: DiskTrouble,
}

/// The clock of a machine, which may be ahead of the true time or behind it; its clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct MachineClock(Arc<AtomicI64>);

impl MachineClock {
    /// Unix time in milliseconds, as the machine has it.
    pub fn unix_ms(&self) -> i64 {
        hopwise_engine::clock::unix_ms().saturating_add(self.offset_ms())
    }

    /// How far it is ahead, in milliseconds; below zero if it is behind.
    pub fn offset_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets how far it is ahead, in milliseconds.
    pub fn set_offset_ms(&self, offset_ms: i64) {
        self.0.store(offset_ms, Ordering::Relaxed);
    }
}

/// What is wrong with a disk; its clones are about the same disk. What fails and what is corrupted is the file system's
/// own part ([`turmoil_fs`]).
#[derive(Clone, Debug, Default)]
pub struct DiskTrouble(Arc<(AtomicBool, AtomicU64)>);

impl DiskTrouble {
    /// Whether there is no space left on it.
    pub fn is_full(&self) -> bool {
        self.0.0.load(Ordering::Relaxed)
    }

    /// Fills it, or frees its space again.
    pub fn set_full(&self, full: bool) {
        self.0.0.store(full, Ordering::Relaxed);
    }

    /// How much longer a sync takes than it would.
    pub fn extra_latency(&self) -> Duration {
        Duration::from_nanos(self.0.1.load(Ordering::Relaxed))
    }

    /// Sets how much longer a sync takes.
    pub fn set_extra_latency(&self, latency: Duration) {
        self.0.1.store(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A program that runs.
pub struct Process {
    /// The program. It ends with the reason why it exited; dropping it is killing the process.
    pub run: Pin<Box<dyn Future<Output = String>>>,
    /// Whether it is ready for its clients.
    pub ready: watch::Receiver<bool>,
}
