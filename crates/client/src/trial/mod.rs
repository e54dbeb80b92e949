//! One look at one listener, as `hopwise check` takes from each place: resolve, connect, speak the listener's
//! protocol, judge the answer. Nothing is retried.

mod http;
mod kafka;
mod port;
mod rpc;

pub use http::{Expect, HttpAnswer, HttpRequest, JsonCheck, try_http};
pub use kafka::{KafkaAnswer, try_kafka};
pub use port::{HasArrived, try_tcp, try_udp};
pub use rpc::{Reply, ReplyCheck, RpcExchange, try_rpc};

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use hopwise_engine::Span;
use hopwise_fabric::Route;
use hopwise_security::tls::TlsFailure;
use tokio::time::{Instant, timeout};

use crate::dial::{self, DialFailure, since};
use crate::security::Stream;
use crate::{Failure, HostPort, Names, Outcome, Security, Whois};

/// How a trial is made.
#[derive(Clone)]
pub struct TrialOptions {
    /// Longest wait for the resolver.
    pub resolve_timeout: Duration,
    /// Longest wait for a connection to one address (Java's `socket.connection.setup.timeout.ms`, 10 s; librdkafka
    /// has 30 s).
    pub connect_timeout: Duration,
    /// Longest wait for each answer (Java's `request.timeout.ms`, 30 s).
    pub request_timeout: Duration,
    /// The name sent to a Kafka listener.
    pub client_id: String,
    /// Names that need no DNS.
    pub names: Option<Names>,
    /// TLS and credentials.
    pub security: Security,
    /// Which broker stands behind a route, where somebody knows.
    pub whois: Option<Whois>,
    /// The broker that advertises the address; if `whois` names another, the outcome is a wrong broker.
    pub expected_broker: Option<i32>,
}

impl Default for TrialOptions {
    fn default() -> Self {
        TrialOptions {
            resolve_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            client_id: "hopwise-check".to_owned(),
            names: None,
            security: Security::default(),
            whois: None,
            expected_broker: None,
        }
    }
}

/// What a trial saw.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The address tried, as told.
    pub address: HostPort,
    /// How far it came.
    pub outcome: Outcome,
    /// What was seen, in a sentence; empty if all is well.
    pub explanation: String,
    /// Why TLS failed, if it did.
    pub tls: Option<TlsFailure>,
    /// What the name resolves to.
    pub addresses: Vec<IpAddr>,
    /// The one that was connected to, or tried last.
    pub ip: Option<IpAddr>,
    /// The broker behind it, if known.
    pub reached: Option<i32>,
    /// The hops both ways, if the fabric tells.
    pub route: Option<Route>,
    /// Resolving the name.
    pub resolve: Span,
    /// Connecting, if it came so far.
    pub connect: Option<Span>,
    /// The exchange after that, if it came so far.
    pub request: Option<Span>,
    /// All of it.
    pub total: Span,
    /// What was answered, if it was understood.
    pub answer: Option<Answer>,
}

/// What a listener answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A Kafka listener.
    Kafka(KafkaAnswer),
    /// The Admin API, the HTTP Proxy or the Schema Registry.
    Http(HttpAnswer),
    /// The bytes of an RPC listener's greeting; empty if none was asked for.
    Rpc(Bytes),
    /// Any port: what was said unasked, or in answer to a datagram; empty if nothing was.
    Said(Bytes),
}

/// What the exchange on an open connection ended with.
struct Exchanged {
    result: Result<Answer, Failure>,
    /// An answer worth showing beside a failure.
    seen: Option<Answer>,
    route: Option<Route>,
}

impl Exchanged {
    fn ok(answer: Answer, route: Option<Route>) -> Exchanged {
        Exchanged { result: Ok(answer), seen: None, route }
    }

    fn failed(failure: Failure, route: Option<Route>) -> Exchanged {
        Exchanged { result: Err(failure), seen: None, route }
    }
}

/// Resolves and connects, lets `exchange` speak, and judges.
async fn attempt<E>(address: &HostPort, options: &TrialOptions, exchange: E) -> Trial
where
    E: AsyncFnOnce(Stream) -> Exchanged,
{
    resolve_and(address, options, async |trial| connect(trial, options, exchange).await).await
}

/// Resolves, goes on with `reach`, and judges.
async fn resolve_and<R>(address: &HostPort, options: &TrialOptions, reach: R) -> Trial
where
    R: AsyncFnOnce(&mut Trial) -> Result<(), Failure>,
{
    let started = Instant::now();
    let mut trial = Trial {
        address: address.clone(),
        outcome: Outcome::Ok,
        explanation: String::new(),
        tls: None,
        addresses: Vec::new(),
        ip: None,
        reached: None,
        route: None,
        resolve: Span::ZERO,
        connect: None,
        request: None,
        total: Span::ZERO,
        answer: None,
    };
    let resolved = dial::resolve(address, options.names.as_ref(), options.resolve_timeout).await;
    trial.resolve = since(started);
    let failure = match resolved {
        Err(failure) => Some(failure),
        Ok(addresses) => {
            trial.addresses = addresses;
            reach(&mut trial).await.err()
        }
    };
    if let Some(Failure { outcome, explanation, tls }) = failure {
        (trial.outcome, trial.explanation, trial.tls) = (outcome, explanation, tls);
    }
    trial.total = since(started);
    judge_broker(&mut trial, options);
    trial
}

async fn connect<E>(trial: &mut Trial, options: &TrialOptions, exchange: E) -> Result<(), Failure>
where
    E: AsyncFnOnce(Stream) -> Exchanged,
{
    let dialed = dial::connect(&trial.addresses, trial.address.port, options.connect_timeout).await;
    let dialed = dialed.map_err(|DialFailure { failure, ip, connect, route }| {
        (trial.ip, trial.connect, trial.route) = (ip, connect, route);
        failure
    })?;
    (trial.ip, trial.connect) = (Some(dialed.ip), Some(dialed.connect));
    let asked = Instant::now();
    let secured = options.security.secure(&trial.address.host, dialed.stream);
    let stream = match timeout(options.request_timeout, secured).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((failure, route))) => {
            (trial.request, trial.route) = (Some(since(asked)), route);
            return Err(failure);
        }
        Err(_) => {
            let waited = options.request_timeout;
            let explanation =
                format!("the peer took the connection and did not shake hands within {waited:?}");
            return Err(Failure::new(Outcome::Timeout, explanation));
        }
    };
    let Exchanged { result, seen, route } = exchange(stream).await;
    trial.request = Some(since(asked));
    (trial.route, trial.answer) = (route, seen);
    trial.answer = Some(result?);
    Ok(())
}

/// Compares who was reached with who advertises the address.
fn judge_broker(trial: &mut Trial, options: &TrialOptions) {
    trial.reached = options.whois.as_ref().zip(trial.route.as_ref()).and_then(|(whois, route)| whois(route));
    let (Some(expected), Some(reached)) = (options.expected_broker, trial.reached) else { return };
    if expected == reached {
        return;
    }
    let wrong = format!("broker {expected} advertises {}, but broker {reached} answers there", trial.address);
    if trial.outcome == Outcome::Ok {
        (trial.outcome, trial.explanation) = (Outcome::WrongBroker, wrong);
    } else {
        trial.explanation = format!("{}; besides, {wrong}", trial.explanation);
    }
}
