//! One simulation of a cluster: the fabric is installed, the cluster starts and settles, then the caller's part runs.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::log::Keep;
use hopwise_engine::{Pace, Simulation, Span, Stalled};
use hopwise_fabric::{Fabric, FabricWorld};
use hopwise_kube::admission::Refused;
use hopwise_kube::cluster::{Cluster, ClusterSpec, Container, Process, Settled};
use hopwise_security::tls::{KeySink, log_keys_to, stop_logging_keys};

use crate::certificates;
use crate::inputs::Inputs;
use crate::limits::{Limits, Passed};
use crate::programs::{Brokers, LabPrograms};
use crate::scenario::{BrokerBug, ClusterBug};

/// How a cluster is brought up.
#[derive(Clone, Debug)]
pub struct Start {
    /// The seed.
    pub seed: u64,
    /// Virtual time in which everything should be ready.
    pub limit: Duration,
    /// Where a capture of each device is written, one pcapng file per device.
    pub captures: Option<PathBuf>,
    /// Which records of the event log stay in memory.
    pub keep: Keep,
    /// What the simulation may use.
    pub limits: Limits,
    /// How time passes.
    pub pace: Pace,
    /// The promise that brokers break, in builds with feature `bugs`.
    pub broker_bug: Option<BrokerBug>,
    /// The promise that the cluster breaks, in builds with feature `bugs`.
    pub cluster_bug: Option<ClusterBug>,
    /// What containers run instead of what their images hold.
    pub instead: Option<Instead>,
}

impl Default for Start {
    fn default() -> Self {
        Start {
            seed: 0,
            limit: Duration::from_secs(20 * 60),
            captures: None,
            keep: Keep::Notable,
            limits: Limits::default(),
            pace: Pace::Virtual,
            broker_bug: None,
            cluster_bug: None,
            instead: None,
        }
    }
}

/// Programs that containers run instead of what their images hold.
#[derive(Clone)]
pub struct Instead(Rc<ProcessOf>);

type ProcessOf = dyn Fn(&Container) -> Option<Process>;

impl Instead {
    /// `process` gives a container's program, or none for a container that runs its image's.
    pub fn new(process: impl Fn(&Container) -> Option<Process> + 'static) -> Instead {
        Instead(Rc::new(process))
    }

    /// A container's program.
    pub fn process(&self, container: &Container) -> Option<Process> {
        (self.0)(container)
    }
}

impl fmt::Debug for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Instead")
    }
}

/// A cluster that has settled.
pub struct Started {
    /// The cluster.
    pub cluster: Cluster,
    /// Its brokers.
    pub brokers: Brokers,
    /// How far it has come.
    pub settled: Settled,
    /// How long it was given.
    pub limit: Duration,
}

/// Why a simulation gave no result.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// It did not end.
    #[error(transparent)]
    Stalled(#[from] Stalled),
    /// It has used more than it may.
    #[error(transparent)]
    Limit(#[from] Passed),
    /// A capture cannot be written.
    #[error("captures in {}: {error}", path.display())]
    Capture {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// How long nothing may change until a cluster counts as stuck: longer than any back-off or health check that
/// could still bring news (load balancers check every 30 s and need three checks).
const QUIET: Duration = Duration::from_secs(310);

/// The longest simulation; what is not over by then never is.
const LIMIT: Span = Span::from_secs(30 * 86_400);

/// Starts the cluster of `inputs`, waits until it has settled, and runs `main` on it.
///
/// # Errors
/// If `main` cannot end, or captures cannot be written.
pub fn simulate<M, F>(inputs: Inputs, start: Start, main: M) -> Result<F::Output, SimulationError>
where
    M: FnOnce(Started) -> F + 'static,
    F: Future + 'static,
    F::Output: 'static,
{
    let installed = Installed::new();
    let captures = start.captures.clone();
    let simulation = Simulation::new(start.seed).pace(start.pace).keep(start.keep).limit(LIMIT);
    let result = simulation.run(FabricWorld, move || async move {
        let refused = inputs.rejections.iter().filter(|it| it.refused == Refused::Pods);
        let without_pods = refused.map(|it| it.object.clone()).collect();
        let programs =
            LabPrograms { bug: start.broker_bug, instead: start.instead, ..LabPrograms::default() };
        let brokers = programs.brokers.clone();
        let now_s = u64::try_from(hopwise_engine::clock::unix_ms() / 1000).unwrap_or(0);
        let domain = inputs.cluster.cluster_domain.trim_end_matches('.').to_owned();
        let mut manifests = inputs.manifests;
        let made = certificates::make(&manifests, &domain, hopwise_engine::seed(), now_s);
        manifests.secrets.extend(made.secrets);
        let spec = ClusterSpec {
            manifests,
            cluster: inputs.cluster,
            profile: inputs.profile,
            programs: Rc::new(programs),
            without_pods,
        };
        let cluster = start_cluster(spec, start.cluster_bug);
        let course = async {
            let settled = cluster.settle(QUIET, start.limit).await;
            main(Started { cluster, brokers, settled, limit: start.limit }).await
        };
        // Whoever sets no limit does without the looks.
        if start.limits == Limits::default() {
            return Ok(course.await);
        }
        tokio::select! {
            biased;
            output = course => Ok(output),
            passed = start.limits.passed() => Err(passed),
        }
    });
    let keys = stop_logging_keys();
    let fabric = installed.take();
    if let (Some(mut fabric), Some(path)) = (fabric, captures) {
        let finished = fabric.finish_captures().and(keys);
        finished.map_err(|error| SimulationError::Capture { path, error })?;
    }
    Ok(result??)
}

#[cfg(feature = "bugs")]
fn start_cluster(spec: ClusterSpec, bug: Option<ClusterBug>) -> Cluster {
    Cluster::start_with_bugs(spec, bug.map(ClusterBug::bugs).unwrap_or_default())
}

#[cfg(not(feature = "bugs"))]
fn start_cluster(spec: ClusterSpec, _: Option<ClusterBug>) -> Cluster {
    Cluster::start(spec)
}

/// A fabric that is this thread's for as long as this lives: a simulation that panics leaves none behind.
struct Installed;

impl Installed {
    fn new() -> Installed {
        let previous = hopwise_fabric::install(Fabric::new());
        assert!(previous.is_none(), "a fabric is installed already");
        Installed
    }

    fn take(self) -> Option<Fabric> {
        hopwise_fabric::uninstall()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        // The error of a run that gives no result is that of the run.
        let _ = stop_logging_keys();
        hopwise_fabric::uninstall();
    }
}

/// The file beside captures with the secrets of TLS connections (SSLKEYLOGFILE format), where there are any.
pub const KEY_LOG: &str = "tls-keys.log";

/// Starts a capture of every device into `directory`, one file per device, named after it. The secrets of TLS connections
/// that begin from then on go into [`KEY_LOG`] there.
///
/// # Errors
/// If the directory or a file cannot be made.
pub fn capture_all(directory: &PathBuf) -> Result<BTreeMap<String, PathBuf>, SimulationError> {
    let failed = |error| SimulationError::Capture { path: directory.clone(), error };
    std::fs::create_dir_all(directory).map_err(failed)?;
    log_keys_to(key_log(directory.join(KEY_LOG)).map_err(failed)?);
    hopwise_fabric::with(|fabric| {
        let mut files = BTreeMap::new();
        for (device, name) in fabric.device_names() {
            let path = directory.join(format!("{}.pcapng", name.replace(['/', ' '], "_")));
            let file = File::create(&path).map_err(failed)?;
            fabric.capture(device, Box::new(io::BufWriter::new(file))).map_err(failed)?;
            files.insert(name.to_string(), path);
        }
        Ok(files)
    })
}

/// Writes lines to a file, which is made with the first one; one that is left from before is removed.
fn key_log(path: PathBuf) -> io::Result<KeySink> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = None;
    Ok(Box::new(move |line| {
        let file = match &mut file {
            Some(file) => file,
            none => none.insert(File::create(&path)?),
        };
        writeln!(file, "{line}")
    }))
}
