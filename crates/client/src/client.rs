//! The client: its links, its picture of the cluster, its counters. What it does with them is in `attempt` (one
//! request), `call` (retries), `refresh` (metadata) and `operations` (what callers ask for).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hopwise_engine::Time;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::behaviour::{AddressChange, BootstrapConnection, Wait};
use crate::bugs::Bugs;
use crate::cluster::{Cluster, Knowledge};
use crate::lane::Lane;
use crate::link::Link;
use crate::suspicion::Suspicions;
use crate::{ClientError, Counters, HostPort, Options, RequestRecord, backoff};

/// A Kafka client. Clones share connections and counters.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub options: Options,
    pub bugs: Bugs,
    started: Instant,
    state: Mutex<State>,
    /// Held while metadata is asked for, so that one answer serves all who wait.
    pub refreshing: tokio::sync::Mutex<()>,
}

pub(crate) struct State {
    pub knowledge: Knowledge,
    pub links: BTreeMap<(Target, Lane), Arc<Link>>,
    pub counters: Counters,
    pub random: ChaCha8Rng,
    /// The place of the broker that is asked next, by clients that ask in turn.
    pub turn: Option<usize>,
    /// What names were resolved to, by clients that resolve once.
    pub resolved_once: BTreeMap<String, Vec<IpAddr>>,
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
        Client::with(options, Bugs::default())
    }

    /// A client that breaks some rules.
    ///
    /// # Errors
    /// As [`Client::new`].
    #[cfg(feature = "bugs")]
    pub fn new_with_bugs(options: Options, bugs: Bugs) -> Result<Client, ClientError> {
        Client::with(options, bugs)
    }

    fn with(options: Options, bugs: Bugs) -> Result<Client, ClientError> {
        if options.bootstrap.is_empty() {
            return Err(ClientError::NoBootstrap);
        }
        let state = State {
            knowledge: Knowledge::default(),
            links: BTreeMap::new(),
            counters: Counters::default(),
            random: ChaCha8Rng::seed_from_u64(options.seed),
            turn: None,
            resolved_once: BTreeMap::new(),
            suspicions: Suspicions::default(),
        };
        let inner = Inner {
            options,
            bugs,
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

    /// The wait that a rule gives after so many failures in a row.
    pub(crate) fn wait(&self, rule: Wait, failures: u32) -> Duration {
        backoff::wait(rule, failures, &mut self.state().random)
    }

    pub(crate) fn note(&self, record: &RequestRecord) {
        self.state().counters.add(record);
        if let Some(observer) = &self.inner.options.observer {
            observer.request(record);
        }
    }
}

impl Client {
    /// The way to a broker at its advertised address; `None` if metadata does not list it.
    pub(crate) fn broker_link(&self, state: &mut State, id: i32, lane: Lane) -> Option<Asked> {
        let address = &state.knowledge.cluster.brokers.get(&id)?.address;
        let target = Target::Broker(id);
        let behaviour = &self.inner.options.behaviour;
        let link = match state.links.get(&(target, lane)) {
            Some(link) if link.address == *address || self.inner.bugs.keep_first_address => link.clone(),
            Some(link) if behaviour.address_change == AddressChange::Keep && link.load().is_some() => {
                link.clone()
            }
            old => {
                if let (Some(old), AddressChange::Close) = (old, behaviour.address_change) {
                    old.close(format!("broker {id} has moved to {address}"));
                }
                let taken_over = match behaviour.bootstrap_connection {
                    BootstrapConnection::BecomesBrokers => of_bootstrap(&state.links, lane, address),
                    BootstrapConnection::Apart => None,
                };
                let link = taken_over.unwrap_or_else(|| Arc::new(Link::new(address.clone())));
                state.links.insert((target, lane), link.clone());
                link
            }
        };
        Some(Asked { target, link })
    }
}

/// The way to a bootstrap address.
fn of_bootstrap(
    links: &BTreeMap<(Target, Lane), Arc<Link>>,
    lane: Lane,
    address: &HostPort,
) -> Option<Arc<Link>> {
    let mut bootstrap =
        links.iter().filter(|((target, of), _)| matches!(target, Target::Bootstrap(_)) && *of == lane);
    bootstrap.find(|(_, link)| link.address == *address).map(|(_, link)| link.clone())
}

impl State {
    /// The way to the bootstrap address at that place of the list.
    pub fn bootstrap_link(&mut self, place: usize, lane: Lane, address: &HostPort) -> Asked {
        let target = Target::Bootstrap(place);
        let link = self.links.entry((target, lane)).or_insert_with(|| Arc::new(Link::new(address.clone())));
        Asked { target, link: link.clone() }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("options", &self.inner.options).finish_non_exhaustive()
    }
}
