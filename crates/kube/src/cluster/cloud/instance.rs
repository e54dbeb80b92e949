//! One load balancer on the network: its devices, listeners and targets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_engine::{HostId, Span, host};
use hopwise_fabric::nat::rules::Protocol;
use hopwise_fabric::net::TcpListener;
use hopwise_fabric::{
    BalancerConfig, Device, DeviceId, Forwarding, Idle, LoadBalancer, NoTarget, ProxyConfig, SourceAddress,
    Targets, run_proxy,
};

use super::health::Registry;
use super::pool::{Listener, Member};
use super::setup::{Kind, Settings};
use crate::cluster::state::Shared;
use crate::cluster::topology::Membership;
use crate::proxy::ServiceName;

/// The load balancer of a Service.
pub struct Instance {
    /// How many targets are healthy.
    pub healthy: usize,
    /// How it is set up.
    pub settings: Settings,
    /// Its targets.
    pub registry: Registry,
    /// The nodes that have an endpoint of the Service.
    pub with_endpoints: BTreeSet<String>,
    /// Whether the Service's external traffic policy is Local.
    pub is_local: bool,
    /// Its devices: one, or one per zone; none for an address that a node has.
    pub fronts: Vec<Front>,
    /// The address that a node has.
    pub announced: Option<(IpAddr, Option<String>)>,
    /// Whether it is down.
    pub is_down: bool,
    /// How much longer than its settings say targets take to register.
    pub extra_registration: Span,
    /// The host from which targets are checked.
    pub host: HostId,
    /// The addresses that are published.
    pub published: Vec<IpAddr>,
}

/// A device of a load balancer.
pub struct Front {
    zone: Option<String>,
    address: IpAddr,
    device: DeviceId,
    host: HostId,
    listeners: BTreeMap<Listener, Open>,
}

/// A listener and what it was last given.
struct Open {
    /// For a proxy, the list that its program reads, and the program.
    proxied: Option<(Targets, tokio::task::JoinHandle<()>)>,
    targets: Vec<SocketAddr>,
}

impl Instance {
    /// Puts a load balancer with `addresses` (by zone, if it has one per zone) on the network.
    pub fn create(
        shared: &Shared,
        name: &ServiceName,
        settings: Settings,
        addresses: Vec<(Option<String>, IpAddr)>,
    ) -> Instance {
        let published: Vec<IpAddr> = addresses.iter().map(|(_, address)| *address).collect();
        let mut instance = Instance {
            healthy: 0,
            registry: Registry::default(),
            with_endpoints: BTreeSet::new(),
            is_local: false,
            fronts: Vec::new(),
            announced: None,
            is_down: false,
            extra_registration: Span::ZERO,
            host: shared.control_plane,
            published,
            settings,
        };
        if instance.settings.kind == Kind::L2 {
            let host = host::create(&format!("speakers of {name}"));
            hopwise_fabric::with(|fabric| {
                let device = shared.topology.borrow_mut().speakers(fabric);
                fabric.attach(host, device);
            });
            instance.announced = addresses.first().map(|(_, address)| (*address, None));
            instance.host = host;
            return instance;
        }
        for (zone, address) in addresses {
            instance.fronts.push(Front::create(shared, name, &instance.settings, zone, address));
        }
        if let Some(first) = instance.fronts.first() {
            instance.host = first.host;
        }
        instance
    }

    /// Takes it off the network.
    pub fn remove(self, shared: &Shared) {
        host::kill(self.host);
        self.fronts.iter().for_each(|front| host::kill(front.host));
        hopwise_fabric::with(|fabric| {
            let mut topology = shared.topology.borrow_mut();
            self.fronts.iter().for_each(|front| topology.remove_load_balancer(fabric, front.device));
            if let Some((address, _)) = self.announced {
                topology.announce(fabric, address, None);
            }
        });
    }

    /// Opens and closes listeners so that they are `wanted`.
    pub fn listen(&mut self, name: &ServiceName, wanted: &[Listener]) {
        for front in &mut self.fronts {
            front.listen(name, &self.settings, wanted);
        }
    }

    /// Gives each device the targets that receive its new flows; says which addresses have a healthy one.
    pub fn apply(&mut self) -> Vec<IpAddr> {
        self.healthy = self.registry.healthy_count();
        let mut with_targets = Vec::new();
        for front in &mut self.fronts {
            let in_reach = |member: &Member| {
                let zone = front.zone.as_deref();
                self.settings.cross_zone || zone.is_none_or(|zone| zone == member.zone)
            };
            if !self.registry.serving(false, in_reach).is_empty() {
                with_targets.push(front.address);
            }
            let members = self.registry.serving(self.settings.fails_open, in_reach);
            front.give(&members);
        }
        with_targets
    }

    /// Takes its devices down, or brings them up.
    pub fn set_down(&mut self, down: bool) {
        self.is_down = down;
        hopwise_fabric::with(|fabric| {
            self.fronts.iter().for_each(|front| fabric.cut_off(front.device, down));
        });
    }

    /// Ends all flows as those that were silent for too long.
    pub fn expire_flows(&self) {
        for front in &self.fronts {
            with_balancer(front.device, |balancer| balancer.forget_flows());
            for open in front.listeners.values() {
                if let Some((targets, _)) = &open.proxied {
                    targets.expire();
                }
            }
        }
    }

    /// Cuts off the flows to `target`.
    pub fn cut_off(&self, target: IpAddr) {
        for front in &self.fronts {
            with_balancer(front.device, |balancer| balancer.cut_off(target));
            for open in front.listeners.values() {
                if let Some((targets, _)) = &open.proxied {
                    targets.cut_off(target);
                }
            }
        }
    }
}

impl Front {
    fn create(
        shared: &Shared,
        name: &ServiceName,
        settings: &Settings,
        zone: Option<String>,
        address: IpAddr,
    ) -> Front {
        // The devices of all zones are one load balancer to whoever looks at a route.
        let label = format!("load balancer {name}");
        let host = host::create(&label);
        let config = config(settings, address);
        let stream = match &zone {
            Some(zone) => format!("load-balancer/{name}/{zone}"),
            None => format!("load-balancer/{name}"),
        };
        let device = hopwise_fabric::with(|fabric| {
            let random = hopwise_engine::stream(&stream);
            let device =
                fabric.add(label.as_str(), Device::LoadBalancer(Box::new(LoadBalancer::new(config, random))));
            let mut topology = shared.topology.borrow_mut();
            let is_direct = matches!(settings.kind, Kind::Dsr | Kind::Bgp);
            if is_direct || settings.network_returns || settings.is_internal {
                let is_returned_to = !is_direct && settings.network_returns;
                let membership = Membership { is_internal: settings.is_internal, is_returned_to };
                topology.add_member_load_balancer(fabric, device, &[address], membership);
            } else {
                topology.add_load_balancer(fabric, device, &[address]);
            }
            fabric.attach(host, device);
            device
        });
        Front { zone, address, device, host, listeners: BTreeMap::new() }
    }

    fn listen(&mut self, name: &ServiceName, settings: &Settings, wanted: &[Listener]) {
        let closed: Vec<Listener> =
            self.listeners.keys().filter(|it| !wanted.contains(it)).copied().collect();
        for listener in closed {
            match self.listeners.remove(&listener).and_then(|open| open.proxied) {
                Some((_, program)) => program.abort(),
                None => {
                    let address = SocketAddr::new(self.address, listener.0);
                    with_balancer(self.device, |balancer| balancer.remove_listener(address, listener.1));
                }
            }
        }
        for listener in wanted {
            if !self.listeners.contains_key(listener) {
                let open = self.open(name, settings, *listener);
                self.listeners.insert(*listener, open);
            }
        }
    }

    fn open(&self, name: &ServiceName, settings: &Settings, (number, protocol): Listener) -> Open {
        let address = SocketAddr::new(self.address, number);
        if settings.kind == Kind::Proxy && protocol == Protocol::Tcp {
            let targets = Targets::default();
            let program = host::spawn_on(self.host, proxy(address, targets.clone(), proxy_config(settings)));
            return Open { proxied: Some((targets, program)), targets: Vec::new() };
        }
        let label = match &self.zone {
            Some(zone) => format!("load balancer {name} in {zone}"),
            None => format!("load balancer {name}"),
        };
        with_balancer(self.device, |balancer| balancer.add_listener(address, protocol, label));
        Open { proxied: None, targets: Vec::new() }
    }

    fn give(&mut self, members: &[&Member]) {
        for (listener, open) in &mut self.listeners {
            let of = |member: &&Member| Some(SocketAddr::new(member.address, *member.ports.get(listener)?));
            let targets: Vec<SocketAddr> = members.iter().filter_map(of).collect();
            if targets == open.targets {
                continue;
            }
            open.targets.clone_from(&targets);
            match &open.proxied {
                Some((list, _)) => list.set(targets),
                None => {
                    let address = SocketAddr::new(self.address, listener.0);
                    with_balancer(self.device, |balancer| balancer.set_targets(address, listener.1, targets));
                }
            }
        }
    }
}

async fn proxy(address: SocketAddr, targets: Targets, config: ProxyConfig) {
    // An address that cannot be listened on is a mistake of this module, and shows as refused connections.
    if let Ok(listener) = TcpListener::bind(address).await {
        let _ = run_proxy(listener, targets, config).await;
    }
}

fn config(settings: &Settings, address: IpAddr) -> BalancerConfig {
    let is_direct = matches!(settings.kind, Kind::Dsr | Kind::Bgp);
    BalancerConfig {
        source: if settings.keeps_source { SourceAddress::Client } else { SourceAddress::Balancer },
        forwarding: if is_direct { Forwarding::Direct } else { Forwarding::Translated },
        no_target: NoTarget::Drop,
        // A router remembers nothing: each packet goes where its hash says (linux.md 7).
        tcp_idle_timeout: if settings.kind == Kind::Bgp { Span::ZERO } else { settings.idle_timeout },
        idle: settings.idle,
        ..BalancerConfig::new(vec![address])
    }
}

fn proxy_config(settings: &Settings) -> ProxyConfig {
    ProxyConfig {
        // One target per client, as in linux.md 7: a target that drops or refuses is a reset for its client.
        attempts: 1,
        idle_timeout: Some(Duration::from(settings.idle_timeout)),
        reset_idle: settings.idle == Idle::Reset,
        ..ProxyConfig::default()
    }
}

fn with_balancer<R>(device: DeviceId, f: impl FnOnce(&mut LoadBalancer) -> R) -> Option<R> {
    hopwise_fabric::with(|fabric| match fabric.device_mut(device) {
        Some(Device::LoadBalancer(balancer)) => Some(f(balancer)),
        _ => None,
    })
}
