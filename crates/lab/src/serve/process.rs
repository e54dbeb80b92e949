//! One served broker as a process: started, killed, started again on the same addresses.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use hopwise_broker::{
    BootstrapUser, Broker, BrokerError, BrokerStatus, Disk, Environment, Files, NodeConfig, StartParameters,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use turmoil_fs::Fs;

/// A broker that is served.
pub(super) struct Process {
    /// `namespace/name` of its pod.
    pub pod: String,
    /// Its configuration, with the addresses that it is served on.
    pub config: NodeConfig,
    /// The state of the last start.
    pub status: BrokerStatus,
    volume: Disk,
    environment: Environment,
    task: Option<JoinHandle<BrokerError>>,
}

impl Process {
    /// A broker that is not started. Its data is in memory, or in a directory of its own below `data`.
    pub fn new(
        pod: String,
        config: NodeConfig,
        data: Option<&Path>,
        files: Files,
        users: Vec<BootstrapUser>,
    ) -> Process {
        let volume = match data {
            Some(directory) => Disk::Machine(directory.join(pod.replace('/', "_"))),
            None => Disk::Simulated(Fs::builder().seed(seed()).build()),
        };
        // A channel whose sender is gone keeps its value.
        let environment = Environment { files, users: watch::channel(users).1 };
        Process { pod, config, status: BrokerStatus::new(), volume, environment, task: None }
    }

    /// Starts it unless it runs.
    pub fn start(&mut self) {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.status = BrokerStatus::new();
        let parameters = StartParameters {
            config: self.config.clone(),
            volume: self.volume.clone(),
            clock: Arc::new(unix_ms),
            seed: seed(),
            status: self.status.clone(),
            environment: self.environment.clone(),
        };
        self.task = Some(tokio::spawn(async move {
            match Broker::start(parameters).await {
                Ok(never) => match never {},
                Err(error) => error,
            }
        }));
    }

    /// Ends the process and waits until its ports are closed. What it has written stays, synced or not.
    pub async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // An aborted task ends with an error that says so.
            let _ = task.await;
        }
    }

    /// The machine loses power: the process ends, and what it had not synced is lost. On the real machine's disk that
    /// cannot be shown, and only the process ends.
    pub async fn lose_power(&mut self) {
        self.kill().await;
        if let Disk::Simulated(volume) = &self.volume {
            volume.crash();
        }
    }

    /// Why it ended, if it has ended by itself.
    pub async fn failure(&mut self) -> Option<String> {
        let task = self.task.take_if(|task| task.is_finished())?;
        Some(match task.await {
            Ok(error) => error.to_string(),
            Err(error) => error.to_string(),
        })
    }
}

/// The time of day, milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "served brokers run in real time")]
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Another number at every call, so that a broker that is started again on the same data does not make the same ids
/// again.
#[expect(clippy::disallowed_methods, reason = "served brokers run in real time")]
pub(super) fn seed() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let own = u64::from(std::process::id()) << 32 | CALLS.fetch_add(1, Ordering::Relaxed);
    // The nanoseconds of a year-long run do not repeat; the process and the call tell apart what starts together.
    (since.as_nanos() as u64) ^ own.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
