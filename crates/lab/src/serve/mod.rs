//! `hopwise serve`: brokers in real time, on loopback sockets, for clients that are not simulated.
//!
//! The brokers are those that a cluster's manifests would start ([`planned`]), with every address replaced by one of
//! this machine ([`addresses`]); the code that runs is the one that runs in pods. Of Kubernetes nothing is left but the
//! names: there is no Service, no DNS, no kubelet that restarts a broker. A scenario's faults can be played on the
//! brokers' processes ([`timeline`]).

pub mod addresses;
pub mod planned;
mod process;
pub mod timeline;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use hopwise_broker::{Listener, Phase};
use tokio::time::{Instant, sleep_until, timeout};

use crate::report::check::Api;
use crate::report::serve as report;
use addresses::{PortError, Ports};
use planned::PlannedBroker;
use process::Process;
use timeline::{Action, Step};

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
}

/// Brokers that are being served.
pub struct Served {
    processes: Vec<Process>,
}

impl Served {
    /// Starts brokers and waits until all of them are ready. It needs a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// If an address is not to be had, or a broker does not become ready.
    pub async fn start(brokers: &[PlannedBroker], options: &ServeOptions) -> Result<Served, ServeError> {
        let configs = addresses::relocate(brokers, options.host, options.ports)?;
        let process = |(broker, config): (&PlannedBroker, _)| Process::new(broker.pod.clone(), config);
        let mut served = Served { processes: brokers.iter().zip(configs).map(process).collect() };
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
        report::ServeReport { brokers, bootstrap, ca: None }
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

    async fn play(&mut self, step: &Step, tell: &mut impl FnMut(String)) {
        let Some(process) = self.processes.get_mut(step.broker) else { return };
        let did = match step.action {
            Action::Kill => {
                process.kill().await;
                "killed"
            }
            Action::LosePower => {
                process.lose_power().await;
                "killed, and what it had not synced is lost"
            }
            Action::Start => {
                process.start();
                "started"
            }
        };
        tell(format!("{} s: {}: the broker of {} is {did}", step.at.as_secs_f64(), step.fault, process.pod));
    }

    async fn all_ready(&mut self) -> Result<(), ServeError> {
        loop {
            for process in &mut self.processes {
                if let Some(reason) = process.failure().await {
                    return Err(ServeError::Start { pod: process.pod.clone(), reason });
                }
            }
            let waiting = self.processes.iter().find(|process| !process.status.ready());
            let Some(process) = waiting else { return Ok(()) };
            // A broker that fails does not become ready, so the wait is cut to look for one.
            let _ = timeout(LOOK_EVERY, process.status.wait_ready()).await;
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
