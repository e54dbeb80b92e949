//! Who may connect, and as whom: TLS of the listeners, users, and how clients become principals.

pub(crate) mod bootstrap_users;
pub(crate) mod http_basic;
pub(crate) mod listener_tls;
pub(crate) mod principal_mapping;
pub(crate) mod service_users;
pub(crate) mod users;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hopwise_fabric::net::TcpStream;
use tokio::sync::watch;

use crate::processor::Processor;

pub use bootstrap_users::BootstrapUser;

/// A connection that was accepted or opened, with or without TLS.
pub(crate) type Stream = hopwise_security::tls::Stream<TcpStream>;

/// Reads a file as the broker's process sees it; `None` if it is not there.
pub type Files = Arc<dyn Fn(&Path) -> Option<Bytes> + Send + Sync>;

/// What surrounds a broker's process beside network and volume.
#[derive(Clone)]
pub struct Environment {
    /// The files of certificates and keys. They are looked at again with each connection, so that a change
    /// takes effect for the next one.
    pub files: Files,
    /// Users that are made to exist: those of the environment (`RP_BOOTSTRAP_USER`) and those that a sidecar
    /// creates, whenever they change.
    pub users: watch::Receiver<Vec<BootstrapUser>>,
    /// What its process gets of the processor.
    pub processor: Processor,
}

impl Default for Environment {
    /// No files and no users.
    fn default() -> Self {
        let users = watch::channel(Vec::new()).1;
        Environment { files: Arc::new(|_| None), users, processor: Processor::default() }
    }
}
