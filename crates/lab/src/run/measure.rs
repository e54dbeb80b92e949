//! What the attempts of clients tell: latency, routing, failures, and one way of each client.

use std::sync::Arc;

use hopwise_client::{Operation, Outcome};
use hopwise_engine::{Span, Time};
use hopwise_fabric::Route;

use super::clients::RunningClient;
use super::journal::Attempt;
use crate::latency::{Latencies, nearest_rank};
use crate::report::check::Hop;
use crate::report::run::{Outage, Routing, Way};
use crate::scenario::Duration;

/// Records every part of every attempt that succeeded: `resolve`, `connect` and `handshake` for those that opened a
/// connection, and the operation itself from handing over the request to its answer. `produce, retried` and the like
/// are whole requests that took more than one attempt, waits included.
///
/// Resolving goes over another way than the connection, so its hops are not known and count as none.
pub(super) fn record_latency(latencies: &mut Latencies, client: &RunningClient) {
    let route = client.name.as_str();
    for attempt in client.journal.attempts().iter().filter(|attempt| !attempt.failed()) {
        let record = &attempt.record;
        let hops = hops_of(record.route.as_ref());
        if let Some(connect) = record.connect {
            if record.resolve > Span::ZERO {
                latencies.record(route, "resolve", 0, record.resolve);
            }
            latencies.record(route, "connect", hops, connect);
        }
        if let Some(handshake) = record.handshake {
            latencies.record(route, "handshake", hops, handshake);
        }
        // Making a topic is no part of the workload.
        if record.operation != Operation::CreateTopic {
            latencies.record(route, record.operation.as_str(), hops, record.request);
        }
    }
    for (operation, time) in &client.tally.borrow().retried {
        let hops = median_hops(client, *operation);
        latencies.record(route, &format!("{operation}, retried"), hops, *time);
    }
}

/// Adds up where the requests of the workload went; `start` is its beginning.
pub(super) fn add_routing(routing: &mut Routing, client: &RunningClient, start: Time) {
    let tally = client.tally.borrow();
    routing.requests += tally.begun;
    routing.failed += tally.given_up;
    for attempt in workload_attempts(client, start) {
        let record = &attempt.record;
        routing.misrouted += u64::from(record.misrouted());
        if record.partition.is_some() {
            routing.retried += u64::from(record.attempt > 1);
            routing.to_leader += u64::from(reached_leader(&attempt));
        }
    }
    // The first answer is how a client begins; the others are refreshes.
    routing.metadata_refreshes += client.client.counters().metadata_refreshes.saturating_sub(1);
}

/// When attempts of the workload failed, since its beginning.
pub(super) fn failures(client: &RunningClient, start: Time) -> Vec<Span> {
    let failed = workload_attempts(client, start).into_iter().filter(|attempt| attempt.failed());
    failed.map(|attempt| attempt.ended_at() - start).collect()
}

/// How the client did under the faults, of which the last came `last` after `start`. The workload `lasted` so long.
pub(super) fn outage(client: &RunningClient, last: Option<Duration>, start: Time, lasted: Span) -> Outage {
    let attempts = workload_attempts(client, start);
    let mut served: Vec<Time> =
        attempts.iter().filter(|attempt| is_served(attempt)).map(|attempt| attempt.ended_at()).collect();
    served.extend([start, start + lasted]);
    served.sort_unstable();
    let outage = served.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(Span::ZERO);
    let recovered = last.and_then(|last| {
        let last = start + last.span();
        let after = attempts.iter().filter(|it| is_served(it) && it.record.started_at >= last);
        after.map(|attempt| attempt.ended_at() - last).min()
    });
    Outage {
        route: client.name.clone(),
        longest_ns: outage.as_nanos(),
        recovered_ns: recovered.map(Span::as_nanos),
    }
}

/// Whether the attempt is a request of the workload that succeeded.
fn is_served(attempt: &Attempt) -> bool {
    attempt.record.partition.is_some() && !attempt.failed()
}

/// A way with as many hops as the client's produce requests have in the median, to the broker of the lowest id;
/// of fetch requests if nothing was produced.
pub(super) fn way(client: &RunningClient, start: Time) -> Option<Way> {
    let attempts = workload_attempts(client, start);
    let of = |operation| {
        let attempts =
            attempts.iter().filter(move |it| it.record.operation == operation && reached_leader(it));
        let hops = median_hops(client, operation);
        attempts.filter(|attempt| attempt.record.route.is_some()).min_by_key(|it| {
            (hops_of(it.record.route.as_ref()) != hops, it.record.broker, it.record.started_at)
        })
    };
    let record = &of(Operation::Produce).or_else(|| of(Operation::Fetch))?.record;
    let broker = record.broker.map_or_else(String::new, |id| format!("broker {id} at "));
    let hops = record.route.as_ref()?.forward.iter().map(Hop::from).collect();
    Some(Way { route: client.name.clone(), to: format!("{broker}{}", record.address), hops })
}

/// The attempts that ended after the beginning of the workload.
pub(super) fn workload_attempts(client: &RunningClient, start: Time) -> Vec<Arc<Attempt>> {
    client.journal.attempts().into_iter().filter(|attempt| attempt.record.started_at >= start).collect()
}

/// Whether the partition's leader took the request. A request without an answer (acks 0) went where it was sent.
fn reached_leader(attempt: &Attempt) -> bool {
    let record = &attempt.record;
    let unanswered = record.operation == Operation::Produce
        && record.outcome == Outcome::Ok
        && record.error_code.is_none()
        && record.reached == record.broker;
    record.reached_leader() || unanswered
}

fn median_hops(client: &RunningClient, operation: Operation) -> u32 {
    let attempts = client.journal.attempts();
    let mut hops: Vec<u32> = attempts
        .iter()
        .filter(|attempt| attempt.record.operation == operation && !attempt.failed())
        .map(|attempt| hops_of(attempt.record.route.as_ref()))
        .collect();
    hops.sort_unstable();
    nearest_rank(&hops, 500).unwrap_or(0)
}

fn hops_of(route: Option<&Route>) -> u32 {
    route.map_or(0, |route| u32::try_from(route.hops()).unwrap_or(u32::MAX))
}
