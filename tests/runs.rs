//! Runs of scenarios that tests write themselves: the example's three brokers, a client outside, and what becomes of them.

use std::path::Path;

use hopwise_lab::report::run::{Check, RunReport};
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use hopwise_lab::scenario::Scenario;

use crate::scenarios;

/// A scenario with three brokers on three nodes and a client outside, on which `faults` (lines of the list) are played.
/// `rest` is what else it says, as YAML: what the client does, and what is expected.
pub fn with_client_outside(name: &str, faults: &[&str], rest: &str) -> String {
    let directory = scenarios();
    let file = |name: &str| directory.join(name).display().to_string();
    let faults: String = faults.iter().map(|fault| format!("  - {fault}\n")).collect();
    let faults = if faults.is_empty() { String::new() } else { format!("faults:\n{faults}") };
    format!(
        r#"name: {name}
cluster: {cluster}
manifests: [{brokers}, {nodeport}]
clients:
  - name: outside
    place: external
    listener: nodeport
    bootstrap: ["node-0.nodes.example.com:31092", "node-1.nodes.example.com:31092", "node-2.nodes.example.com:31092"]
{faults}{rest}"#,
        cluster = file("three-zones.yaml"),
        brokers = file("manifests/brokers.yaml"),
        nodeport = file("manifests/nodeport.yaml"),
    )
}

/// Runs the scenario of that text.
pub fn run(text: &str) -> RunReport {
    run_changed(text, |_| ())
}

/// Runs the scenario of that text after a change.
pub fn run_changed(text: &str, change: impl FnOnce(&mut Scenario)) -> RunReport {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("scenario.yaml");
    std::fs::write(&path, text).expect("the directory can be written");
    run_file(&path, change)
}

/// Runs the scenario of a file after a change.
pub fn run_file(path: &Path, change: impl FnOnce(&mut Scenario)) -> RunReport {
    let mut loaded = load_scenario(path).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    change(&mut loaded.scenario);
    run_scenario(loaded, RunOptions::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// The check of that name among those that are always made, if it was made.
pub fn always_made<'a>(report: &'a RunReport, name: &str) -> Option<&'a Check> {
    let prefix = format!("{name}: ");
    report.checks.iter().find(|check| check.name.starts_with(&prefix))
}
