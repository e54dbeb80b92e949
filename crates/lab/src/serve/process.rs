//! One served broker as a process: started, killed, started again on the same addresses.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hopwise_broker::{
    BootstrapUser, Broker, BrokerError, BrokerStatus, Disk, Environment, Files, Listener, MemoryFiles,
    NodeConfig, Processor, StartParameters,
};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use turmoil_fs::Fs;

use super::disk::{DiskChange, ServedDisk};
use super::links::Links;
use super::planned::PlannedBroker;
use super::relay::Relay;

/// From one look for relays that do not listen yet to the next.
const RELAYS_WITHIN: Duration = Duration::from_millis(5);

/// A broker that is served.
pub(super) struct Process {
    /// `namespace/name` of its pod.
    pub pod: String,
    /// Its configuration, with the addresses that it is served on.
    pub config: NodeConfig,
    /// Its first users.
    pub users: Vec<BootstrapUser>,
    /// The state of the last start.
    pub status: BrokerStatus,
    /// The configuration that it is started with.
    bound: NodeConfig,
    simulated: Option<Fs>,
    volume: Disk,
    disk: Arc<ServedDisk>,
    environment: Environment,
    /// How far its machine's clock is ahead, milliseconds.
    clock_ahead_ms: Arc<AtomicI64>,
    relays: Vec<Relay>,
    task: Option<JoinHandle<BrokerError>>,
    relaying: JoinSet<()>,
}

/// Where a broker's data is kept.
#[derive(Clone, Copy)]
pub(super) enum Data<'a> {
    /// In memory.
    Memory,
    /// On a simulated disk, which loses with the power what is not synced.
    Simulated,
    /// Below a directory of the machine.
    Directory(&'a Path),
}

/// Where a broker is served and from what.
pub(super) struct Surroundings<'a> {
    /// Its place among the brokers.
    pub place: usize,
    /// Its configuration, with the addresses that it is served on.
    pub config: NodeConfig,
    /// Where data is kept.
    pub data: Data<'a>,
    /// The files of certificates.
    pub files: Files,
    /// Where its listeners are if there are relays in front of them, in their order, and the ways between the relays.
    pub behind: Option<(Vec<SocketAddr>, Arc<Links>)>,
}

impl Process {
    /// A broker that is not started.
    pub fn new(broker: &PlannedBroker, surroundings: Surroundings<'_>) -> Process {
        let Surroundings { place, config, data, files, behind } = surroundings;
        let pod = broker.pod.clone();
        let disk = Arc::new(ServedDisk::new(broker.capacity_bytes, seed()));
        let simulated = matches!(data, Data::Simulated).then(|| Fs::builder().seed(seed()).build());
        let kept = match (data, &simulated) {
            (Data::Directory(directory), _) => Disk::Machine(directory.join(pod.replace('/', "_"))),
            (_, Some(fs)) => Disk::Simulated(fs.clone()),
            (_, None) => Disk::Memory(MemoryFiles::default()),
        };
        let volume = Disk::Troubled(Box::new(kept), Arc::<ServedDisk>::clone(&disk));
        // A channel whose sender is gone keeps its value.
        let users = watch::channel(broker.users.clone()).1;
        // Relays ask whose a connection is.
        let processor = match behind {
            Some(_) => Processor::of_origin(u32::try_from(place).unwrap_or(u32::MAX)),
            None => Processor::default(),
        };
        let (bound, relays) = match behind {
            Some((addresses, links)) => relayed(place, &config, &addresses, &links),
            None => (config.clone(), Vec::new()),
        };
        Process {
            pod,
            config,
            users: broker.users.clone(),
            status: BrokerStatus::new(),
            bound,
            simulated,
            volume,
            disk,
            environment: Environment { files, users, processor },
            clock_ahead_ms: Arc::default(),
            relays,
            task: None,
            relaying: JoinSet::new(),
        }
    }

    /// Starts it unless it runs.
    pub fn start(&mut self) {
        if self.task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.status = BrokerStatus::new();
        // A process that is started is neither stopped nor slowed.
        self.environment.processor.slow(1);
        self.environment.processor.resume();
        let ahead_ms = Arc::clone(&self.clock_ahead_ms);
        let parameters = StartParameters {
            config: self.bound.clone(),
            volume: self.volume.clone(),
            clock: Arc::new(move || unix_ms().saturating_add(ahead_ms.load(Ordering::Relaxed))),
            seed: seed(),
            status: self.status.clone(),
            environment: self.environment.clone(),
        };
        let broker = async move {
            match Broker::start(parameters).await {
                Ok(never) => match never {},
                Err(error) => error,
            }
        };
        self.task = Some(tokio::spawn(self.environment.processor.scheduled(broker)));
        for relay in &self.relays {
            self.relaying.spawn(relay.clone().run());
        }
    }

    /// Whether clients reach all of its listeners: it is ready, and so are the relays in front of it.
    pub fn is_open(&self) -> bool {
        self.status.ready() && self.relays.iter().all(Relay::is_open)
    }

    /// Waits until clients reach all of its listeners.
    pub async fn wait_open(&self) {
        self.status.wait_ready().await;
        while !self.is_open() {
            sleep(RELAYS_WITHIN).await;
        }
    }

    /// Stops the process (SIGSTOP): its sockets stay, and nothing is answered.
    pub fn hang(&self) {
        self.environment.processor.stop();
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.environment.processor.resume();
    }

    /// Lets everything that it does take `times` as long.
    pub fn slow(&self, times: u32) {
        self.environment.processor.slow(times);
    }

    /// Sets how far its machine's clock is ahead, milliseconds; below zero it is behind.
    pub fn set_clock(&self, ahead_ms: i64) {
        self.clock_ahead_ms.store(ahead_ms, Ordering::Relaxed);
    }

    /// Changes its disk.
    pub fn change_disk(&self, change: &DiskChange) {
        self.disk.change(change);
    }

    /// Ends the process and waits until its ports are closed. What it has written stays, synced or not.
    pub async fn kill(&mut self) {
        self.relaying.shutdown().await;
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
        if let Some(volume) = &self.simulated {
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

/// The configuration behind relays, and the relays.
fn relayed(
    broker: usize,
    config: &NodeConfig,
    addresses: &[SocketAddr],
    links: &Arc<Links>,
) -> (NodeConfig, Vec<Relay>) {
    let shown: Vec<SocketAddr> = config.listeners().iter().map(|listener| listener.bind).collect();
    let pairs: Vec<(SocketAddr, SocketAddr)> = shown.into_iter().zip(addresses.iter().copied()).collect();
    let place = |listener: &Listener| {
        let behind = pairs.iter().find(|(shown, _)| *shown == listener.bind);
        behind.map_or(listener.bind, |(_, behind)| *behind)
    };
    let relay = |(shown, behind): &(SocketAddr, SocketAddr)| Relay::new(*shown, *behind, broker, links);
    (config.behind(&place), pairs.iter().map(relay).collect())
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
