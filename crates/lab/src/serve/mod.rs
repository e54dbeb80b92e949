//! `hopwise serve`: brokers in real time, on loopback sockets, for clients that are not simulated.
//!
//! The brokers are those that a cluster's manifests would start ([`planned`]), with every address replaced by one of
//! this machine ([`addresses`]); the code that runs is the one that runs in pods. Of Kubernetes nothing is left but the
//! names: there is no Service, no DNS, no kubelet that restarts a broker. A scenario's faults can be played on the
//! brokers' processes, their disks, and the ways between them and to their clients ([`timeline`]).

pub mod addresses;
pub mod admin;
mod certificates;
pub mod deed;
pub mod disk;
pub mod links;
pub mod planned;
mod play;
mod process;
mod relay;
#[cfg(test)]
mod tests;
pub mod timeline;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hopwise_broker::{Listener, Phase};
use hopwise_security::certificate::CertificateError;
use tokio::time::{Instant, sleep_until, timeout};

use crate::report::check::Api;
use crate::report::serve as report;
use addresses::{PortError, Ports};
use certificates::Certificates;
use links::Links;
use planned::PlannedBroker;
use process::{Data, Process, Surroundings};
use timeline::Step;

/// How long brokers may take until all of them are ready; on loopback it is less than a second.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// From one look for brokers that ended to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why brokers are not served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There are no ports.
    #[error(transparent)]
    Ports(#[from] PortError),
    /// There are no certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// A file cannot be written or read.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The data directory belongs to other brokers.
    #[error("{} is not a file of ports: {problem}; remove it, and the brokers get other ports", path.display())]
    PortFile {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A broker ended while it started.
    #[error("the broker of {pod} does not start: {reason}")]
    Start {
        /// Its pod.
        pod: String,
        /// Why.
        reason: String,
    },
    /// Brokers are not ready in time.
    #[error("not ready after {} s: {}", READY_WITHIN.as_secs(), unready.join(", "))]
    NotReady {
        /// Each broker and how far it has come.
        unready: Vec<String>,
    },
}

/// How brokers are served.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The address of all listeners.
    pub host: IpAddr,
    /// Their ports.
    pub ports: Ports,
    /// Where the brokers' data is kept, with the ports that they had; in memory if `None`.
    pub data: Option<PathBuf>,
    /// Whether there are relays in front of the listeners, through which faults of links act.
    pub relays: bool,
    /// Whether data in memory is on disks that lose, with the power, what is not synced.
    pub lose_power: bool,
}

/// The file in a data directory that holds the brokers' ports, so that clients find them again.
const PORT_FILE: &str = "ports.json";

/// Brokers that are being served.
pub struct Served {
    processes: Vec<Process>,
    links: Arc<Links>,
    ca: Option<PathBuf>,
    /// A directory that goes away with this.
    _temporary: Option<tempfile::TempDir>,
}

impl Served {
    /// Starts brokers and waits until all of them are ready. It needs a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// If an address is not to be had, or a broker does not become ready.
    pub async fn start(brokers: &[PlannedBroker], options: &ServeOptions) -> Result<Served, ServeError> {
        let data = options.data.as_deref();
        let ports = match (&options.ports, data) {
            (Ports::Free, Some(directory)) => remembered_ports(directory)?,
            (ports, _) => ports.clone(),
        };
        let configs = addresses::relocate(brokers, options.host, &ports, Path::new(certificates::DIRECTORY))?;
        if let Some(directory) = data {
            remember_ports(directory, &addresses::ports_of(&configs))?;
        }
        let now_s = u64::try_from(process::unix_ms() / 1000).unwrap_or_default();
        let certificates = Certificates::issue(options.host, now_s, process::seed())?;
        let with_tls = configs.iter().flat_map(|config| config.listeners()).any(|listener| listener.tls);
        let (ca, temporary) = match with_tls {
            true => hand_out(&certificates, data)?,
            false => (None, None),
        };
        let links = Arc::new(Links::new(process::seed()));
        let mut processes = Vec::new();
        for (place, (broker, config)) in brokers.iter().zip(configs).enumerate() {
            let behind = match options.relays {
                true => {
                    let free = addresses::free_addresses(options.host, config.listeners().len())?;
                    Some((free, Arc::clone(&links)))
                }
                false => None,
            };
            let files = certificates.files();
            let data = match (data, options.lose_power) {
                (Some(directory), _) => Data::Directory(directory),
                (None, true) => Data::Simulated,
                (None, false) => Data::Memory,
            };
            processes.push(Process::new(broker, Surroundings { place, config, data, files, behind }));
        }
        let mut served = Served { processes, links, ca, _temporary: temporary };
        served.processes.iter_mut().for_each(Process::start);
        let ready = timeout(READY_WITHIN, served.all_ready()).await;
        match ready {
            Ok(Ok(())) => Ok(served),
            Ok(Err(error)) => {
                served.stop().await;
                Err(error)
            }
            Err(_) => {
                let unready = served.unready();
                served.stop().await;
                Err(ServeError::NotReady { unready })
            }
        }
    }

    /// What is served.
    pub fn report(&self) -> report::ServeReport {
        let mut brokers: Vec<report::Broker> = self.processes.iter().map(broker_row).collect();
        brokers.sort_by_key(|broker| broker.id);
        let mut bootstrap: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for listener in brokers.iter().flat_map(|broker| &broker.listeners) {
            if listener.api == Api::Kafka {
                bootstrap.entry(listener.name.clone()).or_default().push(listener.address.clone());
            }
        }
        let bootstrap = bootstrap.into_iter().map(|(name, addresses)| (name, addresses.join(","))).collect();
        report::ServeReport { brokers, bootstrap, ca: self.ca.clone() }
    }

    /// Plays `steps`, and tells of every step and of every broker that ends by itself. It does not end.
    pub async fn run(&mut self, steps: &[Step], mut tell: impl FnMut(String)) {
        let start = Instant::now();
        let mut steps = steps.iter();
        let mut next = steps.next();
        loop {
            let wake = Instant::now() + LOOK_EVERY;
            match next {
                Some(step) if start + step.at <= wake => {
                    sleep_until(start + step.at).await;
                    self.play(step, &mut tell).await;
                    next = steps.next();
                }
                _ => sleep_until(wake).await,
            }
            for process in &mut self.processes {
                if let Some(reason) = process.failure().await {
                    tell(format!("the broker of {} ended: {reason}", process.pod));
                }
            }
        }
    }

    /// Ends every broker.
    pub async fn stop(&mut self) {
        for process in &mut self.processes {
            process.kill().await;
        }
    }

    async fn all_ready(&mut self) -> Result<(), ServeError> {
        loop {
            for process in &mut self.processes {
                if let Some(reason) = process.failure().await {
                    return Err(ServeError::Start { pod: process.pod.clone(), reason });
                }
            }
            let waiting = self.processes.iter().find(|process| !process.is_open());
            let Some(process) = waiting else { return Ok(()) };
            // A broker that fails does not become ready, so the wait is cut to look for one.
            let _ = timeout(LOOK_EVERY, process.wait_open()).await;
        }
    }

    fn unready(&self) -> Vec<String> {
        let phase = |process: &Process| match process.status.phase() {
            Phase::Stopped => "is not started",
            Phase::Joining => "has not found its cluster",
            Phase::Booting => "is opening its listeners",
            Phase::Ready => "is ready",
        };
        let unready = self.processes.iter().filter(|process| !process.status.ready());
        unready.map(|process| format!("the broker of {} {}", process.pod, phase(process))).collect()
    }
}

/// Gives clients the authority's certificate: in the data directory, or in a temporary one.
fn hand_out(
    certificates: &Certificates,
    data: Option<&Path>,
) -> Result<(Option<PathBuf>, Option<tempfile::TempDir>), ServeError> {
    let temporary = match data {
        Some(_) => None,
        None => {
            let made = tempfile::Builder::new().prefix("hopwise-serve-").tempdir();
            Some(made.map_err(|error| ServeError::File { path: std::env::temp_dir(), error })?)
        }
    };
    let directory = match (data, &temporary) {
        (Some(data), _) => data.join("tls"),
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => std::env::temp_dir(),
    };
    let ca = certificates.write_for_clients(&directory);
    let ca = ca.map_err(|error| ServeError::File { path: directory, error })?;
    Ok((Some(ca), temporary))
}

fn remembered_ports(directory: &Path) -> Result<Ports, ServeError> {
    let path = directory.join(PORT_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(ports) => Ok(Ports::These(ports)),
            Err(error) => Err(ServeError::PortFile { path, problem: error.to_string() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ports::Free),
        Err(error) => Err(ServeError::File { path, error }),
    }
}

fn remember_ports(directory: &Path, ports: &[u16]) -> Result<(), ServeError> {
    let path = directory.join(PORT_FILE);
    let text = serde_json::Value::from(ports).to_string();
    let written = std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, text));
    written.map_err(|error| ServeError::File { path, error })
}

fn broker_row(process: &Process) -> report::Broker {
    report::Broker {
        id: process.status.broker_id().unwrap_or(-1),
        pod: process.pod.clone(),
        listeners: process.config.listeners().iter().map(listener_row).collect(),
    }
}

fn listener_row(listener: &Listener) -> report::Listener {
    report::Listener {
        api: crate::check::facts::api(listener.api),
        name: listener.name.clone(),
        address: listener.bind.to_string(),
        tls: listener.tls,
        authentication: listener.authentication.to_string(),
    }
}
