//! Ways to make a scenario smaller, besides leaving out faults. Each gives candidates, the smallest first.

use hopwise_engine::Span;

use crate::scenario::{Duration, Scenario, Workload};

/// A way to make a scenario smaller.
pub type Step = fn(&Scenario) -> Vec<Scenario>;

/// All of them, in the order in which they are tried.
pub const ALL: [Step; 6] =
    [fewer_clients, fewer_looks, fewer_topics, fewer_partitions, fewer_requests, sooner];

/// One client, then all but one.
fn fewer_clients(scenario: &Scenario) -> Vec<Scenario> {
    let with = |clients| Scenario { clients, ..scenario.clone() };
    let count = scenario.clients.len();
    if count < 2 {
        return Vec::new();
    }
    let alone = scenario.clients.iter().map(|client| with(vec![client.clone()]));
    let without = (0..count).filter(|_| count > 2).map(|left_out| {
        let kept = scenario.clients.iter().enumerate().filter(|(index, _)| *index != left_out);
        with(kept.map(|(_, client)| client.clone()).collect())
    });
    alone.chain(without).collect()
}

/// No observation, then all but one.
fn fewer_looks(scenario: &Scenario) -> Vec<Scenario> {
    let with = |observations| Scenario { observations, ..scenario.clone() };
    let count = scenario.observations.len();
    let none = (count > 0).then(|| with(Vec::new()));
    let without = (0..count).filter(|_| count > 1).map(|left_out| {
        let kept = scenario.observations.iter().enumerate().filter(|(index, _)| *index != left_out);
        with(kept.map(|(_, look)| look.clone()).collect())
    });
    none.into_iter().chain(without).collect()
}

/// One topic.
fn fewer_topics(scenario: &Scenario) -> Vec<Scenario> {
    let topics = scenario.workload.iter().flat_map(|workload| &workload.topics);
    if topics.clone().count() < 2 {
        return Vec::new();
    }
    topics.filter_map(|topic| changed(scenario, |workload| workload.topics = vec![topic.clone()])).collect()
}

/// One partition of each topic, then half of them.
fn fewer_partitions(scenario: &Scenario) -> Vec<Scenario> {
    let halved = |by: fn(u32) -> u32| {
        changed(scenario, |workload| {
            workload.topics.iter_mut().for_each(|topic| topic.partitions = by(topic.partitions));
        })
    };
    [halved(|_| 1), halved(|partitions| partitions.div_ceil(2))].into_iter().flatten().collect()
}

/// A tenth of the requests, then half of them.
fn fewer_requests(scenario: &Scenario) -> Vec<Scenario> {
    let fewer = |by: u32| {
        changed(scenario, |workload| {
            let producers = workload.producers.iter_mut().map(|it| &mut it.requests);
            let consumers = workload.consumers.iter_mut().map(|it| &mut it.requests);
            producers.chain(consumers).for_each(|requests| *requests = requests.div_ceil(by));
        })
    };
    [fewer(10), fewer(2)].into_iter().flatten().collect()
}

/// Every fault at half its time.
fn sooner(scenario: &Scenario) -> Vec<Scenario> {
    let mut sooner = scenario.clone();
    for fault in &mut sooner.faults {
        fault.at = half(fault.at);
    }
    sooner.duration = None;
    // Times of expectations count from fixed points and would no longer fit.
    let fixed = !scenario.observations.is_empty()
        || !scenario.expect.events.is_empty()
        || !scenario.expect.states.is_empty();
    (!fixed && sooner.faults != scenario.faults).then_some(sooner).into_iter().collect()
}

/// Whole seconds down to one: times that people can read.
fn half(time: Duration) -> Duration {
    let seconds = time.span().as_nanos() / 1_000_000_000;
    if seconds < 2 { time } else { Duration(Span::from_secs(seconds / 2)) }
}

/// The scenario with another workload; none if that is as it was.
fn changed(scenario: &Scenario, change: impl FnOnce(&mut Workload)) -> Option<Scenario> {
    let mut smaller = scenario.clone();
    change(smaller.workload.as_mut()?);
    (smaller != *scenario).then_some(smaller)
}
