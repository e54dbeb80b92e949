//! Properties of any cluster, under any workload and any faults: the checks of a run hold.
//!
//! The cases are the same each time. `HOPWISE_CASES` sets how many there are, `HOPWISE_CASES_SEED` which; those that have
//! failed before are kept in `properties.proptest-regressions` and come first. A failure is made small and written to
//! a file, which the message names (`HOPWISE_FAILURES` sets the directory).

use hopwise_lab::properties::{Case, NotHeld, config, failures_directory, holds};
use hopwise_lab::report::check::Verdict;
use hopwise_lab::run::{RunOptions, load_scenario, run_scenario};
use hopwise_lab::scenario::{BrokerBug, ClientBug};
use proptest::test_runner::{TestCaseError, TestError, TestRunner};

/// Cases unless `HOPWISE_CASES` says otherwise.
const CASES: u32 = 24;
/// Brokers of a case.
const BROKERS_MAX: u16 = 4;
/// Faults of a case.
const FAULTS_MAX: u32 = 4;

fn tried(case: &Case, failures: &std::path::Path) -> Result<(), TestCaseError> {
    holds("checks-hold", case, failures).map_err(|error| TestCaseError::fail(error.to_string()))
}

#[test]
fn the_checks_hold_for_any_cluster_workload_and_faults() {
    let mut runner = TestRunner::new(config(CASES, file!()));
    let failures = failures_directory();
    let held = runner.run(&Case::any(BROKERS_MAX, FAULTS_MAX), |case| tried(&case, &failures));
    held.unwrap_or_else(|error| panic!("{error}"));
}

/// Draws cases with a bug until one fails; gives what is told.
fn broken(cases: u32, spoil: impl Fn(&mut Case)) -> hopwise_lab::properties::Broken {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(cases, file!());
    // What a bug breaks is no regression.
    config.failure_persistence = None;
    let mut runner = TestRunner::new(config);
    let found = std::cell::RefCell::new(None);
    let ran = runner.run(&Case::any(3, FAULTS_MAX), |mut case| {
        spoil(&mut case);
        match holds("bug", &case, directory.path()) {
            Ok(()) => Ok(()),
            Err(NotHeld::Broken(broken)) => {
                let told = broken.to_string();
                assert_replays(&broken);
                *found.borrow_mut() = Some(*broken);
                Err(TestCaseError::fail(told))
            }
            Err(error) => panic!("{error}"),
        }
    });
    let Err(TestError::Fail(told, _)) = ran else { panic!("{cases} cases with the bug hold: {ran:?}") };
    let broken = found.into_inner().expect("a case failed");
    println!("{told}");
    for part in [broken.reason.first(), &broken.seed.to_string(), &broken.file.display().to_string()] {
        assert!(told.message().contains(part), "{told} does not say {part}");
    }
    broken
}

/// The small scenario is an ordinary one that fails for the reason that is told, with its own seed.
fn assert_replays(broken: &hopwise_lab::properties::Broken) {
    let loaded =
        load_scenario(&broken.file).unwrap_or_else(|error| panic!("{:?}", miette::Report::from(error)));
    assert_eq!(loaded.scenario.seed, broken.seed);
    assert_eq!(loaded.scenario.faults.len(), broken.faults[0]);
    let report = run_scenario(loaded, RunOptions::default()).expect("the simulation ends");
    assert_eq!(report.verdict, Verdict::Fail);
    let again = hopwise_lab::shrink::Reason::of(&report).expect("a check fails");
    assert!(broken.reason.is_in(&again), "{again:?} instead of {:?}", broken.reason);
}

#[test]
#[ignore = "takes minutes: it draws until a case shows the bug, and makes that small"]
fn a_broker_that_acknowledges_too_early_breaks_the_property() {
    let broken = broken(200, |case| case.broker_bug = Some(BrokerBug::AckBeforeMajority));
    assert!(broken.faults[0] <= 3 && broken.faults[0] <= broken.faults[1], "{broken}");
}

#[test]
#[ignore = "takes minutes: it draws until a case shows the bug, and makes that small"]
fn a_client_that_keeps_its_metadata_breaks_the_property() {
    let broken = broken(200, |case| case.client_bug = Some(ClientBug::StaleMetadata));
    assert!(broken.faults[0] <= 3 && broken.faults[0] <= broken.faults[1], "{broken}");
}
