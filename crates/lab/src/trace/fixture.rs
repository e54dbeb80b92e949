//! A small run for tests: requests of one client, which all went the same way.

use std::sync::Arc;

use hopwise_client::{Operation, Outcome, RequestRecord};
use hopwise_engine::{Span, Time};
use hopwise_fabric::{Action, Hop, Route};

use crate::place::Place;
use crate::recording::{RecordedClient, RecordedFault, Recording};
use crate::report::check::Verdict;
use crate::report::run::{Event, RunReport};

fn hop(device: &str, action: Action, at: Time) -> Hop {
    Hop {
        device: device.into(),
        action,
        source: ([10, 0, 0, 1], 1).into(),
        destination: ([10, 0, 0, 2], 2).into(),
        at,
        time_to_live: 64,
        detail: None,
        answer: None,
    }
}

/// A request that began at so many times 10 ms.
pub(crate) fn record(number: u64, outcome: Outcome) -> Arc<RequestRecord> {
    let started_at = Time::ZERO + Span::from_millis(number * 10);
    let at = |microseconds| started_at + Span::from_micros(microseconds);
    let forward = vec![
        hop("default/client", Action::Sent, at(0)),
        hop("node-0", Action::TranslatedDestination, at(100)),
        hop("kafka/rp-0", Action::Delivered, at(300)),
    ];
    let reply = vec![
        hop("kafka/rp-0", Action::Sent, at(500)),
        hop("node-0", Action::Forwarded, at(600)),
        hop("default/client", Action::Delivered, at(800)),
    ];
    Arc::new(RequestRecord {
        operation: Operation::Produce,
        topic: Some("orders".into()),
        partition: Some(0),
        broker: Some(0),
        address: "rp-0:9092".parse().expect("an address"),
        ip: None,
        attempt: 1,
        outcome,
        error_code: Some(0).filter(|_| outcome == Outcome::Ok),
        explanation: String::new(),
        reached: Some(0),
        route: Some(Route { forward, reply }),
        started_at,
        resolve: Span::ZERO,
        connect: None,
        handshake: None,
        request: Span::from_micros(800),
        total: Span::from_micros(900),
    })
}

/// These requests, and a fault after a second.
pub(crate) fn recording(attempts: Vec<Arc<RequestRecord>>) -> Recording {
    let client = RecordedClient { name: "inside".into(), place: Place::InCluster, attempts };
    let fault = RecordedFault { at: Time::ZERO + Span::from_secs(1), name: "deletePod".into() };
    Recording { clients: vec![client], faults: vec![fault], ..Recording::default() }
}

/// A report with one event, and nothing else.
pub(crate) fn report() -> RunReport {
    let event = Event {
        at_ns: 1_500_000,
        kind: "pod.ready".into(),
        object: "pod kafka/rp-0".into(),
        detail: String::new(),
    };
    RunReport { verdict: Verdict::Pass, events: vec![event], ..RunReport::empty("a", 1) }
}
