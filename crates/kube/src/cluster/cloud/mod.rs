//! The cloud controller: a load balancer for each Service of type LoadBalancer.
//!
//! On managed profiles every such Service gets one; on bare metal only those that the cluster file declares, and the
//! others stay pending (kubernetes.md 3, 6.5). [`setup`] and [`annotations`] decide how it works, [`pool`] who its targets
//! are, [`health`] which of them receive new flows, [`election`] which node has an address that no device has.
//! [`instance`] puts it on the network, [`checks`] looks after its targets, [`publish`] writes the Service's status.
//!
//! A change of a Service or of its slices costs by that Service, a change of the pool by the number of load balancers.
//! Left out: PROXY protocol headers, security groups, weights of targets.

mod annotations;
mod checks;
mod election;
mod health;
mod instance;
mod pool;
mod publish;
mod setup;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use hopwise_engine::host;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub use instance::Instance;
pub use publish::{addresses_of, problem, published_names};

use self::pool::{Listener, PoolNode};
use self::setup::Settings;
use super::state::{Assumption, Shared};
use super::timing;
use super::watches::Changes;
use crate::cluster_file::ClusterFile;
use crate::controllers::service_defaults::{needs_health_check_port, service_type};
use crate::profile::Profile;
use crate::proxy::ServiceName;
use crate::store::{Action, Kind, Object, Store};

/// The first address of load balancers (TEST-NET-3, RFC 5737).
const FIRST_ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const KINDS: &[Kind] = &[Kind::Service, Kind::EndpointSlice, Kind::Node];

/// Runs the cloud controller.
pub async fn run(shared: Rc<Shared>, cluster: Rc<ClusterFile>, profile: Rc<Profile>) {
    let mut watch = shared.api.watch(KINDS);
    let mut cloud = Cloud {
        shared,
        cluster,
        profile,
        nodes: BTreeMap::new(),
        slices: BTreeMap::new(),
        made: 0,
        addresses: BTreeMap::new(),
    };
    loop {
        match watch.next(timing::CONTROLLER_LAG).await {
            Changes::Some(changes) => {
                cloud.follow(changes.into_iter().map(|change| (change.action, change.object)));
            }
            Changes::All => cloud.follow_everything(),
        }
    }
}

/// The controller's view of the cluster.
struct Cloud {
    shared: Rc<Shared>,
    cluster: Rc<ClusterFile>,
    profile: Rc<Profile>,
    nodes: BTreeMap<String, PoolNode>,
    slices: BTreeMap<ServiceName, BTreeMap<String, Arc<EndpointSlice>>>,
    /// How many addresses were given.
    made: u32,
    /// The addresses of each Service's load balancer, kept when it is set up anew.
    addresses: BTreeMap<ServiceName, Addresses>,
}

/// The addresses of a load balancer, with their zones if it has one for each.
type Addresses = Vec<(Option<String>, IpAddr)>;

impl Cloud {
    fn follow_everything(&mut self) {
        let gone: Vec<ServiceName> = self.shared.balancers.borrow().keys().cloned().collect();
        self.nodes.clear();
        self.slices.clear();
        let objects: Vec<(Action, Object)> = self.shared.api.read(|store: &Store| {
            let nodes = store.list::<Node>().cloned().map(Object::Node);
            let slices = store.list::<EndpointSlice>().cloned().map(Object::EndpointSlice);
            let services = store.list::<Service>().cloned().map(Object::Service);
            nodes.chain(slices).chain(services).map(|object| (Action::Added, object)).collect()
        });
        self.follow(objects);
        gone.iter().for_each(|name| self.reconcile(name));
        self.refill_all();
    }

    /// Takes changes in, then acts on each Service that they are about once.
    fn follow(&mut self, changes: impl IntoIterator<Item = (Action, Object)>) {
        let (mut services, mut with_targets, mut pool_changed) = (BTreeSet::new(), BTreeSet::new(), false);
        for (action, object) in changes {
            match object {
                Object::Service(service) => drop(services.insert(ServiceName::of(&service))),
                Object::EndpointSlice(slice) => with_targets.extend(self.take_slice(action, &slice)),
                Object::Node(node) => pool_changed |= self.take_node(action, &node),
                _ => {}
            }
        }
        for name in &services {
            self.reconcile(name);
        }
        if pool_changed {
            self.refill_all();
        } else {
            with_targets.union(&services).for_each(|name| self.refill(name));
        }
    }

    fn take_slice(&mut self, action: Action, slice: &Arc<EndpointSlice>) -> Option<ServiceName> {
        let service = ServiceName::of_slice(slice)?;
        let slices = self.slices.entry(service.clone()).or_default();
        let name = slice.metadata.name.clone().unwrap_or_default();
        match action {
            Action::Deleted => drop(slices.remove(&name)),
            Action::Added | Action::Modified => drop(slices.insert(name, slice.clone())),
        }
        if slices.is_empty() {
            self.slices.remove(&service);
        }
        Some(service)
    }

    /// Whether the node is in the pool in another way than before.
    fn take_node(&mut self, action: Action, node: &Node) -> bool {
        let name = node.metadata.name.clone().unwrap_or_default();
        let topology = self.shared.topology.borrow();
        let site = topology.site(&name).filter(|_| action != Action::Deleted);
        let entry = site.and_then(|site| Some(PoolNode::of(node, &site.zone, *site.addresses.first()?)));
        match entry {
            Some(entry) => self.nodes.insert(name, entry.clone()) != Some(entry),
            None => self.nodes.remove(&name).is_some(),
        }
    }

    /// Makes the load balancer of a Service what it should be.
    fn reconcile(&mut self, name: &ServiceName) {
        let service =
            self.shared.api.read(|store| store.get::<Service>(&name.namespace, &name.name).cloned());
        let service = service.filter(|service| service_type(service) == "LoadBalancer");
        let settings = service.as_ref().and_then(|service| self.settings(name, service));
        let (Some(service), Some(settings)) = (service, settings) else { return self.remove(name) };
        if let Some(why) = settings.obstacle(&service) {
            if self.shared.balancers.borrow().contains_key(name) {
                self.remove(name);
                publish::withdrawn(&self.shared, name);
            }
            return publish::refused(&self.shared, name, &why);
        }
        let stays = |instance: &Instance| instance.settings.keeps_devices_of(&settings);
        if self.shared.balancers.borrow().get(name).is_some_and(stays) {
            if let Some(instance) = self.shared.balancers.borrow_mut().get_mut(name) {
                instance.settings = settings;
            }
        } else {
            self.remove_instance(name);
            self.create(name, settings);
        }
        let listeners: Vec<Listener> = pool::listeners(&service).into_keys().collect();
        if let Some(instance) = self.shared.balancers.borrow_mut().get_mut(name) {
            instance.listen(name, &listeners);
        }
    }

    /// How the load balancer of a Service is set up; `None` if nobody makes one.
    fn settings(&self, name: &ServiceName, service: &Service) -> Option<Settings> {
        let declared = self
            .cluster
            .load_balancers
            .iter()
            .find(|it| it.service.namespace == name.namespace && it.service.name == name.name);
        let mut settings = Settings::of_profile(&self.profile.load_balancer, service);
        if let Some(declared) = declared {
            settings.declare(declared);
            return Some(settings);
        }
        if !self.profile.load_balancer.managed.value {
            return None;
        }
        let annotations = service.metadata.annotations.iter().flatten();
        let annotations = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        for ignored in annotations::apply(&mut settings, &annotations, &self.profile.name) {
            let annotations::NotFollowed { annotation, assumed } = ignored;
            self.shared.assume(Assumption::BalancerIgnores { service: name.clone(), annotation, assumed });
        }
        Some(settings)
    }

    fn create(&mut self, name: &ServiceName, settings: Settings) {
        let addresses = self.addresses_for(name, settings.address_per_zone);
        let plain: Vec<IpAddr> = addresses.iter().map(|(_, address)| *address).collect();
        let instance = Instance::create(&self.shared, name, settings.clone(), addresses);
        let host = instance.host;
        self.shared.balancers.borrow_mut().insert(name.clone(), instance);
        publish::created(&self.shared, name, &settings, &plain);
        let checks = checks::run(self.shared.clone(), name.clone(), host);
        host::spawn_on(self.shared.control_plane, checks);
    }

    fn addresses_for(&mut self, name: &ServiceName, per_zone: bool) -> Addresses {
        let declared = self
            .cluster
            .load_balancers
            .iter()
            .find(|it| it.service.namespace == name.namespace && it.service.name == name.name);
        if let Some(declared) = declared {
            return vec![(None, declared.address)];
        }
        if let Some(known) = self.addresses.get(name).filter(|known| known[0].0.is_some() == per_zone) {
            return known.clone();
        }
        let zones: Vec<Option<String>> = match per_zone {
            true => self.shared.topology.borrow().zones().map(|zone| Some(zone.to_owned())).collect(),
            false => vec![None],
        };
        let mut next = || {
            let address = IpAddr::V4(FIRST_ADDRESS.to_bits().wrapping_add(self.made).into());
            self.made += 1;
            address
        };
        let mut addresses: Addresses = zones.into_iter().map(|zone| (zone, next())).collect();
        if addresses.is_empty() {
            addresses.push((None, next()));
        }
        self.addresses.insert(name.clone(), addresses.clone());
        addresses
    }

    fn remove(&mut self, name: &ServiceName) {
        self.addresses.remove(name);
        self.remove_instance(name);
    }

    fn remove_instance(&self, name: &ServiceName) {
        let removed = self.shared.balancers.borrow_mut().remove(name);
        if let Some(instance) = removed {
            instance.remove(&self.shared);
        }
    }

    fn refill_all(&mut self) {
        let names: Vec<ServiceName> = self.shared.balancers.borrow().keys().cloned().collect();
        names.iter().for_each(|name| self.refill(name));
    }

    /// Gives a load balancer the targets that the pool and the slices make.
    fn refill(&self, name: &ServiceName) {
        let service =
            self.shared.api.read(|store| store.get::<Service>(&name.namespace, &name.name).cloned());
        let Some(service) = service else { return };
        let now = hopwise_engine::now();
        let (events, host) = {
            let mut balancers = self.shared.balancers.borrow_mut();
            let Some(instance) = balancers.get_mut(name) else { return };
            let slices: Vec<Arc<EndpointSlice>> =
                self.slices.get(name).iter().flat_map(|all| all.values().cloned()).collect();
            let is_local = needs_health_check_port(&service);
            let listeners = pool::listeners(&service);
            let members = pool::members(&instance.settings, &listeners, &self.nodes, &slices, is_local);
            let registration = instance.settings.registration_delay + instance.extra_registration;
            let delays = (registration, instance.settings.deregistration_delay);
            instance.with_endpoints = pool::nodes_with_endpoints(&slices);
            instance.is_local = is_local;
            let was_leaving = instance.registry.next_leave().is_some();
            let events = instance.registry.set_members(members, delays, now);
            let sees_off = !was_leaving && instance.registry.next_leave().is_some();
            (events, sees_off.then_some(instance.host))
        };
        checks::note(name, &events);
        if let Some(host) = host {
            let leaving = checks::see_off(self.shared.clone(), name.clone(), host);
            host::spawn_on(self.shared.control_plane, leaving);
        }
        checks::refresh(&self.shared, name);
    }
}

/// Takes the load balancer of a Service down, or brings it up; says whether that changes anything, and nothing if there is
/// none.
pub fn set_down(shared: &Shared, name: &ServiceName, down: bool) -> Option<bool> {
    let was_down = {
        let mut balancers = shared.balancers.borrow_mut();
        let instance = balancers.get_mut(name)?;
        let was_down = instance.is_down;
        instance.set_down(down);
        was_down
    };
    announce(shared, name);
    Some(was_down != down)
}

/// Lets the node that is elected for an address without a device answer for it.
fn announce(shared: &Shared, name: &ServiceName) {
    let (address, node) = {
        let mut balancers = shared.balancers.borrow_mut();
        let Some(instance) = balancers.get_mut(name) else { return };
        let candidates =
            election::candidates(instance.registry.healthy(), &instance.with_endpoints, instance.is_local);
        let Some((address, before)) = &mut instance.announced else { return };
        let is_up = !instance.is_down;
        let node = election::elect(*address, &candidates).filter(|_| is_up).map(str::to_owned);
        if *before == node {
            return;
        }
        before.clone_from(&node);
        (*address, node)
    };
    let told = node.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    hopwise_engine::notable(
        "load_balancer.announced",
        format!("load balancer {name}"),
        format!("{address} by {told}"),
    );
    hopwise_fabric::with(|fabric| shared.topology.borrow_mut().announce(fabric, address, node.as_deref()));
}
