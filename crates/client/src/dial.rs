//! From an address as told to an open TCP connection: resolve the name, try its addresses in turn.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_engine::Span;
use hopwise_fabric::Route;
use hopwise_fabric::net::{self, TcpStream};
use tokio::time::{Instant, timeout};

use crate::{Failure, HostPort, Names, Outcome};

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
    let mut last = DialFailure {
        failure: Failure::new(Outcome::NameNotFound, "there is no address to connect to"),
        ip: None,
        connect: None,
        route: None,
    };
    for &ip in addresses {
        let start = Instant::now();
        let address = SocketAddr::new(ip, port);
        match net::connect_traced_within(address, longest).await {
            Ok(stream) => {
                // Kafka clients write whole requests at once and turn Nagle's algorithm off; without the option
                // the connection still works.
                let _ = stream.set_nodelay(true);
                return Ok(Dialed { stream, ip, connect: since(start) });
            }
            Err(failed) => {
                let outcome = Outcome::of_io(&failed.error);
                let explanation = match outcome {
                    Outcome::Timeout => format!("connecting to {address}: no answer within {longest:?}"),
                    _ => format!("connecting to {address}: {}", failed.error),
                };
                last = DialFailure {
                    failure: Failure::new(outcome, explanation),
                    ip: Some(ip),
                    connect: Some(since(start)),
                    route: failed.route,
                };
            }
        }
    }
    Err(last)
}
