//! One connection from a place, and who took it.
//!
//! An echo (what runs in containers of unknown images) names itself and the peer that it sees. Of any other program the
//! packet's path tells the same: the device whose socket took it, and the source that it carried there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_client::HostPort;
use hopwise_client::trial::{Answer, TrialOptions, try_tcp, try_udp};
use hopwise_engine::{Span, host};
use hopwise_fabric::{Action, Route};
use hopwise_kube::cluster::{ClientSite, Cluster};

use super::{Transport, deciders};
use crate::check::outcome_of;
use crate::report::check::Outcome;

/// How long a datagram is waited for, as resolvers do (resolv.conf(5): 5 s).
const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(5);
/// What a datagram says.
const DATAGRAM: &[u8] = b"hopwise probe\n";

/// A connection that was tried.
#[derive(Clone, Debug)]
pub struct Connection {
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen, in a sentence; empty if all is well.
    pub explanation: String,
    /// What the name resolves to.
    pub addresses: Vec<IpAddr>,
    /// The address that was dialled, or the last of several.
    pub dialled: Option<IpAddr>,
    /// The way of its packets.
    pub route: Route,
    /// How long it took to open, or a datagram to be answered.
    pub connect: Option<Span>,
    /// `namespace/name` of the pod that took it, if one did; the device's name if it is no pod.
    pub served_by: Option<String>,
    /// The client's address as the server sees it.
    pub source_seen: Option<IpAddr>,
    /// Whether the server said what it sees.
    pub is_echo: bool,
}

/// Tries one connection from `site`: a look-up by its resolver, then a new socket.
pub async fn connect(cluster: &Cluster, site: ClientSite, to: &HostPort, transport: Transport) -> Connection {
    let options = match transport {
        Transport::Tcp => TrialOptions::default(),
        Transport::Udp => TrialOptions { request_timeout: DATAGRAM_TIMEOUT, ..TrialOptions::default() },
    };
    let to = to.clone();
    let tried = host::spawn_on(site.host, async move {
        match transport {
            Transport::Tcp => try_tcp(&to, &options, has_arrived).await,
            Transport::Udp => try_udp(&to, &options, DATAGRAM).await,
        }
    });
    let trial = match tried.await {
        Ok(trial) => trial,
        // The client's host has died with its pod or node.
        Err(error) if error.is_cancelled() => return died(),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let route = trial.route.unwrap_or_default();
    let is_ok = trial.outcome == hopwise_client::Outcome::Ok;
    let greeting = match &trial.answer {
        Some(Answer::Said(said)) => greeting(said),
        _ => None,
    };
    let is_echo = greeting.is_some();
    let on_path = || {
        let port = route.forward.last()?.destination;
        Some((deciders::server(cluster, route.reached()?, port), route.source_seen()?.ip()))
    };
    let server = greeting.map(|(pod, peer)| (pod, peer.ip())).or_else(|| on_path().filter(|_| is_ok));
    let (served_by, source_seen) = server.unzip();
    Connection {
        outcome: outcome_of(trial.outcome),
        explanation: trial.explanation,
        addresses: trial.addresses,
        dialled: trial.ip,
        route,
        connect: trial.connect,
        served_by,
        source_seen,
        is_echo,
    }
}

/// The path leads to a socket, and not to that of a load balancer that is still connecting onwards.
fn has_arrived(route: &Route) -> bool {
    let Some(last) = route.forward.last() else { return false };
    last.action == Action::Delivered && !deciders::is_load_balancer(&last.device)
}

/// `NAMESPACE/POD sees ADDRESS`, the echo's first line.
fn greeting(said: &[u8]) -> Option<(String, SocketAddr)> {
    let line = std::str::from_utf8(said).ok()?.lines().next()?;
    let (pod, peer) = line.split_once(" sees ")?;
    Some((pod.to_owned(), peer.parse().ok()?))
}

fn died() -> Connection {
    Connection {
        outcome: Outcome::Unreachable,
        explanation: "the client was stopped".to_owned(),
        addresses: Vec::new(),
        dialled: None,
        route: Route::default(),
        connect: None,
        served_by: None,
        source_seen: None,
        is_echo: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_is_told_by_its_first_line() {
        let (pod, peer) = greeting(b"demo/echo-0 sees 10.244.1.2:40000\nmore").expect("an echo");
        assert_eq!((pod.as_str(), peer.to_string().as_str()), ("demo/echo-0", "10.244.1.2:40000"));
        for said in [&b""[..], b"220 mail sees you", b"\xff sees 10.0.0.1:1", b"HTTP/1.1 400 Bad Request"] {
            assert_eq!(greeting(said), None);
        }
    }
}
