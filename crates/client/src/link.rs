//! The client's way to one address: its connection, opened when needed, and the backoff after a failure.
//!
//! One caller opens, the others wait for it and share what came of it, as in clients with one network thread.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Route;
use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;
use crate::connection::{Connection, ConnectionOptions};
use crate::dial::{self, DialFailure};
use crate::handshake::{self, ApiVersions};
use crate::options::Resolve;
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
    resolved: Option<(Instant, Vec<IpAddr>)>,
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

    /// The open connection, or a new one; `jitter` gives the wait after that many failures in a row.
    pub async fn ready(
        &self,
        options: &Options,
        jitter: impl Fn(u32) -> Duration + Send + Sync,
    ) -> (Opening, Result<Ready, Failure>) {
        let seen = self.attempts.load(Ordering::Relaxed);
        let mut slot = self.slot.lock().await;
        if let Some(ready) = slot.usable(options.connections_max_idle, &jitter) {
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
        let (opening, result) = self.open(&mut slot, options).await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match &result {
            Ok(ready) => {
                slot.ready = Some(ready.clone());
                (slot.failures, slot.not_before, slot.last_failure) = (0, None, None);
            }
            Err(failure) => {
                slot.failures = slot.failures.saturating_add(1);
                slot.not_before = Some(Instant::now() + jitter(slot.failures));
                slot.last_failure = Some(failure.clone());
            }
        }
        let connection = result.as_ref().ok().map(|ready| ready.connection.clone());
        *self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = connection;
        (opening, result)
    }

    async fn open(&self, slot: &mut Slot, options: &Options) -> (Opening, Result<Ready, Failure>) {
        let mut opening = Opening::default();
        let start = Instant::now();
        let addresses = match slot.addresses(&self.address, options).await {
            Ok(addresses) => addresses,
            Err(failure) => {
                opening.resolve = dial::since(start);
                return (opening, Err(failure));
            }
        };
        opening.resolve = dial::since(start);
        let tried =
            if options.dns.all_addresses { &addresses[..] } else { &addresses[..addresses.len().min(1)] };
        let dialed = match dial::connect(tried, self.address.port, options.connect_timeout).await {
            Ok(dialed) => dialed,
            Err(DialFailure { failure, ip, connect, route }) => {
                (opening.ip, opening.connect, opening.route) = (ip, connect, route);
                return (opening, Err(failure));
            }
        };
        (opening.ip, opening.connect, opening.connected) = (Some(dialed.ip), Some(dialed.connect), true);
        let secured = options.security.secure(&self.address.host, dialed.stream);
        let stream = match timeout(options.request_timeout, secured).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((failure, route))) => {
                opening.route = route;
                return (opening, Err(failure));
            }
            Err(_) => {
                let explanation = format!("no TLS handshake within {:?}", options.request_timeout);
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
    fn usable(&mut self, idle_max: Duration, jitter: impl Fn(u32) -> Duration) -> Option<Ready> {
        let now = Instant::now();
        let idle = self.used.replace(now).is_some_and(|used| now.duration_since(used) >= idle_max);
        let ready = self.ready.take()?;
        if let Some(broken_at) = ready.connection.broken_at() {
            self.failures = 1;
            self.not_before = Some(broken_at + jitter(1));
            return None;
        }
        if idle && ready.connection.in_flight() == 0 {
            return None;
        }
        self.ready = Some(ready);
        self.ready.clone()
    }

    async fn addresses(&mut self, address: &HostPort, options: &Options) -> Result<Vec<IpAddr>, Failure> {
        if let Some((at, addresses)) = &self.resolved {
            let keep = match options.dns.resolve {
                Resolve::EveryConnection => false,
                Resolve::After(age) => Instant::now().duration_since(*at) < age,
                Resolve::Once => true,
            };
            if keep {
                return Ok(addresses.clone());
            }
        }
        let addresses = dial::resolve(address, options.names.as_ref(), options.request_timeout).await?;
        self.resolved = Some((Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

impl ConnectionOptions {
    pub fn of(options: &Options) -> ConnectionOptions {
        ConnectionOptions {
            client_id: options.client_id.clone(),
            request_timeout: options.request_timeout,
            max_in_flight: options.max_in_flight,
            receive_bytes_max: options.receive_bytes_max,
        }
    }
}

/// The wait before connecting again.
pub(crate) fn reconnect_wait(options: &Options, failures: u32, random: &mut impl rand::Rng) -> Duration {
    backoff::wait(options.reconnect_backoff, options.reconnect_backoff_max, failures, random)
}
