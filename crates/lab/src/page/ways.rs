//! The routes of a page: one per way that was tried, with how it ended and every hop.

use std::collections::BTreeMap;
use std::sync::Arc;

use hopwise_client::{HostPort, Outcome as ClientOutcome, RequestRecord, error_meaning};
use hopwise_engine::Span;

use crate::check::outcome_of;
use crate::findings::Finding;
use crate::latency::nearest_rank;
use crate::recording::{RecordedClient, Recording, is_failed};
use crate::report::check::{CheckReport, Hop, Outcome, Route};
use crate::report::units::time;

/// The most routes of a page; those that fail come first, and the page says how many are left out.
pub(super) const WAYS_MAX: usize = 240;

/// Where a way leads whose broker the client does not know yet.
const BOOTSTRAP: &str = "a bootstrap address";

/// A way that was tried.
pub(super) struct Way {
    /// Who went it: the client, or the place.
    pub client: String,
    /// Where it should lead.
    pub to: String,
    /// The address as the client was told it.
    pub address: String,
    /// The word for how it ended.
    pub outcome: &'static str,
    /// Whether it failed.
    pub failed: bool,
    /// Why it ended so; always there if it failed.
    pub reasons: Vec<Reason>,
    /// There.
    pub hops: Vec<Hop>,
    /// And back.
    pub reply: Vec<Hop>,
    /// Numbers about it.
    pub facts: Vec<(&'static str, String)>,
}

/// Why a way ended as it did.
pub(super) struct Reason {
    /// In a few words.
    pub title: String,
    /// In sentences.
    pub explanation: String,
    /// What to change, where that is known.
    pub fix: Option<String>,
}

/// The routes of a check that were tried, those that fail first.
pub(super) fn of_check(report: &CheckReport) -> Vec<Way> {
    let tried = report.routes.iter().enumerate().filter(|(_, route)| route.outcome != Outcome::NotExposed);
    let ways = tried.map(|(index, route)| {
        let findings = report.findings.iter().filter(|finding| finding.routes.contains(&index));
        let mut reasons: Vec<Reason> = findings.map(Reason::of_finding).collect();
        if reasons.is_empty() && route.outcome.is_failure() {
            reasons.push(Reason::of_outcome(route.outcome.as_str(), &route.hops, ""));
        }
        let fact = |name, nanoseconds: Option<u64>| nanoseconds.map(|it| (name, time(it)));
        let reached = route.reached.clone().map(|pod| ("reached", pod));
        let source = route.source_seen.clone().map(|source| ("client's address as the pod sees it", source));
        let times =
            [fact("connecting took", route.connect_ns), fact("the first answer took", route.request_ns)];
        let Route { from, api, listener, broker, address, outcome, hops, .. } = route;
        Way {
            client: from.to_string(),
            to: format!("broker {broker}, {} {listener}", api.as_str()),
            address: address.clone(),
            outcome: outcome.as_str(),
            failed: outcome.is_failure(),
            reasons,
            hops: hops.clone(),
            reply: Vec::new(),
            facts: [reached, source].into_iter().chain(times).flatten().collect(),
        }
    });
    failed_first(ways.collect())
}

/// The ways that clients of a run went: one for each client, address, and way of ending; those that fail first.
pub(super) fn of_run(recording: &Recording) -> Vec<Way> {
    failed_first(recording.clients.iter().flat_map(of_client).collect())
}

fn failed_first(mut ways: Vec<Way>) -> Vec<Way> {
    // Bootstrap addresses are the least of a client's ways.
    ways.sort_by_key(|way| (!way.failed, way.to == BOOTSTRAP));
    ways
}

fn of_client(client: &RecordedClient) -> Vec<Way> {
    type Key<'a> = (Option<i32>, &'a HostPort, Option<&'static str>, Option<i16>);
    let mut attempts: BTreeMap<Key<'_>, Vec<&Arc<RequestRecord>>> = BTreeMap::new();
    for attempt in &client.attempts {
        let failure = is_failed(attempt).then(|| attempt.outcome.as_str());
        let code = attempt.error_code.filter(|_| failure.is_some());
        let key = (attempt.broker, &attempt.address, failure, code);
        attempts.entry(key).or_default().push(attempt);
    }
    attempts
        .into_iter()
        .map(|((broker, address, ..), attempts)| way(client, broker, address, &attempts))
        .collect()
}

fn way(
    client: &RecordedClient,
    broker: Option<i32>,
    address: &HostPort,
    attempts: &[&Arc<RequestRecord>],
) -> Way {
    let shown = representative(attempts);
    let failed = is_failed(shown);
    let route = shown.route.as_ref();
    let hops = |hops: Option<&Vec<hopwise_fabric::Hop>>| hops.into_iter().flatten().map(Hop::from).collect();
    let forward: Vec<Hop> = hops(route.map(|route| &route.forward));
    let outcome = match (shown.outcome, shown.error_code) {
        (ClientOutcome::Ok, Some(code)) if code != 0 => "error-answer",
        (outcome, _) => outcome_of(outcome).as_str(),
    };
    let mut totals: Vec<Span> = attempts.iter().map(|attempt| attempt.request).collect();
    totals.sort_unstable();
    let median = nearest_rank(&totals, 500).map_or_else(String::new, |span| time(span.as_nanos()));
    let mut facts = vec![("attempts", attempts.len().to_string()), ("median request", median)];
    if let Some(at) = Some(shown.started_at).filter(|_| failed) {
        facts.push(("the one shown began at", time(at.as_nanos())));
    }
    let explanation = match (shown.explanation.as_str(), shown.error_code) {
        ("", Some(code)) if code != 0 => format!("the broker answered with {}", error_meaning(code)),
        (explanation, _) => explanation.to_owned(),
    };
    let reasons = failed.then(|| Reason::of_outcome(outcome, &forward, &explanation));
    Way {
        client: client.name.clone(),
        to: broker.map_or_else(|| BOOTSTRAP.to_owned(), |id| format!("broker {id}")),
        address: address.to_string(),
        outcome,
        failed,
        reasons: reasons.into_iter().collect(),
        hops: forward,
        reply: hops(route.map(|route| &route.reply)),
        facts,
    }
}

/// The attempt to show: the first with as many hops as most have.
fn representative<'a>(attempts: &[&'a Arc<RequestRecord>]) -> &'a RequestRecord {
    let mut counts: BTreeMap<usize, (usize, &'a RequestRecord)> = BTreeMap::new();
    for attempt in attempts {
        let hops = attempt.route.as_ref().map_or(0, |route| route.forward.len());
        counts.entry(hops).or_insert((0, attempt)).0 += 1;
    }
    let with_hops = counts.iter().filter(|(hops, _)| **hops > 0).max_by_key(|(_, (count, _))| *count);
    with_hops.or(counts.iter().next()).map_or(attempts[0], |(_, (_, attempt))| attempt)
}

impl Reason {
    fn of_finding(finding: &Finding) -> Reason {
        Reason {
            title: format!("{} {}", finding.code, finding.title),
            explanation: finding.explanation.clone(),
            fix: Some(finding.fix.clone()),
        }
    }

    /// What the outcome and the last hop tell, where nothing more is known.
    fn of_outcome(outcome: &str, hops: &[Hop], explanation: &str) -> Reason {
        let last = hops.last().filter(|hop| matches!(hop.action.as_str(), "dropped" | "rejected" | "lost"));
        let ended = last.map(|hop| {
            let why = hop.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
            format!("The packet was {} at {}{why}.", hop.action, hop.device)
        });
        let told: Vec<String> =
            [Some(explanation.to_owned()).filter(|it| !it.is_empty()), ended].into_iter().flatten().collect();
        let explanation = match told.as_slice() {
            [] => meaning(outcome).to_owned(),
            told => told.iter().map(|told| sentence(told)).collect::<Vec<_>>().join(" "),
        };
        Reason { title: outcome.to_owned(), explanation, fix: None }
    }
}

/// With a capital at the beginning and a full stop at the end.
fn sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    let first = letters.next().map(|letter| letter.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// What an outcome means to a client.
fn meaning(outcome: &str) -> &'static str {
    match outcome {
        "name-not-found" => "The name has no address where the client stands.",
        "refused" => "The connection was refused, or closed before an answer came.",
        "timeout" => "No answer came within the time that the client waits.",
        "unreachable" => "The network said that there is no way.",
        "wrong-broker" => "Another broker than the one meant answered.",
        "tls-failed" => "The TLS handshake failed.",
        "authentication-failed" => "The broker did not accept who the client is.",
        "protocol-mismatch" => "The other side speaks another protocol.",
        _ => "The request was not served.",
    }
}
