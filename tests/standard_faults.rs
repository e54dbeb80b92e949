//! Bugs that brokers and clients can be given are found by seeds of the standard fault scenarios.
//!
//! | bug | scenario | seed | faults left when made small |
//! | --- | --- | --- | --- |
//! | ack-before-fsync | standard-faults-power | 1 | powerOffZone |
//! | ack-before-majority | standard-faults-power | 2 | powerOffNode twice, powerOffZone |
//! | read-beyond-high-watermark | standard-faults-power | 34 | powerOffNode, powerOffZone |
//! | forget-producers | standard-faults-power | 94 | powerOffZone, powerOffNode twice |
//! | stale-metadata | standard-faults | 2 | startMaintenance |
//! | ignore-not-leader | standard-faults | 2 | startMaintenance |
//! | retry-elsewhere | standard-faults | 2 | startMaintenance |
//! | stale-dns | standard-faults-inside | 3 | deletePod |
//! | stale-address | standard-faults-moves | 4 | taintNode, cutLink |
//!
//! Each test runs the one seed that was found first to show a bug, with the bug and without. `seeds_that_show_bugs` is the
//! search that finds them, makes them small and writes what is left (`-- --ignored --nocapture`);
//! `HOPWISE_BUGS=ack-before-fsync,stale-dns` narrows it, `HOPWISE_SEEDS=1..201` says which seeds, and `HOPWISE_RUNS` how many
//! runs make one small. `each_kind_leaves_a_sound_cluster_sound` plays each kind of fault alone; `HOPWISE_KINDS`,
//! `HOPWISE_SCENARIOS` and `HOPWISE_SEEDS` say which, in which scenarios, and how often.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use hopwise_lab::run::{LoadedScenario, RunOptions, load_scenario, run_scenario, save_scenario};
use hopwise_lab::scenario::{BrokerBug, ClientBug, KINDS, Scenario};
use hopwise_lab::shrink::{Reason, failure, shrink};
use hopwise_tests::scenarios;

/// Every bug is to be found within these.
const SEEDS: Range<u64> = 1..201;
/// Faults that are left at most.
const FAULTS_MAX: usize = 3;
/// The scenarios in which bugs are looked for, the first in which one shows counts.
const SCENARIOS: [&str; 4] =
    ["standard-faults", "standard-faults-moves", "standard-faults-inside", "standard-faults-power"];
/// Runs that make a failure small unless `HOPWISE_RUNS` says otherwise.
const RUNS_MAX: u32 = 60;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Bug {
    Broker(BrokerBug),
    Client(ClientBug),
}

fn name(bug: Bug) -> String {
    let name = match bug {
        Bug::Broker(bug) => serde_json::to_value(bug),
        Bug::Client(bug) => serde_json::to_value(bug),
    };
    name.ok().and_then(|name| name.as_str().map(str::to_owned)).expect("a word")
}

fn load(scenario: &str) -> LoadedScenario {
    let path = scenarios().join(format!("{scenario}.yaml"));
    load_scenario(&path).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)))
}

/// The scenario as the seed draws it, with a bug or none.
fn drawn(loaded: &LoadedScenario, seed: u64, bug: Option<Bug>) -> Scenario {
    let mut scenario = loaded.scenario.drawn(&loaded.inputs, seed);
    match bug {
        Some(Bug::Broker(bug)) => scenario.broker_bug = Some(bug),
        Some(Bug::Client(bug)) => scenario.clients.iter_mut().for_each(|client| client.bug = Some(bug)),
        None => {}
    }
    scenario
}

/// Why the scenario fails, and what the failed checks saw; none if it passes.
fn told(loaded: &LoadedScenario, scenario: &Scenario) -> Option<(Reason, Vec<String>)> {
    let mut loaded = loaded.clone();
    loaded.scenario.clone_from(scenario);
    let report = run_scenario(loaded, RunOptions { seed: Some(scenario.seed), ..RunOptions::default() });
    let report = report.unwrap_or_else(|error| panic!("seed {}: {error}", scenario.seed));
    let failed = report.checks.iter().filter(|check| !check.ok);
    let seen = failed.map(|check| format!("{}: {}", check.name, check.detail)).collect();
    Reason::of(&report).map(|reason| (reason, seen))
}

/// How many faults are left when the scenario, which fails for `reason`, is made small.
fn small(loaded: &LoadedScenario, scenario: &Scenario, reason: &Reason) -> Scenario {
    let runs_max = asked("HOPWISE_RUNS", RUNS_MAX, |text| text.parse().ok());
    let shrunk = shrink(scenario, &loaded.inputs, runs_max, |smaller| {
        failure(loaded, smaller).ok().flatten().is_some_and(|other| reason.is_in(&other))
    });
    shrunk.scenario
}

fn asked<T>(variable: &str, otherwise: T, read: impl Fn(&str) -> Option<T>) -> T {
    match std::env::var(variable) {
        Ok(text) => read(&text).unwrap_or_else(|| panic!("{variable} is {text:?}")),
        Err(_) => otherwise,
    }
}

fn seeds(otherwise: Range<u64>) -> Range<u64> {
    asked("HOPWISE_SEEDS", otherwise, |text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    })
}

fn words(variable: &str) -> Option<Vec<String>> {
    asked(variable, None, |text| Some(Some(text.split(',').map(str::to_owned).collect())))
}

/// What the search found: the seed of the scenario shows the bug by the check with these words, and passes without it.
fn is_shown(bug: Bug, scenario: &str, seed: u64, words: &str) {
    assert!(SEEDS.contains(&seed));
    let loaded = load(scenario);
    assert_eq!(told(&loaded, &drawn(&loaded, seed, None)), None, "without the bug");
    let (reason, seen) = told(&loaded, &drawn(&loaded, seed, Some(bug))).expect("the bug shows");
    assert!(reason.first().contains(words), "{seen:#?}");
}

#[test]
fn acknowledging_before_a_majority_has_it_is_found_by_seed_2() {
    is_shown(Bug::Broker(BrokerBug::AckBeforeMajority), "standard-faults-power", 2, "is served");
}

#[test]
fn acknowledging_before_it_is_on_the_disk_is_found_by_seed_1() {
    is_shown(Bug::Broker(BrokerBug::AckBeforeFsync), "standard-faults-power", 1, "does its work");
}

#[test]
fn reading_beyond_the_high_watermark_is_found_by_seed_34() {
    is_shown(Bug::Broker(BrokerBug::ReadBeyondHighWatermark), "standard-faults-power", 34, "one-log");
}

#[test]
fn forgetting_producers_is_found_by_seed_94() {
    is_shown(Bug::Broker(BrokerBug::ForgetProducers), "standard-faults-power", 94, "duplicate");
}

#[test]
fn asking_on_where_nobody_leads_is_found_by_seed_2() {
    is_shown(Bug::Client(ClientBug::IgnoreNotLeader), "standard-faults", 2, "is served");
}

#[test]
fn trying_again_at_another_partition_is_found_by_seed_2() {
    is_shown(Bug::Client(ClientBug::RetryElsewhere), "standard-faults", 2, "can be read once");
}

#[test]
#[ignore = "takes minutes: every request is tried for two minutes"]
fn dns_answers_that_are_kept_for_ever_are_found_by_seed_3() {
    is_shown(Bug::Client(ClientBug::StaleDns), "standard-faults-inside", 3, "does its work");
}

#[test]
#[ignore = "takes minutes: every request is tried for two minutes"]
fn addresses_that_are_kept_for_ever_are_found_by_seed_4() {
    is_shown(Bug::Client(ClientBug::StaleAddress), "standard-faults-moves", 4, "does its work");
}

#[test]
#[ignore = "takes minutes: every request is tried for two minutes"]
fn metadata_that_is_kept_for_ever_is_found_by_seed_2() {
    is_shown(Bug::Client(ClientBug::StaleMetadata), "standard-faults", 2, "does its work");
}

/// A broker whose disk is full is told to take a partition over, cannot write that it runs for it, and must not go on telling its
/// clients of that term.
#[test]
fn a_term_that_was_never_written_is_not_told_in_seed_8514() {
    let loaded = load("standard-faults");
    assert_eq!(told(&loaded, &drawn(&loaded, 8514, None)), None);
}

/// Where the search writes what `shrink` left.
fn kept(bug: Bug) -> PathBuf {
    std::env::temp_dir().join("hopwise-found-bugs").join(format!("{}.yaml", name(bug)))
}

#[test]
#[ignore = "a search, whose results the tests above name"]
fn seeds_that_show_bugs() {
    let bugs = [
        Bug::Broker(BrokerBug::AckBeforeFsync),
        Bug::Broker(BrokerBug::AckBeforeMajority),
        Bug::Broker(BrokerBug::ReadBeyondHighWatermark),
        Bug::Broker(BrokerBug::ForgetProducers),
        Bug::Client(ClientBug::StaleMetadata),
        Bug::Client(ClientBug::IgnoreNotLeader),
        Bug::Client(ClientBug::StaleAddress),
        Bug::Client(ClientBug::StaleDns),
        Bug::Client(ClientBug::RetryElsewhere),
    ];
    let asked = words("HOPWISE_BUGS");
    let wanted =
        bugs.into_iter().filter(|bug| asked.as_ref().is_none_or(|asked| asked.contains(&name(*bug))));
    let scenarios = words("HOPWISE_SCENARIOS");
    let scenarios = scenarios.unwrap_or_else(|| SCENARIOS.map(str::to_owned).to_vec());
    let missing: Vec<String> =
        wanted.filter(|bug| !scenarios.iter().any(|scenario| is_found(*bug, scenario))).map(name).collect();
    assert!(missing.is_empty(), "no seed shows {missing:?}");
}

/// Looks for the first seed that shows the bug and passes without it, and tells it.
fn is_found(bug: Bug, scenario: &str) -> bool {
    let loaded = load(scenario);
    let shows = |seed: &u64| {
        let with = drawn(&loaded, *seed, Some(bug));
        let (reason, seen) = told(&loaded, &with)?;
        if let Some((_, seen)) = told(&loaded, &drawn(&loaded, *seed, None)) {
            println!("{} {scenario} seed {seed}: fails without the bug: {seen:?}", name(bug));
            return None;
        }
        println!("{} {scenario} seed {seed}: {seen:?}", name(bug));
        Some((*seed, with, reason))
    };
    let Some((seed, with, reason)) = seeds(SEEDS).find_map(|seed| shows(&seed)) else {
        println!("{} {scenario}: no seed of {:?}", name(bug), seeds(SEEDS));
        return false;
    };
    let small = small(&loaded, &with, &reason);
    let from = scenarios().join(format!("{scenario}.yaml"));
    std::fs::create_dir_all(kept(bug).parent().expect("it has one")).expect("a directory");
    save_scenario(&small, &from, &kept(bug)).expect("the directory can be written");
    let faults: Vec<String> =
        small.faults.iter().map(|fault| format!("{} at {}", fault.kind, fault.at)).collect();
    println!("{} {scenario} seed {seed}: {} faults: {faults:?}", name(bug), faults.len());
    small.faults.len() <= FAULTS_MAX
}

/// With seed 1 of the standard scenario unless the environment says otherwise; on all cores, since each run is a thread's own.
#[test]
fn each_kind_leaves_a_sound_cluster_sound() {
    let asked = words("HOPWISE_KINDS");
    let wanted = |name: &str| asked.as_ref().is_none_or(|asked| asked.iter().any(|it| it == name));
    let mut failed = Vec::new();
    for scenario in words("HOPWISE_SCENARIOS").unwrap_or_else(|| vec!["standard-faults".into()]) {
        let loaded = load(&scenario);
        let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).filter(|name| wanted(name)).collect();
        let next = AtomicUsize::new(0);
        let turns = || std::iter::from_fn(|| kinds.get(next.fetch_add(1, Ordering::Relaxed)));
        let alone =
            || turns().flat_map(|kind| failures_of(kind, &scenario, loaded.clone())).collect::<Vec<_>>();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let runs: Vec<_> = (0..cores).map(|_| scope.spawn(alone)).collect();
            failed.extend(runs.into_iter().flat_map(|runs| runs.join().expect("a run gives a report")));
        });
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The seeds with which faults of one kind alone make the scenario fail, and what failed.
fn failures_of(kind: &str, scenario: &str, mut loaded: LoadedScenario) -> Vec<String> {
    loaded.scenario.draw.as_mut().expect("it draws faults").kinds = vec![kind.to_owned()];
    if !loaded.scenario.unknown_objects(&loaded.inputs).is_empty() {
        println!("{scenario}: {kind} suits no object");
        return Vec::new();
    }
    let fails = |seed| {
        let (_, seen) = told(&loaded, &drawn(&loaded, seed, None))?;
        Some(format!("{scenario}: {kind}, seed {seed}: {seen:?}"))
    };
    let failed: Vec<String> = seeds(1..2).filter_map(fails).collect();
    println!("{scenario}: {kind} done, failed: {failed:?}");
    failed
}
