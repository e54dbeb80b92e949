//! What is wrong with a scenario that parses: references between its parts, ranges, and emptiness.

use std::collections::BTreeSet;

use super::{Acks, Client, ClientBug, Comparison, FaultKind, Producers, Scenario, Workload};

/// Something wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, as `expect.less[0].hops`.
    pub field: String,
    /// What is wrong.
    pub what: String,
    /// What is expected.
    pub expected: String,
}

impl Scenario {
    /// Everything that is wrong beyond the types of fields; empty for a sound scenario.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems(self.problems_of_parts());
        self.check_observed(&mut problems);
        problems.0
    }

    /// [`Scenario::problems`] of a scenario that somebody else looks at: it may expect nothing itself.
    pub fn problems_of_parts(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.check_inputs(&mut problems);
        self.check_clients(&mut problems);
        if let Some(workload) = &self.workload {
            check_workload(workload, &mut problems);
        }
        self.check_faults(&mut problems);
        self.check_draw(&mut problems);
        self.check_expectations(&mut problems);
        self.check_contradicting_expectations(&mut problems);
        self.check_bounds(&mut problems);
        self.check_checks(&mut problems);
        self.check_timeline(&mut problems);
        problems.0
    }

    fn check_inputs(&self, problems: &mut Problems) {
        problems.unless(!self.name.trim().is_empty(), "name", "the name is empty", "a name");
        let cluster = &self.cluster;
        let fits = cluster.is_object() || cluster.as_str().is_some_and(|path| !path.is_empty());
        problems.unless(fits, "cluster", "this is no cluster", "the path of a cluster file, or its content");
        let what = "there are no manifests";
        problems.unless(!self.manifests.is_empty(), "manifests", what, "at least one file or directory");
    }

    fn check_clients(&self, problems: &mut Problems) {
        let (clients, workload) = (!self.clients.is_empty(), self.workload.is_some());
        problems.unless(clients || !workload, "workload", "there are no clients", "at least one client");
        let what = "the clients have nothing to do";
        problems.unless(workload || !clients, "clients", what, "a workload, or no clients");
        self.check_each_client(problems);
    }

    fn check_each_client(&self, problems: &mut Problems) {
        problems.0.extend(unbuilt_bugs(&self.clients, ClientBug::BUILT));
        let mut names = BTreeSet::new();
        for (index, client) in self.clients.iter().enumerate() {
            let field = |name: &str| format!("clients[{index}].{name}");
            problems.unless(!client.name.is_empty(), &field("name"), "the name is empty", "a name");
            let what = format!("another client is called `{}`", client.name);
            problems.unless(names.insert(&client.name), &field("name"), &what, "a name of its own");
            let what = "there is no address to start from";
            problems.unless(
                !client.bootstrap.is_empty(),
                &field("bootstrap"),
                what,
                "at least one host:port",
            );
            for (position, address) in client.bootstrap.iter().enumerate() {
                let what = format!("`{address}` is no address");
                let field = format!("clients[{index}].bootstrap[{position}]");
                problems.unless(
                    is_host_port(address),
                    &field,
                    &what,
                    "host:port with a port from 1 to 65535",
                );
            }
        }
    }

    fn check_observed(&self, problems: &mut Problems) {
        let workload = self.workload.is_some();
        let observed =
            !self.observations.is_empty() || !self.expect.events.is_empty() || !self.expect.states.is_empty();
        let what = "nothing is looked at";
        problems.unless(
            workload || observed,
            "expect",
            what,
            "a workload, observations, or expected events or states",
        );
    }

    fn check_bounds(&self, problems: &mut Problems) {
        let what = "a run without any cannot be made";
        problems.unless(self.bounds.events > 0, "bounds.events", what, "at least 1 event");
        problems.unless(
            self.bounds.memory.bytes() > 0,
            "bounds.memory",
            what,
            "an amount above 0, such as `4 GB`",
        );
    }

    fn check_expectations(&self, problems: &mut Problems) {
        let expect = &self.expect;
        for (index, comparison) in expect.less.iter().enumerate() {
            self.check_comparison(&format!("expect.less[{index}]"), comparison, problems);
        }
        for (index, pod) in expect.pods_return.iter().enumerate() {
            let deleted = self
                .faults
                .iter()
                .any(|fault| matches!(&fault.kind, FaultKind::DeletePod(deleted) if *deleted == pod.pod));
            let what = format!("no fault deletes {}", pod.pod);
            problems.unless(
                deleted,
                &format!("expect.podsReturn[{index}].pod"),
                &what,
                "a pod that a fault deletes",
            );
        }
    }

    fn check_comparison(&self, field: &str, comparison: &Comparison, problems: &mut Problems) {
        let names: Vec<&str> = self.clients.iter().map(|client| client.name.as_str()).collect();
        let pair = comparison.pair();
        for (side, name) in pair.iter().enumerate() {
            let what = format!("no client is called `{name}`");
            let field = format!("{field}.{}[{side}]", comparison.measure().as_str());
            problems.unless(
                names.contains(&name.as_str()),
                &field,
                &what,
                &format!("one of {}", names.join(", ")),
            );
        }
        let what = "a client is compared with itself";
        problems.unless(pair[0] != pair[1], field, what, "the names of two different clients");
    }
}

#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn unless(&mut self, sound: bool, field: &str, what: &str, expected: &str) {
        if !sound {
            let (field, what, expected) = (field.to_owned(), what.to_owned(), expected.to_owned());
            self.0.push(Problem { field, what, expected });
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; expected {}", self.field, self.what, self.expected)
    }
}

/// Clients that are to break rules, where nobody can: in a build without them.
pub(super) fn unbuilt_bugs(clients: &[Client], built: bool) -> Vec<Problem> {
    let buggy = clients.iter().enumerate().filter(|(_, client)| client.bug.is_some() && !built);
    let problem = |(index, _)| Problem {
        field: format!("clients[{index}].bug"),
        what: "this build has no bugs: they are for tests of the checks".to_owned(),
        expected: "no bug, or a build with feature `bugs`".to_owned(),
    };
    buggy.map(problem).collect()
}

fn check_workload(workload: &Workload, problems: &mut Problems) {
    problems.unless(
        !workload.topics.is_empty(),
        "workload.topics",
        "there are no topics",
        "at least one topic",
    );
    let mut names = BTreeSet::new();
    for (index, topic) in workload.topics.iter().enumerate() {
        let field = |name: &str| format!("workload.topics[{index}].{name}");
        let expected = "1 to 249 letters, digits, `.`, `_` and `-`";
        let what = format!("`{}` is no topic name", topic.name);
        problems.unless(is_topic_name(&topic.name), &field("name"), &what, expected);
        let what = format!("another topic is called `{}`", topic.name);
        problems.unless(names.insert(&topic.name), &field("name"), &what, "a name of its own");
        problems.unless(topic.partitions > 0, &field("partitions"), "there are none", "at least 1");
        let odd = topic.replication % 2 == 1;
        let what = format!("{} replicas are not possible", topic.replication);
        problems.unless(odd, &field("replication"), &what, "an odd number, as Redpanda wants it");
    }
    if let Some(producers) = &workload.producers {
        let field = |name: &str| format!("workload.producers.{name}");
        problems.unless(producers.requests > 0, &field("requests"), "there are none", "at least 1");
        problems.unless(producers.records > 0, &field("records"), "there are none", "at least 1");
        // kafka_batch_max_bytes (redpanda.md 4.4).
        let bytes = u64::from(producers.records) * (u64::from(producers.record_size) + 70);
        let what = format!("a request of about {bytes} bytes is refused");
        problems.unless(bytes <= 1 << 20, &field("recordSize"), &what, "at most 1 MiB per request");
        check_transactions(producers, problems);
    }
    if let Some(consumers) = &workload.consumers {
        let field = "workload.consumers.requests";
        problems.unless(consumers.requests > 0, field, "there are none", "at least 1");
    }
    let works = workload.producers.is_some() || workload.consumers.is_some();
    problems.unless(works, "workload", "nobody does anything", "producers, consumers or both");
}

fn check_transactions(producers: &Producers, problems: &mut Problems) {
    let what = "an idempotent producer does not know what became of its records";
    let acknowledged = !producers.is_idempotent() || producers.acks == Acks::All;
    problems.unless(acknowledged, "workload.producers.acks", what, "`all`, as KIP-98 wants it");
    let Some(transactions) = &producers.transactions else { return };
    let field = |name: &str| format!("workload.producers.transactions.{name}");
    let fits = (1..=producers.requests).contains(&transactions.partitions);
    let what = format!("{} requests are no transaction of {}", transactions.partitions, producers.requests);
    problems.unless(fits, &field("partitions"), &what, "at least 1, and at most `requests`");
    let what = "none would be the so-manieth";
    problems.unless(transactions.abort_every != Some(0), &field("abortEvery"), what, "at least 1");
}

fn is_host_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// The rule of Kafka's own topic names.
fn is_topic_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(allowed)
}
