//! What explains a run that failed: what the linter says of the cluster at its end, why attempts of clients and looks
//! failed, and which brokers are others than before.
//!
//! Attempts that the scenario allows to fail (`noFailuresAfter`) need no explanation. Nothing here takes virtual time, so
//! that a run and its hash are the same whether it is explained or not.

use std::collections::BTreeSet;

use hopwise_client::RequestRecord;
use hopwise_engine::Time;

use super::clients::RunningClient;
use super::course::Plan;
use super::observe::FailedLook;
use crate::check::{brokers, facts, inputs_findings, outcome_of};
use crate::findings::diagnosis::{self, Reason};
use crate::findings::facts::Cluster;
use crate::findings::{Code, Finding, lint};
use crate::place::Place;
use crate::report::check::{Api, Hop, Outcome, Route};
use crate::report::run::Check;
use crate::scenario::{Fault, FaultKind, PodIdentity};
use crate::simulate::Started;

/// Failed attempts that are diagnosed at most; what comes after them fails in the same ways.
const ATTEMPTS_MAX: usize = 10_000;

/// What was seen in a run.
#[derive(Clone, Default)]
pub(super) struct Evidence {
    /// The clients that came to their places.
    pub clients: Vec<RunningClient>,
    /// The beginning of the timeline, if it came so far.
    pub start: Option<Time>,
    /// Connections of observations that did not end as they have to.
    pub looks: Vec<FailedLook>,
    /// The pods that were hit, before.
    pub before: Vec<PodIdentity>,
    /// The same pods at the end.
    pub after: Vec<PodIdentity>,
    /// Faults that could not be played.
    pub failures: Vec<Check>,
}

/// The findings of a run that failed.
pub(super) fn of(started: &Started, plan: &Plan, evidence: &Evidence) -> Vec<Finding> {
    let Started { cluster, brokers: running, .. } = started;
    let known = brokers::known(&plan.inputs.manifests, cluster, running);
    let facts = facts::of(&plan.inputs, cluster, &known);
    let mut findings = lint::lint(&facts);
    findings.extend(inputs_findings::of(&plan.inputs, cluster, &known));
    findings.extend(ghosts(&facts, &evidence.before, &evidence.after));
    findings.extend(refused_maintenance(&plan.scenario.faults, &evidence.failures));
    let routes = failed_routes(&facts, plan, evidence);
    let reasons: Vec<Reason> = routes.iter().map(|_| Reason::default()).collect();
    let mut findings = diagnosis::explain(&facts, &routes, &reasons, findings);
    // The report of a run has no table of routes.
    findings.iter_mut().for_each(|finding| finding.routes.clear());
    findings
}

/// The ways that failed, one of each kind.
fn failed_routes(facts: &Cluster, plan: &Plan, evidence: &Evidence) -> Vec<Route> {
    let allowed = plan.scenario.expect.no_failures_after.map(|allowed| allowed.span());
    let counts = |record: &RequestRecord| {
        let until = evidence.start.zip(allowed).map(|(start, allowed)| start + allowed);
        until.is_none_or(|until| record.started_at + record.total >= until)
    };
    // A broker that is none any more has a finding of its own, if it should be one.
    let is_gone = |record: &RequestRecord| {
        record.broker.is_some_and(|asked| facts.brokers.iter().all(|broker| broker.id != asked))
    };
    let mut routes = Vec::new();
    for client in &evidence.clients {
        let attempts = client.journal.attempts();
        let failed = attempts.iter().map(|attempt| &attempt.record).filter(|record| {
            // Whoever gives up before a packet has left has not been anywhere.
            let went_nowhere = record.outcome == hopwise_client::Outcome::Timeout && record.route.is_none();
            record.outcome != hopwise_client::Outcome::Ok
                && !went_nowhere
                && !is_gone(record)
                && counts(record)
        });
        routes.extend(failed.take(ATTEMPTS_MAX).map(|record| route_of_attempt(facts, &client.place, record)));
    }
    routes.extend(evidence.looks.iter().filter_map(|look| route_of_look(facts, look)));
    let mut seen = BTreeSet::new();
    let kind = |route: &Route| {
        let end = route.hops.last().map(|hop| (hop.device.clone(), hop.action.clone(), hop.detail.clone()));
        (route.from.to_string(), route.address.clone(), route.outcome.as_str(), end)
    };
    routes.retain(|route| seen.insert(kind(route)));
    routes
}

fn route_of_attempt(facts: &Cluster, from: &Place, record: &RequestRecord) -> Route {
    let address = record.address.to_string();
    let route = record.route.clone().unwrap_or_default();
    Route {
        outcome: outcome_of(record.outcome),
        reached: route.reached().map(ToString::to_string),
        source_seen: route.source_seen().map(|source| source.ip().to_string()),
        hops: route.forward.iter().map(Hop::from).collect(),
        ..whose(facts, from, address, record.broker)
    }
}

fn route_of_look(facts: &Cluster, look: &FailedLook) -> Option<Route> {
    let outcome = look.seen.outcome;
    (outcome != Outcome::Ok).then(|| Route {
        outcome,
        reached: look.seen.served_by.clone(),
        source_seen: look.seen.source_seen.map(|source| source.to_string()),
        hops: look.seen.route.forward.iter().map(Hop::from).collect(),
        ..whose(facts, &look.from, look.to.to_string(), None)
    })
}

/// An empty route to the broker and the listener that advertise the address.
fn whose(facts: &Cluster, from: &Place, address: String, asked: Option<i32>) -> Route {
    let told = facts.brokers.iter().filter(|broker| asked.is_none_or(|asked| asked == broker.id)).find_map(
        |broker| {
            let advertises = |own: &crate::findings::facts::Advertised| own.to_string() == address;
            let listener =
                broker.listeners.iter().find(|it| it.advertised.as_ref().is_some_and(advertises))?;
            Some((broker.id, listener.api, listener.name.clone()))
        },
    );
    let (broker, api, listener) = told.unwrap_or((asked.unwrap_or(-1), Api::Kafka, String::new()));
    Route {
        from: from.clone(),
        api,
        listener,
        broker,
        address,
        outcome: Outcome::Ok,
        reached: None,
        source_seen: None,
        hops: Vec::new(),
        connect_ns: None,
        request_ns: None,
    }
}

/// Row 37 of redpanda.md section 5: one broker at a time is in maintenance, and another one is answered 400 (redpanda.md
/// 3.1).
fn refused_maintenance(faults: &[Fault], failures: &[Check]) -> Vec<Finding> {
    let refused = faults.iter().filter_map(|fault| {
        let FaultKind::StartMaintenance(pod) = &fault.kind else { return None };
        let own = format!("{} happens at ", fault.name());
        let failure = failures
            .iter()
            .find(|it| it.name.starts_with(&own) && it.detail.ends_with("/maintenance answers 400"))?;
        let explanation = format!(
            "{pod} cannot be put into maintenance ({}): another broker holds the one slot there is, alive or not.",
            failure.detail
        );
        Some(Finding::new(Code::MaintenanceSlotTaken, format!("Pod {pod}"), explanation))
    });
    refused.collect()
}

/// Row 34 of redpanda.md section 5: a broker that came back without its volume is another one (redpanda.md 2.3).
fn ghosts(facts: &Cluster, before: &[PodIdentity], after: &[PodIdentity]) -> Vec<Finding> {
    let lost = before.iter().filter_map(|before| {
        let after = after.iter().find(|after| after.pod == before.pod)?;
        let (old, new) = (before.broker?, after.broker?);
        (old != new).then_some((before, old, new, before.claims != after.claims))
    });
    lost.map(|(pod, old, new, other_volume)| {
        let why = if other_volume { "it has another volume than before" } else { "its volume is empty" };
        let explanation = format!(
            "{} was broker {old} and came back as broker {new}, because {why}. Broker {old} stays a member that is dead: it \
             counts as down, and the replicas that it had are missing.",
            pod.pod
        );
        let fix = format!(
            "Decommission {old} by its id (rpk redpanda admin brokers decommission {old}), and keep the pod's claim from now on."
        );
        let position = facts.brokers.iter().find(|broker| broker.pod_key() == pod.pod);
        Finding::new(Code::GhostBroker, format!("Pod {}", pod.pod), explanation)
            .fix(fix)
            .at(position.and_then(|broker| broker.position.as_ref()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(broker: i32, claim: &str) -> PodIdentity {
        let pod = "redpanda/redpanda-1".to_owned();
        PodIdentity { pod, broker: Some(broker), claims: vec![claim.to_owned()], ..PodIdentity::default() }
    }

    #[test]
    fn a_refused_maintenance_names_the_pod_that_is_not_drained() {
        let fault: Fault = serde_json::from_value(serde_json::json!({
            "at": "30s", "name": "second", "startMaintenance": "redpanda/redpanda-2"
        }))
        .expect("a fault");
        let failure = |status: &str| Check {
            name: "second happens at 30s".into(),
            ok: false,
            detail: format!("PUT http://10.244.0.4:9644/v1/brokers/2/maintenance answers {status}"),
        };
        let found = refused_maintenance(std::slice::from_ref(&fault), &[failure("400")]);
        assert_eq!(
            (found[0].code, found[0].object.as_str()),
            (Code::MaintenanceSlotTaken, "Pod redpanda/redpanda-2")
        );
        assert_eq!(refused_maintenance(&[fault], &[failure("503")]), []);
    }

    #[test]
    fn a_broker_with_another_id_has_left_a_ghost() {
        let facts = Cluster::default();
        assert_eq!(ghosts(&facts, &[pod(1, "a")], &[pod(1, "a")]), []);
        let found = ghosts(&facts, &[pod(1, "a")], &[pod(3, "b")]);
        assert_eq!((found[0].code, found[0].object.as_str()), (Code::GhostBroker, "Pod redpanda/redpanda-1"));
        assert!(
            found[0].explanation.contains("came back as broker 3, because it has another volume"),
            "{found:?}"
        );
        assert!(
            ghosts(&facts, &[pod(1, "a")], &[pod(3, "a")])[0].explanation.contains("its volume is empty")
        );
    }
}
