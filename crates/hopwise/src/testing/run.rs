//! Running a test: each seed once or twice, and a failure once more with captures.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::{Either, select};
use hopwise_engine::log::{Keep, Transcript};
use hopwise_kube::source;
use hopwise_lab::inputs::Surroundings;
use hopwise_lab::run::{LoadedScenario, play_faults, read_scenario, save_scenario, unready};
use hopwise_lab::scenario::{Fault, Scenario};
use hopwise_lab::shrink::minimal;
use hopwise_lab::simulate::{Start, Started, capture_all, simulate};

use super::environment::Environment;
use super::failure::{Failure, Outcome, Told};
use super::here::Here;
use super::lab::Lab;
use super::panics;

/// How many runs a failure's faults may be shrunk with.
const SHRINKING_RUNS_MAX: u32 = 200;

/// Runs `body` for every seed.
///
/// # Panics
/// With the first failure.
pub fn all<B, F>(here: &Here, loaded: &LoadedScenario, seeds: Range<u64>, ready_within: Duration, body: &B)
where
    B: Fn(Lab) -> F + Clone + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(why) => panic!("{why}"),
    };
    let chosen = environment.faults.map(|file| match faults_of(&file) {
        Ok(faults) => faults,
        Err(why) => panic!("HOPWISE_FAULTS: {why}"),
    });
    for seed in environment.seeds.unwrap_or(seeds) {
        let mut loaded = loaded.clone();
        loaded.scenario = loaded.scenario.drawn(&loaded.inputs, seed);
        if let Some(faults) = &chosen {
            loaded.scenario.faults.clone_from(faults);
        }
        let test = Test { here, loaded: &loaded, ready_within, body };
        if let Err(failure) = test.run(seed, environment.twice) {
            let (shrunk, captures) = (test.shrunk(seed, &failure), test.captured(seed, &failure));
            panic!("{}", Told { here, seed, failure: &failure, shrunk, captures });
        }
    }
}

/// The faults of a scenario file.
fn faults_of(file: &Path) -> Result<Vec<Fault>, String> {
    let sources = source::read_paths(&[file], &mut io::empty()).map_err(|error| error.to_string())?;
    let source = sources.first().ok_or_else(|| format!("{} holds nothing", file.display()))?;
    let directory = file.parent().unwrap_or_else(|| Path::new(""));
    let read = read_scenario(source, directory, &Surroundings::default());
    read.map(|loaded| loaded.scenario.faults).map_err(|error| format!("{:?}", miette::Report::new(error)))
}

/// A test and what it runs in.
struct Test<'a, B> {
    here: &'a Here,
    loaded: &'a LoadedScenario,
    ready_within: Duration,
    body: &'a B,
}

/// What a run leaves behind.
struct Trace {
    hash: String,
    transcript: Transcript,
}

impl<B, F> Test<'_, B>
where
    B: Fn(Lab) -> F + Clone + 'static,
    F: Future + 'static,
    F::Output: Outcome,
{
    /// One seed: once, or twice and compared.
    fn run(&self, seed: u64, twice: bool) -> Result<(), Failure> {
        let first = self.attempt(seed, Keep::Notable, None)?;
        if !twice || self.attempt(seed, Keep::Notable, None)?.hash == first.hash {
            return Ok(());
        }
        let [left, right] =
            [(); 2].map(|()| self.attempt(seed, Keep::Everything, None).map(|trace| trace.transcript));
        let difference = left?.first_difference(&right?);
        let said = difference.map(|difference| difference.to_string());
        Err(Failure::NotDeterministic(said.unwrap_or_else(|| {
            "two runs gave different event logs, and two more with all records kept gave equal ones"
                .to_owned()
        })))
    }

    /// The faults that are enough for a failure, as a scenario file; none without faults.
    fn shrunk(&self, seed: u64, failure: &Failure) -> Option<(usize, usize, PathBuf)> {
        let scenario = &self.loaded.scenario;
        if scenario.faults.is_empty() || matches!(failure, Failure::NotDeterministic(_)) {
            return None;
        }
        let with = |faults: &[Fault]| Scenario { faults: faults.to_vec(), ..scenario.clone() };
        let mut runs = 0;
        let faults = minimal(&scenario.faults, |faults| {
            runs += 1;
            let mut loaded = self.loaded.clone();
            loaded.scenario = with(faults);
            let smaller = Test { loaded: &loaded, ..*self };
            let again = panics::silently(|| smaller.attempt(seed, Keep::Notable, None));
            runs <= SHRINKING_RUNS_MAX && again.is_err_and(|again| again.is_like(failure))
        });
        let directory = self.here.artifacts();
        std::fs::create_dir_all(&directory).ok()?;
        let file = directory.join(format!("seed-{seed}.yaml"));
        let from = Path::new(self.here.directory).join("scenario.yaml");
        save_scenario(&with(&faults), &from, &file).ok()?;
        Some((faults.len(), scenario.faults.len(), file))
    }

    /// Runs a failure once more with captures; none if it does not fail again.
    fn captured(&self, seed: u64, failure: &Failure) -> Option<PathBuf> {
        let directory = self.here.artifacts().join(format!("seed-{seed}"));
        let again = panics::silently(|| self.attempt(seed, Keep::Notable, Some(&directory)));
        again.err().filter(|again| again.is_like(failure)).map(|_| directory)
    }

    fn attempt(&self, seed: u64, keep: Keep, captures: Option<&Path>) -> Result<Trace, Failure> {
        let captures = captures.map(Path::to_owned);
        let start =
            Start { seed, limit: self.ready_within, captures: captures.clone(), keep, ..Start::default() };
        let (loaded, body) = (self.loaded.clone(), self.body.clone());
        let run = simulate(self.loaded.inputs.clone(), start, move |started| async move {
            run_in(started, loaded, captures, body).await?;
            let transcript = if keep == Keep::Everything {
                hopwise_engine::with_log(Transcript::of)
            } else {
                Transcript::default()
            };
            Ok(Trace { hash: hopwise_engine::trace_hash(), transcript })
        });
        run.map_err(|error| Failure::Simulation(error.to_string()))?
    }
}

/// The body beside the timeline of faults, which begins with it and is left to itself when the body ends.
async fn run_in<B, F>(
    started: Started,
    loaded: LoadedScenario,
    captures: Option<PathBuf>,
    body: B,
) -> Result<(), Failure>
where
    B: Fn(Lab) -> F,
    F: Future,
    F::Output: Outcome,
{
    if let Some(why) = unready(&started) {
        return Err(Failure::NotReady(why));
    }
    if let Some(directory) = &captures {
        capture_all(directory).map_err(|error| Failure::Simulation(error.to_string()))?;
    }
    let lab = Lab::new(started, loaded.inputs.clone());
    let body = Box::pin(panics::caught(body(lab.clone())));
    let faults = Box::pin(play_faults(lab.started(), &loaded));
    let ended = match select(body, faults).await {
        Either::Left((ended, _)) => ended,
        Either::Right((failures, body)) => match failures.into_iter().next() {
            Some(why) => return Err(Failure::Fault(why)),
            None => body.await,
        },
    };
    ended.map_err(Failure::Panicked)?.into_result().map_err(Failure::Returned)
}
