//! A running cluster: devices, control plane and pods, wired together.
//!
//! [`Cluster::start`] is the one place where it is composed. The control plane's parts are tasks over one API
//! store, each with its own view and its own lag ([`timing`]); what they decide becomes devices, rules and
//! processes on the fabric.

mod api;
mod bugs;
mod cloud;
mod container_life;
mod container_lives;
mod container_runtime;
mod curl;
mod echo;
mod environment;
mod exec;
mod health_check;
pub mod health_server;
mod hooks;
mod kube_proxy;
mod kubelet;
mod machine;
mod mounts;
mod names;
mod network_policies;
mod node_controllers;
mod node_status;
mod operations;
mod place;
mod pod_status;
mod pod_worker;
mod preparation;
mod probes;
mod programs;
mod rpk;
mod scheduling;
mod state;
mod system;
pub mod timing;
mod topology;
mod volume_controllers;
mod watches;
mod workloads;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use hopwise_engine::host;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Service};

pub use api::Api;
#[cfg(feature = "bugs")]
pub use bugs::Bugs;
pub use container_lives::ContainerLife;
pub use environment::{ASSUMED_SECRET_VALUE, MissingReference};
pub use operations::{
    Aspect, Cascade, DiskAspect, DiskFault, DnsServers, ExitReason, LinkEnd, OperationError,
};
pub use place::{CLIENT_POD, ClientSite, NoPlace, Place, PlaceError, is_client_pod};
pub use programs::{Container, ContainerPort, Disk, DiskTrouble, MachineClock, Process, Programs};
pub use state::{Assumption, InitFailure, InitProblem};
pub use watches::Changes;

use crate::cluster_file::ClusterFile;
use crate::controllers::service_allocation::{AllocationError, Allocator};
use crate::controllers::stateful_set;
use crate::manifest::{Manifests, ObjectRef};
use crate::profile::Profile;
use crate::proxy::ServiceName;
use crate::store::{Grace, Store, pod_state};
use crate::volumes;
pub use names::{NODE_CACHE_ADDRESS, Names};
use state::Shared;
use topology::Topology;

/// What a cluster is made from.
pub struct ClusterSpec {
    /// The objects to create; those that admission rejects are left out by the caller.
    pub manifests: Manifests,
    /// Nodes, networks and names.
    pub cluster: ClusterFile,
    /// Latencies and load balancers.
    pub profile: Profile,
    /// What images hold.
    pub programs: Rc<dyn Programs>,
    /// Controllers whose pods the API server refuses: it has the controllers, but never a pod of theirs.
    pub without_pods: Vec<ObjectRef>,
}

/// A cluster that runs.
pub struct Cluster {
    shared: Rc<Shared>,
    spec: Rc<ClusterFile>,
    names: Rc<Names>,
    clients: RefCell<place::Clients>,
    allocation_errors: Vec<AllocationError>,
}

/// What the containers of a pod would be started with.
pub struct Preview {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// Its containers, or why they cannot start.
    pub containers: Result<Vec<Container>, String>,
}

/// How far a cluster has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Every pod is ready and every load balancer serves.
    Ready,
    /// Nothing changes any more, but some pod or load balancer is not ready.
    Stuck,
    /// It still changed when the time was over.
    StillChanging,
}

impl Cluster {
    /// Wires the cluster on the installed fabric and starts its control plane. Objects appear at once, as after
    /// `kubectl apply`; pods follow in virtual time.
    pub fn start(spec: ClusterSpec) -> Cluster {
        Cluster::with(spec, bugs::Bugs::default())
    }

    /// As [`Cluster::start`], of a cluster that breaks some promises.
    #[cfg(feature = "bugs")]
    pub fn start_with_bugs(spec: ClusterSpec, bugs: Bugs) -> Cluster {
        Cluster::with(spec, bugs)
    }

    fn with(spec: ClusterSpec, bugs: bugs::Bugs) -> Cluster {
        let ClusterSpec { mut manifests, cluster, profile, programs, without_pods } = spec;
        let control_plane = host::create("control-plane");
        let system = system::System::of(&cluster);
        let mut store = Store::default();
        let now = hopwise_engine::now();
        system.install(&mut store, &cluster, now);
        let allocation_errors = allocate(&mut manifests, &system, &cluster);
        let disk = cluster.default_disk.unwrap_or(profile.storage.default_disk.value);
        system::create_all(&mut store, manifests, disk, now);
        let api = Api::new(store);
        let topology = hopwise_fabric::with(|fabric| {
            let topology = Topology::build(fabric, system::sites_of(&cluster), profile.latency.clone());
            topology.drop_silently(fabric, &cluster.service_networks());
            topology
        });
        let machines: Vec<machine::Machine> = system::node_facts(&cluster)
            .into_iter()
            .map(|facts| {
                let device = topology.node(&facts.name).expect("every node has a device");
                machine::Machine::new(facts, device, &api)
            })
            .collect();
        let config = api.read(|store| store.get(system::SYSTEM_NAMESPACE, "coredns").cloned());
        let (names, taken_for_granted) = Names::of(&system.domain, config.as_deref());
        let apis = machines.iter().map(|machine| (machine.name().to_owned(), machine.api.clone())).collect();
        let programs = Rc::new(system::WithSystemPrograms { programs, names: names.clone(), apis });
        let addresses = (system.dns_address, system.api_address);
        let resolv_conf = system.resolv_conf(&cluster);
        let shared = Shared::new(api, topology, machines, programs, control_plane, resolv_conf, addresses);
        let shared = Rc::new(shared.with_bugs(bugs));
        taken_for_granted.into_iter().for_each(|assumption| shared.assume(assumption));
        let cluster = Rc::new(cluster);
        start_control_plane(&shared, &cluster, &profile, &names, without_pods);
        place::start_internet_dns(&shared, &names);
        if cluster.node_local_dns {
            names.start_node_caches(&shared);
        }
        Cluster { shared, spec: cluster, names, clients: RefCell::default(), allocation_errors }
    }

    /// The API server.
    pub fn api(&self) -> &Api {
        &self.shared.api
    }

    /// Services whose addresses or ports could not be allocated; they are as their manifests have them.
    pub fn allocation_errors(&self) -> &[AllocationError] {
        &self.allocation_errors
    }

    /// What the simulation takes for granted.
    pub fn assumptions(&self) -> Vec<Assumption> {
        self.shared.assumptions()
    }

    /// Init containers that did not succeed.
    pub fn init_failures(&self) -> Vec<InitFailure> {
        self.shared.init_failures.borrow().clone()
    }

    /// Waits until every pod is ready and every load balancer has a healthy target, until nothing changes for
    /// `quiet`, or until `limit` is over.
    pub async fn settle(&self, quiet: Duration, limit: Duration) -> Settled {
        let started = hopwise_engine::now();
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let now = hopwise_engine::now();
            let calm = Duration::from(now - self.shared.api.changed_at().max(started));
            if self.is_ready() && calm >= Duration::from_secs(2) {
                return Settled::Ready;
            }
            if calm >= quiet {
                return Settled::Stuck;
            }
            if Duration::from(now - started) >= limit {
                return Settled::StillChanging;
            }
        }
    }

    fn is_ready(&self) -> bool {
        let pods = self.shared.api.read(|store| store.list::<Pod>().all(|pod| pod_state::is_healthy(pod)));
        let balancers = self
            .shared
            .balancers
            .borrow()
            .iter()
            .all(|(name, balancer)| balancer.healthy > 0 || !self.has_ready_endpoint(name));
        pods && balancers && self.has_all_pods() && self.programs_serve() && self.names.all_published()
    }

    /// Whether the StatefulSets that have pods have all of them: the next one may wait for `minReadySeconds`.
    fn has_all_pods(&self) -> bool {
        self.shared.api.read(|store| {
            store.list::<StatefulSet>().all(|set| {
                let there = set.status.as_ref().map_or(0, |status| status.replicas);
                let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
                there == 0 || there >= wanted
            })
        })
    }

    /// Whether the programs of all running containers serve their clients: without a readiness probe, a container is
    /// ready before its program is.
    fn programs_serve(&self) -> bool {
        let running = self.shared.running.borrow();
        let mut containers = running.values().flat_map(|pod| pod.containers.values());
        containers.all(|it| it.host.is_none() || *it.is_serving.borrow())
    }

    fn has_ready_endpoint(&self, name: &ServiceName) -> bool {
        self.shared.api.read(|store| {
            let Some(service) = store.get::<Service>(&name.namespace, &name.name) else { return false };
            let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
                return false;
            };
            store.list_in::<Pod>(&name.namespace).any(|pod| {
                let labels = pod.metadata.labels.clone().unwrap_or_default();
                pod_state::is_ready(pod) && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
            })
        })
    }

    /// Asks for a pod to be deleted, as `kubectl delete pod` does.
    ///
    /// # Errors
    /// If there is no such pod, or the API server is down.
    pub fn delete_pod(&self, namespace: &str, name: &str, grace: Grace) -> Result<(), OperationError> {
        self.needs_api_server()?;
        self.shared.api.write(|store, now| store.delete::<Pod>(namespace, name, None, grace, now))?;
        hopwise_engine::notable("pod.deleted", format!("pod {namespace}/{name}"), "by the user");
        Ok(())
    }

    /// The device name of each running pod's sockets, as routes show it: `namespace/name`.
    pub fn volumes_of(&self, namespace: &str, pod: &str) -> Vec<(String, String)> {
        self.shared.api.read(|store| {
            let Some(pod) = store.get::<Pod>(namespace, pod) else { return Vec::new() };
            let claims = volumes::claims_of_pod(pod).into_iter();
            claims
                .filter_map(|claim| Some((claim.clone(), volumes::volume_of(store, namespace, &claim)?.0)))
                .collect()
        })
    }

    /// Every run of a container's process so far, in the order in which they began.
    pub fn container_lives(&self) -> Vec<ContainerLife> {
        self.shared.lives.borrow().all()
    }

    /// What the containers of the pods of a StatefulSet would be started with, for pods that do not run; the pod of
    /// ordinal i is taken to be on the i-th node unless it is bound to one.
    pub fn preview(&self, set: &StatefulSet) -> Vec<Preview> {
        let namespace = set.metadata.namespace.clone().unwrap_or_default();
        let pods = stateful_set::pods_wanted(set);
        let nodes: Vec<&str> = self.spec.nodes.iter().map(|node| node.name.as_str()).collect();
        let previews = pods.into_iter().enumerate().map(|(index, wanted)| {
            let name = (namespace.clone(), wanted.metadata.name.clone().unwrap_or_default());
            let stored = self.shared.api.read(|store| store.get::<Pod>(&name.0, &name.1).cloned());
            let bound = stored.as_deref().and_then(|pod| pod_state::node_name(pod).map(ToOwned::to_owned));
            let node = bound.or_else(|| nodes.get(index % nodes.len().max(1)).map(ToString::to_string));
            let containers = node.ok_or_else(|| "the cluster has no node".to_owned()).and_then(|node| {
                preparation::preview(&self.shared, &wanted, &name, &node).map_err(|error| error.to_string())
            });
            Preview { namespace: name.0, pod: name.1, containers }
        });
        previews.collect()
    }

    /// The nodes' names, zones and addresses, in order.
    pub fn nodes(&self) -> BTreeMap<String, (Option<String>, IpAddr)> {
        let nodes = self.spec.nodes.iter();
        nodes.map(|node| (node.name.clone(), (node.zone.clone(), node.address()))).collect()
    }

    /// The addresses by which a Service's load balancer is reached from outside; empty while it is pending.
    pub fn load_balancer_addresses(&self, namespace: &str, name: &str) -> Vec<IpAddr> {
        self.shared.api.read(|store| {
            store.get::<Service>(namespace, name).map(|it| cloud::addresses_of(it)).unwrap_or_default()
        })
    }

    /// Why Services of type LoadBalancer were refused a load balancer, by `namespace/name`.
    pub fn load_balancer_problems(&self) -> BTreeMap<String, String> {
        self.shared.api.read(|store| {
            let problem = |service: &Service| {
                Some((ServiceName::of(service).to_string(), cloud::problem(service)?.to_owned()))
            };
            store.list::<Service>().filter_map(|service| problem(service)).collect()
        })
    }

    /// The addresses that the internet's DNS has for a name.
    pub fn resolve_outside(&self, name: &str) -> Vec<IpAddr> {
        self.names.addresses_outside(name)
    }

    /// The cluster's name servers, and what they know.
    pub fn names(&self) -> &Rc<Names> {
        &self.names
    }

    /// Whether a server that a resolver asks is the cluster's own: the DNS Service, or a cache on a node.
    pub fn is_cluster_dns(&self, server: IpAddr) -> bool {
        server == self.shared.dns_address || server == self.shared.resolv_conf.cluster_dns
    }

    /// The cluster's DNS domain, without a final dot.
    pub fn domain(&self) -> &str {
        &self.shared.resolv_conf.domain
    }
}

/// Gives Services their addresses and ports; explicit ones first.
fn allocate(
    manifests: &mut Manifests,
    system: &system::System,
    cluster: &ClusterFile,
) -> Vec<AllocationError> {
    let networks = cluster.service_networks();
    let family = |network: &ipnet::IpNet| if network.addr().is_ipv4() { "IPv4" } else { "IPv6" };
    let families: Vec<&str> = networks.iter().map(family).collect();
    let mut allocator = Allocator::new(networks, 30_000..=32_767);
    let mut own = system.services();
    let services = manifests.services.iter_mut().map(|object| &mut object.value);
    let mut all: Vec<&mut Service> = own.iter_mut().chain(services).collect();
    for service in &mut all {
        crate::controllers::service_defaults::admit(service, &families);
    }
    allocator.allocate_all(all)
}

fn start_control_plane(
    shared: &Rc<Shared>,
    cluster: &Rc<ClusterFile>,
    profile: &Profile,
    names: &Rc<Names>,
    without_pods: Vec<ObjectRef>,
) {
    let api = || shared.api.clone();
    let spawn = |task: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
        host::spawn_on(shared.control_plane, task);
    };
    spawn(Box::pin(workloads::run_stateful_sets(api(), without_pods.clone())));
    spawn(Box::pin(workloads::run_deployments(api(), without_pods)));
    spawn(Box::pin(workloads::run_endpoint_slices(api())));
    spawn(Box::pin(workloads::run_garbage_collector(api())));
    spawn(Box::pin(scheduling::run(api())));
    spawn(Box::pin(names.clone().follow_outside(api(), cluster.clone())));
    spawn(Box::pin(node_controllers::run(api(), cluster.node_monitor_grace_period())));
    spawn(Box::pin(node_controllers::run_disruption_controller(api())));
    spawn(Box::pin(volume_controllers::run_binder(api())));
    spawn(Box::pin(volume_controllers::run_protection(shared.clone())));
    spawn(Box::pin(volume_controllers::run_attach_detach(api(), profile.storage.delays())));
    spawn(Box::pin(cloud::run(shared.clone(), cluster.clone(), Rc::new(profile.clone()))));
    for machine in shared.machines.values() {
        machine::boot(shared, machine);
    }
}
