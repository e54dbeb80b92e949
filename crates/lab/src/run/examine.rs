//! Gathers what was seen in a run and gives it to the checks that are always made; see `checks`.

use hopwise_client::Operation;
use hopwise_engine::{Time, host};
use hopwise_kube::cluster::ContainerLife;

use super::checks::advertised::Advertised;
use super::checks::at_most_one::Forced;
use super::checks::consumed::Consumed;
use super::checks::leader::{Leader, Leaderships};
use super::checks::progress::Course;
use super::checks::transactions::Transactions;
use super::checks::{self, Rule, Seen};
use super::clients::RunningClient;
use super::times::Strike;
use super::verify::Stored;
use super::workload::Sent;
use crate::programs::BrokerLife;
use crate::scenario::{Acks, Scenario};

type Examined = Vec<(Rule, Seen)>;

/// What the machines and the brokers' pods did.
pub(super) fn cluster(scenario: &Scenario, containers: &[ContainerLife], brokers: &[BrokerLife]) -> Examined {
    let forced = Forced::by(&scenario.faults);
    vec![
        (checks::identity::RULE, checks::identity::check(brokers)),
        (checks::at_most_one::RULE, checks::at_most_one::check(containers, &forced)),
    ]
}

/// Where the attempts of all `clients` since `start` ended.
pub(super) fn attempts(clients: &[&RunningClient], brokers: &[BrokerLife], start: Time) -> Examined {
    let of_brokers = brokers.iter().filter_map(|life| Some((life.id?, life.tenures.clone(), life.ended)));
    let leaderships = Leaderships::of(of_brokers);
    let (mut leader, mut advertised) = (Leader::new(&leaderships), Advertised::default());
    for client in clients {
        client.journal.each(|attempt| {
            if attempt.record.started_at >= start {
                leader.attempt(&client.name, &attempt.record);
                advertised.attempt(&client.name, &attempt.record);
            }
        });
    }
    vec![(checks::leader::RULE, leader.end()), (checks::advertised::RULE, advertised.end())]
}

/// What became of records: those sent, those that consumers read, and those read back at the end.
pub(super) fn records(
    scenario: &Scenario,
    sent: &[(String, Vec<Sent>)],
    transactions: &Transactions,
    consumed: &Consumed,
    stored: &Stored,
) -> Examined {
    let producers = scenario.workload.iter().find_map(|workload| workload.producers.as_ref());
    let kept = producers.is_some_and(|producers| producers.acks == Acks::All) && scenario.expect.nothing_lost;
    let idempotent = producers.is_some_and(|producers| producers.is_idempotent());
    let (poll_order, one_log) = consumed.end(stored);
    let mut examined = vec![
        (checks::placement::RULE, checks::placement::check(sent, stored)),
        (checks::duplicates::RULE, checks::duplicates::check(sent, stored, idempotent)),
        (checks::consumed::POLL_ORDER, poll_order),
        (checks::transactions::RULE, checks::transactions::check(sent, transactions, consumed, stored)),
    ];
    // What a leader alone has acknowledged may be lost with it, and its place taken by another record.
    if kept {
        examined.push((checks::lost::RULE, checks::lost::check(sent, stored)));
        examined.push((checks::send_order::RULE, checks::send_order::check(sent, stored)));
        examined.push((checks::consumed::ONE_LOG, one_log));
    }
    examined
}

/// How the clients went on after the last of `strikes`, up to `end`.
pub(super) fn progress(
    scenario: &Scenario,
    clients: &[RunningClient],
    strikes: &[Strike],
    end: Time,
) -> Examined {
    let mut seen = Seen::default();
    if let Some(healed) = strikes.iter().map(|strike| strike.at).max() {
        match never_undone(scenario) {
            Some(fault) => {
                seen.apart.push(format!("nothing is promised while {fault} lasts, and it is never undone"))
            }
            None => {
                let courses: Vec<Course> =
                    clients.iter().flat_map(|client| courses(scenario, client)).collect();
                seen = checks::progress::check(&courses, healed, scenario.bounds.progress, end);
            }
        }
    }
    vec![(checks::progress::RULE, seen)]
}

fn courses(scenario: &Scenario, client: &RunningClient) -> Vec<Course> {
    let workload = scenario.workload.iter();
    let intervals = workload.flat_map(|workload| {
        let produce = workload.producers.iter().map(|it| (Operation::Produce, it.interval));
        produce.chain(workload.consumers.iter().map(|it| (Operation::Fetch, it.interval)))
    });
    let course = |(operation, interval): (Operation, crate::scenario::Duration)| {
        let mut served = Vec::new();
        client.journal.each(|attempt| {
            if attempt.record.operation == operation && !attempt.failed() {
                served.push(attempt.ended_at());
            }
        });
        let tally = client.tally.borrow();
        let done = tally.done.iter().find(|(of, _)| *of == operation).map(|(_, at)| *at);
        Course {
            client: client.name.clone(),
            operation,
            interval: interval.span(),
            served,
            done,
            place_is_there: host::is_alive(client.site.host),
        }
    };
    intervals.map(course).collect()
}

/// A fault that something undoes, and nothing does in this scenario.
fn never_undone(scenario: &Scenario) -> Option<String> {
    let undone = |fault: &crate::scenario::Fault| {
        let Some(undo) = fault.kind.undo() else { return true };
        fault.lasts.is_some()
            || scenario
                .faults
                .iter()
                .any(|other| other.kind == undo && (other.when.is_some() || other.at >= fault.at))
            || scenario.faults.iter().any(|other| other.kind.undo().as_ref() == Some(&fault.kind))
    };
    scenario.faults.iter().find(|fault| !undone(fault)).map(|fault| fault.name())
}
