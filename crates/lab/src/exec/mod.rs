//! `hopwise exec`: unmodified programs inside the simulated network, in real time.
//!
//! The cluster starts in virtual time; once it has settled, time goes on with the machine's clock. Each program runs in a
//! network namespace of its own, whose interface is tapped into the fabric at a place: it has the place's addresses, its
//! `/etc/resolv.conf` and `/etc/hosts`, and everything that it sends meets the names, Services, load balancers, NAT,
//! latencies and faults that the place has. Linux only.

mod etc;
mod pod_programs;
mod secrets;
mod session;

use std::io;
use std::path::PathBuf;

use futures_util::future::{Either, join_all, select};
use hopwise_engine::Pace;
use hopwise_kube::cluster::{Cluster, Place, PlaceError};
use hopwise_namespace::{Directory, NamespaceError};
use tokio::signal::unix::{SignalKind, signal};

use pod_programs::PodPrograms;
pub use pod_programs::{NoPodProgram, PodProgram};
pub use secrets::{NoSecretFiles, SecretFiles};
use session::{Session, SessionError};

use crate::dns::place_hint;
use crate::inputs::Inputs;
use crate::run::{LoadedScenario, play_faults};
use crate::simulate::{SimulationError, Start, Started, capture_all, simulate};

/// What is run, and where.
pub struct ExecOptions {
    /// The places; the command runs at each of them.
    pub places: Vec<Place>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// What pods run instead of what their images say.
    pub run: Vec<PodProgram>,
    /// Secrets that the command finds as files.
    pub secrets: Vec<SecretFiles>,
    /// The executable that plays the helpers' parts ([`hopwise_namespace::helper`]).
    pub executable: PathBuf,
    /// The seed.
    pub seed: u64,
    /// Where a capture of each device is written.
    pub captures: Option<PathBuf>,
    /// A scenario whose faults are played from the moment at which the command starts.
    pub faults: Option<LoadedScenario>,
}

/// Why a command was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The simulation came to nothing.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The place is not there.
    #[error("--from {place}: {error}{hint}")]
    Place {
        /// The place.
        place: Place,
        /// Why.
        error: PlaceError,
        /// What may have been meant.
        hint: String,
    },
    /// Two commands would stand at one place.
    #[error(
        "--from {0} is given twice: one address can be one namespace's only; name another place, such as external=203.0.113.7"
    )]
    Twice(Place),
    /// No namespace can be had.
    #[error("--from {place}: {error}")]
    Namespace {
        /// The place.
        place: Place,
        /// Why.
        error: NamespaceError,
    },
    /// The device or a helper process failed.
    #[error("the namespace of {place}: {error}")]
    Io {
        /// The place.
        place: Place,
        /// Why.
        error: io::Error,
    },
    /// A program is to run in a pod that is not there.
    #[error("--run {place}: no container of such a pod runs{hint}")]
    NoPod {
        /// The pod.
        place: Place,
        /// What may have been meant.
        hint: String,
    },
    /// The program of a pod cannot be run.
    #[error("--run {0}")]
    PodProgram(String),
    /// A Secret cannot be given to the command.
    #[error("--secret {0}")]
    Secret(String),
    /// The scenario's faults cannot be played.
    #[error("{0}")]
    Faults(String),
}

/// A program and its place.
struct Placed {
    place: Place,
    session: Session,
}

/// Starts the cluster, runs the command at each place, and gives the status of the first place's.
///
/// # Errors
/// [`ExecError`]; a command that fails is no error but a status.
pub fn exec(inputs: Inputs, options: ExecOptions) -> Result<u8, ExecError> {
    let pod_programs = PodPrograms::new(options.executable.clone(), &options.run);
    let start = Start {
        seed: options.seed,
        captures: options.captures.clone(),
        pace: Pace::VirtualThenWall,
        instead: Some(pod_programs.clone().instead()),
        ..Start::default()
    };
    simulate(inputs, start, move |started| run(started, options, pod_programs))?
}

async fn run(started: Started, options: ExecOptions, pod_programs: PodPrograms) -> Result<u8, ExecError> {
    if let Some(directory) = &options.captures {
        capture_all(directory)?;
    }
    if let Some(pod) = pod_programs.not_started().into_iter().next() {
        let (namespace, name) = pod;
        let place = Place::Pod { namespace, name };
        return Err(ExecError::NoPod { hint: place_hint(&started.cluster, &place), place });
    }
    let directories = secrets::directories(&started.cluster, &options.secrets).map_err(ExecError::Secret)?;
    let mut placed = Vec::new();
    for place in &options.places {
        placed.push(put(&started.cluster, place, &options, directories.clone()).await?);
    }
    hopwise_engine::keep_wall_time().await;
    pod_programs.start().await.map_err(ExecError::PodProgram)?;
    for it in &mut placed {
        it.session.start().map_err(|error| ExecError::Io { place: it.place.clone(), error })?;
    }
    let statuses = async {
        let ends = placed.iter_mut().map(async |it| {
            it.session.wait().await.map_err(|error| ExecError::Io { place: it.place.clone(), error })
        });
        join_all(ends).await.swap_remove(0)
    };
    let ended = Box::pin(until_ended(statuses));
    let Some(scenario) = &options.faults else { return ended.await };
    // The command decides when it is over; the timeline may be shorter or longer.
    match select(ended, Box::pin(play_faults(&started, scenario))).await {
        Either::Left((status, _)) => status,
        Either::Right((problems, _)) if !problems.is_empty() => Err(ExecError::Faults(problems.join("; "))),
        Either::Right((_, ended)) => ended.await,
    }
}

/// Waits for the statuses. SIGTERM ends the commands. SIGINT from the terminal is the commands' to hear, which it is sent to
/// as well; otherwise it ends them.
async fn until_ended(statuses: impl Future<Output = Result<u8, ExecError>>) -> Result<u8, ExecError> {
    /// 128 and the number of the signal.
    const INTERRUPTED: u8 = 130;
    const TERMINATED: u8 = 143;
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return statuses.await };
    let interrupted = async {
        while interrupt.recv().await.is_some() {
            if !hopwise_namespace::in_foreground() {
                return;
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        status = statuses => status,
        () = interrupted => Ok(INTERRUPTED),
        _ = terminate.recv() => Ok(TERMINATED),
    }
}

/// Puts the command at a place, not yet running.
async fn put(
    cluster: &Cluster,
    place: &Place,
    options: &ExecOptions,
    directories: Vec<Directory>,
) -> Result<Placed, ExecError> {
    let site = cluster.place(place, "exec").await;
    let site = site.map_err(|error| ExecError::Place {
        place: place.clone(),
        hint: place_hint(cluster, place),
        error,
    })?;
    let host_name = match place {
        Place::Pod { name, .. } | Place::Node(name) => name.clone(),
        Place::InCluster => hopwise_kube::cluster::CLIENT_POD.1.to_owned(),
        Place::External(_) => "external".to_owned(),
    };
    let command = options.command.clone();
    let session = Session::set_up(&options.executable, site.device, &host_name, command, directories);
    let session = session.map_err(|error| match error {
        SessionError::Taken(_) => ExecError::Twice(place.clone()),
        SessionError::Namespace(error) => ExecError::Namespace { place: place.clone(), error },
    })?;
    Ok(Placed { place: place.clone(), session })
}
