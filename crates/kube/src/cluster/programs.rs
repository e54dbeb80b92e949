//! What runs in containers: the seam between the cluster and the programs it hosts.
//!
//! The cluster knows pods, mounts and environments, not what an image does. Whoever builds the cluster supplies
//! [`Programs`]; an image that they do not know answers on every declared port with an echo.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

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
    /// Its file system: what is not synced is lost when the node loses power.
    pub file_system: Fs,
}

/// A program that runs.
pub struct Process {
    /// The program. It ends with the reason why it exited; dropping it is killing the process.
    pub run: Pin<Box<dyn Future<Output = String>>>,
    /// Whether it is ready for its clients.
    pub ready: watch::Receiver<bool>,
}
