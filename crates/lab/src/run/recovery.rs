//! How each client came through the faults: what tells one client from another.

use std::collections::BTreeMap;
use std::sync::Arc;

use hopwise_client::Operation;
use hopwise_engine::{Span, Time};

use super::clients::RunningClient;
use super::journal::Attempt;
use super::measure::workload_attempts;
use super::times::Strike;
use crate::report::run::{ClientCourse, Recovery};

/// An attempt that has been under way for longer than this when a fault strikes hung already: it is the earlier fault's.
/// Healthy attempts take less, with the longest wait of a fetch (`fetch.max.wait.ms`, franz-go's default) included.
const HUNG: Span = Span::from_secs(5);

/// Who led each partition when, as answers told.
type Leaders = BTreeMap<(String, i32), BTreeMap<Time, i32>>;

/// What the clients went through from `start` on; `opened` are the connections that each had opened by then.
pub(super) fn courses(
    clients: &[RunningClient],
    opened: &[u64],
    strikes: &[Strike],
    start: Time,
) -> Vec<ClientCourse> {
    let attempts: Vec<Vec<Arc<Attempt>>> =
        clients.iter().map(|client| workload_attempts(client, start)).collect();
    let leaders = leaders(attempts.iter().flatten().map(|attempt| &**attempt));
    let course = |((client, attempts), opened): ((&RunningClient, &Vec<Arc<Attempt>>), &u64)| {
        let count = |wanted: &dyn Fn(&Attempt) -> bool| {
            u64::try_from(attempts.iter().filter(|attempt| wanted(attempt)).count()).unwrap_or(u64::MAX)
        };
        ClientCourse {
            client: client.name.clone(),
            profile: client.profile.to_string(),
            misrouted: count(&|attempt| attempt.record.misrouted() || missed_leader(attempt, &leaders)),
            connections_opened: client.client.counters().connections_opened.saturating_sub(*opened),
            metadata_requests: count(&|attempt| attempt.record.operation == Operation::Metadata),
            retries: count(&|attempt| attempt.record.partition.is_some() && attempt.record.attempt > 1),
            recoveries: recoveries(attempts, strikes),
        }
    };
    clients.iter().zip(&attempts).zip(opened).map(course).collect()
}

fn leaders<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> Leaders {
    let mut leaders = Leaders::new();
    for attempt in attempts.filter(|attempt| attempt.record.reached_leader()) {
        let record = &attempt.record;
        if let (Some(topic), Some(partition), Some(broker)) = (&record.topic, record.partition, record.broker)
        {
            leaders.entry((topic.clone(), partition)).or_default().insert(record.started_at, broker);
        }
    }
    leaders
}

/// Whether an attempt without an answer went to a broker that led the partition neither in the last answer that anybody
/// got before it, nor in the first after it.
fn missed_leader(attempt: &Attempt, leaders: &Leaders) -> bool {
    let record = &attempt.record;
    let (Some(topic), Some(partition), Some(broker)) = (&record.topic, record.partition, record.broker)
    else {
        return false;
    };
    let Some(known) = leaders.get(&(topic.clone(), partition)) else { return false };
    let before = known.range(..record.started_at).next_back();
    let after = known.range(record.started_at..).next();
    let elsewhere = |found: Option<(&Time, &i32)>| found.is_some_and(|(_, leader)| *leader != broker);
    attempt.failed() && record.error_code.is_none() && elsewhere(before) && elsewhere(after)
}

/// How attempts that ended in this order came through the faults.
fn recoveries(attempts: &[Arc<Attempt>], strikes: &[Strike]) -> Vec<Recovery> {
    let mut failures: Vec<(u64, Option<Time>)> = vec![(0, None); strikes.len()];
    let about_partitions = || attempts.iter().filter(|attempt| attempt.record.partition.is_some());
    for attempt in about_partitions().filter(|attempt| attempt.failed()) {
        if let Some((count, last)) = cause(attempt, strikes).and_then(|index| failures.get_mut(index)) {
            *count += 1;
            *last = (*last).max(Some(attempt.ended_at()));
        }
    }
    let recovery = |(strike, (count, last)): (&Strike, (u64, Option<Time>))| {
        let successes =
            about_partitions().filter(|attempt| !attempt.failed()).map(|attempt| attempt.ended_at());
        let first = last.map(|last| successes.filter(|ended| *ended > last).min());
        let recovered = first.map_or(Some(Span::ZERO), |first| first.map(|first| first - strike.at));
        Recovery {
            fault: strike.fault.clone(),
            at_ns: strike.at.as_nanos(),
            failures: count,
            recovered_ns: recovered.map(|recovered| recovered.as_nanos()),
        }
    };
    strikes.iter().zip(failures).map(recovery).collect()
}

/// The place of the fault that a failed attempt is put down to: the first that struck while it was under way, unless the
/// attempt hung by then; else the last one before it.
fn cause(attempt: &Attempt, strikes: &[Strike]) -> Option<usize> {
    let (began, ended) = (attempt.record.started_at, attempt.ended_at());
    let before = strikes.iter().rposition(|strike| strike.at <= began);
    let during = strikes.iter().position(|strike| strike.at > began && strike.at <= ended);
    match (before, during) {
        (Some(before), Some(during)) if strikes[during].at - began > HUNG => Some(before),
        (before, during) => during.or(before),
    }
}

#[cfg(test)]
mod tests {
    use hopwise_client::{HostPort, Outcome, RequestRecord};

    use super::super::journal::Moved;
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Span::from_secs(seconds)
    }

    fn attempt(began: u64, ended: u64, broker: i32, outcome: Outcome) -> Attempt {
        let record = RequestRecord {
            operation: Operation::Produce,
            topic: Some("t".to_owned()),
            partition: Some(0),
            broker: Some(broker),
            address: HostPort::new("redpanda-0", 9093),
            ip: None,
            attempt: 1,
            outcome,
            error_code: (outcome == Outcome::Ok).then_some(0),
            explanation: String::new(),
            reached: None,
            route: None,
            started_at: at(began),
            resolve: Span::ZERO,
            connect: None,
            handshake: None,
            request: Span::ZERO,
            total: at(ended) - at(began),
        };
        Attempt { record: record.into(), moved: Moved::default() }
    }

    fn strikes() -> Vec<Strike> {
        [("lost", 10), ("back", 70)]
            .map(|(fault, time)| Strike { fault: fault.to_owned(), at: at(time) })
            .into()
    }

    /// Failures and seconds to the recovery, of each fault.
    fn told(attempts: &[Attempt]) -> Vec<(u64, Option<u64>)> {
        let attempts: Vec<Arc<Attempt>> = attempts.iter().cloned().map(Arc::new).collect();
        let told = recoveries(&attempts, &strikes()).into_iter();
        told.map(|it| (it.failures, it.recovered_ns.map(|time| time / 1_000_000_000))).collect()
    }

    #[test]
    fn recovery_is_the_first_success_after_the_last_failure() {
        let attempts = [
            attempt(9, 40, 1, Outcome::Timeout),
            attempt(20, 21, 0, Outcome::Ok),
            attempt(41, 42, 1, Outcome::Refused),
            attempt(43, 44, 2, Outcome::Ok),
            attempt(45, 46, 2, Outcome::Ok),
        ];
        assert_eq!(told(&attempts), [(2, Some(34)), (0, Some(0))]);
    }

    #[test]
    fn what_hangs_until_the_next_fault_is_the_first_one_s() {
        let hung = [attempt(11, 72, 1, Outcome::Timeout), attempt(73, 74, 1, Outcome::Ok)];
        assert_eq!(told(&hung), [(1, Some(64)), (0, Some(0))]);
        let struck = [attempt(69, 72, 1, Outcome::Timeout), attempt(73, 74, 1, Outcome::Ok)];
        assert_eq!(told(&struck), [(0, Some(0)), (1, Some(4))]);
    }

    #[test]
    fn a_client_that_never_succeeds_again_has_not_recovered() {
        assert_eq!(told(&[attempt(11, 12, 1, Outcome::Refused)]), [(1, None), (0, Some(0))]);
    }

    #[test]
    fn an_attempt_at_a_former_leader_is_misrouted_if_answers_around_it_say_so() {
        let told = |before, after| {
            let answered = [attempt(1, 2, before, Outcome::Ok), attempt(30, 31, after, Outcome::Ok)];
            missed_leader(&attempt(20, 25, 1, Outcome::Timeout), &leaders(answered.iter()))
        };
        assert!(told(2, 2));
        assert!(!told(1, 2), "the leader may have died with the request");
        assert!(!told(2, 1), "it may have been elected already");
        assert!(!missed_leader(&attempt(20, 25, 1, Outcome::Timeout), &Leaders::new()));
    }
}
