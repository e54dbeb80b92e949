//! Checks that are always made fail in a run in which a broker or a client breaks its promise, and hold in the same run
//! without that.

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::{Check, RunReport};
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use hopwise_lab::scenario::Scenario;
use hopwise_tests::scenarios;

/// Three brokers on three nodes, and a client outside that produces and fetches for half a minute while `faults` (lines of
/// the list) are played.
fn text(producers: &str, replication: u32, faults: &[&str]) -> String {
    let directory = scenarios();
    let file = |name: &str| directory.join(name).display().to_string();
    let faults: String = faults.iter().map(|fault| format!("  - {fault}\n")).collect();
    let faults = if faults.is_empty() { String::new() } else { format!("faults:\n{faults}") };
    format!(
        r#"name: always-on
cluster: {cluster}
manifests: [{brokers}, {nodeport}]
clients:
  - name: outside
    place: external
    listener: nodeport
    bootstrap: ["node-0.nodes.example.com:31092", "node-1.nodes.example.com:31092", "node-2.nodes.example.com:31092"]
workload:
  topics: [{{name: orders, partitions: 3, replication: {replication}}}]
  producers: {{requests: 60, recordSize: 100, interval: 500ms{producers}}}
  consumers: {{requests: 120, interval: 250ms}}
{faults}"#,
        cluster = file("three-zones.yaml"),
        brokers = file("manifests/brokers.yaml"),
        nodeport = file("manifests/nodeport.yaml"),
    )
}

/// Runs the scenario after a `change`.
fn run(text: &str, change: impl FnOnce(&mut Scenario)) -> RunReport {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("scenario.yaml");
    std::fs::write(&path, text).expect("the directory can be written");
    let mut loaded = load_scenario(&path).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    change(&mut loaded.scenario);
    run_scenario(loaded, RunOptions::default()).expect("the simulation ends")
}

/// The check of that name.
fn check<'a>(report: &'a RunReport, name: &str) -> &'a Check {
    let prefix = format!("{name}: ");
    let found = report.checks.iter().find(|check| check.name.starts_with(&prefix));
    found.unwrap_or_else(|| panic!("there is no check {name}: {:#?}", report.checks))
}

/// Adds a line of YAML at the top.
fn with(line: &str, text: &str) -> String {
    format!("{line}\n{text}")
}

/// The check fails with these words in the scenario with the bug, holds without it, and can be turned off.
fn is_seen(text: &str, bug: &str, name: &str, words: &str) {
    let sound = run(text, |_| ());
    assert!(check(&sound, name).ok, "without {bug}: {:#?}", sound.checks);
    let buggy = with(bug, text);
    let broken = run(&buggy, |_| ());
    let seen = check(&broken, name);
    assert!(!seen.ok && seen.detail.contains(words), "{seen:#?}");
    assert_eq!(broken.verdict, Verdict::Fail);
    let off = run(&buggy, |scenario| scenario.checks = scenario.checks.clone().without(name));
    let prefix = format!("{name}: ");
    assert!(off.checks.iter().all(|check| !check.name.starts_with(&prefix)), "{:#?}", off.checks);
}

/// Cuts the broker on node-0 off from the others for 15 s, not from clients.
const APART: [&str; 2] = [
    "{at: 5s, for: 15s, cutLink: node/node-0 <-> node/node-1}",
    "{at: 5s, for: 15s, cutLink: node/node-0 <-> node/node-2}",
];

#[test]
fn a_sound_run_tells_what_was_examined() {
    let report = run(&text("", 3, &[]), |_| ());
    assert_eq!(report.verdict, Verdict::Pass, "{:#?}", report.checks);
    for name in [
        "leader",
        "advertised",
        "lost-write",
        "duplicate",
        "send-order",
        "placement",
        "poll-order",
        "one-log",
        "identity",
        "at-most-one",
        "dns",
    ] {
        assert!(check(&report, name).detail.ends_with(" examined"), "{:#?}", check(&report, name));
    }
}

#[test]
fn an_acknowledgement_before_a_majority_is_seen_by_lost_writes() {
    is_seen(&text("", 3, &APART), "brokerBug: ack-before-majority", "lost-write", "lost-write: record");
}

#[test]
fn a_log_that_is_cut_and_written_again_is_seen_by_the_order_of_sends() {
    is_seen(
        &text("", 3, &APART),
        "brokerBug: ack-before-majority",
        "send-order",
        "inconsistent-offsets: outside/",
    );
}

#[test]
fn a_client_that_never_learns_who_leads_is_seen_by_its_progress() {
    let sound = text("", 3, &["{at: 5s, rebootNode: {node: node-0, downFor: 5s}}"])
        .replace("partitions: 3", "partitions: 1")
        .replace("requests: 60", "requests: 15")
        .replace("requests: 120", "requests: 30");
    let stale = sound.replace("    place: external", "    bug: stale-metadata\n    place: external");
    let report = run(&stale, |_| ());
    let seen = check(&report, "progress");
    assert!(!seen.ok && seen.detail.contains("outside's produce was to be served by"), "{seen:#?}");
    let report = run(&sound, |_| ());
    assert!(check(&report, "progress").ok, "{:#?}", report.checks);
}

#[test]
fn a_broker_that_hides_aborts_is_seen_by_aborted_reads() {
    let text = text(", transactions: {partitions: 2, abortEvery: 3}", 3, &[]);
    is_seen(&text, "brokerBug: hide-aborts", "transactions", "aborted-read (G1a): outside read outside/");
}

#[test]
fn a_broker_that_forgets_its_producers_is_seen_by_duplicates() {
    // The records arrive, their acknowledgements do not, and the brokers that have them start anew.
    let faults: Vec<String> = (0..3)
        .flat_map(|index| {
            let exit = format!("{{pod: redpanda/redpanda-{index}, container: redpanda}}");
            [
                format!("{{at: 5100ms, for: 6s, cutLink: node/node-{index} -> external}}"),
                format!("{{at: 9s, exitContainer: {exit}}}"),
            ]
        })
        .collect();
    let faults: Vec<&str> = faults.iter().map(String::as_str).collect();
    let text = text(", idempotent: true", 1, &faults);
    is_seen(
        &text,
        "brokerBug: forget-producers",
        "duplicate",
        "sent again after an attempt without an answer",
    );
}

#[test]
fn a_broker_that_serves_without_leading_is_seen_by_who_answers() {
    let stale = text("", 3, &["{at: 5s, rebootNode: {node: node-0, downFor: 5s}}"])
        .replace("    place: external", "    bug: stale-metadata\n    place: external");
    let report = run(&with("brokerBug: serve-without-leading", &stale), |_| ());
    let seen = check(&report, "leader");
    assert!(!seen.ok && seen.detail.contains("answered as its leader, which it was not"), "{seen:#?}");
    let report = run(&stale, |_| ());
    assert!(check(&report, "leader").ok, "{:#?}", report.checks);
}

#[test]
fn names_that_lead_to_another_broker_are_seen_by_who_answers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cluster = std::fs::read_to_string(scenarios().join("three-zones.yaml")).expect("it is there");
    let [first, second] = ["node-0.nodes.example.com: node/node-0", "node-1.nodes.example.com: node/node-1"];
    assert!(cluster.contains(first) && cluster.contains(second));
    let crossed = cluster
        .replace(first, "node-0.nodes.example.com: node/node-1")
        .replace(second, "node-1.nodes.example.com: node/node-0");
    let path = directory.path().join("crossed.yaml");
    std::fs::write(&path, crossed).expect("the directory can be written");
    let ours = scenarios().join("three-zones.yaml").display().to_string();
    let text = with("bounds: {run: 20s}", &text("", 3, &[])).replace(&ours, &path.display().to_string());
    let report = run(&text, |_| ());
    let seen = check(&report, "advertised");
    assert!(!seen.ok, "{seen:#?}");
    assert!(
        seen.detail.contains("outside asked broker 0 at node-0.nodes.example.com:31092 (10.0.0.11)"),
        "{seen:#?}"
    );
    assert!(seen.detail.contains("and broker 1 answered"), "{seen:#?}");
}
