//! `hopwise run`: a scenario from its file to its report.
//!
//! The cluster starts and settles, the clients go to their places and learn the topics, then all of them produce and
//! fetch at the same time while the faults are played. Afterwards a client of its own reads every partition back.
//! What is reported follows from the clients' attempts, the records that were read back, and the hops that each
//! request took; see `measure`, `verify` and `bill`.

mod bill;
mod clients;
mod course;
mod faults;
mod identity;
mod journal;
mod load;
mod measure;
mod readiness;
mod sizes;
mod verify;
mod workload;

use std::path::PathBuf;
use std::time::Instant;

pub use load::{LoadedScenario, load_scenario};

use crate::report::run::RunReport;
use crate::simulate::{SimulationError, Start, simulate};
use course::Plan;

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
    let began = machine_time();
    let LoadedScenario { scenario, inputs } = loaded;
    let seed = options.seed.unwrap_or(scenario.seed);
    let start =
        Start { seed, limit: scenario.bounds.start.span().into(), captures: options.captures.clone() };
    let plan = Plan {
        seed,
        captures: options.captures,
        profile: inputs.profile.clone(),
        rejections: inputs.rejections.clone(),
        scenario,
    };
    let mut report = simulate(inputs, start, |started| course::run(started, plan))??;
    report.wall_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Ok(report)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run takes on this machine is reported, and nothing else depends on it"
)]
fn machine_time() -> Instant {
    Instant::now()
}
