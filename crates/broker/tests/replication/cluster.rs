//! Three brokers on a network of their own, without Kubernetes: each on a host that can lose its process, its power
//! or its network, with a disk that keeps what was synced.
//!
//! Each machine hangs on a router of its own; the routers are joined with one another, and each with the clients'. So a
//! machine can lose everybody, or other machines alone, or one of them, and keep its clients.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hopwise_broker::{Broker, BrokerStatus, Bugs, Disk, Environment, NodeConfig, StartParameters};
use hopwise_engine::{HostId, Span, host};
use hopwise_fabric::{Delay, Device, DeviceId, Fabric, LinkConfig, LinkId, Router, Stack};
use turmoil_fs::{Fs, FsConfig};

/// How many brokers there are.
pub const BROKERS: usize = 3;
/// The Kafka listener's port.
pub const KAFKA_PORT: u16 = 9092;
/// The Admin API's port.
pub const ADMIN_PORT: u16 = 9644;
/// One way between a host and its router.
const LINK_DELAY: Span = Span::from_micros(200);
/// One way between two routers.
const ROUTER_DELAY: Span = Span::from_micros(100);

/// A machine with one broker.
pub struct Machine {
    router: DeviceId,
    device: DeviceId,
    /// From the router.
    link: LinkId,
    disk: Fs,
    running: Option<HostId>,
    starts: u64,
}

/// The brokers, and a host for clients.
pub struct Cluster {
    seed: u64,
    bugs: Bugs,
    machines: Vec<Machine>,
    /// Between the routers of two machines, from the one with the smaller index.
    between: BTreeMap<(usize, usize), LinkId>,
    /// Where clients run.
    pub clients: HostId,
}

/// What may be done to a network, as a machine sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// Nothing gets out or in.
    Cut,
    /// The machine hears nobody, but is heard.
    Deaf,
    /// The machine is not heard, but hears.
    Mute,
    /// So large a share of packets is lost, 0 to 1.
    Loss(f64),
    /// Packets take so much longer.
    Slow(Span),
}

fn broker_ip(index: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, index as u8 + 1).into()
}

/// The addresses to bootstrap from.
pub fn bootstrap() -> Vec<(String, u16)> {
    (0..BROKERS).map(|index| (broker_ip(index).to_string(), KAFKA_PORT)).collect()
}

fn disk(seed: u64, slowest: Duration) -> Fs {
    let mut config = FsConfig::default();
    if slowest > Duration::ZERO {
        config.io_latency().min_latency(slowest / 10).max_latency(slowest);
    }
    Fs::builder().config(config).seed(seed).build()
}

fn yaml(index: usize) -> String {
    let ip = broker_ip(index);
    let seed = |index| format!("    - host: {{address: {}, port: 33145}}\n", broker_ip(index));
    let seeds: String = (0..BROKERS).map(seed).collect();
    format!(
        "redpanda:
  data_directory: /var/lib/redpanda/data
  empty_seed_starts_cluster: false
  admin: [{{name: internal, address: {ip}, port: {ADMIN_PORT}}}]
  kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  advertised_kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  rpc_server: {{address: {ip}, port: 33145}}
  advertised_rpc_api: {{address: {ip}, port: 33145}}
  seed_servers:
{seeds}"
    )
}

fn add_router(fabric: &mut Fabric, place: u8) -> DeviceId {
    let router = Router::new(vec![Ipv4Addr::new(10, 0, 255, place).into()]);
    fabric.add(format!("router-{place}"), Device::Router(router))
}

/// Adds a host and joins it to a router.
fn plug_in(fabric: &mut Fabric, router: DeviceId, name: &str, ip: IpAddr) -> (DeviceId, LinkId) {
    let device = fabric.add(name, Device::Host(Stack::new(vec![ip])));
    let joined = fabric.connect(router, device, LinkConfig::constant(LINK_DELAY));
    fabric.route(router, ip.into(), joined.first, None);
    (device, joined.link)
}

/// Joins two routers, each with a host behind it.
fn join(fabric: &mut Fabric, first: (DeviceId, IpAddr), second: (DeviceId, IpAddr)) -> LinkId {
    let joined = fabric.connect(first.0, second.0, LinkConfig::constant(ROUTER_DELAY));
    fabric.route(first.0, second.1.into(), joined.first, None);
    fabric.route(second.0, first.1.into(), joined.second, None);
    joined.link
}

/// How a link is, one way, with this trouble; `outwards` is the way from the machine that has it.
fn troubled(delay: Span, trouble: Option<Trouble>, outwards: bool) -> LinkConfig {
    let mut config = LinkConfig::constant(delay);
    match trouble {
        Some(Trouble::Cut) => config.cut = true,
        Some(Trouble::Deaf) => config.cut = !outwards,
        Some(Trouble::Mute) => config.cut = outwards,
        Some(Trouble::Loss(share)) => config.loss = share,
        Some(Trouble::Slow(by)) => config.delay = Delay::Constant(delay + by),
        None => {}
    }
    config
}

/// Troubles a link, or heals it; the machine that has the trouble is at its first end, or at its second.
fn trouble_link(link: LinkId, delay: Span, trouble: Option<Trouble>, machine_is_first: bool) {
    hopwise_fabric::with(|fabric| {
        for reverse in [false, true] {
            let config = troubled(delay, trouble, machine_is_first != reverse);
            fabric.change_link(link, reverse, |link| *link = config);
        }
    });
}

impl Cluster {
    /// Builds the network and starts every broker; `slowest` is how long each disk may take for a sync.
    pub fn start(seed: u64, bugs: Bugs, slowest: [Duration; BROKERS]) -> Cluster {
        let mut fabric = Fabric::new();
        let machines: Vec<Machine> = (0..BROKERS)
            .map(|index| {
                let router = add_router(&mut fabric, index as u8 + 1);
                let name = format!("machine-{index}");
                let (device, link) = plug_in(&mut fabric, router, &name, broker_ip(index));
                let disk = disk(seed ^ (index as u64) << 32, slowest[index]);
                Machine { router, device, link, disk, running: None, starts: 0 }
            })
            .collect();
        let clients = host::create("clients");
        let clients_router = add_router(&mut fabric, 0);
        let clients_ip = Ipv4Addr::new(10, 0, 1, 1).into();
        let (device, _) = plug_in(&mut fabric, clients_router, "clients", clients_ip);
        let mut between = BTreeMap::new();
        let ends: Vec<_> =
            machines.iter().zip(0..).map(|(it, index)| (it.router, broker_ip(index))).collect();
        for first in 0..BROKERS {
            join(&mut fabric, ends[first], (clients_router, clients_ip));
            for second in first + 1..BROKERS {
                between.insert((first, second), join(&mut fabric, ends[first], ends[second]));
            }
        }
        fabric.attach(clients, device);
        hopwise_fabric::install(fabric);
        let mut cluster = Cluster { seed, bugs, machines, between, clients };
        (0..BROKERS).for_each(|index| cluster.start_broker(index));
        cluster
    }

    /// Starts the broker of a machine, unless it runs.
    pub fn start_broker(&mut self, index: usize) {
        let (seed, bugs) = (self.seed, self.bugs);
        let machine = &mut self.machines[index];
        if machine.running.is_some() {
            return;
        }
        machine.starts += 1;
        let own = host::create(&format!("broker-{index}.{}", machine.starts));
        hopwise_fabric::with(|fabric| fabric.attach(own, machine.device));
        let parameters = StartParameters {
            config: NodeConfig::parse(&yaml(index), None).expect("the configuration is sound"),
            volume: Disk::Simulated(machine.disk.clone()),
            clock: Arc::new(hopwise_engine::clock::unix_ms),
            seed: seed.wrapping_mul(1_000).wrapping_add(machine.starts * 10 + index as u64),
            status: BrokerStatus::new(),
            environment: Environment::default(),
        };
        host::spawn_on(own, async move {
            let ended = Broker::start_with_bugs(parameters, bugs).await;
            let error = ended.expect_err("a broker does not end by itself");
            hopwise_engine::notable("broker.ended", format!("broker-{index}"), error.to_string());
        });
        machine.running = Some(own);
    }

    /// Kills the broker's process; the kernel closes its connections, and the disk keeps all that was written.
    pub fn kill(&mut self, index: usize) {
        if let Some(own) = self.machines[index].running.take() {
            hopwise_fabric::with(|fabric| fabric.kill_host(own));
        }
    }

    /// Cuts a machine's power: nobody hears of it, and its disk keeps what was synced.
    pub fn power_off(&mut self, index: usize) {
        let machine = &mut self.machines[index];
        machine.running = None;
        let name = format!("machine-{index}");
        hopwise_fabric::with(|fabric| {
            fabric.kill_hosts_silently(machine.device);
            // Connections and listeners go with the memory: the machine comes back as another device.
            fabric.remove(machine.device);
            (machine.device, machine.link) = plug_in(fabric, machine.router, &name, broker_ip(index));
        });
        machine.disk.crash();
    }

    /// Troubles a machine's link to everybody, or heals it.
    pub fn link(&mut self, index: usize, trouble: Option<Trouble>) {
        // The first end of each link is the router.
        trouble_link(self.machines[index].link, LINK_DELAY, trouble, false);
    }

    /// Troubles the network between two machines, as the first sees it, or heals it. Clients reach both.
    pub fn link_between(&mut self, index: usize, other: usize, trouble: Option<Trouble>) {
        let link = self.between[&(index.min(other), index.max(other))];
        trouble_link(link, ROUTER_DELAY, trouble, index < other);
    }

    /// Troubles the network between a machine and all others, or heals it. Clients reach all.
    pub fn link_to_brokers(&mut self, index: usize, trouble: Option<Trouble>) {
        for other in (0..BROKERS).filter(|other| *other != index) {
            self.link_between(index, other, trouble);
        }
    }
}
