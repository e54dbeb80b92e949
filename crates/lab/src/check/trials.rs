//! The tries of one check: each listener of each broker, from each place.

use hopwise_client::trial::{
    Answer, Expect, HttpRequest, JsonCheck, Trial, TrialOptions, try_http, try_kafka, try_rpc,
};
use hopwise_client::{HostPort, Security};
use hopwise_engine::host;
use hopwise_kube::cluster::{ClientSite, Place};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::entry::entry;
use crate::findings::diagnosis::Reason;
use crate::findings::facts::{Broker, Cluster, Listener};
use crate::programs::Brokers;
use crate::report::check::{Api, Hop, Outcome, Route};

/// How a user speaks to each listener, by broker, API and listener name.
pub type Securities = BTreeMap<(i32, Api, String), Security>;

/// Tries everything, one after the other, so that no try disturbs another; the routes, and for each why TLS failed if it
/// did.
pub async fn routes(
    cluster: &Cluster,
    sites: &[(Place, ClientSite)],
    brokers: &Brokers,
    securities: &Securities,
) -> (Vec<Route>, Vec<Reason>) {
    let (mut routes, mut reasons) = (Vec::new(), Vec::new());
    for (place, site) in sites {
        for broker in &cluster.brokers {
            for listener in &broker.listeners {
                let key = (broker.id, listener.api, listener.name.clone());
                let security = securities.get(&key).cloned().unwrap_or_default();
                let has_login = security.login.is_some();
                let (route, tls, status) = match entry(cluster, broker, listener, asks_outside(place)) {
                    None => (not_exposed(place, broker, listener), None, None),
                    Some(address) => {
                        let address = HostPort::new(address.host, address.port);
                        let options = TrialOptions {
                            whois: Some(brokers.whois()),
                            expected_broker: is_told(listener).then_some(broker.id),
                            security,
                            ..TrialOptions::default()
                        };
                        let trial = try_listener(*site, listener, address, options).await;
                        let (tls, status) = (trial.tls.clone(), status_of(&trial));
                        (route_of(place, broker, listener, trial), tls, status)
                    }
                };
                routes.push(route);
                reasons.push(Reason { tls, has_login, status });
            }
        }
    }
    (routes, reasons)
}

/// Whether a client there knows no name of the cluster's own DNS: one outside, or a process of a node, which asks the
/// resolver of its machine (kubernetes.md 7).
fn asks_outside(place: &Place) -> bool {
    matches!(place, Place::External(_) | Place::Node(_))
}

/// Whether it matters which broker answers: the listener's clients are told the address of one, or it is a broker's own.
/// Admin API and Schema Registry have no advertised address, and any broker answers (redpanda.md 0.5).
fn is_told(listener: &Listener) -> bool {
    listener.advertised.is_some() || !matches!(listener.api, Api::Admin | Api::SchemaRegistry)
}

fn status_of(trial: &Trial) -> Option<u16> {
    match &trial.answer {
        Some(Answer::Http(answer)) => Some(answer.status),
        _ => None,
    }
}

fn not_exposed(place: &Place, broker: &Broker, listener: &Listener) -> Route {
    Route {
        from: place.clone(),
        api: listener.api,
        listener: listener.name.clone(),
        broker: broker.id,
        address: listener.advertised.as_ref().map(ToString::to_string).unwrap_or_default(),
        outcome: Outcome::NotExposed,
        reached: None,
        source_seen: None,
        hops: Vec::new(),
        connect_ns: None,
        request_ns: None,
    }
}

async fn try_listener(
    site: ClientSite,
    listener: &Listener,
    address: HostPort,
    options: TrialOptions,
) -> Trial {
    let api = listener.api;
    let tried = host::spawn_on(site.host, async move {
        match api {
            Api::Kafka => try_kafka(&address, &options).await,
            Api::Rpc => try_rpc(&address, None, &options).await,
            Api::Admin => try_http(&address, &request("/v1/status/ready", is_object), &options).await,
            Api::HttpProxy => try_http(&address, &request("/brokers", is_object), &options).await,
            Api::SchemaRegistry => try_http(&address, &request("/schemas/types", is_list), &options).await,
        }
    });
    match tried.await {
        Ok(trial) => trial,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn request(path: &str, json: fn(&serde_json::Value) -> Result<(), String>) -> HttpRequest {
    let json: JsonCheck = Arc::new(json);
    HttpRequest { host: None, path: path.to_owned(), expect: Expect { status: 200, json: Some(json) } }
}

fn is_object(value: &serde_json::Value) -> Result<(), String> {
    value.is_object().then_some(()).ok_or_else(|| "a JSON object is expected".to_owned())
}

fn is_list(value: &serde_json::Value) -> Result<(), String> {
    value.is_array().then_some(()).ok_or_else(|| "a JSON list is expected".to_owned())
}

fn route_of(place: &Place, broker: &Broker, listener: &Listener, trial: Trial) -> Route {
    let route = trial.route.unwrap_or_default();
    Route {
        from: place.clone(),
        api: listener.api,
        listener: listener.name.clone(),
        broker: broker.id,
        address: trial.address.to_string(),
        outcome: outcome_of(trial.outcome),
        reached: route.reached().map(ToString::to_string),
        source_seen: route.source_seen().map(|source| source.ip().to_string()),
        hops: route.forward.iter().map(Hop::from).collect(),
        connect_ns: trial.connect.map(hopwise_engine::Span::as_nanos),
        request_ns: trial.request.map(hopwise_engine::Span::as_nanos),
    }
}

/// The client's word for an outcome in the report's.
pub(crate) fn outcome_of(outcome: hopwise_client::Outcome) -> Outcome {
    use hopwise_client::Outcome as Client;
    match outcome {
        Client::Ok => Outcome::Ok,
        Client::NameNotFound => Outcome::NameNotFound,
        Client::Refused => Outcome::Refused,
        Client::Timeout => Outcome::Timeout,
        Client::Unreachable => Outcome::Unreachable,
        Client::WrongBroker => Outcome::WrongBroker,
        Client::TlsFailed => Outcome::TlsFailed,
        Client::AuthenticationFailed => Outcome::AuthenticationFailed,
        Client::ProtocolMismatch => Outcome::ProtocolMismatch,
        Client::NotExposed => Outcome::NotExposed,
    }
}
