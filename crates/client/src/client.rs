//! The client: its links, its picture of the cluster, its counters. What it does with them is in `attempt` (one
//! request), `call` (retries), `refresh` (metadata) and `operations` (what callers ask for).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hopwise_engine::Time;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::cluster::{Cluster, Knowledge};
use crate::link::{self, Link};
use crate::suspicion::Suspicions;
use crate::{ClientError, Counters, HostPort, Options, RequestRecord, backoff};

/// A Kafka client. Clones share connections and counters.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub options: Options,
    started: Instant,
    state: Mutex<State>,
    /// Held while metadata is asked for, so that one answer serves all who wait.
    pub refreshing: tokio::sync::Mutex<()>,
}

pub(crate) struct State {
    pub knowledge: Knowledge,
    pub links: BTreeMap<Target, Arc<Link>>,
    pub counters: Counters,
    pub random: ChaCha8Rng,
    pub suspicions: Suspicions,
}

/// Whom a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A broker of the cluster, by id.
    Broker(i32),
    /// An address of the bootstrap list, by its place; who stands behind it is not known.
    Bootstrap(usize),
}

/// A target with the way to it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub target: Target,
    pub link: Arc<Link>,
}

impl Asked {
    /// The id of the broker asked, where known.
    pub fn broker(&self) -> Option<i32> {
        match self.target {
            Target::Broker(id) => Some(id),
            Target::Bootstrap(_) => None,
        }
    }
}

impl Client {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// [`ClientError::NoBootstrap`] if there is nowhere to begin.
    pub fn new(options: Options) -> Result<Client, ClientError> {
        if options.bootstrap.is_empty() {
            return Err(ClientError::NoBootstrap);
        }
        let state = State {
            knowledge: Knowledge::default(),
            links: BTreeMap::new(),
            counters: Counters::default(),
            random: ChaCha8Rng::seed_from_u64(options.seed),
            suspicions: Suspicions::default(),
        };
        let inner = Inner {
            options,
            started: Instant::now(),
            state: Mutex::new(state),
            refreshing: tokio::sync::Mutex::default(),
        };
        Ok(Client { inner: Arc::new(inner) })
    }

    /// The sums so far.
    pub fn counters(&self) -> Counters {
        self.state().counters
    }

    /// The cluster as it is known now, without asking anybody.
    pub fn cluster(&self) -> Cluster {
        self.state().knowledge.cluster.clone()
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Now, on the clock of the records.
    pub fn now(&self) -> Time {
        self.time_of(Instant::now())
    }

    pub(crate) fn time_of(&self, instant: Instant) -> Time {
        self.inner.options.base + instant.duration_since(self.inner.started).into()
    }

    /// Never held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wait before an operation is tried again.
    pub(crate) fn retry_wait(&self, failures: u32) -> Duration {
        let options = &self.inner.options;
        backoff::wait(options.retry_backoff, options.retry_backoff_max, failures, &mut self.state().random)
    }

    /// The wait before a connection is tried again.
    pub(crate) fn reconnect_wait(&self, failures: u32) -> Duration {
        link::reconnect_wait(&self.inner.options, failures, &mut self.state().random)
    }

    pub(crate) fn note(&self, record: &RequestRecord) {
        self.state().counters.add(record);
        if let Some(observer) = &self.inner.options.observer {
            observer.request(record);
        }
    }
}

impl State {
    /// The way to a broker at its advertised address; `None` if metadata does not list it.
    ///
    /// A broker that advertises another address than before gets another link; the old one closes when its last
    /// request is answered.
    pub fn broker_link(&mut self, id: i32) -> Option<Asked> {
        let address = &self.knowledge.cluster.brokers.get(&id)?.address;
        Some(link_to(&mut self.links, Target::Broker(id), address))
    }

    /// The way to the bootstrap address at that place of the list.
    pub fn bootstrap_link(&mut self, place: usize, address: &HostPort) -> Asked {
        link_to(&mut self.links, Target::Bootstrap(place), address)
    }
}

fn link_to(links: &mut BTreeMap<Target, Arc<Link>>, target: Target, address: &HostPort) -> Asked {
    let link = links.entry(target).or_insert_with(|| Arc::new(Link::new(address.clone())));
    if link.address != *address {
        *link = Arc::new(Link::new(address.clone()));
    }
    Asked { target, link: link.clone() }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
