//! The command line as other programs see it: exit statuses, and what is on which stream.

use std::process::{Command, Output};

use hopwise_tests::{fixture, fixtures};
use serde_json::Value;

const HOPWISE: &str = env!("CARGO_BIN_EXE_hopwise");

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(HOPWISE);
    command.args(arguments).current_dir(fixtures()).env_remove("HOPWISE_LOG");
    command.output().expect("the program starts")
}

/// Asserts an input error: status 2, nothing on standard output, these words on standard error.
fn assert_input_error(arguments: &[&str], words: &[&str]) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
    // Long messages are wrapped.
    let unwrapped = said.replace("\n  │ ", " ");
    for word in words {
        assert!(unwrapped.contains(word), "{arguments:?}: no {word:?} in {said}");
    }
}

/// The one JSON object that standard output is.
fn json(output: &Output) -> Value {
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| {
        panic!("{error}: {text}\nstandard error: {}", String::from_utf8_lossy(&output.stderr))
    });
    assert!(value.is_object(), "{value}");
    value
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn a_call_without_a_command_is_wrong() {
    assert_input_error(&[], &["Usage"]);
}

#[test]
fn unknown_words_are_wrong() {
    assert_input_error(&["chekc"], &["chekc"]);
    assert_input_error(&["check", "-f", "brokers.yaml", "--format", "xml"], &["xml"]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    assert_input_error(&["check", "-f", "nowhere.yaml"], &["nowhere.yaml"]);
    assert_input_error(&["check", "-f", "brokers.yaml", "--cluster", "nowhere.yaml"], &["nowhere.yaml"]);
    assert_input_error(&["run", "nowhere.yaml"], &["nowhere.yaml"]);
}

#[test]
fn an_unknown_scenario_field_is_named_with_its_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("scenario.yaml");
    let text = fixture("scenario.yaml").replace("seed: 3", "sede: 3");
    std::fs::write(&path, text).expect("the directory can be written");
    assert_input_error(&["run", &path.to_string_lossy()], &["scenario.yaml", ":3:", "sede", "seed"]);
}

#[test]
fn a_place_that_is_none_is_named() {
    let check = ["check", "-f", "brokers.yaml", "--from"];
    assert_input_error(&[&check[..], &["nowhere"]].concat(), &["nowhere", "in-cluster"]);
    assert_input_error(&[&check[..], &["node/absent"]].concat(), &["absent", "node-0"]);
}

#[test]
fn a_probe_s_place_and_address_are_checked() {
    let probe = ["probe", "-f", "brokers.yaml", "--from", "in-cluster", "--to"];
    assert_input_error(&[&probe[..], &["rp-0.rp.kafka"]].concat(), &["rp-0.rp.kafka", "it has no port"]);
    assert_input_error(&[&probe[..], &["rp-0:9092", "--proto", "sctp"]].concat(), &["sctp", "udp"]);
    assert_input_error(&[&probe[..], &["rp-0:9092", "--count", "0"]].concat(), &["--count", "0"]);
    let absent = ["probe", "-f", "brokers.yaml", "--from", "node/absent", "--to", "rp-0:9092"];
    assert_input_error(&absent, &["absent", "node-0"]);
}

#[test]
fn a_probe_reaches_what_is_no_echo() {
    let to = ["--to", "rp-1.rp.kafka:9092", "--format", "json"];
    let output = run(&[&["probe", "-f", "brokers.yaml", "--from", "in-cluster"][..], &to].concat());
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let mut fields = keys(&report);
    fields.sort_unstable();
    let promised = [
        "candidates",
        "connect_ns",
        "hops",
        "masqueraded",
        "outcome",
        "served_by",
        "source_seen",
        "ttl_seen",
    ];
    assert_eq!(fields, promised);
    assert_eq!(report["served_by"], serde_json::json!({"kafka/rp-1": 1}));
    assert_eq!((&report["masqueraded"], &report["outcome"]), (&false.into(), &"ok".into()));
    let missing = run(&[
        "probe",
        "-f",
        "brokers.yaml",
        "--from",
        "in-cluster",
        "--to",
        "no.kafka:1",
        "--format",
        "json",
    ]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(json(&missing)["outcome"], "name-not-found");
}

#[test]
fn a_scenario_s_faults_are_checked_with_their_lines_and_the_nearest_words() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("scenario.yaml");
    std::fs::write(directory.path().join("brokers.yaml"), fixture("brokers.yaml"))
        .expect("it can be written");
    let write = |fault: &str| {
        let text = format!(
            "name: x\ncluster: {{nodes: [{{name: node-0, address: 10.0.0.10}}]}}\nmanifests: [brokers.yaml]\n\
             faults:\n  - {{at: 1s, {fault}}}\n\
             observations:\n  - {{at: 1s, from: external, connect: \"10.0.0.10:1\", outcome: refused}}\n"
        );
        std::fs::write(&path, text).expect("the directory can be written");
    };
    for (fault, words) in [
        ("powerOfNode: node-0", ["powerOfNode", "did you mean `powerOffNode`", ":5:"]),
        ("powerOffNode: node-7", ["there is no node `node-7`", "`node-0` perhaps", ":5:"]),
        (
            "exitContainer: {pod: kafka/rp-0, container: redpand}",
            ["no container `redpand`", "perhaps", ":5:"],
        ),
        (
            "scale: {object: statefulSet kafka/pr, replicas: 1}",
            ["there is no StatefulSet `kafka/pr`", "kafka/rp", ":5:"],
        ),
    ] {
        write(fault);
        assert_input_error(&["run", &path.to_string_lossy()], &words);
    }
}

#[test]
fn help_is_no_mistake() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("check"));
}

#[test]
fn a_check_that_passes() {
    let output = run(&["check", "-f", "brokers.yaml", "-f", "nodeport.yaml", "--format", "json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["findings"]);
    assert_eq!(report["verdict"], "pass");
    assert_eq!(keys(&report), ["verdict", "brokers", "routes", "findings", "pods", "services"]);
    let broker = ["id", "pod", "node", "node_address", "volumes", "rack", "listeners"];
    assert_eq!(keys(&report["brokers"][0]), broker);
    let listener = ["api", "name", "bind", "advertised", "tls", "authentication"];
    assert_eq!(keys(&report["brokers"][0]["listeners"][0]), listener);
    let route = [
        "from",
        "api",
        "listener",
        "broker",
        "address",
        "outcome",
        "reached",
        "source_seen",
        "hops",
        "connect_ns",
        "request_ns",
    ];
    assert_eq!(keys(&report["routes"][0]), route);
    let hop = keys(&report["routes"][0]["hops"][0]);
    assert_eq!(hop[..5], ["device", "action", "src", "dst", "at_ns"]);
    assert_eq!(keys(&report["pods"][0]), ["pod", "phase", "ready", "node", "ip", "reason"]);
    assert_eq!(keys(&report["services"][0]), ["service", "type", "cluster_ip", "node_ports", "ingress"]);
}

#[test]
fn a_check_that_fails() {
    // Without the Service nobody outside comes in.
    let output = run(&["check", "-f", "brokers.yaml", "--format", "json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report["verdict"], "fail");
    let finding =
        ["code", "severity", "object", "field", "file", "line", "title", "explanation", "fix", "routes"];
    assert_eq!(keys(&report["findings"][0]), finding);
    assert!(report["findings"][0]["code"].as_str().is_some_and(|code| code.starts_with("HW")));
}

#[test]
fn text_is_the_default_and_goes_to_standard_output() {
    let output = run(&["check", "-f", "brokers.yaml", "-f", "nodeport.yaml", "--from", "in-cluster"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("rp-0") && !text.trim_start().starts_with('{'), "{text}");
    assert!(!text.contains('\u{1b}'), "no colour where there is no terminal");
}

#[test]
fn a_scenario_s_report() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("report.json");
    let output =
        run(&["run", "scenario.yaml", "--seed", "5", "--json", &file.to_string_lossy(), "--format", "json"]);
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{:#}", report["checks"]);
    let wanted = [
        "scenario",
        "seed",
        "verdict",
        "trace_hash",
        "simulated_ns",
        "wall_ns",
        "checks",
        "latency",
        "routing",
        "data",
        "events",
        "cost",
    ];
    assert_eq!(keys(&report)[..wanted.len()], wanted);
    assert_eq!((&report["scenario"], &report["seed"]), (&"small".into(), &5.into()));
    assert_eq!(keys(&report["checks"][0]), ["name", "ok", "detail"]);
    let latency =
        ["route", "operation", "count", "hops", "min_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"];
    assert_eq!(keys(&report["latency"][0]), latency);
    let routing = ["requests", "to_leader", "misrouted", "retried", "failed", "metadata_refreshes"];
    assert_eq!(keys(&report["routing"]), routing);
    assert_eq!(keys(&report["data"])[..2], ["acknowledged", "lost"]);
    assert_eq!(keys(&report["events"][0]), ["at_ns", "kind", "object", "detail"]);
    let written = std::fs::read(&file).expect("--json writes the report");
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("JSON"), report);
}

#[test]
fn explain_tells_all_about_a_finding_or_lists_them() {
    let output = run(&["explain", "HW0012"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout);
    for part in [
        "HW0012",
        "What you see",
        "Why",
        "How to tell",
        "What to change",
        "helm-charts-468-wrong-order",
        "Sources",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let one = json(&run(&["explain", "hw0012", "--format", "json"]));
    assert_eq!((one["code"].as_str(), one["severity"].as_str()), (Some("HW0012"), Some("error")));
    let difference = one["example"]["difference"].as_str().expect("it has an example");
    assert!(difference.lines().any(|line| line.starts_with('-')), "{difference}");
    let all = json(&run(&["explain", "--format", "json"]));
    let findings = all["findings"].as_array().expect("a list");
    assert_eq!(findings[11]["title"], one["title"]);
    let listed = run(&["explain"]);
    let lines = String::from_utf8_lossy(&listed.stdout).lines().filter(|line| line.starts_with("HW")).count();
    assert_eq!(lines, findings.len());
}

#[test]
fn explain_names_the_codes_nearest_to_one_that_is_none() {
    assert_input_error(
        &["explain", "HW0912"],
        &["there is no finding `HW0912`", "HW0012", "`hopwise explain` lists"],
    );
    assert_input_error(&["explain", ""], &["there is no finding ``"]);
}

#[test]
fn a_failing_scenario_is_made_small() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let kubernetes = hopwise_tests::scenarios().join("kubernetes");
    let path = |name: &str| kubernetes.join(name).display().to_string();
    // Nothing but the deletion breaks what is expected.
    let scenario = format!(
        "name: five-faults\ncluster: {}\nmanifests: [{}]\nfaults:\n  \
         - {{at: 1s, cordonNode: node-0}}\n  \
         - {{at: 2s, deletePod: demo/echo-1}}\n  \
         - {{at: 3s, uncordonNode: node-0}}\n  \
         - {{at: 4s, stopKubeProxy: node-1}}\n  \
         - {{at: 5s, startKubeProxy: node-1}}\n\
         expect:\n  events:\n    - {{kind: pod.deleted, object: pod demo/echo-1, never: true}}\n",
        path("four-nodes.yaml"),
        path("manifests/echo.yaml"),
    );
    std::fs::write(at("five.yaml"), scenario).expect("written");
    let output =
        run(&["shrink", &at("five.yaml"), "--seed", "3", "--out", &at("small.yaml"), "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report = json(&output);
    assert_eq!(
        (&report["faults"], &report["complete"]),
        (&serde_json::json!([1, 5]), &true.into()),
        "{report:#}"
    );
    let small = run(&["run", &at("small.yaml"), "--format", "json"]);
    assert_eq!(small.status.code(), Some(1), "it fails as the whole one does");
    let small = json(&small);
    assert_eq!((&small["seed"], small["faults"].as_array().map(Vec::len)), (&3.into(), Some(1)));
    // What passes cannot be shrunk.
    let passes = kubernetes.join("pod-is-deleted.yaml");
    assert_input_error(&["shrink", &passes.to_string_lossy()], &["passes with seed 0", "nothing to shrink"]);
}
