//! A first scenario for manifests: the clients that reach every broker, a small workload, and what is expected anyway.
//!
//! The clients are those routes of a `check` that work: one for each place and each Kafka listener over which every broker
//! is reached. So the scenario passes as it is written, and it is a beginning: what is missing in it, faults above all, is
//! shown as a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::inputs::Inputs;
use crate::place::Place;
use crate::report::check::{Api, CheckReport, Route};

/// Replicas of the topic where there are brokers enough.
const REPLICATION: usize = 3;
/// Partitions per broker.
const PARTITIONS: usize = 2;

/// What the scenario refers to; paths as they are to stand in it.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The scenario's name.
    pub name: String,
    /// Manifests.
    pub manifests: Vec<String>,
    /// The cluster file; if there is none, the nodes are written out.
    pub cluster: Option<String>,
}

/// Why there is no scenario.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoScenario {
    /// A scenario's clients are Kafka clients.
    #[error("the manifests describe no Redpanda brokers, which a scenario's clients need")]
    NoBrokers,
    /// There is nothing that could pass.
    #[error("no Kafka listener can be reached on every broker; `hopwise check` tells why")]
    NoRoute,
}

/// One client's way in: every broker over one listener.
struct Entrance<'a> {
    place: &'a Place,
    listener: &'a str,
    routes: Vec<&'a Route>,
}

/// The text of a scenario for `inputs`, of which `report` is the check.
///
/// # Errors
/// If no client could do its work.
pub fn first_scenario(inputs: &Inputs, report: &CheckReport, files: &Files) -> Result<String, NoScenario> {
    if report.brokers.is_empty() {
        return Err(NoScenario::NoBrokers);
    }
    let (sound, broken): (Vec<Entrance>, Vec<Entrance>) =
        entrances(report).into_iter().partition(|entrance| entrance.is_sound(report));
    if sound.is_empty() {
        return Err(NoScenario::NoRoute);
    }
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# docs/scenario-file.md describes the fields; `hopwise schema scenario` prints a schema for editors."
    );
    let _ = writeln!(text, "name: {}\nseed: 1\n", quoted(&files.name));
    write_cluster(&mut text, inputs, files);
    let _ = writeln!(text, "manifests:");
    for manifest in &files.manifests {
        let _ = writeln!(text, "  - {}", quoted(manifest));
    }
    write_clients(&mut text, &sound);
    for entrance in &broken {
        write_broken(&mut text, entrance);
    }
    write_workload(&mut text, report.brokers.len());
    let pod = &report.brokers[0].pod;
    let _ = writeln!(
        text,
        "\n# What goes wrong, and when; docs/scenario-file.md lists all kinds of faults.\n\
         # faults:\n#   - {{at: 2s, deletePod: {pod}}}\n\n\
         expect:\n  everyRequestAtLeader: true\n  nothingLost: true"
    );
    Ok(text)
}

impl Entrance<'_> {
    /// Whether every broker is reached; a client meets them all.
    fn is_sound(&self, report: &CheckReport) -> bool {
        let reached: BTreeSet<i32> =
            self.routes.iter().filter(|route| route.reached.is_some()).map(|route| route.broker).collect();
        let all_well = self.routes.iter().all(|route| route.outcome == crate::report::check::Outcome::Ok);
        all_well && report.brokers.iter().all(|broker| reached.contains(&broker.id))
    }

    fn name(&self) -> String {
        match self.place {
            Place::External(_) => format!("external-{}", self.listener),
            Place::InCluster => format!("in-cluster-{}", self.listener),
            place => format!("{}-{}", place.to_string().replace('/', "-"), self.listener),
        }
    }
}

/// Every place and Kafka listener that something was tried of and that is meant for that place.
fn entrances(report: &CheckReport) -> Vec<Entrance<'_>> {
    let mut entrances: BTreeMap<(&Place, &str), Vec<&Route>> = BTreeMap::new();
    for route in report.routes.iter().filter(|route| route.api == Api::Kafka) {
        entrances.entry((&route.from, &route.listener)).or_default().push(route);
    }
    let exposed = |routes: &Vec<&Route>| {
        routes.iter().any(|route| route.outcome != crate::report::check::Outcome::NotExposed)
    };
    let entrance = |((place, listener), routes)| Entrance { place, listener, routes };
    entrances.into_iter().filter(|(_, routes)| exposed(routes)).map(entrance).collect()
}

fn write_cluster(text: &mut String, inputs: &Inputs, files: &Files) {
    if let Some(cluster) = &files.cluster {
        let _ = writeln!(text, "cluster: {}", quoted(cluster));
        return;
    }
    let _ = writeln!(
        text,
        "# What manifests do not hold (docs/cluster-file.md); the path of a cluster file may stand here instead.\n\
         cluster:\n  profile: {}\n  nodes:",
        inputs.profile.name
    );
    for node in &inputs.cluster.nodes {
        let zone = node.zone.as_ref().map(|zone| format!("zone: {}, ", quoted(zone))).unwrap_or_default();
        let _ = writeln!(text, "    - {{name: {}, {zone}address: {}}}", quoted(&node.name), node.address());
    }
}

fn write_clients(text: &mut String, sound: &[Entrance<'_>]) {
    let _ = writeln!(text, "\n# One client for each way in over which every broker is reached.\nclients:");
    for entrance in sound {
        let _ = writeln!(
            text,
            "  - name: {}\n    place: {}\n    listener: {}\n    bootstrap:",
            quoted(&entrance.name()),
            quoted(&entrance.place.to_string()),
            quoted(entrance.listener)
        );
        for route in &entrance.routes {
            let _ = writeln!(text, "      - {}", quoted(&route.address));
        }
    }
}

fn write_broken(text: &mut String, entrance: &Entrance<'_>) {
    let failed = entrance.routes.iter().find(|route| route.outcome.is_failure());
    let why = failed.map_or_else(
        || "it does not lead to every broker".to_owned(),
        |route| format!("{} at {}", route.outcome.as_str(), route.address),
    );
    let (listener, place) = (entrance.listener, entrance.place);
    let _ = writeln!(
        text,
        "  # Listener {listener} from {place} is left out: {why}; `hopwise check` tells more."
    );
}

fn write_workload(text: &mut String, brokers: usize) {
    // Raft groups have an odd number of replicas (redpanda.md: `default_topic_replications`).
    let replication = if brokers >= REPLICATION { REPLICATION } else { 1 };
    let partitions = brokers * PARTITIONS;
    let _ = writeln!(
        text,
        "\nworkload:\n  topics:\n    - {{name: orders, partitions: {partitions}, replication: {replication}}}\n  \
         producers: {{requests: 200, records: 1, recordSize: 1024, acks: all, interval: 20ms}}\n  \
         consumers: {{requests: 200, interval: 20ms}}"
    );
}

/// As a YAML scalar: plain where that is the same text, otherwise in double quotes as JSON has them, which YAML reads.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        );
    if is_plain { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_yaml_reads_otherwise_are_quoted() {
        let written = ["node-0", "10.0.0.1:31092", "no", "a: b", "pod/x/y", ""].map(quoted);
        assert_eq!(written, ["node-0", "\"10.0.0.1:31092\"", "\"no\"", "\"a: b\"", "pod/x/y", "\"\""]);
    }
}
