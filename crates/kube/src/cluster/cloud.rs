//! The cloud controller: an instance for each Service of type LoadBalancer.
//!
//! On managed profiles every such Service gets an instance; on bare metal only those that the cluster file
//! declares, and the others stay pending (kubernetes.md 3, 6.5). An instance checks the nodes' health over the
//! network and sends new connections to the healthy ones.
//! Left out: packets that are delivered with the balancer's own address as destination (they go to the node
//! port instead), zones of the instances themselves.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use hopwise_engine::{HostId, Span, host};
use hopwise_fabric::nat::rules::Protocol;
use hopwise_fabric::net::TcpListener;
use hopwise_fabric::{
    BalancerConfig, Device, DeviceId, Idle, LoadBalancer, NoTarget, ProxyConfig, SourceAddress, Targets,
    run_proxy,
};
use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceStatus};

use super::health_check::{self, Check};
use super::state::Shared;
use super::timing;
use crate::cluster_file::{self, ClusterFile};
use crate::controllers::service_defaults::{needs_health_check_port, service_type};
use crate::profile::{self, HealthPort, Ingress, IpMode};
use crate::proxy::ServiceName;
use crate::store::Kind;

/// The annotation with the address behind a published host name, as the internet's DNS has it.
const ADDRESS_ANNOTATION: &str = "hopwise.io/load-balancer-address";
/// The first address of load balancers (TEST-NET-3, RFC 5737).
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// A load balancer of a Service.
pub struct Instance {
    /// Its device.
    pub device: DeviceId,
    address: IpAddr,
    host: HostId,
    /// How many nodes are healthy.
    pub healthy: usize,
    targets: BTreeMap<(u16, Protocol), Port>,
}

struct Port {
    node_port: u16,
    /// For a proxy, the list that its program reads.
    proxied: Option<Targets>,
}

/// How one instance is set up.
struct Setup {
    address: IpAddr,
    is_proxy: bool,
    source: SourceAddress,
    ingress: LoadBalancerIngress,
}

/// Runs the cloud controller.
pub async fn run(shared: Rc<Shared>, cluster: Rc<ClusterFile>, profile: Rc<profile::LoadBalancer>) {
    let mut watch = shared.api.watch(&[Kind::Service]);
    let mut made = 0;
    loop {
        watch.next(timing::CONTROLLER_LAG).await;
        let services: Vec<Arc<Service>> = shared.api.read(|store| store.list().cloned().collect());
        for service in &services {
            let name = ServiceName::of(service);
            if service_type(service) != "LoadBalancer" || shared.balancers.borrow().contains_key(&name) {
                continue;
            }
            if let Some(setup) = setup_of(&name, &cluster, &profile, &mut made) {
                create(&shared, service, &name, setup, &profile);
            }
        }
        let gone = |name: &ServiceName| {
            !services.iter().any(|it| ServiceName::of(it) == *name && service_type(it) == "LoadBalancer")
        };
        let removed: Vec<Instance> = {
            let mut balancers = shared.balancers.borrow_mut();
            let names: Vec<ServiceName> = balancers.keys().filter(|name| gone(name)).cloned().collect();
            names.iter().filter_map(|name| balancers.remove(name)).collect()
        };
        for instance in removed {
            host::kill(instance.host);
            hopwise_fabric::with(|fabric| fabric.remove(instance.device));
        }
    }
}

fn setup_of(
    name: &ServiceName,
    cluster: &ClusterFile,
    profile: &profile::LoadBalancer,
    made: &mut u32,
) -> Option<Setup> {
    let declared = cluster
        .load_balancers
        .iter()
        .find(|it| it.service.namespace == name.namespace && it.service.name == name.name);
    if let Some(declared) = declared {
        return Some(Setup {
            address: declared.address,
            is_proxy: declared.kind == cluster_file::LoadBalancerKind::Proxy,
            source: match declared.source_address() {
                cluster_file::SourceAddress::Kept => SourceAddress::Client,
                cluster_file::SourceAddress::Rewritten => SourceAddress::Balancer,
            },
            ingress: ingress_ip(declared.address, IpMode::Vip),
        });
    }
    if !profile.managed.value {
        return None;
    }
    let address = IpAddr::V4((FIRST_ADDRESS.to_bits() + *made).into());
    *made += 1;
    let ingress = match profile.ingress.value {
        Ingress::Ip => ingress_ip(address, profile.ip_mode.value),
        Ingress::Hostname => LoadBalancerIngress {
            hostname: Some(format!("{}-{}.elb.hopwise.example", name.name, name.namespace)),
            ..LoadBalancerIngress::default()
        },
    };
    let is_proxy = profile.kind.value == profile::LoadBalancerKind::Proxy;
    let keeps = profile.keeps_source.value;
    let source = if keeps { SourceAddress::Client } else { SourceAddress::Balancer };
    Some(Setup { address, is_proxy, source, ingress })
}

fn ingress_ip(address: IpAddr, mode: IpMode) -> LoadBalancerIngress {
    let ip_mode = match mode {
        IpMode::Vip => "VIP",
        IpMode::Proxy => "Proxy",
    };
    LoadBalancerIngress {
        ip: Some(address.to_string()),
        ip_mode: Some(ip_mode.into()),
        ..LoadBalancerIngress::default()
    }
}

fn create(
    shared: &Rc<Shared>,
    service: &Service,
    name: &ServiceName,
    setup: Setup,
    profile: &Rc<profile::LoadBalancer>,
) {
    let label = format!("load balancer {name}");
    let host = host::create(&label);
    let idle_timeout = Span::from_secs(u64::from(profile.idle_timeout_s.value));
    let config = BalancerConfig {
        source: setup.source,
        no_target: NoTarget::Drop,
        tcp_idle_timeout: idle_timeout,
        idle: if profile.idle_reset.value { Idle::Reset } else { Idle::Drop },
        ..BalancerConfig::new(vec![setup.address])
    };
    let device = hopwise_fabric::with(|fabric| {
        let random = hopwise_engine::stream(&format!("load-balancer/{name}"));
        let device =
            fabric.add(label.as_str(), Device::LoadBalancer(Box::new(LoadBalancer::new(config, random))));
        shared.topology.borrow_mut().add_load_balancer(fabric, device, &[setup.address]);
        fabric.attach(host, device);
        device
    });
    let mut targets = BTreeMap::new();
    for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
        let (Ok(number), Some(node_port)) =
            (u16::try_from(port.port), port.node_port.and_then(|port| u16::try_from(port).ok()))
        else {
            continue;
        };
        let protocol = if port.protocol.as_deref() == Some("UDP") { Protocol::Udp } else { Protocol::Tcp };
        let listen = SocketAddr::new(setup.address, number);
        let proxied = (setup.is_proxy && protocol == Protocol::Tcp).then(Targets::default);
        match &proxied {
            Some(targets) => proxy_port(host, listen, targets.clone(), profile),
            None => {
                with_balancer(device, |balancer| balancer.add_listener(listen, protocol, label.as_str()));
            }
        }
        targets.insert((number, protocol), Port { node_port, proxied });
    }
    shared
        .balancers
        .borrow_mut()
        .insert(name.clone(), Instance { device, address: setup.address, host, healthy: 0, targets });
    publish(shared, name, setup);
    host::spawn_on(shared.control_plane, check_targets(shared.clone(), name.clone(), host, profile.clone()));
}

fn proxy_port(host: HostId, listen: SocketAddr, targets: Targets, profile: &profile::LoadBalancer) {
    let idle = std::time::Duration::from_secs(u64::from(profile.idle_timeout_s.value));
    let config = ProxyConfig { idle_timeout: Some(idle), ..ProxyConfig::default() };
    host::spawn_on(host, async move {
        // An address that cannot be listened on is a mistake of this module, and shows as refused connections.
        if let Ok(listener) = TcpListener::bind(listen).await {
            let _ = run_proxy(listener, targets, config).await;
        }
    });
}

fn publish(shared: &Shared, name: &ServiceName, setup: Setup) {
    let object = format!("service {name}");
    hopwise_engine::notable("load_balancer.created", object, setup.address.to_string());
    let address = setup.address.to_string();
    // The Service may be deleted at this very moment; the next pass removes the instance then.
    let _ = shared.api.write(|store, now| {
        store.patch::<Service>(&name.namespace, &name.name, now, |service| {
            service.metadata.annotations.get_or_insert_default().insert(ADDRESS_ANNOTATION.into(), address);
            let load_balancer = Some(LoadBalancerStatus { ingress: Some(vec![setup.ingress]) });
            service.status = Some(ServiceStatus { load_balancer, ..ServiceStatus::default() });
        })
    });
}

/// Checks the nodes of one instance for as long as it exists.
async fn check_targets(
    shared: Rc<Shared>,
    name: ServiceName,
    host: HostId,
    profile: Rc<profile::LoadBalancer>,
) {
    let check = &profile.health_check;
    let seconds = |value: u32| std::time::Duration::from_secs(u64::from(value));
    tokio::time::sleep(seconds(profile.registration_delay_s.value)).await;
    let nodes: Vec<(String, IpAddr)> = {
        let topology = shared.topology.borrow();
        topology.nodes().filter_map(|(site, _)| Some((site.name.clone(), *site.addresses.first()?))).collect()
    };
    let mut streaks: BTreeMap<String, Streak> =
        nodes.iter().map(|(node, _)| (node.clone(), Streak::default())).collect();
    let mut interval = tokio::time::interval(seconds(check.interval_s.value));
    loop {
        interval.tick().await;
        let Some(probe) = probe_of(&shared, &name, &profile) else { return };
        let checks: Vec<_> = nodes
            .iter()
            .map(|(_, address)| host::spawn_on(host, health_check::perform(probe, *address)))
            .collect();
        for ((node, _), result) in nodes.iter().zip(checks) {
            let Ok(passed) = result.await else { return };
            let streak = streaks.entry(node.clone()).or_default();
            if streak.count(passed, check.healthy_threshold.value, check.unhealthy_threshold.value) {
                let kind = if streak.healthy {
                    "load_balancer.target_healthy"
                } else {
                    "load_balancer.target_unhealthy"
                };
                hopwise_engine::notable(kind, format!("load balancer {name}"), node.clone());
            }
        }
        let healthy: Vec<IpAddr> =
            nodes.iter().filter(|(node, _)| streaks[node].healthy).map(|(_, address)| *address).collect();
        set_targets(&shared, &name, &healthy);
    }
}

/// What is asked of each node; `None` when the instance is gone.
fn probe_of(shared: &Shared, name: &ServiceName, profile: &profile::LoadBalancer) -> Option<Check> {
    let balancers = shared.balancers.borrow();
    let instance = balancers.get(name)?;
    let service = shared.api.read(|store| store.get::<Service>(&name.namespace, &name.name).cloned())?;
    let spec = service.spec.as_ref()?;
    let is_local = needs_health_check_port(&service);
    let port = if is_local {
        profile.health_check.port_local.value
    } else {
        profile.health_check.port_cluster.value
    };
    let traffic = instance.targets.values().next()?.node_port;
    Some(match port {
        HealthPort::HealthCheckNodePort => {
            let port = spec.health_check_node_port.and_then(|port| u16::try_from(port).ok());
            Check::Http(port.unwrap_or(super::kube_proxy::HEALTHZ_PORT))
        }
        HealthPort::KubeProxy => Check::Http(super::kube_proxy::HEALTHZ_PORT),
        HealthPort::Traffic => Check::Connect(traffic),
    })
}

fn set_targets(shared: &Shared, name: &ServiceName, healthy: &[IpAddr]) {
    let mut balancers = shared.balancers.borrow_mut();
    let Some(instance) = balancers.get_mut(name) else { return };
    instance.healthy = healthy.len();
    for ((number, protocol), port) in &instance.targets {
        let targets: Vec<SocketAddr> =
            healthy.iter().map(|ip| SocketAddr::new(*ip, port.node_port)).collect();
        match &port.proxied {
            Some(list) => list.set(targets),
            None => {
                let listen = SocketAddr::new(instance.address, *number);
                with_balancer(instance.device, |balancer| balancer.set_targets(listen, *protocol, targets));
            }
        }
    }
}

/// Consecutive results of a target's checks.
#[derive(Default)]
struct Streak {
    healthy: bool,
    same: u32,
}

impl Streak {
    /// Counts a result; whether the target's health has changed by it.
    fn count(&mut self, passed: bool, healthy_threshold: u32, unhealthy_threshold: u32) -> bool {
        if passed == self.healthy {
            self.same = 0;
            return false;
        }
        self.same += 1;
        let threshold = if self.healthy { unhealthy_threshold } else { healthy_threshold };
        if self.same < threshold {
            return false;
        }
        (self.healthy, self.same) = (passed, 0);
        true
    }
}

fn with_balancer<R>(device: DeviceId, f: impl FnOnce(&mut LoadBalancer) -> R) -> Option<R> {
    hopwise_fabric::with(|fabric| match fabric.device_mut(device) {
        Some(Device::LoadBalancer(balancer)) => Some(f(balancer)),
        _ => None,
    })
}

/// The addresses by which a Service's load balancer is reached.
pub fn addresses_of(service: &Service) -> Vec<IpAddr> {
    let annotations = service.metadata.annotations.as_ref();
    let address =
        annotations.and_then(|all| all.get(ADDRESS_ANNOTATION)).and_then(|address| address.parse().ok());
    address.into_iter().collect()
}

/// The host names that a Service's load balancer has published, with their addresses.
pub fn published_names(service: &Service) -> Vec<(String, Vec<IpAddr>)> {
    let ingress =
        service.status.iter().filter_map(|status| status.load_balancer.as_ref()?.ingress.as_ref()).flatten();
    ingress.filter_map(|entry| Some((entry.hostname.clone()?, addresses_of(service)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_changes_after_as_many_equal_results_as_the_threshold() {
        let mut streak = Streak::default();
        let results = [true, true, false, true, true, true, false, false];
        let changes: Vec<bool> = results.into_iter().map(|passed| streak.count(passed, 3, 2)).collect();
        assert_eq!(changes, [false, false, false, false, false, true, false, true]);
        assert!(!streak.healthy);
    }
}
