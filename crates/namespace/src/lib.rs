//! Real network namespaces for programs that run inside a simulated network (Linux).
//!
//! A [`Program`] is one unmodified program: in a user, network, mount and PID namespace of its own, with one
//! interface whose packets come out of a TUN device in this process, and with files such as `/etc/resolv.conf` in place of
//! the machine's. Nothing is left behind, however the owner ends: the namespaces have no names, and they and everything in
//! them end with the processes.
//!
//! The program is not started by this process but by a chain of two helpers, which are the same executable called with
//! [`INSIDE`] and [`INIT`]: the first makes the namespaces (which only a process with one thread may), the second is the
//! PID namespace's init, without which signals would not end the program. Whoever uses this crate calls [`helper`] first
//! thing in `main`.
//!
//! Sources: user_namespaces(7), network_namespaces(7), pid_namespaces(7), mount_namespaces(7), PR_SET_PDEATHSIG(2const),
//! and the kernel's Documentation/networking/tuntap.rst.

mod control;
mod device;
mod files;
mod init;
mod inside;
mod interface;
mod owner;
mod terminal;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub use control::SetupError;
pub use device::{Buffer, Device, Offload};
pub use owner::{NamespaceError, Program};
pub use terminal::in_foreground;

/// The argument that makes the executable the first helper; the next is the name of the owner's socket.
pub const INSIDE: &str = "__namespace-inside";
/// The argument that makes the executable the namespace's init; the program and its arguments follow.
pub const INIT: &str = "__namespace-init";

/// What a program finds where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// The host's name in the namespace.
    pub host_name: String,
    /// The interface's addresses.
    pub addresses: Vec<IpAddr>,
    /// The longest packet, in bytes.
    pub mtu: u16,
    /// Files in place of the machine's. A file that the machine does not have is left out.
    pub files: Vec<(PathBuf, String)>,
    /// Directories in place of the machine's, which must be there.
    pub directories: Vec<Directory>,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// A directory of files that only the program sees, and cannot change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Its files by their names.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Plays a helper's part if this process is one; call it first thing in `main`, while there is one thread.
pub fn helper() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next()?;
    if first == INSIDE {
        return Some(inside::run(&arguments.next()?));
    }
    (first == INIT).then(|| init::run(arguments))
}
