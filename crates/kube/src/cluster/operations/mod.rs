//! What happens to a running cluster: what people do with `kubectl`, and what breaks.
//!
//! Each operation is a method of [`Cluster`](super::Cluster) and takes effect at once; what follows from it takes its
//! time.

mod apply;
mod balancers;
mod conntrack;
mod disks;
mod dns;
mod exec;
mod firewalls;
mod links;
mod machines;
mod nodes;
mod processes;
mod proxies;
mod workloads;

pub use disks::{DiskAspect, DiskFault};
pub use dns::DnsServers;
pub(in crate::cluster) use links::Impairments;
pub use links::{Aspect, LinkEnd};
pub use machines::ExitReason;
pub use workloads::Cascade;

use crate::store::StoreError;

/// Why an operation cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// There is no such node.
    #[error("there is no node {name}; the nodes are {known}")]
    NoNode {
        /// The name asked for.
        name: String,
        /// The nodes there are.
        known: String,
    },
    /// There is no such container, or it does not run.
    #[error("container {container} of pod {namespace}/{pod} does not run")]
    NoContainer {
        /// The pod's namespace.
        namespace: String,
        /// The pod.
        pod: String,
        /// The container.
        container: String,
    },
    /// The API server refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is so already: asking for it again changes nothing.
    #[error("{0}")]
    AlreadySo(String),
    /// The cluster's state does not allow it.
    #[error("{0}")]
    Refused(String),
}
