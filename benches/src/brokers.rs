//! Brokers in virtual time on hosts around one router, with clients on a host of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hopwise_broker::{Broker, BrokerStatus, Disk, Environment, NodeConfig, StartParameters};
use hopwise_client::{Acks, Client, HostPort, Options, Record};
use hopwise_engine::{HostId, Simulation, Span, host};
use hopwise_fabric::{Device, Fabric, FabricWorld, LinkConfig, Router, Stack};
use turmoil_fs::Fs;

const KAFKA_PORT: u16 = 9092;
/// Between a host and the router that joins all hosts.
const LINK_DELAY: Span = Span::from_micros(100);
/// After a change the cluster is at rest within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

fn broker_ip(index: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, index as u8 + 1).into()
}

fn yaml(index: usize, brokers: usize) -> String {
    let ip = broker_ip(index);
    let seed = |index| format!("    - host: {{address: {}, port: 33145}}\n", broker_ip(index));
    let seeds: String = (0..brokers).map(seed).collect();
    format!(
        "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: false
  kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  advertised_kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  rpc_server: {{address: {ip}, port: 33145}}
  advertised_rpc_api: {{address: {ip}, port: 33145}}
  seed_servers:
{seeds}"
    )
}

/// Starts brokers on hosts of their own and waits until all are ready; gives a host for clients.
async fn start(brokers: usize) -> HostId {
    let mut fabric = Fabric::new();
    let middle = fabric.add("router", Device::Router(Router::new(vec![Ipv4Addr::new(10, 0, 255, 1).into()])));
    let mut hosts = Vec::new();
    for (index, name) in (0..=brokers).map(|index| (index, format!("host-{index}"))) {
        let ip = broker_ip(index);
        let device = fabric.add(name.clone(), Device::Host(Stack::new(vec![ip])));
        let joined = fabric.connect(middle, device, LinkConfig::constant(LINK_DELAY));
        fabric.route(middle, ip.into(), joined.first, None);
        let own = host::create(&name);
        fabric.attach(own, device);
        hosts.push(own);
    }
    hopwise_fabric::install(fabric);
    let clients = hosts.pop().expect("the last host is for clients");
    let mut started = Vec::new();
    for (index, own) in hosts.into_iter().enumerate() {
        let status = BrokerStatus::new();
        let parameters = StartParameters {
            config: NodeConfig::parse(&yaml(index, brokers), None).expect("a sound configuration"),
            volume: Disk::Simulated(Fs::builder().seed(index as u64).build()),
            clock: Arc::new(hopwise_engine::clock::unix_ms),
            seed: index as u64,
            status: status.clone(),
            environment: Environment::default(),
        };
        host::spawn_on(own, async move {
            Broker::start(parameters).await.expect_err("a broker runs").to_string()
        });
        started.push(status);
    }
    for status in started {
        status.wait_ready().await;
    }
    clients
}

fn client(brokers: usize, seed: u64) -> Client {
    let bootstrap =
        (0..brokers).map(|index| HostPort::new(broker_ip(index).to_string(), KAFKA_PORT)).collect();
    Client::new(Options { seed, ..Options::new(bootstrap) }).expect("there is a bootstrap list")
}

/// How long this thread has run so far. Source: Linux, Documentation/scheduler/sched-stats.rst.
fn run_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux tells how long a thread has run"))
}

/// Brokers at work.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many brokers, each on a host of its own.
    pub brokers: usize,
    /// Topics with three replicas, and how many partitions each has.
    pub topics: Vec<(String, i32)>,
    /// How many clients produce to the first topic.
    pub clients: usize,
    /// From one record of a client's to its next.
    pub every: Duration,
    /// The clients start evenly within this time.
    pub start_within: Duration,
    /// Virtual time that is measured.
    pub simulated: Duration,
}

/// What a load's virtual time took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// Wall time per second of virtual time.
    pub wall: Duration,
    /// The processor's time per second of virtual time, which does not depend on what else the machine does.
    pub processor: Duration,
}

impl Load {
    /// Lets time pass once the brokers and the clients are up.
    ///
    /// # Panics
    /// If a record is not acknowledged.
    #[expect(clippy::disallowed_methods, reason = "measures wall time")]
    pub fn run(self) -> Took {
        let simulated = self.simulated;
        let took = Simulation::new(1).run(FabricWorld, move || async move {
            let on = start(self.brokers).await;
            let (admin, topics) = (client(self.brokers, 0), self.topics.clone());
            let created = host::spawn_on(on, async move {
                for (topic, partitions) in &topics {
                    admin.create_topic(topic, *partitions, 3).await.expect("the topic is created");
                }
            });
            created.await.expect("runs");
            tokio::time::sleep(SETTLES_WITHIN).await;
            for index in 0..self.clients {
                let (topic, partitions) = self.topics[0].clone();
                let after = self.start_within * index as u32 / self.clients as u32;
                let client = client(self.brokers, index as u64 + 1);
                host::spawn_on(on, produce(client, topic, index as i32 % partitions, after, self.every));
            }
            tokio::time::sleep(self.start_within + SETTLES_WITHIN).await;
            let before = (Instant::now(), run_time());
            tokio::time::sleep(simulated).await;
            (before.0.elapsed(), run_time() - before.1)
        });
        hopwise_fabric::uninstall();
        let (wall, processor) = took.expect("ends");
        let per_second = |took: Duration| took.div_f64(simulated.as_secs_f64());
        Took { wall: per_second(wall), processor: per_second(processor) }
    }
}

/// Sends records of 100 bytes at a pace.
async fn produce(client: Client, topic: String, partition: i32, after: Duration, every: Duration) {
    tokio::time::sleep(after).await;
    let mut pace = tokio::time::interval(every);
    loop {
        pace.tick().await;
        let record = Record { value: Some(vec![b'x'; 100].into()), ..Record::default() };
        client.produce(&topic, partition, &[record], Acks::All).await.expect("the record is acknowledged");
    }
}
