//! `hopwise exec`: unmodified programs inside the simulated network, in real time.
//!
//! The cluster starts in virtual time; once it has settled, time goes on with the machine's clock. Each program runs in a
//! network namespace of its own, whose interface is tapped into the fabric at a place: it has the place's addresses, its
//! `/etc/resolv.conf` and `/etc/hosts`, and everything that it sends meets the names, Services, load balancers, NAT,
//! latencies and faults that the place has. Linux only.

mod etc;

use std::io;
use std::path::PathBuf;

use futures_util::future::{Either, join_all, select};
use hopwise_engine::Pace;
use hopwise_fabric::{DeviceId, NoTap, Tap};
use hopwise_kube::cluster::{Cluster, Place, PlaceError};
use hopwise_namespace::{Device, NamespaceError, Program, Setup};
use tokio::signal::unix::{SignalKind, signal};

use crate::dns::place_hint;
use crate::inputs::Inputs;
use crate::run::{LoadedScenario, play_faults};
use crate::simulate::{SimulationError, Start, Started, capture_all, simulate};

/// The interface's MTU in bytes: the fabric's hosts send no longer packets.
const MTU: u16 = 1500;
/// The longest packet that is read at once, in bytes; longer than any.
const PACKET_MAX: usize = 65_536;

/// The status of a command whose namespace was killed: 128 and the number of SIGKILL.
const KILLED: u8 = 137;

/// What is run, and where.
pub struct ExecOptions {
    /// The places; the command runs at each of them.
    pub places: Vec<Place>,
    /// The command and its arguments.
    pub command: Vec<String>,
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
    /// The scenario's faults cannot be played.
    #[error("{0}")]
    Faults(String),
}

/// A program, its place, and the two ends that packets are carried between.
struct Placed {
    place: Place,
    program: Program,
    device: Device,
    tap: Tap,
}

/// Starts the cluster, runs the command at each place, and gives the status of the first place's.
///
/// # Errors
/// [`ExecError`]; a command that fails is no error but a status.
pub fn exec(inputs: Inputs, options: ExecOptions) -> Result<u8, ExecError> {
    let start = Start {
        seed: options.seed,
        captures: options.captures.clone(),
        pace: Pace::VirtualThenWall,
        ..Start::default()
    };
    simulate(inputs, start, move |started| run(started, options))?
}

async fn run(started: Started, options: ExecOptions) -> Result<u8, ExecError> {
    if let Some(directory) = &options.captures {
        capture_all(directory)?;
    }
    let mut placed = Vec::new();
    for place in &options.places {
        placed.push(put(&started.cluster, place, &options).await?);
    }
    hopwise_engine::keep_wall_time().await;
    for it in &mut placed {
        it.program.start().map_err(|error| ExecError::Io { place: it.place.clone(), error })?;
    }
    let statuses = async {
        let mut statuses = join_all(placed.iter_mut().map(to_its_end)).await;
        statuses.swap_remove(0)
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

/// Waits for the statuses. SIGINT is the commands' to hear, from the terminal; SIGTERM ends them.
async fn until_ended(statuses: impl Future<Output = Result<u8, ExecError>>) -> Result<u8, ExecError> {
    /// 128 and the number of SIGTERM.
    const TERMINATED: u8 = 143;
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(_interrupt), Ok(mut terminate)) = signals else { return statuses.await };
    tokio::select! {
        status = statuses => status,
        _ = terminate.recv() => Ok(TERMINATED),
    }
}

/// Puts the command at a place, not yet running.
async fn put(cluster: &Cluster, place: &Place, options: &ExecOptions) -> Result<Placed, ExecError> {
    let site = cluster.place(place, "exec").await;
    let site = site.map_err(|error| ExecError::Place {
        place: place.clone(),
        hint: place_hint(cluster, place),
        error,
    })?;
    let tap = Tap::open(site.device).map_err(|NoTap| ExecError::Twice(place.clone()))?;
    let setup = setup(site.device, place, options.command.clone());
    let (program, device) = Program::set_up(&options.executable, &setup)
        .map_err(|error| ExecError::Namespace { place: place.clone(), error })?;
    Ok(Placed { place: place.clone(), program, device, tap })
}

/// What the command finds at the place.
fn setup(device: DeviceId, place: &Place, command: Vec<String>) -> Setup {
    let (addresses, resolver) = hopwise_fabric::with(|fabric| {
        let stack = fabric.device_mut(device).and_then(|device| device.stack_mut());
        (stack.map(|stack| stack.addresses().to_vec()).unwrap_or_default(), fabric.resolver(device))
    });
    let host_name = match place {
        Place::Pod { name, .. } | Place::Node(name) => name.clone(),
        Place::InCluster => hopwise_kube::cluster::CLIENT_POD.1.to_owned(),
        Place::External(_) => "external".to_owned(),
    };
    let files = etc::files(&host_name, &addresses, &resolver);
    Setup { host_name, addresses, mtu: MTU, files, command }
}

/// Carries packets until the command ends; its status.
async fn to_its_end(placed: &mut Placed) -> Result<u8, ExecError> {
    let Placed { place, program, device, tap } = placed;
    let ended = tokio::select! {
        status = program.wait() => status,
        error = carry(device, tap) => Err(error),
    };
    let status = ended.map_err(|error| ExecError::Io { place: place.clone(), error })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(KILLED))
}

/// Carries packets both ways until the device fails.
async fn carry(device: &Device, tap: &Tap) -> io::Error {
    let mut buffer = vec![0; PACKET_MAX];
    loop {
        let carried = tokio::select! {
            packet = tap.receive() => device.send(&packet),
            length = device.receive(&mut buffer) => length.map(|length| {
                // What the fabric does not carry (fragments, for instance) is lost on the way.
                let _ = tap.send(&buffer[..length]);
            }),
        };
        if let Err(error) = carried {
            return error;
        }
    }
}
