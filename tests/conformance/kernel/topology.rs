//! The network of the cases on the fabric.
//!
//! ```text
//! cl, cl2 --- router --- switch --- n1, n2, n3 --- their pods
//!               |
//!              lb
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hopwise_engine::{HostId, Span, host};
use hopwise_fabric::nat::rules::{Protocol, RuleSet};
use hopwise_fabric::net::TcpListener;
use hopwise_fabric::{
    BalancerConfig, Device, DeviceId, Fabric, FilterAction, FilterRule, Idle, LinkConfig, LinuxNode,
    LoadBalancer, NextHop, NodeConfig, PodLinks, PortIndex, ProxyConfig, Router, SourceAddress, Stack,
    Switch, Targets, run_proxy,
};
use ipnet::IpNet;
use tokio::io::AsyncWriteExt;

use super::file::{BalancerKind, Environment, File, IpMode, PodLink, Service, TargetMode};
use super::rules::pod_network;

/// How long the proxy waits for a target (linux.md 7).
const PROXY_CONNECT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// A network that stands, with its servers running.
pub struct Network {
    /// Everyone who can dial, by name.
    pub hosts: BTreeMap<String, HostId>,
}

struct Builder<'a> {
    file: &'a File,
    environment: &'a Environment,
    fabric: Fabric,
    router: DeviceId,
    switch: DeviceId,
    /// The router's port towards the switch.
    underlay: PortIndex,
    devices: BTreeMap<String, DeviceId>,
}

/// The mode of a load balancer address, as the API writes it.
pub fn ip_mode_text(mode: IpMode) -> &'static str {
    match mode {
        IpMode::Vip => "VIP",
        IpMode::Proxy => "Proxy",
    }
}

/// Builds the network in `environment`, with `rules` on the nodes and the load balancer of `service`, and starts the
/// servers.
pub fn build(
    file: &File,
    environment: &Environment,
    rules: &BTreeMap<String, RuleSet>,
    service: &Service,
) -> Network {
    let mut builder = Builder::new(file, environment);
    builder.add_clients();
    for (name, rules) in rules {
        builder.add_node(name, rules.clone());
    }
    builder.route_service(service);
    let balancer = service.lb_kind.filter(|kind| *kind != BalancerKind::D);
    if let Some(kind) = balancer {
        builder.add_balancer(kind, service);
    }
    let Builder { mut fabric, devices, .. } = builder;
    let mut hosts = BTreeMap::new();
    for (name, device) in &devices {
        let host = host::create(name);
        fabric.attach(host, *device);
        hosts.insert(name.clone(), host);
    }
    hopwise_fabric::install(fabric);
    serve(file, &hosts);
    if balancer == Some(BalancerKind::C) {
        run_proxies(file, service, hosts[BALANCER]);
    }
    Network { hosts }
}

const BALANCER: &str = "lb";

/// Name of the client number `index`.
pub fn client_name(index: usize) -> String {
    if index == 0 { "cl".into() } else { format!("cl{}", index + 1) }
}

/// Where the load balancer sends connections.
fn targets(file: &File, service: &Service) -> Vec<SocketAddr> {
    let target = |name: &String| match service.lb_target_mode {
        Some(TargetMode::Ip) => {
            let endpoint = service.endpoints.iter().find(|endpoint| endpoint.pod == *name);
            endpoint.map(|endpoint| SocketAddr::new(endpoint.ip, endpoint.port))
        }
        _ => Some(SocketAddr::new(*file.topology.nodes.get(name)?, service.node_port?)),
    };
    let names = service.lb_targets.iter().flatten();
    names
        .map(|name| target(name).unwrap_or_else(|| panic!("load balancer target {name} is unknown")))
        .collect()
}

/// The port on which the echo servers listen: the one that most endpoints have.
fn echo_port(file: &File) -> u16 {
    let mut counts = BTreeMap::<u16, usize>::new();
    for endpoint in file.services.values().flat_map(|service| &service.endpoints) {
        *counts.entry(endpoint.port).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map_or(8_080, |(port, _)| port)
}

/// Each listening pod tells whoever connects its name, and which address it sees.
fn serve(file: &File, hosts: &BTreeMap<String, HostId>) {
    let port = echo_port(file);
    for pod in &file.topology.listening_pods {
        let (name, address) = (pod.clone(), SocketAddr::new(file.topology.pods[pod].ip, port));
        host::spawn_on(hosts[pod], async move {
            let listener = TcpListener::bind(address).await.expect("the pod's port is free");
            while let Ok((mut stream, peer)) = listener.accept().await {
                let line = format!("{name} {peer}\n");
                host::spawn(async move {
                    // A client that is gone by now notices itself.
                    let _ = stream.write_all(line.as_bytes()).await;
                    let mut rest = Vec::new();
                    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
                });
            }
        });
    }
}

fn run_proxies(file: &File, service: &Service, on: HostId) {
    let targets = Targets::new(targets(file, service));
    let config = ProxyConfig {
        connect_timeout: PROXY_CONNECT_TIMEOUT,
        idle_timeout: None,
        attempts: 1,
        ..ProxyConfig::default()
    };
    for vip in &service.vips {
        let (address, targets) = (SocketAddr::new(vip.ip, service.port), targets.clone());
        host::spawn_on(on, async move {
            let listener = TcpListener::bind(address).await.expect("the proxy's port is free");
            run_proxy(listener, targets, config).await
        });
    }
}

impl<'a> Builder<'a> {
    fn new(file: &'a File, environment: &'a Environment) -> Self {
        let mut fabric = Fabric::new();
        let addresses = &file.topology.router;
        let router = Router::new(vec![addresses.underlay, addresses.external, addresses.lb_net]);
        let router = fabric.add("router", Device::Router(router));
        let switch = fabric.add("switch", Device::Switch(Switch::new()));
        let connection = fabric.connect(switch, router, cable());
        switch_mut(&mut fabric, switch).set_uplink(connection.first);
        // What the router has no route for is lost somewhere outside.
        let outside = fabric.add("outside", Device::Switch(Switch::new()));
        let exit = fabric.connect(router, outside, cable());
        fabric.route(router, everything(), exit.first, None);
        let underlay = connection.second;
        Builder { file, environment, fabric, router, switch, underlay, devices: BTreeMap::new() }
    }

    fn add_clients(&mut self) {
        for (index, address) in self.file.topology.client.iter().enumerate() {
            let name = client_name(index);
            let device = self.fabric.add(name.as_str(), Device::Host(Stack::new(vec![*address])));
            let connection = self.fabric.connect(device, self.router, cable());
            self.fabric.route(self.router, (*address).into(), connection.second, None);
            self.devices.insert(name, device);
        }
    }

    fn add_node(&mut self, name: &str, rules: RuleSet) {
        let address = self.file.topology.nodes[name];
        let random = hopwise_engine::stream(&format!("node/{name}"));
        let mut node = LinuxNode::new(self.node_config(name, address), random);
        node.set_rules(rules);
        node.filter_mut().rules = self.filter_rules();
        let device = self.fabric.add(name, Device::Node(Box::new(node)));
        let uplink = self.fabric.connect(device, self.switch, cable());
        switch_mut(&mut self.fabric, self.switch).learn(address, uplink.second);
        self.fabric.route(self.router, address.into(), self.underlay, None);
        self.fabric.route(self.router, pod_network(self.file, name), self.underlay, Some(address));
        self.fabric.route(device, everything(), uplink.first, Some(self.file.topology.router.underlay));
        for (other, address) in self.file.topology.nodes.iter().filter(|(other, _)| *other != name) {
            self.fabric.route(device, (*address).into(), uplink.first, None);
            self.fabric.route(device, pod_network(self.file, other), uplink.first, Some(*address));
        }
        self.devices.insert(name.into(), device);
        self.add_pods(name, device);
    }

    fn add_pods(&mut self, node: &str, device: DeviceId) {
        for (name, pod) in self.file.topology.pods.iter().filter(|(_, pod)| pod.node == node) {
            let stack = self.fabric.add(name.as_str(), Device::Host(Stack::new(vec![pod.ip])));
            let connection = self.fabric.connect(stack, device, cable());
            if let Some(Device::Node(node)) = self.fabric.device_mut(device) {
                node.add_pod(&[pod.ip], connection.second);
            }
            self.devices.insert(name.clone(), stack);
        }
    }

    fn node_config(&self, name: &str, address: IpAddr) -> NodeConfig {
        let pod_links = match self.environment.pod_link {
            PodLink::Ptp => PodLinks::PointToPoint,
            PodLink::Bridge => PodLinks::Bridge {
                addresses: vec![self.file.topology.pod_bridges[name]],
                netfilter: self.environment.br_nf != 0,
                hairpin: self.environment.hairpin != 0,
            },
        };
        NodeConfig {
            pod_links,
            // As in the measurements (linux.md 3, K08d, and 7).
            drop_invalid: false,
            limit_icmp: false,
            answers_return_to_router: self.environment.replyto != 0,
            ..NodeConfig::new(vec![address], vec![pod_network(self.file, name)])
        }
    }

    /// What drops packets on the way to pods that drop them.
    fn filter_rules(&self) -> Vec<FilterRule> {
        let services = self.file.services.values().filter(|service| service.drops());
        let dropping: BTreeSet<(IpAddr, u16)> = services
            .flat_map(|service| &service.endpoints)
            .map(|endpoint| (endpoint.ip, endpoint.port))
            .collect();
        let rule = |(address, port): (IpAddr, u16)| FilterRule {
            destinations: vec![address.into()],
            ports: vec![port..=port],
            ..FilterRule::new(FilterAction::Deny, "the pod drops the packets")
        };
        dropping.into_iter().map(rule).collect()
    }

    /// The router's routes for a cluster IP that the network routes, and for load balancers without an instance.
    fn route_service(&mut self, service: &Service) {
        let nodes = &self.file.topology.nodes;
        if let (Some(via), Some(address)) = (service.routed_via(), service.cluster_ip) {
            self.fabric.route(self.router, address.into(), self.underlay, Some(nodes[via]));
        }
        if service.lb_kind == Some(BalancerKind::D) {
            let names = service.lb_targets.iter().flatten();
            let hops: Vec<NextHop> =
                names.map(|name| NextHop { port: self.underlay, via: Some(nodes[name]) }).collect();
            let routes = self.fabric.device_mut(self.router).and_then(Device::routes_mut).expect("it routes");
            for vip in &service.vips {
                routes.insert_multipath(vip.ip.into(), hops.clone());
            }
        }
    }

    fn add_balancer(&mut self, kind: BalancerKind, service: &Service) {
        let mut addresses = vec![self.file.topology.lb];
        if kind == BalancerKind::C {
            // The proxy's sockets are bound to the service's addresses.
            addresses.extend(service.vips.iter().map(|vip| vip.ip));
        }
        let source = if kind == BalancerKind::B { SourceAddress::Client } else { SourceAddress::Balancer };
        let config = BalancerConfig { source, idle: Idle::Drop, ..BalancerConfig::new(addresses) };
        let mut balancer = LoadBalancer::new(config, hopwise_engine::stream("balancer"));
        if kind != BalancerKind::C {
            for vip in &service.vips {
                let address = SocketAddr::new(vip.ip, service.port);
                balancer.add_listener(address, Protocol::Tcp, BALANCER);
                balancer.set_targets(address, Protocol::Tcp, targets(self.file, service));
            }
        }
        let device = self.fabric.add(BALANCER, Device::from(balancer));
        let connection = self.fabric.connect(device, self.router, cable());
        self.fabric.route(device, everything(), connection.first, None);
        let own = service.vips.iter().map(|vip| vip.ip).chain([self.file.topology.lb]);
        for address in own {
            self.fabric.route(self.router, address.into(), connection.second, None);
        }
        if kind == BalancerKind::B
            && let Some(Device::Router(router)) = self.fabric.device_mut(self.router)
        {
            router.set_symmetric(connection.second, None);
        }
        self.devices.insert(BALANCER.into(), device);
    }
}

fn cable() -> LinkConfig {
    LinkConfig::constant(Span::from_micros(10))
}

fn everything() -> IpNet {
    "0.0.0.0/0".parse().expect("a network")
}

fn switch_mut(fabric: &mut Fabric, switch: DeviceId) -> &mut Switch {
    match fabric.device_mut(switch) {
        Some(Device::Switch(switch)) => switch,
        _ => panic!("the switch is a switch"),
    }
}
