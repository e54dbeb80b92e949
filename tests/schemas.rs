//! The JSON Schemas of scenario and cluster files: every file of the repository is what they say, and wrong files are not.

use std::path::{Path, PathBuf};

use hopwise_lab::run::load_scenario;
use hopwise_lab::scenario::{cluster_schema, scenario_schema};
use hopwise_tests::{fixture, fixtures, scenarios};
use jsonschema::Validator;
use serde_json::Value;

fn validator(schema: &Value) -> Validator {
    jsonschema::validator_for(schema).expect("the schema is one")
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What is wrong with `value`, one line each.
fn problems(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    let paths = entries.map(|entry| entry.expect("a directory entry").path());
    let mut files: Vec<PathBuf> =
        paths.flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] }).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    files
}

/// Files with what they hold.
type Files = Vec<(PathBuf, Value)>;

/// Scenarios, and the cluster files that they name.
fn files() -> (Files, Files) {
    let (mut found, mut clusters) = (Vec::new(), Vec::new());
    for path in yaml_files(&scenarios()).into_iter().chain(yaml_files(&fixtures())) {
        let text = std::fs::read_to_string(&path).expect("it can be read");
        if !text.lines().any(|line| line.starts_with("manifests:")) {
            continue;
        }
        let value = yaml(&text);
        if let Some(cluster) = value["cluster"].as_str() {
            let cluster = path.parent().expect("it has one").join(cluster);
            let text = std::fs::read_to_string(&cluster).expect("it can be read");
            clusters.push((cluster, yaml(&text)));
        }
        found.push((path, value));
    }
    (found, clusters)
}

#[test]
fn every_file_of_the_repository_is_what_the_schemas_say() {
    let (scenarios, clusters) = files();
    assert!(scenarios.len() > 50 && clusters.len() > 20, "{} and {}", scenarios.len(), clusters.len());
    for (schema, files) in [(scenario_schema(), scenarios), (cluster_schema(), clusters)] {
        let validator = validator(&schema);
        for (path, value) in files {
            let problems = problems(&validator, &value);
            assert!(problems.is_empty(), "{}: {}", path.display(), problems.join("\n"));
        }
    }
}

#[test]
fn what_a_saved_scenario_holds_is_in_the_schema() {
    // Every default is written out there.
    let validator = validator(&scenario_schema());
    for (path, _) in files().0 {
        if path.starts_with(fixtures()) {
            continue;
        }
        // Scenarios that are wrong on purpose have no other form.
        let Ok(loaded) = load_scenario(&path) else { continue };
        let value = serde_json::to_value(&loaded.scenario).expect("scenarios serialize");
        let problems = problems(&validator, &value);
        assert!(problems.is_empty(), "{}: {}", path.display(), problems.join("\n"));
    }
}

#[test]
fn wrong_scenarios_are_rejected() {
    let validator = validator(&scenario_schema());
    let sound = fixture("scenario.yaml");
    assert_eq!(problems(&validator, &yaml(&sound)), [""; 0]);
    for (from, to) in [
        ("seed: 3", "sede: 3"),
        ("seed: 3", "seed: three"),
        ("name: small", "title: small"),
        ("place: external", "place: outside"),
        ("interval: 10ms", "interval: 10"),
        ("interval: 10ms", "interval: 10 parsecs"),
        ("acks: all", "acks: most"),
        ("deletePod: kafka/rp-1", "deletPod: kafka/rp-1"),
        ("deletePod: kafka/rp-1", "deletePod: [kafka/rp-1]"),
        ("deletePod: kafka/rp-1", "deletePod: kafka/rp-1, powerOffNode: node-0"),
        ("{at: 50ms, deletePod: kafka/rp-1}", "{at: 50ms}"),
        ("{at: 50ms, deletePod: kafka/rp-1}", "{deletePod: kafka/rp-1}"),
        ("cluster: names.yaml", "cluster: {nodes: [{name: node-0}]}"),
        ("expect:", "checks: {no-such-check: false}\nexpect:"),
    ] {
        assert!(sound.contains(from), "{from}");
        let wrong = sound.replacen(from, to, 1);
        assert!(!problems(&validator, &yaml(&wrong)).is_empty(), "{to} passes");
    }
}

#[test]
fn wrong_cluster_files_are_rejected() {
    let validator = validator(&cluster_schema());
    let sound = "nodes:\n  - {name: node-0, address: [10.0.0.1, \"fd00::1\"], allocatable: {cpu: 4, memory: 16Gi}}\n\
        proxyMode: ipvs\npodCIDR: 10.244.0.0/16\nexternalNames: {a.example.com: [node/node-0]}\n\
        loadBalancers: [{service: a/b, address: 10.9.0.1, kind: proxy}]\nkubeProxy: {nodePortAddresses: [primary]}\n";
    assert_eq!(problems(&validator, &yaml(sound)), [""; 0]);
    for (from, to) in [
        ("proxyMode: ipvs", "proxyMode: ebpf"),
        ("podCIDR", "podCidr"),
        ("service: a/b", "service: b"),
        ("kind: proxy", "kind: haproxy"),
        ("[node/node-0]", "[]"),
        ("nodePortAddresses: [primary]", "nodePortAddresses: primary"),
        ("name: node-0, ", ""),
    ] {
        assert!(sound.contains(from), "{from}");
        let wrong = sound.replacen(from, to, 1);
        assert!(!problems(&validator, &yaml(&wrong)).is_empty(), "{to} passes");
    }
}
