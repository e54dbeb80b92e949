//! What the program writes beside its report: files, and texts that are made from the command line itself.

use std::path::Path;
use std::process::{Command, Output};

use hopwise_tests::{fixtures, scenarios};

const HOPWISE: &str = env!("CARGO_BIN_EXE_hopwise");

fn run(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(HOPWISE);
    command.args(arguments).current_dir(directory).env_remove("HOPWISE_LOG");
    command.output().expect("the program starts")
}

fn said(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn junit_has_a_case_for_each_check_and_each_route() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("report.xml");
    let file = &file.to_string_lossy();
    let scenario = scenarios().join("in-cluster.yaml");
    let scenario = &scenario.to_string_lossy();
    let output = run(&fixtures(), &["run", scenario, "--junit", file, "--quiet"]);
    assert_eq!(stdout(&output), "", "quiet");
    let xml = std::fs::read_to_string(&**file).expect("written");
    assert!(xml.contains("failures=\"0\"") && xml.contains("every request"), "{xml}");
    assert!(xml.contains(&format!("replay: hopwise run {scenario} --seed ")), "{xml}");
    // Without the Service nobody outside comes in.
    let output =
        run(&fixtures(), &["check", "-f", "brokers.yaml", "--junit", file, "--format", "json", "-q"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("JSON is printed all the same");
    let routes = report["routes"].as_array().expect("routes");
    let xml = std::fs::read_to_string(&**file).expect("written");
    assert!(xml.matches("<testcase ").count() >= routes.len(), "{xml}");
    assert!(
        xml.contains("<failure message=\"timeout") || xml.contains("<failure message=\"refused"),
        "{xml}"
    );
    assert!(xml.contains("fix: "), "{xml}");
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_the_run() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("file"), "").expect("written");
    let scenario = scenarios().join("in-cluster.yaml");
    for (option, place) in [
        ("--json", "no/such/directory/report.json"),
        ("--junit", "no/such/directory/report.xml"),
        ("--drawn", "no/such/directory/drawn.yaml"),
        ("--html", "no/such/directory/page.html"),
        ("--trace", "no/such/directory/trace.json"),
        ("--junit", "."),
        ("--pcap", "file"),
    ] {
        let output = run(directory.path(), &["run", &scenario.to_string_lossy(), option, place]);
        assert_eq!(output.status.code(), Some(2), "{option} {place}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{option} {place}: {}", said(&output));
        assert!(said(&output).contains("cannot be written"), "{option} {place}: {}", said(&output));
    }
    let left = std::fs::read_dir(directory.path()).expect("there").count();
    assert_eq!(left, 1, "nothing is left behind");
}

#[test]
fn a_seed_has_one_page_and_one_trace() {
    let directory = tempfile::tempdir().expect("a directory");
    let scenario = scenarios().join("in-cluster.yaml");
    let written = |seed: &str| {
        let arguments =
            ["run", &scenario.to_string_lossy(), "--seed", seed, "-q", "--html", "page", "--trace", "trace"];
        stdout(&run(directory.path(), &arguments));
        ["page", "trace"].map(|name| std::fs::read_to_string(directory.path().join(name)).expect("written"))
    };
    let [page, trace] = written("7");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("--seed 7"), "{page}");
    let events: serde_json::Value = serde_json::from_str(&trace).expect("JSON");
    assert!(events["traceEvents"].as_array().is_some_and(|events| events.len() > 1_000));
    assert_eq!(written("7"), [page, trace.clone()]);
    assert_ne!(written("8")[1], trace);
}

#[test]
fn quiet_and_verbose_exclude_each_other() {
    let output = run(&fixtures(), &["check", "-f", "brokers.yaml", "--quiet", "--verbose"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn verbose_logs_with_virtual_time_and_host() {
    let arguments = ["check", "-f", "brokers.yaml", "-f", "nodeport.yaml", "-vv"];
    let output = run(&fixtures(), &arguments);
    let log = String::from_utf8_lossy(&output.stderr);
    let of_broker = log.lines().find(|line| line.contains("kafka/rp-0")).unwrap_or_else(|| panic!("{log}"));
    let time = of_broker.split_whitespace().next().expect("a word");
    assert!(time.contains(|c: char| c.is_ascii_digit()) && time.ends_with('s'), "{of_broker}");
}

#[test]
fn there_is_a_completion_script_for_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&run(&fixtures(), &["completions", shell]));
        assert!(script.contains("nodeport") || script.contains("probe"), "{shell}: {script}");
    }
    assert_eq!(run(&fixtures(), &["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let pages = directory.path().join("man1");
    let listed = stdout(&run(&fixtures(), &["man", &pages.to_string_lossy()]));
    let help = stdout(&run(&fixtures(), &["--help"]));
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next().filter(|_| !line.starts_with("   ")))
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands {
        let page = pages.join(format!("hopwise-{command}.1"));
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{command}: {error}: {listed}"));
        assert!(text.contains(".TH"), "{text}");
    }
    assert!(pages.join("hopwise.1").exists());
}

#[test]
fn schemas_are_printed() {
    for (of, field) in [("scenario", "workload"), ("cluster", "externalNames")] {
        let text = stdout(&run(&fixtures(), &["schema", of]));
        let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert!(schema["properties"][field].is_object(), "{text}");
    }
}

#[test]
fn a_first_scenario_of_sound_manifests_passes() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("first.yaml");
    let file = &file.to_string_lossy();
    let manifests = ["-f", "brokers.yaml", "-f", "nodeport.yaml"];
    let init = |more: &[&str]| run(&fixtures(), &[&["init"], &manifests[..], more].concat());
    stdout(&init(&["-o", file]));
    let text = std::fs::read_to_string(&**file).expect("written");
    assert!(text.contains("in-cluster-internal") && text.contains("external-outside"), "{text}");
    let output = run(directory.path(), &["run", "first.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{text}\n{}", said(&output));
    // It is the user's now.
    let again = init(&["-o", file]);
    assert_eq!(again.status.code(), Some(2), "{}", said(&again));
    assert!(said(&again).contains("is there already"), "{}", said(&again));
    stdout(&init(&["-o", file, "--force", "--quiet"]));
    let printed = stdout(&init(&[]));
    assert!(printed.contains("  - brokers.yaml\n"), "paths are relative to the current directory: {printed}");
}

#[test]
fn a_first_scenario_leaves_out_what_does_not_work() {
    let printed = stdout(&run(&fixtures(), &["init", "-f", "brokers.yaml"]));
    assert!(printed.contains("Listener outside from external is left out"), "{printed}");
    let nothing = run(&fixtures(), &["init", "-f", "nodeport.yaml"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", said(&nothing));
    assert!(said(&nothing).contains("no Redpanda brokers"), "{}", said(&nothing));
    let piped = run(&fixtures(), &["init", "-f", "-"]);
    assert_eq!(piped.status.code(), Some(2), "{}", said(&piped));
}

#[test]
fn captures_have_the_secrets_of_tls_connections_beside_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let captures = directory.path().join("captures");
    let run_scenario = |name: &str| {
        let scenario = scenarios().join(name);
        stdout(&run(
            directory.path(),
            &["run", &scenario.to_string_lossy(), "--pcap", &captures.to_string_lossy(), "-q"],
        ));
    };
    run_scenario("tls-and-sasl.yaml");
    let log = captures.join("tls-keys.log");
    let lines = std::fs::read_to_string(&log).expect("written");
    for label in ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "CLIENT_HANDSHAKE_TRAFFIC_SECRET"] {
        // RFC 9850: the label, the client's random of 32 bytes, the secret.
        let of_label = lines.lines().filter(|line| line.starts_with(label));
        let words: Vec<Vec<&str>> = of_label.map(|line| line.split(' ').collect()).collect();
        assert!(words.len() > 3 && words.iter().all(|it| it.len() == 3 && it[1].len() == 64), "{lines}");
    }
    // What is left of another run would be read with the captures of this one.
    run_scenario("in-cluster.yaml");
    assert!(!log.exists(), "nothing is encrypted there");
    assert!(captures.join("external.pcapng").exists() || captures.join("node-0.pcapng").exists());
}
