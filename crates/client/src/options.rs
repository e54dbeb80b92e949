//! What a client is made with: where it begins, who it is, how it behaves.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hopwise_engine::Time;
use hopwise_fabric::Route;

use crate::behaviour::Behaviour;
use crate::{HostPort, Observer, Profile, Security};

/// Tells which broker id stands behind a route; `None` where the route reached no broker.
pub type Whois = Arc<dyn Fn(&Route) -> Option<i32> + Send + Sync>;

/// Names known without DNS, as in a hosts file: `None` leaves the name to DNS.
pub type Names = Arc<dyn Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync>;

/// How to make a client. Start from [`Options::new`] and change what differs.
#[derive(Clone)]
pub struct Options {
    /// Where to begin, tried in this order.
    pub bootstrap: Vec<HostPort>,
    /// The name sent in each request header.
    pub client_id: String,
    /// How it waits, retries, resolves and connects.
    pub behaviour: Behaviour,
    /// Names that need no DNS.
    pub names: Option<Names>,
    /// TLS and credentials.
    pub security: Security,
    /// Seed of the jitter.
    pub seed: u64,
    /// The instant of the simulation at which the client is made; records count from here.
    pub base: Time,
    /// Which broker stands behind a route, where somebody knows.
    pub whois: Option<Whois>,
    /// Who gets each request's record.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Options {
    /// The default profile, starting at `bootstrap`.
    pub fn new(bootstrap: Vec<HostPort>) -> Self {
        Options {
            bootstrap,
            client_id: "hopwise".to_owned(),
            behaviour: Profile::default().behaviour(),
            names: None,
            security: Security::default(),
            seed: 0,
            base: Time::ZERO,
            whois: None,
            observer: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("bootstrap", &self.bootstrap)
            .field("client_id", &self.client_id)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
