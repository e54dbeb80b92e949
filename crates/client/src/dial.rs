//! From an address as told to an open TCP connection: resolve the name, try its addresses in turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Route;
use hopwise_fabric::net::{self, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::{Failure, HostPort, Names, Outcome};

/// When the addresses of the other family are tried beside those of the first (RFC 6555 5.5 says 150 to 250 ms; Go's
/// `net.Dialer.FallbackDelay` is 300 ms by default).
const FALLBACK_DELAY: Duration = Duration::from_millis(300);
/// The least time that an address gets, as long as there is so much left (Go's `net.Dialer`: 2 s).
const ADDRESS_TIME_MIN: Duration = Duration::from_secs(2);

/// An open connection and how it came about.
pub(crate) struct Dialed {
    pub stream: TcpStream,
    pub ip: IpAddr,
    pub connect: Span,
}

/// A connection that did not open, with as much as was learned.
#[derive(Clone, Debug)]
pub(crate) struct DialFailure {
    pub failure: Failure,
    pub ip: Option<IpAddr>,
    pub connect: Option<Span>,
    pub route: Option<Route>,
}

/// The time since `start`.
pub(crate) fn since(start: Instant) -> Span {
    Span::from(Instant::now().duration_since(start))
}

/// The addresses of a host: itself if it is one, then the names given, then DNS.
///
/// DNS is given `longest`; resolvers have time-outs of their own, which are usually shorter.
pub(crate) async fn resolve(
    host: &HostPort,
    names: Option<&Names>,
    longest: Duration,
) -> Result<Vec<IpAddr>, Failure> {
    if host.host.is_empty() {
        // bitnami/charts#5975: an advertised address without a host (redpanda.md 5, row 3).
        return Err(Failure::new(
            Outcome::NameNotFound,
            format!("the advertised address `{host}` has an empty host"),
        ));
    }
    if let Some(ip) = host.ip() {
        return Ok(vec![ip]);
    }
    let looked_up = match names.and_then(|names| names(&host.host)) {
        Some(answer) => answer,
        None => timeout(longest, net::lookup_ip(&host.host))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver did not answer"))),
    };
    match looked_up {
        Ok(addresses) if addresses.is_empty() => {
            Err(Failure::new(Outcome::NameNotFound, format!("the name `{}` has no address", host.host)))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => Err(Failure::new(
            Outcome::of_lookup(&error),
            format!("the name `{}` could not be resolved: {error}", host.host),
        )),
    }
}

/// Connects to the first of `addresses` that answers, giving each `longest`; the last failure counts.
pub(crate) async fn connect(
    addresses: &[IpAddr],
    port: u16,
    longest: Duration,
) -> Result<Dialed, DialFailure> {
    let mut last = no_address();
    for &ip in addresses {
        match connect_to(SocketAddr::new(ip, port), longest).await {
            Ok(dialed) => return Ok(dialed),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

/// Connects within `longest` to one of `addresses`, as Go's `net.Dialer` does: to those of the first one's family in turn,
/// and from [`FALLBACK_DELAY`] on, or once those have failed, also to those of the other. If none answers the last
/// failure of the first family counts.
pub(crate) async fn race(addresses: &[IpAddr], port: u16, longest: Duration) -> Result<Dialed, DialFailure> {
    let deadline = Instant::now() + longest;
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (firsts, others): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|ip| ip.is_ipv4() == first_is_v4);
    let mut first = pin!(share(&firsts, port, deadline));
    if others.is_empty() {
        return first.await;
    }
    let early = tokio::select! {
        biased;
        dialed = &mut first => Some(dialed),
        () = sleep(FALLBACK_DELAY) => None,
    };
    let mut other = pin!(share(&others, port, deadline));
    match early {
        Some(Ok(dialed)) => Ok(dialed),
        Some(Err(failure)) => other.await.map_err(|_| failure),
        None => tokio::select! {
            biased;
            dialed = &mut first => match dialed {
                Ok(dialed) => Ok(dialed),
                Err(failure) => other.await.map_err(|_| failure),
            },
            dialed = &mut other => match dialed {
                Ok(dialed) => Ok(dialed),
                Err(_) => first.await,
            },
        },
    }
}

/// Connects to the first of `addresses` that answers; the time to `deadline` is shared by those that are left.
async fn share(addresses: &[IpAddr], port: u16, deadline: Instant) -> Result<Dialed, DialFailure> {
    let mut last = no_address();
    for (&ip, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let time = deadline.saturating_duration_since(Instant::now());
        let part = time / u32::try_from(left).unwrap_or(u32::MAX);
        match connect_to(SocketAddr::new(ip, port), part.max(ADDRESS_TIME_MIN).min(time)).await {
            Ok(dialed) => return Ok(dialed),
            Err(failure) => last = failure,
        }
    }
    Err(last)
}

fn no_address() -> DialFailure {
    DialFailure {
        failure: Failure::new(Outcome::NameNotFound, "there is no address to connect to"),
        ip: None,
        connect: None,
        route: None,
    }
}

async fn connect_to(address: SocketAddr, longest: Duration) -> Result<Dialed, DialFailure> {
    let start = Instant::now();
    match net::connect_traced_within(address, longest).await {
        Ok(stream) => {
            // Kafka clients write whole requests at once and turn Nagle's algorithm off; without the option
            // the connection still works.
            let _ = stream.set_nodelay(true);
            Ok(Dialed { stream, ip: address.ip(), connect: since(start) })
        }
        Err(failed) => {
            let outcome = Outcome::of_io(&failed.error);
            let explanation = match outcome {
                Outcome::Timeout => format!("connecting to {address}: no answer within {longest:?}"),
                _ => format!("connecting to {address}: {}", failed.error),
            };
            Err(DialFailure {
                failure: Failure::new(outcome, explanation),
                ip: Some(address.ip()),
                connect: Some(since(start)),
                route: failed.route,
            })
        }
    }
}
