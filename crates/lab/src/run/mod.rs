//! `hopwise run`: a scenario from its file to its report.
//!
//! The cluster starts and settles, the clients go to their places and learn the topics, then all of them produce and
//! fetch at the same time while the faults are played, looks are taken, and the objects of the scenario are watched.
//! Afterwards a client of its own reads every partition back. What is reported follows from the clients' attempts, the
//! records that were read back, and the hops that each request took; see `measure`, `verify` and `bill`. Without Kafka
//! clients there are only the faults, the looks, and what becomes of the cluster; see `observe` and `history`.

mod bill;
mod checks;
mod clients;
mod course;
mod examine;
mod faults;
mod findings;
mod history;
mod identity;
mod journal;
mod load;
mod measure;
mod name_servers;
mod observe;
mod readiness;
mod record;
mod recovery;
mod save;
mod sizes;
mod times;
mod transactions;
mod verify;
mod workload;

use std::path::PathBuf;

pub use checks::Rule;
pub use load::{LoadedScenario, load_scenario, read_scenario};
pub use save::{path_between, save_scenario};

use crate::limits::Limits;
use crate::recording::Recording;
use crate::report::run::RunReport;
use crate::simulate::{SimulationError, Start, Started, simulate};
use crate::wall_time;
use course::Plan;

/// The checks that are made after every run, unless the scenario turns one off.
pub fn always_on() -> &'static [Rule] {
    &checks::RULES
}

/// How a scenario is run.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The seed, if not the scenario's own.
    pub seed: Option<u64>,
    /// A directory for captures of the workload, one pcapng file per device.
    pub captures: Option<PathBuf>,
}

/// Runs a scenario.
///
/// What does not come about, from a cluster that does not start to a request that is lost, is a failed check of the
/// report.
///
/// # Errors
/// If captures cannot be written, or the simulation cannot end.
pub fn run_scenario(loaded: LoadedScenario, options: RunOptions) -> Result<RunReport, SimulationError> {
    run_recorded(loaded, options).map(|(report, _)| report)
}

/// Runs a scenario, and keeps what pictures of the run are made from. The recording of a run that has used more than it
/// may is empty.
///
/// # Errors
/// As [`run_scenario`].
pub fn run_recorded(
    loaded: LoadedScenario,
    options: RunOptions,
) -> Result<(RunReport, Recording), SimulationError> {
    let began = wall_time::now();
    let LoadedScenario { scenario, mut inputs, stateful_sets, applied, .. } = loaded;
    inputs.scale(&scenario.replicas);
    let seed = options.seed.unwrap_or(scenario.seed);
    let scenario = scenario.drawn(&inputs, seed);
    let start = Start {
        seed,
        limit: scenario.bounds.start.span().into(),
        captures: options.captures.clone(),
        broker_bug: scenario.broker_bug,
        cluster_bug: scenario.cluster_bug,
        limits: Limits { events: scenario.bounds.events, memory_bytes: scenario.bounds.memory.bytes() },
        ..Start::default()
    };
    let plan =
        Plan { seed, captures: options.captures, scenario, stateful_sets, applied, inputs: inputs.clone() };
    let unfinished = course::empty_report(&plan);
    let (mut report, recording) = match simulate(inputs, start, |started| course::run(started, plan)) {
        Err(SimulationError::Limit(passed)) => (course::limited(unfinished, &passed), Recording::default()),
        outcome => outcome??,
    };
    report.wall_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok((report, recording))
}

/// What keeps the cluster from being ready, in words; `None` if everything is.
pub fn unready(started: &Started) -> Option<String> {
    readiness::check(started).map(|check| check.detail)
}

/// Plays the faults of a scenario from now on, to the end of its timeline. What could not be played is told in words.
pub async fn play_faults(started: &Started, loaded: &LoadedScenario) -> Vec<String> {
    let scenario = &loaded.scenario;
    let times = times::Times::new(scenario, hopwise_engine::now());
    let begin = tokio::time::Instant::now();
    let last = scenario.last_fault().unwrap_or_default().span();
    let stakes = faults::Stakes {
        cluster: &started.cluster,
        brokers: &started.brokers,
        inputs: &loaded.inputs,
        verifier: None,
        partitions: [].into(),
        stateful_sets: &loaded.stateful_sets,
        applied: &loaded.applied,
        watched: Default::default(),
    };
    let end = begin + last.into();
    let played = faults::play(&stakes, &scenario.faults, &times, (begin, end)).await;
    played.failures.into_iter().map(|check| format!("{}: {}", check.name, check.detail)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::report::check::Verdict;

    /// The example scenarios of the repository.
    fn scenarios() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios")
    }

    fn run(loaded: &LoadedScenario, seed: u64) -> RunReport {
        let options = RunOptions { seed: Some(seed), captures: None };
        let report = run_scenario(loaded.clone(), options).expect("the simulation ends");
        RunReport { wall_ns: 0, ..report }
    }

    #[test]
    fn one_seed_gives_one_report_and_another_seed_another_trace() {
        let loaded = load_scenario(&scenarios().join("in-cluster.yaml")).expect("sound");
        let [first, again, other] = [7, 7, 8].map(|seed| run(&loaded, seed));
        assert_eq!(first.verdict, Verdict::Pass, "{:?}", first.checks);
        assert_eq!(first, again);
        assert_ne!(first.trace_hash, other.trace_hash);
        let workload = loaded.scenario.workload.as_ref().expect("it has a workload");
        let producers = workload.producers.as_ref().expect("it produces");
        assert_eq!(first.data.acknowledged, u64::from(producers.requests * producers.records));
        assert_eq!(first.routing.to_leader, first.routing.requests);
    }

    #[test]
    fn tls_and_scram_repeat_themselves() {
        let loaded = load_scenario(&scenarios().join("tls-and-sasl.yaml")).expect("sound");
        let [first, again, other] = [7, 7, 8].map(|seed| run(&loaded, seed));
        assert_eq!(first.verdict, Verdict::Pass, "{:?}", first.checks);
        assert_eq!(first.trace_hash, again.trace_hash);
        assert_eq!(first, again);
        assert_ne!(first.trace_hash, other.trace_hash);
    }

    #[test]
    fn a_cluster_that_does_not_start_is_a_failed_check_with_its_reason() {
        let mut loaded = load_scenario(&scenarios().join("in-cluster.yaml")).expect("sound");
        loaded.inputs.cluster.nodes.pop();
        let report = run(&loaded, 1);
        assert_eq!(report.verdict, Verdict::Fail);
        let check = &report.checks[0];
        assert!(
            check.detail.contains("pod redpanda/redpanda-2 is Pending and not ready"),
            "{}",
            check.detail
        );
        assert!(check.detail.contains("0/2 nodes are available"), "{}", check.detail);
    }

    #[test]
    fn a_client_that_cannot_stand_where_it_should_is_a_failed_check() {
        let mut loaded = load_scenario(&scenarios().join("in-cluster.yaml")).expect("sound");
        loaded.scenario.clients[0].place = crate::place::Place::Node("node-9".into());
        let report = run(&loaded, 1);
        assert_eq!(report.verdict, Verdict::Fail);
        assert!(report.checks[0].detail.contains("there is no node node-9"), "{}", report.checks[0].detail);
    }
}
