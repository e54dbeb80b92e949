//! Three brokers on a network of their own, without Kubernetes: each on a host that can lose its process, its power
//! or its network, with a disk that keeps what was synced.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use hopwise_broker::{Broker, BrokerStatus, Bugs, Disk, Environment, NodeConfig, StartParameters};
use hopwise_engine::{HostId, Span, host};
use hopwise_fabric::{Device, DeviceId, Fabric, LinkConfig, LinkId, Router, Stack};
use turmoil_fs::{Fs, FsConfig};

/// How many brokers there are.
pub const BROKERS: usize = 3;
/// The Kafka listener's port.
pub const KAFKA_PORT: u16 = 9092;
/// One way between a host and the router in the middle.
const LINK_DELAY: Span = Span::from_micros(250);

/// A machine with one broker.
pub struct Machine {
    device: DeviceId,
    link: LinkId,
    disk: Fs,
    running: Option<HostId>,
    starts: u64,
}

/// The brokers, and a host for clients.
pub struct Cluster {
    seed: u64,
    bugs: Bugs,
    /// The router that joins all hosts.
    middle: DeviceId,
    machines: Vec<Machine>,
    /// Where clients run.
    pub clients: HostId,
}

/// What may be done to a link.
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
  admin: [{{name: internal, address: {ip}, port: 9644}}]
  kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  advertised_kafka_api: [{{name: internal, address: {ip}, port: {KAFKA_PORT}}}]
  rpc_server: {{address: {ip}, port: 33145}}
  advertised_rpc_api: {{address: {ip}, port: 33145}}
  seed_servers:
{seeds}"
    )
}

/// Adds a host and joins it to the router in the middle.
fn plug_in(fabric: &mut Fabric, middle: DeviceId, name: &str, ip: IpAddr) -> (DeviceId, LinkId) {
    let device = fabric.add(name, Device::Host(Stack::new(vec![ip])));
    let joined = fabric.connect(middle, device, LinkConfig::constant(LINK_DELAY));
    fabric.route(middle, ip.into(), joined.first, None);
    (device, joined.link)
}

impl Cluster {
    /// Builds the network and starts every broker; `slowest` is how long each disk may take for a sync.
    pub fn start(seed: u64, bugs: Bugs, slowest: [Duration; BROKERS]) -> Cluster {
        let mut fabric = Fabric::new();
        let router = Router::new(vec![Ipv4Addr::new(10, 0, 255, 1).into()]);
        let middle = fabric.add("router", Device::Router(router));
        let machines = (0..BROKERS).map(|index| {
            let (device, link) = plug_in(&mut fabric, middle, &format!("machine-{index}"), broker_ip(index));
            let disk = disk(seed ^ (index as u64) << 32, slowest[index]);
            Machine { device, link, disk, running: None, starts: 0 }
        });
        let machines = machines.collect();
        let clients = host::create("clients");
        let (device, _) = plug_in(&mut fabric, middle, "clients", Ipv4Addr::new(10, 0, 1, 1).into());
        fabric.attach(clients, device);
        hopwise_fabric::install(fabric);
        let mut cluster = Cluster { seed, bugs, middle, machines, clients };
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
        let (middle, name) = (self.middle, format!("machine-{index}"));
        hopwise_fabric::with(|fabric| {
            fabric.kill_hosts_silently(machine.device);
            // Connections and listeners go with the memory: the machine comes back as another device.
            fabric.remove(machine.device);
            (machine.device, machine.link) = plug_in(fabric, middle, &name, broker_ip(index));
        });
        machine.disk.crash();
    }

    /// Troubles a machine's link, or heals it.
    pub fn link(&mut self, index: usize, trouble: Option<Trouble>) {
        let link = self.machines[index].link;
        // The first end of each link is the router.
        for (reverse, outwards) in [(false, false), (true, true)] {
            hopwise_fabric::with(|fabric| {
                fabric.change_link(link, reverse, |config| {
                    *config = LinkConfig::constant(LINK_DELAY);
                    match trouble {
                        Some(Trouble::Cut) => config.cut = true,
                        Some(Trouble::Deaf) => config.cut = !outwards,
                        Some(Trouble::Mute) => config.cut = outwards,
                        Some(Trouble::Loss(share)) => config.loss = share,
                        Some(Trouble::Slow(by)) => {
                            config.delay = hopwise_fabric::Delay::Constant(LINK_DELAY + by)
                        }
                        None => {}
                    }
                });
            });
        }
    }
}
