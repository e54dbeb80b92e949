//! The client's way to one address: its connection, opened when needed, and the backoff after a failure.
//!
//! One caller opens, the others wait for it and share what came of it, as in clients with one network thread.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hopwise_engine::Span;
use hopwise_fabric::Route;
use tokio::time::{Instant, sleep_until, timeout};

use crate::addresses::Addresses;
use crate::behaviour::{AddressesTried, Resolve};
use crate::client::Client;
use crate::connection::{Connection, ConnectionOptions};
use crate::dial::{self, DialFailure};
use crate::handshake::{self, ApiVersions};
use crate::{Failure, HostPort, Options, Outcome};

/// A connection ready for requests.
#[derive(Clone)]
pub(crate) struct Ready {
    pub connection: Connection,
    pub versions: ApiVersions,
    pub ip: IpAddr,
}

/// How long the parts of opening took; nothing for a connection that was open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opening {
    pub resolve: Span,
    pub connect: Option<Span>,
    pub handshake: Option<Span>,
    pub ip: Option<IpAddr>,
    pub route: Option<Route>,
    /// Whether a TCP connection came about.
    pub connected: bool,
}

/// The way to one address.
pub(crate) struct Link {
    pub address: HostPort,
    /// Counts the attempts to open, to tell a waiter that another caller's attempt ended meanwhile.
    attempts: AtomicU64,
    slot: tokio::sync::Mutex<Slot>,
    /// What is open, for a look without waiting.
    open: Mutex<Option<Connection>>,
}

#[derive(Default)]
struct Slot {
    ready: Option<Ready>,
    used: Option<Instant>,
    failures: u32,
    not_before: Option<Instant>,
    last_failure: Option<Failure>,
    addresses: Addresses,
}

impl Link {
    pub fn new(address: HostPort) -> Link {
        Link {
            address,
            attempts: AtomicU64::new(0),
            slot: tokio::sync::Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// Requests in flight if a connection is open.
    pub fn load(&self) -> Option<usize> {
        let open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        open.as_ref().filter(|connection| connection.is_open()).map(Connection::in_flight)
    }

    /// Ends the open connection, if there is one; what is in flight on it fails.
    pub fn close(&self, why: String) {
        let open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(connection) = open {
            connection.give_up(Failure::new(Outcome::Refused, why));
        }
    }

    /// The open connection, or a new one.
    pub async fn ready(&self, client: &Client) -> (Opening, Result<Ready, Failure>) {
        let seen = self.attempts.load(Ordering::Relaxed);
        let mut slot = self.slot.lock().await;
        if let Some(ready) = slot.usable(client) {
            return (Opening::default(), Ok(ready));
        }
        if self.attempts.load(Ordering::Relaxed) != seen
            && let Some(failure) = slot.last_failure.clone()
        {
            return (Opening::default(), Err(failure));
        }
        if let Some(instant) = slot.not_before {
            sleep_until(instant).await;
        }
        let (opening, result) = self.open(&mut slot, client).await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match &result {
            Ok(ready) => {
                slot.ready = Some(ready.clone());
                (slot.failures, slot.not_before, slot.last_failure) = (0, None, None);
            }
            Err(failure) => {
                slot.failures = slot.failures.saturating_add(1);
                let wait = client.wait(client.options().behaviour.reconnect_backoff, slot.failures);
                slot.not_before = Some(Instant::now() + wait);
                slot.last_failure = Some(failure.clone());
            }
        }
        let connection = result.as_ref().ok().map(|ready| ready.connection.clone());
        *self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = connection;
        (opening, result)
    }

    async fn open(&self, slot: &mut Slot, client: &Client) -> (Opening, Result<Ready, Failure>) {
        let (options, behaviour) = (client.options(), &client.options().behaviour);
        let mut opening = Opening::default();
        let start = Instant::now();
        let tried = match slot.next_addresses(&self.address, client).await {
            Ok(tried) => tried,
            Err(failure) => {
                opening.resolve = dial::since(start);
                return (opening, Err(failure));
            }
        };
        opening.resolve = dial::since(start);
        let longest = client.wait(behaviour.connect_timeout, slot.failures.saturating_add(1));
        let dialed = match behaviour.addresses_tried {
            AddressesTried::Racing => dial::race(&tried, self.address.port, longest).await,
            AddressesTried::First | AddressesTried::Next | AddressesTried::EachInTurn => {
                dial::connect(&tried, self.address.port, longest).await
            }
        };
        let dialed = match dialed {
            Ok(dialed) => dialed,
            Err(DialFailure { failure, ip, connect, route }) => {
                (opening.ip, opening.connect, opening.route) = (ip, connect, route);
                return (opening, Err(failure));
            }
        };
        (opening.ip, opening.connect, opening.connected) = (Some(dialed.ip), Some(dialed.connect), true);
        let secured = options.security.secure(&self.address.host, dialed.stream);
        let stream = match timeout(behaviour.request_timeout, secured).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((failure, route))) => {
                opening.route = route;
                return (opening, Err(failure));
            }
            Err(_) => {
                let explanation = format!("no TLS handshake within {:?}", behaviour.request_timeout);
                return (opening, Err(Failure::new(Outcome::Timeout, explanation)));
            }
        };
        let connection = Connection::new(stream, ConnectionOptions::of(options));
        match handshake::shake(&connection, &options.security).await {
            Ok(shaken) => {
                opening.handshake = Some(shaken.took);
                (opening, Ok(Ready { connection, versions: shaken.versions, ip: dialed.ip }))
            }
            Err(unanswered) => {
                (opening.handshake, opening.route) = (Some(unanswered.took), unanswered.route);
                (opening, Err(unanswered.failure))
            }
        }
    }
}

impl Slot {
    /// The connection, unless it broke or lay idle for too long.
    fn usable(&mut self, client: &Client) -> Option<Ready> {
        let behaviour = &client.options().behaviour;
        let now = Instant::now();
        let unused = self.used.replace(now).map(|used| now.duration_since(used));
        let idle = behaviour.connections_max_idle.is_some_and(|most| unused >= Some(most));
        let ready = self.ready.take()?;
        if let Some(broken_at) = ready.connection.broken_at() {
            self.failures = 1;
            self.not_before = Some(broken_at + client.wait(behaviour.reconnect_backoff, 1));
            self.addresses.lost(behaviour.resolve);
            return None;
        }
        if idle && ready.connection.in_flight() == 0 {
            self.addresses.lost(behaviour.resolve);
            return None;
        }
        self.ready = Some(ready);
        self.ready.clone()
    }

    /// The addresses to try now, after a look-up where one is due.
    async fn next_addresses(&mut self, address: &HostPort, client: &Client) -> Result<Vec<IpAddr>, Failure> {
        let (options, behaviour) = (client.options(), &client.options().behaviour);
        let once = behaviour.resolve == Resolve::Once || client.inner.bugs.keep_dns_answers;
        let remembered = if once { client.state().resolved_once.get(&address.host).cloned() } else { None };
        if remembered.is_some() || !self.addresses.is_known(Instant::now(), behaviour.resolve) {
            let answer = match remembered {
                Some(answer) => answer,
                None => dial::resolve(address, options.names.as_ref(), behaviour.request_timeout).await?,
            };
            let mut state = client.state();
            if once {
                state.resolved_once.insert(address.host.clone(), answer.clone());
            }
            self.addresses.take(Instant::now(), answer, behaviour, &mut state.random);
        }
        Ok(self.addresses.attempt(behaviour))
    }
}

impl ConnectionOptions {
    pub fn of(options: &Options) -> ConnectionOptions {
        ConnectionOptions {
            client_id: options.client_id.clone(),
            request_timeout: options.behaviour.request_timeout,
            max_in_flight: options.behaviour.max_in_flight,
            receive_bytes_max: options.behaviour.receive_bytes_max,
        }
    }
}
