//! How much virtual time a second of the machine's buys with brokers at work: a loaded cluster of three, and one of
//! nine that holds 1,000 idle partitions. Prints simulated seconds per wall second beside the goal; and per second of
//! the processor's, which is the same on a machine without other work.

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

/// Simulated seconds per second.
struct Rate {
    wall: f64,
    processor: f64,
}

/// How long this thread has run so far. Source: Linux, Documentation/scheduler/sched-stats.rst.
fn run_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("Linux tells how long a thread has run"))
}

/// The rate at which time passes once the brokers and the clients are up.
#[expect(clippy::disallowed_methods, reason = "measures wall time")]
fn rate(brokers: usize, topics: Vec<(String, i32)>, clients: usize, simulated: Duration) -> Rate {
    let took = Simulation::new(1).run(FabricWorld, move || async move {
        let on = start(brokers).await;
        let admin = client(brokers, 0);
        let created = host::spawn_on(on, async move {
            for (topic, partitions) in &topics {
                admin.create_topic(topic, *partitions, 3).await.expect("the topic is created");
            }
            topics
        });
        let topics = created.await.expect("runs");
        tokio::time::sleep(Duration::from_secs(5)).await;
        for index in 0..clients {
            let (topic, partitions) = topics[0].clone();
            host::spawn_on(on, produce(client(brokers, index as u64 + 1), topic, index as i32 % partitions));
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = (Instant::now(), run_time());
        tokio::time::sleep(simulated).await;
        (before.0.elapsed(), run_time() - before.1)
    });
    hopwise_fabric::uninstall();
    let (wall, processor) = took.expect("ends");
    let per = |took: Duration| simulated.as_secs_f64() / took.as_secs_f64();
    Rate { wall: per(wall), processor: per(processor) }
}

/// Sends records of 100 bytes at the pace at which 30 clients make 1,000 requests a second.
async fn produce(client: Client, topic: String, partition: i32) {
    let mut pace = tokio::time::interval(Duration::from_millis(30));
    loop {
        pace.tick().await;
        let record = Record { value: Some(vec![b'x'; 100].into()), ..Record::default() };
        client.produce(&topic, partition, &[record], Acks::All).await.expect("the record is acknowledged");
    }
}

fn print(what: &str, rate: &Rate, goal: u32) {
    let Rate { wall, processor } = rate;
    println!(
        "{what}: {wall:.0} simulated s per wall s (goal {goal}), {processor:.0} per s of the processor's"
    );
}

fn main() {
    let loaded = rate(3, vec![("orders".to_owned(), 30)], 30, Duration::from_secs(60));
    print("3 brokers, 30 partitions, 30 clients, 1,000 requests/s", &loaded, 50);
    let topics = (0..10).map(|index| (format!("topic-{index}"), 100)).collect();
    let idle = rate(9, topics, 0, Duration::from_secs(60));
    print("9 brokers, 1,000 idle partitions", &idle, 20);
}
