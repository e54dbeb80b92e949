//! Bad input: each kind of mistake is one message with file, line, field and what was expected, and no input makes
//! hopwise panic.

mod mutation;

use std::path::Path;

use hopwise_lab::check::{CheckOptions, check};
use hopwise_lab::findings::Finding;
use hopwise_lab::inputs::InputError;
use hopwise_lab::run::{LoadedScenario, RunOptions, load_scenario, run_scenario};
use hopwise_tests::{Given, drawing, fixture};
use mutation::{Change, apply, size};
use proptest::prelude::*;
use serde_json::Value;

/// Trees that are drawn of each file unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 24;

/// Each error on a line of its own, with what to change under it.
fn message(error: &InputError) -> String {
    let InputError::Load(errors) = error else { return error.to_string() };
    let lines = errors.errors().iter().map(|error| format!("{error}\n  help: {}\n", error.fix()));
    lines.collect()
}

fn message_of(given: &Given) -> String {
    message(&given.load().expect_err("an input error"))
}

fn nodeport() -> Given {
    Given::fixtures(&["brokers.yaml", "nodeport.yaml"])
}

/// Reads the fixtures' scenario, with `text` in place of `file`, from a directory of its own.
fn load_with(file: &str, text: &str) -> Result<LoadedScenario, InputError> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["scenario.yaml", "names.yaml", "brokers.yaml", "nodeport.yaml"] {
        let content = if name == file { text.to_owned() } else { fixture(name) };
        std::fs::write(directory.path().join(name), content).expect("the directory can be written");
    }
    load_scenario(&directory.path().join("scenario.yaml"))
}

/// What is wrong with the scenario after an edit, without the directory that it is in.
fn scenario_message(from: &str, to: &str) -> String {
    let text = fixture("scenario.yaml");
    assert!(text.contains(from), "the scenario does not say {from:?}");
    let message = message(&load_with("scenario.yaml", &text.replace(from, to)).expect_err("an input error"));
    let lines = message.lines().map(|line| {
        line.rsplit_once("/scenario.yaml").map_or(line.to_owned(), |(_, rest)| format!("scenario.yaml{rest}"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Whoever is told that a Service selects nothing, or that a broker does not run, is told of the cause.
#[test]
fn pods_that_the_api_server_refuses() {
    let given = nodeport().edit("- {name: data, mountPath", "- {name: date, mountPath");
    let report = check(given.load().expect("it can be read"), &CheckOptions::default()).expect("it runs");
    let finding = |code: &str| {
        let of_code = |it: &&Finding| it.code.to_string() == code;
        report.findings.iter().find(of_code).unwrap_or_else(|| panic!("no {code}"))
    };
    let cause = "the API server refuses them because the pod has no volume `date` \
                 (spec.template.spec.containers[0].volumeMounts[1].name, brokers.yaml:106";
    for code in ["HW0020", "HW0036"] {
        let Finding { explanation, .. } = finding(code);
        assert!(explanation.contains(cause), "{code}: {explanation}");
    }
    assert!(finding("HW0020").fix.starts_with("Leave the selector as it is"), "{}", finding("HW0020").fix);
    assert_eq!(finding("HW0045").line, Some(106));
}

#[test]
fn text_that_is_no_yaml() {
    insta::assert_snapshot!(message_of(&Given::default().with("broken.yaml", "kind: Service\n  metadata: [")), @r#"
    broken.yaml:2:11: not valid YAML: mapping values are not allowed in this context
      help: look at indentation, quotes and brackets on this line and the one before; a Helm template must be rendered first (helm template)
    "#);
}

#[test]
fn no_objects_at_all() {
    insta::assert_snapshot!(message_of(&Given::default().with("empty.yaml", "# nothing\n---\n")), @r#"
    empty.yaml:1:1: expected at least one object, got none in all of the input
      help: give the manifests of the cluster; empty documents and comments do not count
    "#);
}

#[test]
fn a_field_of_the_wrong_type() {
    insta::assert_snapshot!(message_of(&nodeport().edit("replicas: 3", "replicas: three")), @r#"
    brokers.yaml:60:13: StatefulSet kafka/rp: spec.replicas: expected a whole number, got the text "three"
      help: write a whole number here
    "#);
}

#[test]
fn a_required_field_that_is_missing() {
    insta::assert_snapshot!(message_of(&nodeport().edit("metadata: {name: outside, namespace: kafka}", "metadata: {namespace: kafka}")), @r#"
    nodeport.yaml:4:1: metadata.name: missing field `name` of a Service
      help: give the object a name; generateName is for kubectl create, not for objects that others refer to
    "#);
}

#[test]
fn two_objects_of_one_name() {
    insta::assert_snapshot!(message_of(&nodeport().with("again.yaml", fixture("nodeport.yaml"))), @r#"
    again.yaml:4:18: metadata.name: Service kafka/outside is already defined at nodeport.yaml:4:18
      help: remove one of the two, or give it another name or namespace
    "#);
}

#[test]
fn an_unknown_field_of_the_cluster_file() {
    let cluster = fixture("names.yaml").replace("zone: zone-b", "zoen: zone-b");
    insta::assert_snapshot!(message_of(&nodeport().cluster(cluster)), @r#"
    cluster.yaml:4:20: nodes[1].zoen: unknown field `zoen`
      help: did you mean `zone`? Known: `name`, `zone`, `region`, `address`, `podCIDR`, `labels`, `taints`, `allocatable`
    "#);
}

#[test]
fn two_nodes_of_one_address() {
    let cluster = fixture("names.yaml").replace("10.0.0.12", "10.0.0.11");
    insta::assert_snapshot!(message_of(&nodeport().cluster(cluster)), @r#"
    cluster.yaml:5:57: nodes[2].address: node-1 has the address 10.0.0.11 already
      help: give each node an address of its own
    "#);
}

#[test]
fn a_profile_that_does_not_exist() {
    let cluster = format!("profile: awz\n{}", fixture("names.yaml"));
    insta::assert_snapshot!(message_of(&nodeport().cluster(cluster)), @r#"
    cluster.yaml:1:10: profile: there is no profile `awz`; the profiles are bare-metal, aws, gcp, azure
      help: the profiles and their numbers are in crates/kube/profiles
    "#);
}

#[test]
fn an_unknown_scenario_field() {
    insta::assert_snapshot!(scenario_message("workload:\n", "worklaod: {}\nworkload:\n"), @r#"
    scenario.yaml:20:1: worklaod: unknown field `worklaod`
      help: did you mean `workload`? Known: `name`, `about`, `seed`, `cluster`, `manifests`, `replicas`, `clients`, `workload`, `faults`, `draw`, `observations`, `duration`, `expect`, `checks`, `brokerBug`, `cost`, `bounds`
    "#);
}

#[test]
fn a_place_that_is_none() {
    insta::assert_snapshot!(scenario_message("place: in-cluster", "place: nowhere"), @r#"
    scenario.yaml:12:12: clients[0].place: `nowhere` is no place; expected `external`, `external=IP`, `pod/NAMESPACE/NAME`, `node/NAME` or `in-cluster`
      help: change the value to what is expected
    "#);
}

#[test]
fn a_duration_without_a_unit() {
    insta::assert_snapshot!(scenario_message("at: 50ms", "at: 50"), @r#"
    scenario.yaml:27:10: faults[0].at: expected a number and a unit, such as `250ms`, got the number 50
      help: write a number and a unit, such as `250ms` here
    "#);
}

#[test]
fn a_topic_without_partitions() {
    insta::assert_snapshot!(scenario_message("partitions: 3", "partitions: 0"), @r#"
    scenario.yaml:22:34: workload.topics[0].partitions: expected at least 1, but there are none
      help: the fields of a scenario are described in docs/scenario-file.md
    "#);
}

#[test]
fn a_bootstrap_address_without_a_port() {
    insta::assert_snapshot!(scenario_message("\"10.0.0.10:31094\"", "\"10.0.0.10\""), @r#"
    scenario.yaml:18:17: clients[1].bootstrap[0]: expected host:port with a port from 1 to 65535, but `10.0.0.10` is no address
      help: the fields of a scenario are described in docs/scenario-file.md
    "#);
}

#[test]
fn a_file_that_is_not_there() {
    let error = load_scenario(Path::new("nowhere/scenario.yaml")).expect_err("an input error");
    insta::assert_snapshot!(message(&error), @r#"
    nowhere/scenario.yaml: no such file or directory
    "#);
}

/// The documents of a fixture.
fn documents(name: &str) -> Value {
    let text = fixture(name);
    let parse = |document: &str| serde_saphyr::from_str::<Value>(document).expect("fixtures are YAML");
    text.split("\n---\n").map(parse).collect()
}

/// A file of the same documents. JSON is YAML.
fn written(documents: &Value) -> String {
    match documents {
        Value::Array(documents) => documents.iter().map(|document| format!("---\n{document:#}\n")).collect(),
        other => format!("{other:#}\n"),
    }
}

/// The changes, each with the place of its node as a part of the whole tree.
fn changes() -> impl Strategy<Value = Vec<(f64, Change)>> {
    prop::collection::vec((0.0..1.0_f64, Change::any()), 1..5)
}

fn changed(mut tree: Value, changes: &[(f64, Change)]) -> Value {
    for (part, change) in changes {
        let at = (part * size(&tree) as f64) as usize;
        apply(&mut tree, at, change);
    }
    tree
}

/// Loads, and checks what loads. Whatever is wrong is told with its place.
fn examine(given: &Given) {
    match given.load() {
        Ok(inputs) => {
            let report = check(inputs, &CheckOptions { seed: 1, ..CheckOptions::default() });
            let report = report.unwrap_or_else(|error| panic!("{error}"));
            assert!(report.findings.iter().all(|finding| !finding.explanation.is_empty()));
        }
        Err(error) => assert!(!message(&error).is_empty()),
    }
}

proptest! {
    #![proptest_config(drawing(CASES))]

    #[test]
    fn changed_brokers_do_not_panic(changes in changes()) {
        let brokers = written(&changed(documents("brokers.yaml"), &changes));
        examine(&Given::fixtures(&["nodeport.yaml"]).with("brokers.yaml", brokers));
    }

    #[test]
    fn changed_broker_configurations_do_not_panic(changes in changes()) {
        let mut all = documents("brokers.yaml");
        let config = &mut all[1]["data"]["redpanda.yaml"];
        let tree: Value = serde_saphyr::from_str(config.as_str().expect("text")).expect("the configuration is YAML");
        *config = written(&changed(tree, &changes)).into();
        examine(&Given::fixtures(&["nodeport.yaml"]).with("brokers.yaml", written(&all)));
    }

    #[test]
    fn changed_scripts_do_not_panic(at in 0.0..1.0_f64, length in 0..30_usize, inserted in "[ -~\n]{0,12}") {
        let mut all = documents("brokers.yaml");
        let script = &mut all[2]["data"]["configure.sh"];
        let mut text: Vec<char> = script.as_str().expect("text").chars().collect();
        let start = (at * text.len() as f64) as usize;
        let end = (start + length).min(text.len());
        text.splice(start..end, inserted.chars());
        *script = text.into_iter().collect::<String>().into();
        examine(&Given::fixtures(&["nodeport.yaml"]).with("brokers.yaml", written(&all)));
    }

    #[test]
    fn changed_services_and_cluster_files_do_not_panic(services in changes(), cluster in changes()) {
        let services = written(&changed(documents("loadbalancers.yaml"), &services));
        let cluster = written(&changed(documents("names.yaml")[0].clone(), &cluster));
        examine(&Given::fixtures(&["brokers.yaml"]).with("loadbalancers.yaml", services).cluster(cluster));
    }

    #[test]
    fn changed_scenarios_do_not_panic(changes in changes()) {
        let scenario = written(&changed(documents("scenario.yaml")[0].clone(), &changes));
        match load_with("scenario.yaml", &scenario) {
            Ok(loaded) => {
                let report = run_scenario(loaded, RunOptions { seed: Some(1), captures: None });
                prop_assert!(report.is_ok_and(|report| !report.checks.is_empty() || report.trace_hash.len() > 8));
            }
            Err(error) => prop_assert!(!message(&error).is_empty()),
        }
    }
}
