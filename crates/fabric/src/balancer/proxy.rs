//! A balancer of kind `proxy`: it accepts TCP connections, opens one to a target for each, and copies.
//!
//! What clients see of it is linux.md 1, "LB c": a client is connected before the target is, so a target that
//! refuses, or none at all, shows as "accepted, then reset". Half-closed connections stay half closed.
//! Left out: TLS, the PROXY protocol, and limits on the number of connections.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::net::{TcpListener, TcpStream};

/// How a proxy behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// How long it waits for a target to accept.
    pub connect_timeout: Duration,
    /// How long a connection may be silent both ways before both ends are closed; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether the end of a silent connection is a reset; an orderly end (FIN) otherwise.
    pub reset_idle: bool,
    /// How many targets it tries before it gives the client up.
    pub attempts: usize,
}

impl Default for ProxyConfig {
    /// HAProxy's documented examples wait 5 s for a server and 50 s for data, and retry three times.
    fn default() -> Self {
        ProxyConfig {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Some(Duration::from_secs(50)),
            reset_idle: false,
            attempts: 4,
        }
    }
}

/// The healthy targets of a proxy's listener; its clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Targets(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    list: Mutex<RoundRobin>,
    /// How often the connections to an address were cut off.
    cuts: watch::Sender<BTreeMap<IpAddr, u64>>,
    /// How often all connections were taken for idle.
    expiries: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct RoundRobin {
    targets: Vec<SocketAddr>,
    next: usize,
}

impl Targets {
    /// A list of these targets.
    pub fn new(targets: Vec<SocketAddr>) -> Self {
        let list = Mutex::new(RoundRobin { targets, next: 0 });
        Targets(Arc::new(Shared { list, ..Shared::default() }))
    }

    /// Replaces the list; connections that there are stay where they are.
    pub fn set(&self, targets: Vec<SocketAddr>) {
        self.lock().targets = targets;
    }

    /// The list.
    pub fn get(&self) -> Vec<SocketAddr> {
        self.lock().targets.clone()
    }

    /// Resets the connections to `target`, at both ends.
    pub fn cut_off(&self, target: IpAddr) {
        self.0.cuts.send_modify(|cuts| *cuts.entry(target).or_default() += 1);
    }

    /// Ends all connections as if they had been silent for too long.
    pub fn expire(&self) {
        self.0.expiries.send_modify(|expiries| *expiries += 1);
    }

    /// Ends when all connections are taken for idle.
    async fn expired(&self) {
        let mut expiries = self.0.expiries.subscribe();
        if expiries.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Ends when the connections to `target` are cut off.
    async fn cut(&self, target: IpAddr) {
        let mut cuts = self.0.cuts.subscribe();
        let count = |cuts: &BTreeMap<IpAddr, u64>| cuts.get(&target).copied();
        let before = count(&cuts.borrow_and_update());
        if cuts.wait_for(|cuts| count(cuts) != before).await.is_err() {
            std::future::pending().await
        }
    }

    /// The next target in turn.
    fn next(&self) -> Option<SocketAddr> {
        let mut list = self.lock();
        let count = list.targets.len();
        if count == 0 {
            return None;
        }
        let target = list.targets[list.next % count];
        list.next = (list.next + 1) % count;
        Some(target)
    }

    fn lock(&self) -> MutexGuard<'_, RoundRobin> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves `listener` until it fails; dropping the future cuts its connections off.
///
/// # Errors
/// When `listener` cannot accept any more.
pub async fn run_proxy(listener: TcpListener, targets: Targets, config: ProxyConfig) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                connections.spawn(serve(client, targets.clone(), config));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one client. Without a target the client is reset, and a connection that breaks breaks both.
async fn serve(mut client: TcpStream, targets: Targets, config: ProxyConfig) {
    let Some((mut target, address)) = connect(&client, &targets, config).await else {
        reset(&client);
        return;
    };
    // Nagle's algorithm would hold back what the other end has sent already. A connection that is gone by now
    // shows in the first read.
    let _ = (client.set_nodelay(true), target.set_nodelay(true));
    let ended = tokio::select! {
        ended = relay(&mut client, &mut target, config.idle_timeout) => ended,
        () = targets.cut(address) => Err(io::ErrorKind::ConnectionReset.into()),
        () = targets.expired() => Ok(End::Idle),
    };
    let is_broken = match ended {
        Ok(End::Finished) => false,
        Ok(End::Idle) => config.reset_idle,
        Err(error) => {
            tracing::debug!(%error, "a proxied connection broke");
            true
        }
    };
    if is_broken {
        reset(&client);
        reset(&target);
    }
}

/// How a relay ended that did not break.
enum End {
    /// Both ends have finished.
    Finished,
    /// Both were silent for too long.
    Idle,
}

/// Makes the connection end with a reset. One that is gone by now needs none.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Connects on behalf of `client` to the next target that accepts; `None` if none does.
async fn connect(client: &TcpStream, targets: &Targets, config: ProxyConfig) -> Option<(TcpStream, IpAddr)> {
    for _ in 0..config.attempts {
        let target = targets.next()?;
        match timeout(config.connect_timeout, TcpStream::connect_onward(target, client)).await {
            Ok(Ok(stream)) => return Some((stream, target.ip())),
            Ok(Err(error)) => tracing::debug!(%target, %error, "the proxy's target did not accept"),
            Err(_) => tracing::debug!(%target, "the proxy's target did not answer"),
        }
    }
    None
}

/// Copies both ways until both ends have finished or both are silent for too long.
async fn relay(
    client: &mut TcpStream,
    target: &mut TcpStream,
    idle_timeout: Option<Duration>,
) -> io::Result<End> {
    let active = Mutex::new(Instant::now());
    let (client_reader, client_writer) = tokio::io::split(client);
    let (target_reader, target_writer) = tokio::io::split(target);
    let both = async {
        tokio::try_join!(
            copy(client_reader, target_writer, &active),
            copy(target_reader, client_writer, &active),
        )
    };
    tokio::select! {
        ended = both => ended.map(|_| End::Finished),
        () = idle(&active, idle_timeout) => {
            tracing::debug!("a proxied connection was idle for too long");
            Ok(End::Idle)
        }
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    active: &Mutex<Instant>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        *active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        *active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Ends when nothing was copied for `limit`.
async fn idle(active: &Mutex<Instant>, limit: Option<Duration>) {
    let Some(limit) = limit else { return std::future::pending().await };
    loop {
        let until = *active.lock().unwrap_or_else(PoisonError::into_inner) + limit;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}
