//! Ways to make a scenario smaller, besides leaving out faults. Each gives candidates, the smallest first.

use hopwise_engine::Span;

use crate::inputs::Inputs;
use crate::scenario::{Duration, ObjectKind, ObjectName, Scenario, Workload};

/// A way to make a scenario of a cluster smaller.
pub type Step = fn(&Scenario, &Inputs) -> Vec<Scenario>;

/// All of them, in the order in which they are tried.
pub const ALL: [Step; 9] = [
    |scenario, _| fewer_clients(scenario),
    |scenario, _| fewer_looks(scenario),
    fewer_brokers,
    |scenario, _| fewer_topics(scenario),
    |scenario, _| fewer_partitions(scenario),
    |scenario, _| fewer_requests(scenario),
    |scenario, _| sooner(scenario),
    |scenario, _| briefer(scenario),
    |scenario, _| shorter(scenario),
];

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

/// One pod of a StatefulSet, then half of them, then all but one; partitions have no more replicas than there are pods.
fn fewer_brokers(scenario: &Scenario, inputs: &Inputs) -> Vec<Scenario> {
    let sets = inputs.manifests.stateful_sets.iter().flat_map(|set| {
        let namespace = set.namespace.as_deref().unwrap_or("default");
        let name = ObjectName::new(ObjectKind::StatefulSet, namespace, &set.name);
        let declared = set.value.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let now = scenario.replicas.get(&name).copied().unwrap_or(u32::try_from(declared).unwrap_or(0));
        let fewer = [1, now.div_ceil(2), now.saturating_sub(1)];
        fewer
            .into_iter()
            .filter(move |count| (1..now).contains(count))
            .map(move |count| (name.clone(), count))
    });
    let with = |(name, count): (ObjectName, u32)| {
        let mut smaller = scenario.clone();
        smaller.replicas.insert(name, count);
        for topic in smaller.workload.iter_mut().flat_map(|workload| &mut workload.topics) {
            // An odd number, as Redpanda wants it.
            let most = u16::try_from(count).unwrap_or(u16::MAX);
            topic.replication = topic.replication.min(most - (most + 1) % 2);
        }
        smaller
    };
    sets.map(with).collect()
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

/// Every fault that lasts half as long.
fn briefer(scenario: &Scenario) -> Vec<Scenario> {
    let mut briefer = scenario.clone();
    for lasts in briefer.faults.iter_mut().filter_map(|fault| fault.lasts.as_mut()) {
        *lasts = half(*lasts);
    }
    (briefer.faults != scenario.faults).then_some(briefer).into_iter().collect()
}

/// As long as the scenario's last time, then half as long.
fn shorter(scenario: &Scenario) -> Vec<Scenario> {
    let Some(duration) = scenario.duration else { return Vec::new() };
    let halved = Some(half(duration)).filter(|halved| *halved < duration);
    let with = |duration| Scenario { duration, ..scenario.clone() };
    [Some(with(None)), halved.map(|halved| with(Some(halved)))].into_iter().flatten().collect()
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
