//! `hopwise sweep` and `hopwise merge` as other programs see them: shards as processes, interruption, exit statuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use hopwise_tests::scenarios;
use serde_json::Value;

const HOPWISE: &str = env!("CARGO_BIN_EXE_hopwise");

/// A scenario of which a seed takes little time.
const SCENARIO: &str = "kubernetes/pod-is-deleted.yaml";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(HOPWISE);
    command.args(arguments).current_dir(scenarios());
    for variable in ["HOPWISE_LOG", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"] {
        command.env_remove(variable);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn errors(output: &Output) -> String {
    // Long messages are wrapped.
    String::from_utf8_lossy(&output.stderr).replace("\n  │ ", " ")
}

/// Asserts how the program ended, and gives the object on its standard output.
fn json(output: &Output, status: i32) -> Value {
    assert_eq!(output.status.code(), Some(status), "{}", errors(output));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn text_of(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// The rows as they are written, each without its wall time.
fn without_wall_times(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("there are results");
    let rows = text.lines().map(|line| {
        let (before, rest) = line.split_once("\"wall_ns\":").expect("it has a wall time");
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        assert!(rest.len() > after.len(), "{line}");
        format!("{before}\"wall_ns\":{after}")
    });
    rows.collect()
}

#[test]
fn four_shards_as_processes_merge_to_exactly_the_unsharded_result() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    let sweep = |out: &Path, more: &[&str]| {
        let mut arguments = vec!["sweep", SCENARIO, "--seeds", "10..20", "--format", "json", "--out"];
        let out = text_of(out);
        arguments.push(&out);
        arguments.extend(more);
        command(&arguments)
    };
    let mut whole = sweep(&at("whole.jsonl"), &["--jobs", "2"]);
    let report = json(&whole.output().expect("it starts"), 0);
    assert_eq!((&report["passed"], &report["failed"]), (&Value::from(10), &Value::from(0)));

    // Two shards as they are asked for on the command line, two as pods of an Indexed Job; two formats.
    std::fs::create_dir(at("shards")).expect("made");
    let mut started = Vec::new();
    for (index, extension) in [(0, "jsonl"), (1, "parquet")] {
        let out = at(&format!("shards/{index}.{extension}"));
        started.push(sweep(&out, &["--jobs", "1", "--shard", &format!("{index}/4")]));
    }
    for (index, extension) in [(2, "parquet"), (3, "jsonl")] {
        let mut command = sweep(&at(&format!("shards/{index}.{extension}")), &["--jobs", "1"]);
        command.env("JOB_COMPLETION_INDEX", index.to_string()).env("JOB_COMPLETIONS", "4");
        started.push(command);
    }
    let running: Vec<_> =
        started.iter_mut().map(|command| command.stdout(Stdio::null()).spawn().expect("it starts")).collect();
    for mut process in running {
        assert!(process.wait().expect("it ends").success());
    }

    let shards = text_of(&at("shards"));
    let merged = run(&["merge", &shards, "--out", &text_of(&at("merged.jsonl")), "--format", "json"]);
    let report = json(&merged, 0);
    assert_eq!((&report["passed"], &report["seeds"]), (&Value::from(10), &Value::from("10..20")));
    let rows = without_wall_times(&at("merged.jsonl"));
    assert_eq!(rows.len(), 10);
    assert_eq!(rows, without_wall_times(&at("whole.jsonl")));

    // The same rows are the same bytes in Parquet too.
    let merge = |from: &str, out: &str| run(&["merge", &text_of(&at(from)), "--out", &text_of(&at(out))]);
    assert!(merge("shards", "merged.parquet").status.success());
    assert!(merge("merged.jsonl", "again.parquet").status.success());
    let bytes = |name: &str| std::fs::read(at(name)).expect("there");
    assert!(bytes("merged.parquet") == bytes("again.parquet"));

    std::fs::remove_file(at("shards/1.parquet")).expect("it was there");
    let output = merge("shards", "gap.parquet");
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("the seeds 12..15 are in none of the files"), "{}", errors(&output));
    assert!(!at("gap.parquet").exists());
}

#[test]
fn a_sweep_that_was_killed_goes_on_where_it_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let out = directory.path().join("rows.jsonl");
    let kept = directory.path().join("rows.jsonl.partial");
    let arguments = |out: &Path| {
        ["sweep", SCENARIO, "--seeds", "0..8", "--jobs", "1", "--format", "json", "--out"]
            .into_iter()
            .map(str::to_owned)
            .chain([text_of(out)])
            .collect::<Vec<_>>()
    };
    let sweep = |out: &Path| {
        let arguments = arguments(out);
        command(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut process = sweep(&out).stdout(Stdio::null()).spawn().expect("it starts");
    let lines = || std::fs::read_to_string(&kept).map_or(0, |text| text.lines().count());
    wait_until(|| lines() >= 4);
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    assert!(!out.exists(), "the result is there when it is whole");
    let kept_rows = without_header(&kept).len() as u64;
    let report = json(&sweep(&out).output().expect("it starts"), 0);
    let resumed = report["resumed"].as_u64().expect("a number");
    // The last line may have been torn.
    assert!(resumed >= 2 && resumed <= kept_rows, "{resumed} of {kept_rows}");
    assert!(resumed < 8 && !kept.exists(), "{report}");
    let whole = directory.path().join("whole.jsonl");
    json(&sweep(&whole).output().expect("it starts"), 0);
    assert_eq!(without_wall_times(&out), without_wall_times(&whole));
}

fn without_header(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("there");
    text.lines().skip(1).map(str::to_owned).collect()
}

#[expect(clippy::disallowed_methods, reason = "waits for another process")]
fn wait_until(done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(300), "nothing comes");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_seed_that_fails_prints_the_line_that_replays_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = failing_scenario(directory.path());
    let output = run(&["sweep", &text_of(&path), "--seeds", "5..7", "--jobs", "2", "--format", "json"]);
    let report = json(&output, 1);
    assert_eq!((&report["verdict"], &report["failed"]), (&Value::from("fail"), &Value::from(2)));
    let replay = format!("hopwise run {} --seed 6", path.display());
    assert!(errors(&output).contains(&replay), "{}", errors(&output));
    assert_eq!(report["failures"][1]["replay"], Value::from(replay));
    let words: Vec<String> = report["failures"][1]["replay"]
        .as_str()
        .expect("a line")
        .split(' ')
        .skip(1)
        .map(str::to_owned)
        .chain(["--format".to_owned(), "json".to_owned()])
        .collect();
    let replayed = json(&run(&words.iter().map(String::as_str).collect::<Vec<_>>()), 1);
    let failed = replayed["checks"].as_array().expect("checks").iter().find(|check| check["ok"] == false);
    assert_eq!(failed.expect("one fails")["name"], report["failures"][1]["check"]);
    assert_eq!(replayed["seed"], 6);
}

/// A copy of the scenario that expects what does not come.
fn failing_scenario(directory: &Path) -> PathBuf {
    let text = std::fs::read_to_string(scenarios().join(SCENARIO)).expect("there");
    let original = scenarios().join("kubernetes").canonicalize().expect("there");
    let manifests = |name: &str| original.join(name).display().to_string();
    let text = text
        .replace("four-nodes.yaml", &manifests("four-nodes.yaml"))
        .replace("manifests/", &format!("{}/", manifests("manifests")));
    let (before, after) = text.split_once("  events:\n").expect("it expects events");
    let never = "    - {kind: pod.deleted, never: true}\n";
    let path = directory.join("fails.yaml");
    std::fs::write(&path, format!("{before}  events:\n{never}{after}")).expect("written");
    path
}

#[test]
fn calls_that_are_wrong_are_told() {
    let told = |arguments: &[&str], environment: &[(&str, &str)], words: &str| {
        let mut command = command(arguments);
        let output = command.envs(environment.iter().copied()).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", errors(&output));
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(errors(&output).contains(words), "{arguments:?}: {}", errors(&output));
    };
    let sweep = ["sweep", SCENARIO];
    let with = |more: &[&'static str]| [&sweep[..], more].concat();
    told(&with(&["--seeds", "5..5"]), &[], "holds no seed");
    told(&with(&["--seeds", "0..5", "--shard", "4/4"]), &[], "`4/4` is no shard");
    told(&with(&["--seeds", "0..5", "--jobs", "0"]), &[], "--jobs");
    told(&with(&["--seeds", "0..5", "--out", "rows.csv"]), &[], "`.csv` is no format of results");
    told(&with(&["--seeds", "0..5", "--out", "ftp://host/rows.jsonl"]), &[], "no object store is meant");
    told(&with(&["--seeds", "0..5"]), &[("JOB_COMPLETION_INDEX", "3")], "set JOB_COMPLETIONS");
    told(&["sweep", "nowhere.yaml", "--seeds", "0..5"], &[], "nowhere.yaml");
    told(&["merge", "nowhere.jsonl", "--out", "rows.jsonl"], &[], "nowhere.jsonl");
}

#[test]
fn rows_can_go_to_an_object_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let url = format!("file://{}/bucket/rows.parquet", directory.path().display());
    let output = run(&["sweep", SCENARIO, "--seeds", "0..2", "--out", &url, "--format", "json"]);
    assert_eq!(json(&output, 0)["out"], Value::from(url.clone()));
    let bucket = format!("file://{}/bucket/", directory.path().display());
    let local = directory.path().join("rows.jsonl");
    let output = run(&["merge", &bucket, "--out", &text_of(&local), "--format", "json"]);
    assert_eq!(json(&output, 0)["passed"], Value::from(2));
    assert_eq!(without_wall_times(&local).len(), 2);
}
