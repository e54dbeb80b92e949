//! Brokers for people who have a suite of [turmoil] tests (feature `turmoil`).
//!
//! Inside a turmoil simulation every socket of the brokers and of [`client`](crate::client) is turmoil's, so whatever the
//! simulation does to messages and hosts is done to them. What turmoil does not have stays on the fabric: routes, hops,
//! NAT, load balancers, DNS servers. A host that is cut off by `partition` refuses connections there; one that is held by
//! `hold` leaves them waiting, as a dead node does.
//!
//! [turmoil]: https://docs.rs/turmoil

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hopwise_broker::{Broker, BrokerStatus, Disk, Environment, NodeConfig, StartParameters};
use hopwise_client::HostPort;
use hopwise_engine::clock::START_UNIX_MS;
use turmoil_fs::Fs;

/// The port of the Kafka API.
pub const KAFKA_PORT: u16 = 9092;
/// The port on which brokers find each other.
const RPC_PORT: u16 = 33145;

/// Brokers, one on each of the hosts `redpanda-0`, `redpanda-1` and so on of a turmoil simulation.
///
/// ```
/// # fn main() -> turmoil::Result {
/// let mut simulation = turmoil::Builder::new().simulation_duration(std::time::Duration::from_secs(60)).rng_seed(1).build();
/// let ready = hopwise::turmoil::Brokers::new(1).seed(1).join(&mut simulation);
/// simulation.client("client", async move {
///     ready[0].wait_ready().await;
///     let bootstrap = hopwise::client::HostPort::new("redpanda-0", hopwise::turmoil::KAFKA_PORT);
///     let client = hopwise::client::Client::new(hopwise::client::Options::new(vec![bootstrap]))?;
///     client.create_topic("orders", 1, 1).await?;
///     Ok(())
/// });
/// simulation.run()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Brokers {
    count: usize,
    seed: u64,
    advertised: BTreeMap<usize, HostPort>,
}

impl Brokers {
    /// This many brokers, which found a cluster together and advertise the names of their hosts.
    pub fn new(count: usize) -> Brokers {
        Brokers { count, seed: 0, advertised: BTreeMap::new() }
    }

    /// The brokers' randomness comes from this seed; turmoil's own comes from `turmoil::Builder::rng_seed`.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Brokers {
        self.seed = seed;
        self
    }

    /// The broker of this index advertises another address to Kafka clients than its host's name.
    #[must_use]
    pub fn advertise(mut self, index: usize, address: HostPort) -> Brokers {
        self.advertised.insert(index, address);
        self
    }

    /// The name of a broker's host.
    pub fn host(index: usize) -> String {
        format!("redpanda-{index}")
    }

    /// A broker's node configuration.
    pub fn config(&self, index: usize) -> NodeConfig {
        let host = Self::host(index);
        let own = HostPort::new(host.clone(), KAFKA_PORT);
        let HostPort { host: name, port } = self.advertised.get(&index).unwrap_or(&own);
        let seed = |index| format!("    - host: {{address: {}, port: {RPC_PORT}}}\n", Self::host(index));
        let seeds: String = (0..self.count).map(seed).collect();
        let yaml = format!(
            "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: false
  kafka_api: [{{name: internal, address: 0.0.0.0, port: {KAFKA_PORT}}}]
  advertised_kafka_api: [{{name: internal, address: {name:?}, port: {port}}}]
  admin: [{{name: internal, address: 0.0.0.0, port: 9644}}]
  rpc_server: {{address: 0.0.0.0, port: {RPC_PORT}}}
  advertised_rpc_api: {{address: {host}, port: {RPC_PORT}}}
  seed_servers:
{seeds}"
        );
        NodeConfig::parse(&yaml, None).expect("the configuration is written here")
    }

    /// What a broker is started with, on the volume that it had before.
    pub fn parameters(&self, index: usize, volume: Fs, status: BrokerStatus, start: u64) -> StartParameters {
        StartParameters {
            config: self.config(index),
            volume: Disk::Simulated(volume),
            clock: Arc::new(unix_ms),
            // Each start has numbers of its own, so that a broker does not make an id again.
            seed: self.seed.wrapping_mul(1 << 20).wrapping_add(start << 8 | index as u64),
            status,
            environment: Environment::default(),
        }
    }

    /// Adds the hosts to the simulation. A host that turmoil crashes or bounces comes back with what was synced to its
    /// volume. The statuses tell when each broker is ready, and outlive its restarts.
    pub fn join(self, simulation: &mut turmoil::Sim<'_>) -> Vec<BrokerStatus> {
        let mut statuses = Vec::new();
        for index in 0..self.count {
            let status = BrokerStatus::new();
            let volume = Fs::builder().seed(self.seed.wrapping_add(index as u64)).build();
            statuses.push(status.clone());
            let (brokers, starts) = (self.clone(), AtomicU64::new(0));
            simulation.host(Self::host(index), move || {
                let start = starts.fetch_add(1, Ordering::Relaxed);
                if start > 0 {
                    volume.crash();
                }
                let parameters = brokers.parameters(index, volume.clone(), status.clone(), start);
                async move {
                    match Broker::start(parameters).await {
                        Ok(never) => match never {},
                        Err(error) => Err(error.into()),
                    }
                }
            });
        }
        statuses
    }
}

/// The date in the simulation, which starts where hopwise's own do; turmoil's epoch is the machine's date unless its
/// builder says otherwise. Unix milliseconds.
fn unix_ms() -> i64 {
    match turmoil::sim_elapsed() {
        Some(elapsed) => START_UNIX_MS.saturating_add(elapsed.as_millis().try_into().unwrap_or(i64::MAX)),
        None => hopwise_engine::clock::unix_ms(),
    }
}
