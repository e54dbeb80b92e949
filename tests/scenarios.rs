//! Every scenario under `scenarios/` is a test, named after its file: the scenario runs twice, the runs agree in all but
//! the wall time, and every check holds.
//!
//! Two tests are about runs in general: another seed gives another run, and another process gives the same one. For
//! the latter, this program starts itself with [`CHILD`] before the scenario and the seed, and prints the report.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use hopwise_lab::report::check::Verdict;
use hopwise_lab::report::run::RunReport;
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use hopwise_tests::{scenario_files, scenarios};
use libtest_mimic::{Arguments, Failed, Trial};

/// The hidden argument of the process that runs one scenario.
const CHILD: &str = "--hopwise-run-one";
/// The scenario of the tests about runs in general: the shortest.
const SHORT: &str = "in-cluster.yaml";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, hidden, path, seed] = arguments.as_slice()
        && hidden == CHILD
    {
        return child(Path::new(path), seed);
    }
    let mut trials: Vec<Trial> = scenario_files()
        .into_iter()
        .map(|path| Trial::test(name_of(&path), move || passes_and_repeats(&path)))
        .collect();
    trials.push(Trial::test("another_seed_gives_another_hash", another_seed_gives_another_hash));
    trials.push(Trial::test("two_processes_agree", two_processes_agree));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn passes_and_repeats(path: &Path) -> Result<(), Failed> {
    let first = run(path, None)?;
    agree(path, &first, &run(path, None)?)?;
    if first.verdict == Verdict::Pass {
        return Ok(());
    }
    let failed = first.checks.iter().filter(|check| !check.ok);
    let failed: Vec<String> = failed.map(|check| format!("  {}: {}", check.name, check.detail)).collect();
    Err(format!("failed checks:\n{}\n{}", failed.join("\n"), replay(path, first.seed)).into())
}

fn another_seed_gives_another_hash() -> Result<(), Failed> {
    let path = scenarios().join(SHORT);
    let first = run(&path, Some(1))?;
    let second = run(&path, Some(2))?;
    match first.trace_hash != second.trace_hash {
        true => Ok(()),
        false => Err(format!("seeds 1 and 2 both give {}", first.trace_hash).into()),
    }
}

fn two_processes_agree() -> Result<(), Failed> {
    let path = scenarios().join(SHORT);
    let seed = 7;
    let spawned: Result<Vec<_>, _> = (0..2)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(CHILD).arg(&path).arg(seed.to_string());
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()
        })
        .collect();
    let mut reports = vec![run(&path, Some(seed))?];
    for process in spawned? {
        let output = process.wait_with_output()?;
        if !output.status.success() {
            return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)).into());
        }
        reports.push(serde_json::from_slice(&output.stdout)?);
    }
    reports.iter().skip(1).try_for_each(|report| agree(&path, &reports[0], report))
}

/// Runs one scenario and prints its report.
fn child(path: &Path, seed: &str) -> ExitCode {
    let seed = seed.parse().map_err(|_| Failed::from(format!("{seed} is no seed")));
    let printed =
        seed.and_then(|seed| run(path, Some(seed))).and_then(|report| Ok(serde_json::to_string(&report)?));
    match printed {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failed) => {
            eprintln!("{}", failed.message().unwrap_or("it failed"));
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path, seed: Option<u64>) -> Result<RunReport, Failed> {
    let loaded = load_scenario(path).map_err(|error| format!("{:?}", miette::Report::from(error)))?;
    let seed = seed.unwrap_or(loaded.scenario.seed);
    let options = RunOptions { seed: Some(seed), captures: None };
    run_scenario(loaded, options).map_err(|error| format!("{error}\n{}", replay(path, seed)).into())
}

/// Compares two runs of one seed; the first line that differs is shown.
fn agree(path: &Path, first: &RunReport, second: &RunReport) -> Result<(), Failed> {
    let seed = first.seed;
    if first.trace_hash != second.trace_hash {
        let hashes =
            format!("two runs of one seed: trace_hash {} and {}", first.trace_hash, second.trace_hash);
        return Err(format!("{hashes}\n{}", replay(path, seed)).into());
    }
    let (first, second) = (without_wall_time(first)?, without_wall_time(second)?);
    let differing = first.lines().zip(second.lines()).find(|(first, second)| first != second);
    match differing {
        _ if first == second => Ok(()),
        Some((first, second)) => {
            Err(format!("two runs of one seed report\n{first}\n{second}\n{}", replay(path, seed)).into())
        }
        None => {
            Err(format!("two runs of one seed report different numbers of lines\n{}", replay(path, seed))
                .into())
        }
    }
}

fn without_wall_time(report: &RunReport) -> Result<String, Failed> {
    let report = RunReport { wall_ns: 0, ..report.clone() };
    Ok(serde_json::to_string_pretty(&report)?)
}

fn replay(path: &Path, seed: u64) -> String {
    let below = path.strip_prefix(scenarios()).unwrap_or(path);
    let file = PathBuf::from("scenarios").join(below);
    format!("seed {seed}; replay with: cargo run --release -- run {} --seed {seed}", file.display())
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
