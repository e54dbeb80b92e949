//! One look at any port, whatever speaks there: connect (TCP) or send a datagram (UDP), and keep what comes back.
//!
//! A program that waits to be asked says nothing, which is no failure once the path leads to its socket. A connection
//! that ends before anything was said counts as refused: a proxy that cannot reach its target shows so (linux.md 1,
//! "LB c", accepted-then-reset).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hopwise_fabric::Route;
use hopwise_fabric::net::UdpSocket;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, timeout};

use super::{Answer, Exchanged, Trial, TrialOptions, resolve_and};
use crate::dial::since;
use crate::security::{self, Stream};
use crate::{Failure, HostPort, Outcome};

/// How long a program that greets may take for it.
const GREETING: Duration = Duration::from_secs(1);
/// The most that is read of what is said first, in bytes.
const FIRST_WORDS_MAX: usize = 4_096;

/// Whether a path has come to where it leads, and not to a proxy that is still connecting onwards.
pub type HasArrived = fn(&Route) -> bool;

/// Connects by TCP, and listens for what is said unasked.
pub async fn try_tcp(address: &HostPort, options: &TrialOptions, has_arrived: HasArrived) -> Trial {
    super::attempt(address, options, async |stream| listen(stream, options, has_arrived).await).await
}

async fn listen(mut stream: Stream, options: &TrialOptions, has_arrived: HasArrived) -> Exchanged {
    let deadline = Instant::now() + options.request_timeout;
    let mut said = vec![0; FIRST_WORDS_MAX];
    loop {
        let route = security::route(&stream);
        match timeout(GREETING, stream.read(&mut said)).await {
            Ok(Ok(length @ 1..)) => {
                said.truncate(length);
                return Exchanged::ok(Answer::Said(said.into()), security::route(&stream));
            }
            Ok(ended) => {
                let error = ended.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                let why = format!("the connection was accepted and then ended: {error}");
                return Exchanged::failed(
                    Failure::new(Outcome::of_io(&error), why),
                    security::route(&stream),
                );
            }
            Err(_) if route.as_ref().is_none_or(has_arrived) => {
                return Exchanged::ok(Answer::Said(Bytes::new()), route);
            }
            Err(_) if Instant::now() >= deadline => {
                let why = "the connection was accepted on the way, and nobody behind answered";
                return Exchanged::failed(Failure::new(Outcome::Timeout, why), route);
            }
            Err(_) => {}
        }
    }
}

/// Sends one datagram, and waits for one back for as long as `options` has for a request.
pub async fn try_udp(address: &HostPort, options: &TrialOptions, payload: &[u8]) -> Trial {
    resolve_and(address, options, async |trial| {
        let Some(ip) = trial.addresses.first().copied() else {
            return Err(Failure::new(Outcome::NameNotFound, "there is no address to send to"));
        };
        trial.ip = Some(ip);
        let to = SocketAddr::new(ip, address.port);
        let failed = |error: io::Error| {
            Failure::new(Outcome::of_io(&error), format!("sending to {to} by UDP: {error}"))
        };
        let anywhere = if ip.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(anywhere.parse().expect("an address")).await.map_err(failed)?;
        socket.trace();
        socket.connect(to).await.map_err(failed)?;
        let sent = Instant::now();
        socket.send(payload).await.map_err(failed)?;
        let mut buffer = vec![0; FIRST_WORDS_MAX];
        let heard = timeout(options.request_timeout, socket.recv(&mut buffer)).await;
        trial.route = socket.route();
        match heard {
            Ok(Ok(length)) => {
                buffer.truncate(length);
                (trial.connect, trial.answer) = (Some(since(sent)), Some(Answer::Said(buffer.into())));
                Ok(())
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_) if trial.route.as_ref().is_some_and(is_taken_in_silence) => {
                trial.answer = Some(Answer::Said(Bytes::new()));
                Ok(())
            }
            Err(_) => {
                let why = format!("sending to {to} by UDP: no answer within {:?}", options.request_timeout);
                Err(Failure::new(Outcome::Timeout, why))
            }
        }
    })
    .await
}

/// Whether a program took the datagram and sent nothing back.
fn is_taken_in_silence(route: &Route) -> bool {
    route.reached().is_some() && route.reply.is_empty()
}
