//! The smallest scenario that still fails for the same reason.
//!
//! A failing run names what failed. [`shrink`] leaves out faults, then clients, brokers, topics and partitions, requests
//! and time, and keeps each step after which the scenario fails in the same way. What is left is what somebody has to
//! understand. Runs are deterministic, so that one run decides.

mod steps;
mod subset;

pub use subset::minimal;

use crate::inputs::Inputs;
use crate::report::run::RunReport;
use crate::run::{LoadedScenario, RunOptions, run_scenario};
use crate::scenario::{Fault, Scenario};
use crate::simulate::SimulationError;

/// Why a run failed: the names of its failed checks. [`Reason::is_in`] compares them without their numbers, so that the same
/// failure at another time or on another partition is the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Vec<String>);

/// What shrinking came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The smallest scenario found.
    pub scenario: Scenario,
    /// How many runs it took.
    pub runs: u32,
    /// Whether no smaller one was left to try: not if the runs were used up.
    pub complete: bool,
}

impl Reason {
    /// Why the run failed; none if it passed.
    pub fn of(report: &RunReport) -> Option<Reason> {
        let failed = report.checks.iter().filter(|check| !check.ok);
        let names: Vec<String> = failed.map(|check| check.name.clone()).collect();
        (!names.is_empty()).then_some(Reason(names))
    }

    /// Whether a run that failed for `other` failed for this: what failed first here failed there too.
    pub fn is_in(&self, other: &Reason) -> bool {
        let first = self.0.first().map(|first| without_numbers(first));
        first.is_some_and(|first| other.0.iter().any(|name| without_numbers(name) == first))
    }

    /// What failed first, in words.
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }
}

/// What stays of a failure's words in another run: times, addresses and counts differ between runs that fail for the same
/// reason.
pub fn without_numbers(text: &str) -> String {
    text.chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// Why `scenario` fails on what was loaded with another one like it; none if it passes, or names objects that are not
/// there.
///
/// # Errors
/// As [`run_scenario`].
pub fn failure(loaded: &LoadedScenario, scenario: &Scenario) -> Result<Option<Reason>, SimulationError> {
    let mut loaded = loaded.clone();
    loaded.inputs.scale(&scenario.replicas);
    if !scenario.unknown_objects(&loaded.inputs).is_empty() {
        return Ok(None);
    }
    loaded.scenario.clone_from(scenario);
    let options = RunOptions { seed: Some(scenario.seed), ..RunOptions::default() };
    Ok(Reason::of(&run_scenario(loaded, options)?))
}

/// Makes `scenario` of the cluster of `inputs`, which fails, as small as `runs_max` runs allow. `fails` runs a scenario and
/// says whether it fails for the same reason. It is not asked about scenarios that are unsound by themselves.
pub fn shrink(
    scenario: &Scenario,
    inputs: &Inputs,
    runs_max: u32,
    mut fails: impl FnMut(&Scenario) -> bool,
) -> Shrunk {
    let mut runs = Runs { left: runs_max, exhausted: false, fails: &mut fails };
    let mut smallest = scenario.clone();
    loop {
        let before = smallest.clone();
        smallest = with_fewer_faults(smallest, &mut runs);
        for step in steps::ALL {
            // The same step again, as long as it helps.
            while let Some(smaller) = step(&smallest, inputs).into_iter().find(|smaller| runs.fail(smaller)) {
                smallest = smaller;
            }
        }
        if smallest == before || runs.exhausted {
            return Shrunk { scenario: smallest, runs: runs_max - runs.left, complete: !runs.exhausted };
        }
    }
}

fn with_fewer_faults(scenario: Scenario, runs: &mut Runs<'_>) -> Scenario {
    let with = |faults: &[Fault]| Scenario { faults: faults.to_vec(), ..scenario.clone() };
    let faults = minimal(&scenario.faults, |faults| runs.fail(&with(faults)));
    Scenario { faults, ..scenario }
}

/// Runs that may still be made.
struct Runs<'a> {
    left: u32,
    exhausted: bool,
    fails: &'a mut dyn FnMut(&Scenario) -> bool,
}

impl Runs<'_> {
    fn fail(&mut self, scenario: &Scenario) -> bool {
        if !scenario.problems_of_parts().is_empty() {
            return false;
        }
        if self.left == 0 {
            self.exhausted = true;
            return false;
        }
        self.left -= 1;
        (self.fails)(scenario)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::run::load_scenario;

    fn scenario() -> (Scenario, Inputs) {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/nodeport-vs-loadbalancer.yaml");
        let LoadedScenario { mut scenario, inputs, .. } = load_scenario(&path).expect("sound");
        let faults = (0..20).map(|n| format!("{{at: {n}s, name: f{n}, cordonNode: node-{}}}", n % 3));
        let faults = serde_saphyr::from_str(&format!("[{}]", faults.collect::<Vec<_>>().join(", ")));
        scenario.faults = faults.expect("they are faults");
        scenario.expect.less.clear();
        scenario.duration = Some("10m".parse().expect("a duration"));
        (scenario, inputs)
    }

    fn names(scenario: &Scenario) -> Vec<String> {
        scenario.faults.iter().map(Fault::name).collect()
    }

    #[test]
    fn what_the_failure_needs_stays_and_the_rest_goes() {
        let needs = |scenario: &Scenario| {
            let faults = names(scenario);
            ["f3", "f17"].iter().all(|name| faults.iter().any(|it| it == name))
                && scenario.clients.iter().any(|client| client.name == "loadbalancer")
        };
        let (scenario, inputs) = scenario();
        let shrunk = shrink(&scenario, &inputs, 1_000, needs);
        assert!(shrunk.complete);
        assert_eq!(names(&shrunk.scenario), ["f3", "f17"]);
        assert_eq!(shrunk.scenario.clients.len(), 1);
        assert_eq!(shrunk.scenario.replicas.values().copied().collect::<Vec<_>>(), [1]);
        assert_eq!(shrunk.scenario.duration, None);
        let workload = shrunk.scenario.workload.expect("clients have a workload");
        assert_eq!((workload.topics.len(), workload.topics[0].partitions), (1, 1));
    }

    #[test]
    fn brokers_stay_as_many_as_the_failure_needs_and_time_as_long() {
        let (scenario, inputs) = scenario();
        let needs = |scenario: &Scenario| {
            let three = scenario.replicas.is_empty();
            let long = scenario.duration.is_none_or(|it| it >= "70s".parse().expect("a duration"));
            three && long && !scenario.faults.is_empty()
        };
        let shrunk = shrink(&scenario, &inputs, 1_000, needs).scenario;
        assert_eq!((shrunk.faults.len(), shrunk.replicas.len(), shrunk.duration), (1, 0, None));
        let needs_duration = |scenario: &Scenario| scenario.duration.is_some() && needs(scenario);
        let shrunk = shrink(&scenario, &inputs, 1_000, needs_duration).scenario;
        assert_eq!(shrunk.duration, Some("75s".parse().expect("a duration")));
    }

    #[test]
    fn runs_are_bounded() {
        let mut runs = 0;
        let (scenario, inputs) = scenario();
        let shrunk = shrink(&scenario, &inputs, 5, |scenario| {
            runs += 1;
            names(scenario).contains(&"f3".to_owned())
        });
        assert_eq!((runs, shrunk.runs, shrunk.complete), (5, 5, false));
        assert!(names(&shrunk.scenario).contains(&"f3".to_owned()));
    }
}
