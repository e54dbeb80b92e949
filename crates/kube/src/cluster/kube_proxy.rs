//! Each node's kube-proxy: learns of Services and slices in its own time, and writes the node's rules.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use hopwise_engine::{HostId, host};
use hopwise_fabric::DeviceId;

use super::api::Api;
use super::health_server::{self, Health};
use super::timing;
use super::topology::linux_node;
use super::watches::Changes;
use crate::proxy::{self, HealthCheck, NodeFacts, Proxy, ProxyInput, ServiceName};
use crate::store::{Action, Kind, Object, Store};

const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice];

/// Port of kube-proxy's own health endpoint (kubernetes.md 6.5).
pub const HEALTHZ_PORT: u16 = 10256;

/// Runs the kube-proxy of one node; its health ports are served by `machine`, a host on the node's own stack.
pub async fn run(api: Api, facts: NodeFacts, device: DeviceId, machine: HostId) {
    let addresses = facts.addresses.clone();
    hopwise_fabric::with(|fabric| linux_node(fabric, device).set_source_rules(proxy::source_rules(&facts)));
    let mut proxy = Proxy::new(facts);
    let mut servers = HealthServers { addresses, machine, running: BTreeMap::new() };
    servers.start(HEALTHZ_PORT, Health { service: None, local_endpoints: 1 });
    let mut watch = api.watch(KINDS);
    loop {
        let inputs = match watch.next(timing::PROXY_LAG).await {
            Changes::Some(changes) => {
                changes.into_iter().filter_map(|change| input_of(change.action, change.object)).collect()
            }
            Changes::All => api.read(everything),
        };
        let change = proxy.apply(inputs);
        hopwise_fabric::with(|fabric| {
            let node = linux_node(fabric, device);
            for key in change.removed {
                node.remove_rule(key);
            }
            for rule in change.put {
                node.set_rule(rule);
            }
        });
        servers.follow(proxy.health_checks());
        tokio::time::sleep(timing::PROXY_SYNC_PERIOD).await;
    }
}

fn input_of(action: Action, object: Object) -> Option<ProxyInput> {
    match (action, object) {
        (Action::Deleted, Object::Service(service)) => {
            Some(ProxyInput::ServiceGone(ServiceName::of(&service)))
        }
        (_, Object::Service(service)) => Some(ProxyInput::Service(service)),
        (Action::Deleted, Object::EndpointSlice(slice)) => {
            let name = slice.metadata.name.clone().unwrap_or_default();
            Some(ProxyInput::SliceGone { service: ServiceName::of_slice(&slice)?, slice: name })
        }
        (_, Object::EndpointSlice(slice)) => Some(ProxyInput::Slice(slice)),
        _ => None,
    }
}

fn everything(store: &Store) -> Vec<ProxyInput> {
    let services = store.list().cloned().map(ProxyInput::Service);
    services.chain(store.list().cloned().map(ProxyInput::Slice)).collect()
}

/// The health check servers of a node, by port.
struct HealthServers {
    addresses: Vec<IpAddr>,
    machine: HostId,
    running: BTreeMap<u16, Running>,
}

struct Running {
    health: Rc<RefCell<Health>>,
    task: tokio::task::JoinHandle<()>,
}

impl HealthServers {
    fn start(&mut self, port: u16, health: Health) {
        let health = Rc::new(RefCell::new(health));
        let addresses = self.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect();
        let task = host::spawn_on(self.machine, health_server::serve(addresses, health.clone()));
        self.running.insert(port, Running { health, task });
    }

    fn follow<'a>(&mut self, checks: impl Iterator<Item = &'a HealthCheck>) {
        let checks: BTreeMap<u16, Health> = checks
            .map(|check| {
                let service = Some(check.service.clone());
                (check.port, Health { service, local_endpoints: check.local_endpoints })
            })
            .collect();
        self.running.retain(|port, running| {
            let keep = *port == HEALTHZ_PORT || checks.contains_key(port);
            if !keep {
                running.task.abort();
            }
            keep
        });
        for (port, health) in checks {
            match self.running.get(&port) {
                Some(running) => *running.health.borrow_mut() = health,
                None => self.start(port, health),
            }
        }
    }
}
